/** Records how services stop, from their journal entries, for the app's stop report. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Journal from "../journal/Journal.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type { Facts, Problem } from "../status/StopReport.ts"
import { isOfApp } from "../Format.ts"

/** Records of one launch. */
export interface Records {
  phase: "booting" | "up" | "stopping"
  /** When the stop began, in monotonic milliseconds. */
  stoppingAt: number
  /** Problems of the stop that belong to no service. */
  readonly problems: Array<string>
  /** By path. Services that work provides to itself may share a path. */
  readonly stops: Map<string, Array<Stop>>
  /** Failed starts as text, by path. */
  readonly failedStarts: Map<string, string>
  /** Timers that report a boot that keeps going after a failed start. */
  readonly bootTimers: Array<Fiber.RuntimeFiber<void>>
}

/** The stop of one service. Times are in monotonic milliseconds. */
interface Stop {
  readonly service: string
  askedAt: number | undefined
  endedAt: number | undefined
  readonly problems: Array<Problem>
}

export const make = (): Records => ({
  phase: "booting",
  stoppingAt: Number.POSITIVE_INFINITY,
  problems: [],
  stops: new Map(),
  failedStarts: new Map(),
  bootTimers: []
})

/** Wraps a journal so that appended entries are recorded. */
export const recording = (
  records: Records,
  journal: Journal.Journal["Type"],
  app: string,
  unfinished: () => ReadonlyArray<string>
): Journal.Journal["Type"] => ({
  ...journal,
  append: (entry) => {
    const appended = journal.append(entry)
    if (records.phase === "stopping") return Effect.zipRight(recordStop(records, entry), appended)
    if (records.phase === "up") return appended
    const recorded = Effect.zipRight(recordRollback(records, entry), appended)
    // A failed start of a child is handled by the service that adopts it.
    if (entry._tag !== "StartFailed" || !isOfApp(app, entry.service)) return recorded
    records.failedStarts.set(entry.service, `${Journal.format(entry)}: ${Reason.ofCause(entry.cause)}`)
    const report = Effect.suspend(() =>
      journal.append({
        _tag: "BootWaiting",
        app,
        failed: entry.service,
        cause: entry.cause,
        services: unfinished()
      })
    )
    const forkTimer = Effect.forkDaemon(Effect.interruptible(Effect.delay(report, bootTimeAfterFailure)))
    return Effect.zipRight(
      recorded,
      Effect.map(forkTimer, (fiber) => void records.bootTimers.push(fiber))
    )
  }
})

/** A boot that goes on for longer after a failed start is reported: it probably waits for another service. */
const bootTimeAfterFailure = "3 seconds"

/** Marks the app as up. Discards the stops of services that were rolled back during the boot. */
export const markUp = (records: Records): void => {
  records.phase = "up"
  records.stops.clear()
}

/** Begins the stop. For a failed boot, the stop began with the first service that was rolled back. */
export const beginStop = (records: Records, now: number, hasFailed: boolean): void => {
  records.phase = "stopping"
  if (!hasFailed) records.stops.clear()
  records.stoppingAt = allStops(records).reduce((first, { askedAt = now }) => Math.min(first, askedAt), now)
}

/** Adds a problem to the stop of a service. */
export const addProblem = (records: Records, service: string, problem: Problem): void =>
  void stopOf(records, service, isOpen).problems.push(problem)

/** The stops so far, in order of their first entry. A service that was asked to stop and has not ended is late. */
export const stopsUntil = (records: Records, now: number): ReadonlyArray<Facts["services"][number]> => {
  const since = (then: number) => Duration.millis(Math.round(then - records.stoppingAt))
  return allStops(records).map(({ askedAt, endedAt, problems, service }) => {
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

/** Records the rollback of a failed start during the boot. A service that starts again has no stop yet. */
const recordRollback = (records: Records, entry: Journal.Unstamped): Effect.Effect<void> => {
  if (entry._tag === "ServiceStarting") return Effect.sync(() => records.stops.delete(entry.service))
  // During the boot, a failed service is the reason of the stop and not a problem of it.
  return entry._tag === "ServiceFailed" ? Effect.void : recordStop(records, entry)
}

const recordStop = (records: Records, entry: Journal.Unstamped): Effect.Effect<void> =>
  Effect.map(Monotonic.millis, (now) => {
    switch (entry._tag) {
      case "ServiceStopping":
        stopOf(records, entry.service, ({ askedAt }) => askedAt === undefined).askedAt = now
        return
      case "ServiceStopped": {
        const stop = stopOf(records, entry.service, isOpen)
        // It may have been asked before the app was.
        stop.askedAt ??= Math.min(records.stoppingAt, now)
        stop.endedAt = now
        return
      }
      default: {
        const problem = problemOf(entry)
        if (problem !== undefined && "service" in entry) addProblem(records, entry.service, problem)
      }
    }
  })

/** The problem that an entry reports, if any. */
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

const allStops = ({ stops }: Records): ReadonlyArray<Stop> => [...stops.values()].flat()

/** The first matching stop of a service; adds one if there is none. */
const stopOf = (records: Records, service: string, matches: (stop: Stop) => boolean): Stop => {
  const known = records.stops.get(service) ?? []
  const found = known.find(matches)
  if (found !== undefined) return found
  const stop: Stop = { service, askedAt: undefined, endedAt: undefined, problems: [] }
  known.push(stop)
  records.stops.set(service, known)
  return stop
}
