/** What an app notes of what its services journal, to say at its end what was not clean. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Journal from "./Journal.ts"
import * as Reason from "./Reason.ts"

/** The notes of one launch. */
export interface Notes {
  phase: "booting" | "up" | "stopping"
  /** What was not clean about the stop. */
  readonly problems: Array<string>
  readonly failedStarts: Array<string>
  /** Fibers that will say so, if the boot goes on after a service has failed to start. */
  readonly waiting: Array<Fiber.RuntimeFiber<void>>
}

/** No notes yet. */
export const make = (): Notes => ({ phase: "booting", problems: [], failedStarts: [], waiting: [] })

/** A journal that takes notes. */
export const taking = (
  notes: Notes,
  journal: Journal.Journal["Type"],
  app: string,
  unfinished: () => ReadonlyArray<string>
): Journal.Journal["Type"] => ({
  ...journal,
  append: (entry) => {
    const appended = journal.append(entry)
    // A child that does not start is the matter of the service that adopts it.
    const isOfApp = "service" in entry && !entry.service.slice(`${app} > `.length).includes(" > ")
    if (entry._tag === "StartFailed" && notes.phase === "booting" && isOfApp) {
      notes.failedStarts.push(`${Journal.format(entry)}: ${Reason.ofCause(entry.cause)}`)
      const waits = Effect.suspend(() =>
        journal.append({
          _tag: "BootWaiting",
          app,
          failed: entry.service,
          cause: entry.cause,
          services: unfinished()
        })
      )
      const forked = Effect.forkDaemon(Effect.interruptible(Effect.delay(waits, bootWaits)))
      return Effect.zipRight(
        appended,
        Effect.map(forked, (fiber) => void notes.waiting.push(fiber))
      )
    }
    if (notes.phase === "stopping") {
      if (entry._tag === "StopTimedOut" || entry._tag === "RequestsCut")
        notes.problems.push(Journal.format(entry))
      if (entry._tag === "StopStepFailed" || entry._tag === "ServiceFailed") {
        notes.problems.push(`${Journal.format(entry)}: ${Reason.ofCause(entry.cause)}`)
      }
    }
    return appended
  }
})

/** A boot that goes on this long after a service of it has failed is waiting for something. */
const bootWaits = "3 seconds"
