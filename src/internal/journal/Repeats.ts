/**
 * Logs what fails again and again: the first at once, and the first of another
 * reason, then one line each second with the count and the last reason, until a
 * second passes without one. The journal keeps each entry, since readers count them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Entry } from "./Entry.ts"
import * as Reason from "../Reason.ts"
import * as EntryText from "./EntryText.ts"
import * as Throttle from "./Throttle.ts"

/** The log of a journal. */
export interface Log {
  /** Logs an entry. Undefined if the fiber does not log its level. */
  readonly entry: (
    entry: Entry,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) => Effect.Effect<void> | undefined
}

/** One kind of failure of one piece of work. */
interface Repeated {
  last: Entry
  /** When the entries that are summed began. */
  since: number
  /** The reasons that were logged at once. */
  readonly reasons: Set<string>
  readonly throttle: Throttle.Throttle
}

/** How many different failures are summed at a time. Those beyond are logged one by one. */
const capacity = 1_000

/** How many reasons are logged at once: an error with a number in it has a new one each time. */
const maxReasons = 3

/** Nothing has failed yet. */
export const make = (): Log => {
  const all = new Map<string, Repeated>()

  const begin = (key: string, entry: Entry): Repeated => {
    const repeated: Repeated = {
      last: entry,
      since: entry.at,
      reasons: new Set(),
      throttle: Throttle.make(
        (count) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const millis = Math.max(0, now - repeated.since)
            repeated.since = now
            // One that was only late says all, with its cause.
            const logged =
              count === 1 ? EntryText.log(repeated.last) : EntryText.logRepeated(repeated.last, count, millis)
            return unfailing(logged)
          }),
        () => all.delete(key)
      )
    }
    all.set(key, repeated)
    return repeated
  }

  /** Logs the counts of a service that has stopped, or of all. Undefined if there are none. */
  const flush = (service: string | undefined): Effect.Effect<void> | undefined => {
    const ended: Array<Repeated> = []
    for (const [key, repeated] of all) {
      const isOf = "service" in repeated.last && repeated.last.service === service
      if (service !== undefined && !isOf) continue
      all.delete(key)
      ended.push(repeated)
    }
    return ended.length === 0
      ? undefined
      : Effect.forEach(ended, ({ throttle }) => throttle.end, { discard: true })
  }

  return {
    entry: (entry, fiber) => {
      const ended =
        entry._tag === "ServiceStopped"
          ? flush(entry.service)
          : entry._tag === "AppStopped"
            ? flush(undefined)
            : undefined
      if (!EntryText.isLogged(entry, fiber)) return ended
      const key = keyOf(entry)
      const known = key === undefined ? undefined : all.get(key)
      if (key !== undefined && (known !== undefined || all.size < capacity)) {
        const repeated = known ?? begin(key, entry)
        const { reasons } = repeated
        if (reasons.size < maxReasons) {
          const reason = "cause" in entry && entry.cause !== undefined ? Reason.ofCause(entry.cause) : ""
          const isNews = !reasons.has(reason)
          reasons.add(reason)
          if (isNews && known !== undefined) return unfailing(EntryText.log(entry))
        }
        repeated.last = entry
        return repeated.throttle.add(1)
      }
      const logged = unfailing(EntryText.log(entry))
      return ended === undefined ? logged : Effect.zipRight(ended, logged)
    }
  }
}

/** Identifies the repeats of a failure; undefined for entries that are always logged. */
const keyOf = (entry: Entry): string | undefined => {
  switch (entry._tag) {
    case "TaskFailed":
      return [entry._tag, entry.service, entry.task, entry.answer].join("\n")
    case "HandlerFailed":
      return [entry._tag, entry.service, entry.event, entry.answer].join("\n")
    case "RestartsExhausted":
    case "RetriesExhausted":
      return [entry._tag, entry.service, entry.work, entry.answer].join("\n")
    case "WorkRestarting":
    case "WorkRetrying":
    case "WorkInterrupted":
      return [entry._tag, entry.service, entry.work].join("\n")
    case "RequestFailed":
      return [entry._tag, entry.service, entry.route].join("\n")
    default:
      return undefined
  }
}

/** A logger that throws must not interrupt a stop, and its failure cannot be logged. */
const unfailing = (logged: Effect.Effect<void>): Effect.Effect<void> => Effect.asVoid(Effect.exit(logged))
