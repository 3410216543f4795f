/** Renders journal entries as text, and logs them. */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as HashMap from "effect/HashMap"
import * as LogLevel from "effect/LogLevel"
// Named imports, because bundlers do not tree-shake values read from the namespace.
import { Debug, Error, Info, Trace, Warning } from "effect/LogLevel"
import * as Option from "effect/Option"
import * as BootReport from "../status/BootReport.ts"
import * as StopPlan from "../status/StopPlan.ts"
import * as StopReport from "../status/StopReport.ts"
import { counted, cut, duration, inOneLine, listed, withoutControls } from "../Format.ts"
import * as Printable from "../Printable.ts"
import * as Reason from "../Reason.ts"
import type { Answered, Entry, Sent, Unstamped } from "./Entry.ts"

/** Renders an entry as text. */
export const format = (entry: Unstamped): string => textOf(entry, line(entry)[1])

/** Whether a kind of entry exists. */
export const isKind = (kind: string): kind is Entry["_tag"] => Object.hasOwn(lines, kind)

/** Whether the fiber logs an entry. */
export const isLogged = (entry: Entry, fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  LogLevel.lessThanEqual(fiber.getFiberRef(FiberRef.currentMinimumLogLevel), line(entry)[0])

/** Logs an entry at its level, if the fiber logs that level. */
export const log = (entry: Entry): Effect.Effect<void> =>
  annotated(entry, (level) => {
    const text = format(entry)
    return hasCause(entry)
      ? Effect.logWithLevel(level, text, Printable.ofCause(entry.cause))
      : Effect.logWithLevel(level, text)
  })

/** Logs that entries like this, the last of them, were appended so many times in so many milliseconds. */
export const logRepeated = (entry: Entry, count: number, millis: number): Effect.Effect<void> =>
  annotated(entry, (level) => {
    const reason = "cause" in entry && entry.cause !== undefined ? Reason.ofCause(entry.cause) : undefined
    const last = reason === undefined ? "" : `, the last: ${reason}`
    const text = `${format(entry)} (${count} times more in ${duration(Duration.millis(millis))}${last})`
    return Effect.logWithLevel(level, text)
  })

/** With the path of the service, and nothing where the fiber does not log the level. */
const annotated = (
  entry: Entry,
  logged: (level: LogLevel.LogLevel) => Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    if (!isLogged(entry, fiber)) return Effect.void
    const [level] = line(entry)
    if (!("service" in entry)) return logged(level)
    // Usually the service itself logs, and is annotated already.
    const annotation = HashMap.get(fiber.getFiberRef(FiberRef.currentLogAnnotations), "service")
    const isAnnotated = Option.isSome(annotation) && annotation.value === entry.service
    return isAnnotated ? logged(level) : Effect.annotateLogs(logged(level), "service", entry.service)
  })

/** Names may come from outside, such as the route of a request that nothing has matched. */
const textOf = ({ _tag }: Unstamped, text: string): string =>
  _tag === "AppStopped" || _tag === "StopPlanTooLong"
    ? withoutControls(text, "lines")
    : inOneLine(cut(text, maxLine))

/** The longest line without its cause: a reason, and room for paths. */
const maxLine = 2 * Reason.maxLength

/** Logs a cause once, with its origin, and not again for each service that fails because of it. */
const hasCause = (entry: Entry): entry is Extract<Entry, { readonly cause: Cause.Cause<unknown> }> => {
  if (!("cause" in entry) || entry._tag === "AppStopping") return false
  if (isExhausted(entry) && entry.answer === "Escalate") return false
  return !("origin" in entry) || entry.origin === `${entry.service} > ${entry.work}`
}

const isExhausted = (
  entry: Entry
): entry is Extract<Entry, { readonly _tag: "RestartsExhausted" | "RetriesExhausted" }> =>
  entry._tag === "RestartsExhausted" || entry._tag === "RetriesExhausted"

/** A boot that takes at least this long logs its critical path. */
const slowBoot = "1 second"

/** The log level and text of each kind of entry. */
const lines: {
  readonly [Kind in Entry["_tag"]]: (
    entry: Extract<Unstamped, { readonly _tag: Kind }>
  ) => readonly [LogLevel.LogLevel, string]
} = {
  AppStarted: ({ app, report }) => {
    const path = Duration.lessThan(report.took, slowBoot) ? "" : BootReport.criticalPath(report)
    const line = `${app} started in ${duration(report.took)}, with ${counted(report.services.length, "service")}`
    return [Info, path === "" ? line : `${line}: ${path}`]
  },
  StopPlanTooLong: ({ plan }) => [Warning, StopPlan.tooLong(plan)],
  BootWaiting: (entry) => [
    Error,
    `${entry.failed} did not start, and the boot of ${entry.app} waits for others: ${listed(entry.services)}`
  ],
  AppCrashed: (entry) => [Error, `${entry.app} crashed: ${entry.kind}`],
  AppStopping: (entry) => [Info, `${entry.app} is stopping: ${entry.reason}`],
  AppStopped: ({ app, report }) =>
    StopReport.isClean(report)
      ? [Info, `${app} stopped in ${duration(report.took)}, ${StopReport.how(report)}`]
      : [Error, StopReport.render(report)],
  ServiceStarting: (entry) => [Debug, `${entry.service} is starting`],
  ServiceStarted: (entry) => [Info, `${entry.service} started in ${duration(entry.took)}`],
  // The caller that builds the layer receives the error, and logs or handles it.
  StartFailed: (entry) => [Debug, `${entry.service} did not start: ${entry.step} failed`],
  ServiceFailed: (entry) => [Error, `${entry.service} failed, because ${entry.work} failed`],
  ServiceRestarting: (entry) =>
    entry.origin === undefined
      ? [Info, `${entry.service} restarts, as asked`]
      : [Warning, `${entry.service} restarts ${after(entry)}, because ${entry.origin} failed`],
  ServiceStopping: (entry) => [Debug, `${entry.service} is stopping`],
  ServiceStopped: (entry) => [
    entry.isUndone === true ? Debug : Info,
    `${entry.service} stopped in ${duration(entry.took)}`
  ],
  StopStepFailed: (entry) => [
    Error,
    `${entry.service} failed in ${entry.step} while stopping, and went on to the next step`
  ],
  StopTimedOut: (entry) => [
    Error,
    entry.took === undefined
      ? `${entry.service} hung in ${entry.step} while stopping; it was left after ${duration(entry.after)}` +
        (entry.alive.length === 0 ? "" : `, with ${listed(entry.alive)} still running`)
      : `${entry.service} ${StopReport.blocked(entry.took, entry.step, entry.after)}`
  ],
  ServerDraining: ({ readinessDelay, requests, service, streams }) => {
    const delay =
      Duration.toMillis(readinessDelay) === 0 ? "" : `serves on for ${duration(readinessDelay)}, then `
    const inFlight = [
      ...(requests > 0 ? [counted(requests, "request")] : []),
      ...(streams > 0 ? [counted(streams, "stream")] : [])
    ]
    const open = inFlight.length === 0 ? "" : `, with ${inFlight.join(" and ")} in flight`
    return [delay + open === "" ? Debug : Info, `${service} ${delay}takes no new connections${open}`]
  },
  RequestsCut: ({ after, requests, service }) => [
    Error,
    `${service} cut ${StopReport.unanswered(requests, after)}`
  ],
  RequestFailed: (entry) => [Error, `${entry.service}: ${entry.route} failed after ${duration(entry.took)}`],
  StopAsked: (entry) => [Debug, `${entry.service} asked to be stopped`],
  WorkInterrupted: (entry) => [Warning, `${entry.service}: ${entry.work} was interrupted by its own code`],
  StopNotPossible: (entry) => [
    Warning,
    `${entry.service} asked to be stopped, but nothing stops it: it does not run under App.launch`
  ],
  ChildAdopted: (entry) => [Debug, `${entry.service} adopted ${entry.child}`],
  TaskTicked: (entry) => [Trace, `${entry.service}: ${entry.task} ran for ${duration(entry.took)}`],
  TaskFailed: (entry) => [levelOf(entry), `${entry.service}: ${entry.task} failed`],
  TicksSkipped: (entry) => [
    Warning,
    `${entry.service}: ${entry.task} skipped ${counted(entry.missed, "run")}, because it ran long or late`
  ],
  WorkRestarting: (entry) => [
    Warning,
    `${entry.service}: ${entry.work} failed, and is run again ${after(entry)}`
  ],
  WorkRetrying: (entry) => [
    Warning,
    `${entry.service}: ${entry.work} failed, and is retried in ${duration(entry.pause)} (attempt ${entry.attempt})`
  ],
  RestartsExhausted: (entry) => [
    entry.answer === "Log" ? Error : Warning,
    entry.restarts === 0
      ? `${entry.service}: ${entry.work} failed with no restart left, and is given up`
      : `${entry.service}: ${entry.work} failed again after ${counted(entry.restarts, "restart")}, and is given up`
  ],
  RetriesExhausted: (entry) => [
    entry.answer === "Log" ? Error : Warning,
    `${entry.service}: ${entry.work} failed in ${counted(entry.attempts, "attempt")}, and is given up`
  ],
  HealthChanged: ({ check, isCritical, reason, service }) => {
    const path = check === undefined ? service : `${service} > ${check}`
    if (reason === undefined) return [Info, `${path} is healthy again`]
    return [Warning, `${path} is unhealthy${isCritical ? "" : ", which is not critical"}: ${reason}`]
  },
  EventEmitted: (entry) => [
    Trace,
    `${entry.event} was emitted to ${counted(entry.listeners, "listener")}${by(entry)}`
  ],
  EventPublished: (entry) => [
    Trace,
    `${entry.event} was published to ${counted(entry.listeners, "listener")}${by(entry)}`
  ],
  EventHandled: (entry) => [Trace, `${entry.service} handled ${entry.event} in ${duration(entry.took)}`],
  HandlerFailed: (entry) => [levelOf(entry), `${entry.service}: the listener of ${entry.event} failed`],
  EventsDropped: (entry) => [
    Warning,
    `${entry.service}: the listener of ${entry.event} missed ${counted(entry.count, "event")}, ${entry.reason}`
  ],
  OtherBusListens: ({ event, listeners, sender }) => [
    Warning,
    `${event} was sent${sender === undefined ? "" : ` by ${sender}`} on a bus where nobody listens to it, ` +
      `while ${listed(listeners)} listens on another bus of the app. Provide one EventBus.layer to both.`
  ],
  PublishWaiting: (entry) => [
    Warning,
    `${entry.service}: the queue of the listener of ${entry.event} is full; ` +
      `a publish has waited ${duration(entry.waited)} for it and still waits`
  ]
}

// `lines` maps each kind to a function of that kind; TypeScript cannot correlate the two.
const line = (entry: Unstamped): readonly [LogLevel.LogLevel, string] => lines[entry._tag](entry as never)

/** Only `Failure.log` logs the failure itself as an error. The other policies handle it or record a further entry. */
const levelOf = (entry: Answered): LogLevel.LogLevel => (entry.answer === "Log" ? Error : Debug)

const after = (entry: { readonly restarts: number; readonly pause: Duration.Duration }): string =>
  `in ${duration(entry.pause)} (restart ${entry.restarts})`

const by = ({ sender }: Sent | Omit<Sent, "at">): string => (sender === undefined ? "" : ` by ${sender}`)
