/**
 * What happened, as data: one closed union that logs, tests and tools read.
 *
 * Services write to it; nothing needs to be provided for that. To read it, use
 * `Journal.recent` and `Journal.stream`: `App.launch` provides the journal to
 * what it runs, and elsewhere `Journal.layer` in the same composition is the
 * one its services write to.
 *
 * It has no field for payloads of events. A cause may quote one, and what is
 * `Redacted` stays so.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

/** One thing that happened. `service` is a path: `Shop > Inbox > CsvImport[orders.csv]`. */
export type Entry = Data.TaggedEnum<{
  AppStarted: At & { readonly app: string; readonly services: number; readonly took: Duration.Duration }
  /** A service did not start, but the boot goes on: it waits for one that starts and cannot be interrupted. */
  BootWaiting: At & {
    readonly app: string
    readonly failed: string
    readonly cause: Cause.Cause<unknown>
    readonly services: ReadonlyArray<string>
  }
  /** An error that nothing has caught, as Node's `uncaughtException`. */
  AppCrashed: At & { readonly app: string; readonly kind: string; readonly cause: Cause.Cause<unknown> }
  /** `cause` is what went wrong, if something did. */
  AppStopping: At & {
    readonly app: string
    readonly reason: string
    readonly cause: Cause.Cause<unknown> | undefined
  }
  AppStopped: At & {
    readonly app: string
    readonly took: Duration.Duration
    readonly problems: ReadonlyArray<string>
  }
  ServiceStarting: OfService
  ServiceStarted: OfService & { readonly took: Duration.Duration }
  StartFailed: OfService & { readonly step: string; readonly cause: Cause.Cause<unknown> }
  /** Work of the service, or a child of it, failed, and was to fail it. `origin` is the path to what failed first. */
  ServiceFailed: OfService & {
    readonly work: string
    readonly origin: string
    readonly cause: Cause.Cause<unknown>
  }
  ServiceStopping: OfService
  ServiceStopped: OfService & { readonly took: Duration.Duration }
  StopStepFailed: OfService & { readonly step: string; readonly cause: Cause.Cause<unknown> }
  /** A step of stopping passed its deadline; `alive` names what had not ended. */
  StopTimedOut: OfService & {
    readonly step: string
    readonly after: Duration.Duration
    readonly alive: ReadonlyArray<string>
  }
  /** The service called `Service.stop`. */
  StopAsked: OfService
  /** Work has ended by an interruption that was neither its cancel nor the stop of its service. */
  WorkInterrupted: OfService & { readonly work: string }
  /** It did, where nothing can stop it: it does not run under `App.launch`. */
  StopNotPossible: OfService
  ChildAdopted: OfService & { readonly child: string }
  TaskFailed: OfService & Answered & { readonly task: string }
  /** An interval or cron was still running when these slots came due. */
  TicksSkipped: OfService & { readonly task: string; readonly missed: number }
  HandlerFailed: OfService & Answered & { readonly event: string }
  /** Events that a listener did not get, since the last such entry of that listener. */
  EventsDropped: OfService & {
    readonly event: string
    readonly count: number
    readonly reason: "queue full" | "service stopped"
  }
  /** A `publish` has waited this long for the full queue of this listener, and still waits. */
  PublishWaiting: OfService & { readonly event: string; readonly waited: Duration.Duration }
}>

/** When, in milliseconds since the epoch by Effect's Clock. */
export interface At {
  readonly at: number
}

/** Which service, as a path from the app down. */
export interface OfService extends At {
  readonly service: string
}

/** A failure, and the policy that answered it. */
export interface Answered {
  readonly cause: Cause.Cause<unknown>
  readonly answer: "Log" | "Escalate" | "Handle"
}

/** An entry before the journal has given it its time. */
export type Unstamped = Entry extends infer E ? (E extends Entry ? Omit<E, "at"> : never) : never

/** How many entries `recent` keeps: some hundred kilobytes, and more than a screen of trouble. */
const capacity = 1_000

/** The journal of an app. */
export class Journal extends Context.Tag("effect-services/Journal")<
  Journal,
  {
    /** Gives the entry its time, keeps it, and logs it. */
    readonly append: (entry: Unstamped) => Effect.Effect<void>
    readonly recent: Effect.Effect<ReadonlyArray<Entry>>
    readonly stream: Stream.Stream<Entry>
  }
>() {}

/** The last 1,000 entries, oldest first. */
export const recent: Effect.Effect<ReadonlyArray<Entry>, never, Journal> = Effect.flatMap(
  Journal,
  (_) => _.recent
)

/**
 * Entries from the moment the stream runs. A reader that is 1,000 entries
 * behind loses the oldest of them, so it never slows the app. Never ends.
 */
export const stream: Stream.Stream<Entry, never, Journal> = Stream.unwrap(
  Effect.map(Journal, (_) => _.stream)
)

/** Makes an empty journal that logs what it is told. */
export const make: Effect.Effect<Journal["Type"]> = Effect.gen(function* () {
  const entries: Array<Entry> = []
  const live = yield* PubSub.sliding<Entry>(capacity)
  return {
    append: (unstamped) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => {
        const entry = { ...unstamped, at } as Entry
        entries.push(entry)
        if (entries.length >= capacity * 2) entries.splice(0, entries.length - capacity)
        // A logger that throws must not stop a stop, and could not be told of by logging.
        return Effect.zipRight(PubSub.publish(live, entry), Effect.exit(log(entry)))
      }),
    recent: Effect.sync(() => entries.slice(-capacity)),
    stream: Stream.fromPubSub(live)
  }
})

/** The journal of this context, or else a new one. */
export const inherited: Effect.Effect<Journal["Type"]> = Effect.flatMap(
  Effect.serviceOption(Journal),
  Option.match({ onNone: () => make, onSome: Effect.succeed })
)

/** The journal that is already there, as inside `App.launch`, or else a new one. */
export const layer: Layer.Layer<Journal> = Layer.effect(Journal, inherited)

/** An entry as a line of text. */
export const format = (entry: Unstamped): string => line(entry)[1]

const log = (entry: Entry): Effect.Effect<void> => {
  const [level, message] = line(entry)
  const logged = hasCause(entry)
    ? Effect.logWithLevel(level, message, entry.cause)
    : Effect.logWithLevel(level, message)
  return "service" in entry ? Effect.annotateLogs(logged, "service", entry.service) : logged
}

/** A cause is shown once: not again for each service, or the app, that fails because one below it has. */
const hasCause = (entry: Entry): entry is Extract<Entry, { readonly cause: Cause.Cause<unknown> }> =>
  "cause" in entry &&
  entry._tag !== "AppStopping" &&
  !(entry._tag === "ServiceFailed" && entry.origin !== `${entry.service} > ${entry.work}`)

const { Debug, Error, Info, Warning } = LogLevel

const line = (entry: Unstamped): readonly [LogLevel.LogLevel, string] => {
  switch (entry._tag) {
    case "AppStarted":
      return [
        Info,
        `${entry.app} started in ${duration(entry.took)}, with ${count(entry.services, "service")}`
      ]
    case "BootWaiting":
      return [
        Error,
        `${entry.failed} did not start, and the boot of ${entry.app} waits for others: ${some(entry.services)}`
      ]
    case "AppCrashed":
      return [Error, `${entry.app} crashed: ${entry.kind}`]
    case "AppStopping":
      return [Info, `${entry.app} is stopping: ${entry.reason}`]
    case "AppStopped":
      return entry.problems.length === 0
        ? [Info, `${entry.app} stopped in ${duration(entry.took)}, clean`]
        : [
            Error,
            `${entry.app} stopped in ${duration(entry.took)}, not clean:\n  ${entry.problems.join("\n  ")}`
          ]
    case "ServiceStarting":
      return [Debug, `${entry.service} is starting`]
    case "ServiceStarted":
      return [Info, `${entry.service} started in ${duration(entry.took)}`]
    case "StartFailed":
      // The error goes to whoever builds the layer, who logs it or handles it.
      return [Debug, `${entry.service} did not start: ${entry.step} failed`]
    case "ServiceFailed":
      return [Error, `${entry.service} failed, because ${entry.work} failed`]
    case "ServiceStopping":
      return [Debug, `${entry.service} is stopping`]
    case "ServiceStopped":
      return [Info, `${entry.service} stopped in ${duration(entry.took)}`]
    case "StopStepFailed":
      return [Error, `${entry.service} failed in ${entry.step} while stopping, and went on to the next step`]
    case "StopTimedOut":
      return [
        Error,
        `${entry.service} hung in ${entry.step} while stopping; it was left after ${duration(entry.after)}` +
          (entry.alive.length === 0 ? "" : `, with ${some(entry.alive)} still running`)
      ]
    case "StopAsked":
      return [Debug, `${entry.service} asked to be stopped`]
    case "WorkInterrupted":
      return [Warning, `${entry.service}: ${entry.work} was interrupted by its own code`]
    case "StopNotPossible":
      return [
        Warning,
        `${entry.service} asked to be stopped, but nothing stops it: it does not run under App.launch`
      ]
    case "ChildAdopted":
      return [Debug, `${entry.service} adopted ${entry.child}`]
    case "TaskFailed":
      return [levelOf(entry), `${entry.service}: ${entry.task} failed`]
    case "TicksSkipped":
      return [
        Warning,
        `${entry.service}: ${entry.task} skipped ${count(entry.missed, "run")}, because it ran long or late`
      ]
    case "HandlerFailed":
      return [levelOf(entry), `${entry.service}: the listener of ${entry.event} failed`]
    case "EventsDropped":
      return [
        Warning,
        `${entry.service}: the listener of ${entry.event} missed ${count(entry.count, "event")}, ${entry.reason}`
      ]
    case "PublishWaiting":
      return [
        Warning,
        `${entry.service}: the queue of the listener of ${entry.event} is full; ` +
          `a publish has waited ${duration(entry.waited)} for it and still waits`
      ]
  }
}

/** A failure that the program handles is none for the operator, and one that escalates is told of by ServiceFailed. */
const levelOf = (entry: Answered): LogLevel.LogLevel => (entry.answer === "Log" ? Error : Debug)

/** `Duration.format` has no unit for nothing. */
const duration = (took: Duration.Duration): string =>
  Duration.toMillis(took) < 1 ? "0ms" : Duration.format(took)

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** At most five names, so that a line stays a line. */
const some = (names: ReadonlyArray<string>): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`
