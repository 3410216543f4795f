/** What an app notes of what its services journal, to say at its end how they have stopped. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Journal from "../journal/Journal.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type { Facts, Problem } from "../status/StopReport.ts"
import { below } from "../Format.ts"

/** The notes of one launch. */
export interface Notes {
  phase: "booting" | "up" | "stopping"
  /** When the stop began, in monotonic milliseconds. */
  stoppingAt: number
  /** What was not clean about the stop and is no service's. */
  readonly problems: Array<string>
  /** By path. Of services that work has provided to itself, many may have one. */
  readonly stops: Map<string, Array<Stop>>
  /** Why services did not start, by path. */
  readonly failedStarts: Map<string, string>
  /** Fibers that will say so, if the boot goes on after a service has failed to start. */
  readonly waiting: Array<Fiber.RuntimeFiber<void>>
}

/** What is known of the stop of one service. Times are monotonic milliseconds. */
interface Stop {
  readonly service: string
  askedAt: number | undefined
  endedAt: number | undefined
  readonly problems: Array<Problem>
}

/** No notes yet. */
export const make = (): Notes => ({
  phase: "booting",
  stoppingAt: Number.POSITIVE_INFINITY,
  problems: [],
  stops: new Map(),
  failedStarts: new Map(),
  waiting: []
})

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
    if (notes.phase === "stopping") return Effect.zipRight(noteStop(notes, entry), appended)
    if (notes.phase === "up") return appended
    const noted = Effect.zipRight(noteUndoing(notes, entry), appended)
    // A child that does not start is the matter of the service that adopts it.
    const isOfApp = "service" in entry && !below(app, entry.service).includes(" > ")
    if (entry._tag !== "StartFailed" || !isOfApp) return noted
    notes.failedStarts.set(entry.service, `${Journal.format(entry)}: ${Reason.ofCause(entry.cause)}`)
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
      noted,
      Effect.map(forked, (fiber) => void notes.waiting.push(fiber))
    )
  }
})

/** A boot that goes on this long after a service of it has failed is waiting for something. */
const bootWaits = "3 seconds"

/** The app is up: what was undone before was not the end. */
export const isUp = (notes: Notes): void => {
  notes.phase = "up"
  notes.stops.clear()
}

/** The stop begins. When something has failed the boot, it began as soon as the first service was undone. */
export const beginStop = (notes: Notes, now: number, hasFailed: boolean): void => {
  notes.phase = "stopping"
  if (!hasFailed) notes.stops.clear()
  notes.stoppingAt = allStops(notes).reduce((first, { askedAt = now }) => Math.min(first, askedAt), now)
}

/** Notes that something was not clean about the stop of a service. */
export const noteProblem = (notes: Notes, service: string, problem: Problem): void =>
  void stopOf(notes, service, isOpen).problems.push(problem)

/** How services have stopped until now, in the order in which they were first told of. What was asked and has not ended is late. */
export const stopsUntil = (notes: Notes, now: number): ReadonlyArray<Facts["services"][number]> => {
  const since = (then: number) => Duration.millis(Math.round(then - notes.stoppingAt))
  return allStops(notes).map(({ askedAt, endedAt, problems, service }) => {
    const isLate =
      askedAt !== undefined && endedAt === undefined && problems.every(({ _tag }) => _tag !== "Late")
    const late: ReadonlyArray<Problem> = isLate
      ? [{ _tag: "Late", after: Duration.millis(Math.round(now - askedAt)), doing: "stopping", alive: [] }]
      : []
    return {
      service,
      askedAt: askedAt === undefined ? undefined : since(askedAt),
      endedAt: endedAt === undefined ? undefined : since(endedAt),
      problems: [...problems, ...late]
    }
  })
}

/** While the app boots, a start that failed is undone; what starts again was not the end. */
const noteUndoing = (notes: Notes, entry: Journal.Unstamped): Effect.Effect<void> => {
  if (entry._tag === "ServiceStarting") return Effect.sync(() => notes.stops.delete(entry.service))
  // That a service failed is why the app ends then, and no problem of its stop.
  return entry._tag === "ServiceFailed" ? Effect.void : noteStop(notes, entry)
}

const noteStop = (notes: Notes, entry: Journal.Unstamped): Effect.Effect<void> =>
  Effect.map(Monotonic.millis, (now) => {
    switch (entry._tag) {
      case "ServiceStopping":
        stopOf(notes, entry.service, ({ askedAt }) => askedAt === undefined).askedAt = now
        return
      case "ServiceStopped": {
        const stop = stopOf(notes, entry.service, isOpen)
        // It may have been asked before the app was.
        stop.askedAt ??= Math.min(notes.stoppingAt, now)
        stop.endedAt = now
        return
      }
      default: {
        const problem = problemOf(entry)
        if (problem !== undefined && "service" in entry) noteProblem(notes, entry.service, problem)
      }
    }
  })

/** What an entry says against the stop of its service. */
const problemOf = (entry: Journal.Unstamped): Problem | undefined => {
  switch (entry._tag) {
    case "StopStepFailed":
      return { _tag: "StepFailed", step: entry.step, reason: Reason.ofCause(entry.cause) }
    case "StopTimedOut":
      return { _tag: "StepHung", step: entry.step, after: entry.after, alive: entry.alive, took: entry.took }
    case "RequestsCut":
      return { _tag: "RequestsCut", after: entry.after, requests: entry.requests }
    case "ServiceFailed":
      return { _tag: "WorkFailed", work: entry.work, reason: Reason.ofCause(entry.cause) }
    default:
      return undefined
  }
}

const isOpen = ({ endedAt }: Stop): boolean => endedAt === undefined

const allStops = ({ stops }: Notes): ReadonlyArray<Stop> => [...stops.values()].flat()

/** The first stop of a service that is meant, or else another. */
const stopOf = (notes: Notes, service: string, isMeant: (stop: Stop) => boolean): Stop => {
  const known = notes.stops.get(service) ?? []
  const found = known.find(isMeant)
  if (found !== undefined) return found
  const stop: Stop = { service, askedAt: undefined, endedAt: undefined, problems: [] }
  known.push(stop)
  notes.stops.set(service, known)
  return stop
}
