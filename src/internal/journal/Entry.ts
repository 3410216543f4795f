/**
 * The closed union of journal entries.
 *
 * Event payloads are included only for readers that ask for them. A cause may
 * still quote a payload; `Redacted` values stay redacted.
 */
import type * as Cause from "effect/Cause"
import type * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { BootReport } from "../status/BootReport.ts"
import type { Snapshot } from "../status/ServiceStatus.ts"
import type { StopPlan } from "../status/StopPlan.ts"
import type { StopReport } from "../status/StopReport.ts"

/** One journal entry. `service` is a path, such as `Shop > Inbox > CsvImport[orders.csv]`. */
export type Entry = Data.TaggedEnum<{
  AppStarted: At & { readonly app: string; readonly report: BootReport }
  /** The explicitly set stop timeouts of the services exceed the app's `stopTimeout`. */
  StopPlanTooLong: At & { readonly app: string; readonly plan: StopPlan }
  /** A service failed to start, but the boot cannot end yet: another start is still running and uninterruptible. */
  BootWaiting: At & {
    readonly app: string
    readonly failed: string
    readonly cause: Cause.Cause<unknown>
    readonly services: ReadonlyArray<string>
  }
  /** An uncaught error, such as Node's `uncaughtException`. */
  AppCrashed: At & { readonly app: string; readonly kind: string; readonly cause: Cause.Cause<unknown> }
  /** `cause` is the failure that stops the app, if any. */
  AppStopping: At & {
    readonly app: string
    readonly reason: string
    readonly cause: Cause.Cause<unknown> | undefined
  }
  AppStopped: At & {
    readonly app: string
    readonly report: StopReport
    /** The final state of its services. */
    readonly snapshot: Snapshot
  }
  ServiceStarting: OfService
  ServiceStarted: OfService & { readonly took: Duration.Duration }
  StartFailed: OfService & { readonly step: "onStart" | "startTimeout"; readonly cause: Cause.Cause<unknown> }
  /** A failure of work or of a child failed the service. `origin` is the path to the first failure. */
  ServiceFailed: OfService & {
    readonly work: string
    readonly origin: string
    readonly cause: Cause.Cause<unknown>
  }
  /**
   * A child restarts after a pause, because it or a sibling restarted with it
   * failed, or on request. `restarts` includes this one. `origin` is the path to
   * the failure; undefined if the restart was requested.
   */
  ServiceRestarting: OfService & {
    readonly restarts: number
    readonly pause: Duration.Duration
    readonly origin: string | undefined
  }
  ServiceStopping: OfService
  /** With `isUndone`, it had not been up: its start failed or was interrupted, which is told by what follows from it. */
  ServiceStopped: OfService & { readonly took: Duration.Duration; readonly isUndone?: true | undefined }
  StopStepFailed: OfService & { readonly step: string; readonly cause: Cause.Cause<unknown> }
  /**
   * A stop step exceeded its deadline. `alive` names the work still running. With
   * `took`, it has ended all the same: the event loop was blocked past the deadline.
   */
  StopTimedOut: OfService & {
    readonly step: string
    readonly after: Duration.Duration
    readonly alive: ReadonlyArray<string>
    readonly took?: Duration.Duration | undefined
  }
  /** A server serves for `readinessDelay` more, then accepts no new connections but still answers on open ones. */
  ServerDraining: OfService & {
    readonly requests: number
    readonly streams: number
    readonly readinessDelay: Duration.Duration
  }
  /** A server aborted requests that had no response in time. */
  RequestsCut: OfService & {
    readonly after: Duration.Duration
    readonly requests: ReadonlyArray<{ readonly route: string; readonly count: number }>
  }
  /** A request failed unexpectedly: its handler failed with an error that has no response, or died. `route` is like `GET /orders/:id`. */
  RequestFailed: OfService & {
    readonly route: string
    readonly cause: Cause.Cause<unknown>
    readonly took: Duration.Duration
  }
  /** The service called `Service.stop`. */
  StopAsked: OfService
  /** Work was interrupted, but neither by its handle nor by the stop of its service. */
  WorkInterrupted: OfService & { readonly work: string }
  /** A service called `Service.stop` where nothing can stop it: outside `App.launch`, or provided locally by a task. */
  StopNotPossible: OfService
  ChildAdopted: OfService & { readonly child: string }
  /** A run of an interval, cron or timeout succeeded. Frequent. */
  TaskTicked: OfService & { readonly task: string; readonly took: Duration.Duration }
  TaskFailed: OfService & Answered & { readonly task: string }
  /** An interval or cron skipped slots because an earlier run was still running. */
  TicksSkipped: OfService & { readonly task: string; readonly missed: number }
  /** Failed work restarts after a pause, by `Failure.restart`. `restarts` includes this one. */
  WorkRestarting: OfService & {
    readonly work: string
    readonly restarts: number
    readonly pause: Duration.Duration
    readonly cause: Cause.Cause<unknown>
  }
  /** Failed work is retried after a pause, by `Failure.retry`. `attempt` is the number of the next attempt; the first run was 1. */
  WorkRetrying: OfService & {
    readonly work: string
    readonly attempt: number
    readonly pause: Duration.Duration
    readonly cause: Cause.Cause<unknown>
  }
  /** Work or a child failed, and `Failure.restart` allows no further restart. */
  RestartsExhausted: OfService &
    Answered & { readonly work: string; readonly restarts: number; readonly origin: string }
  /** Work failed, and `Failure.retry` allows no further attempt. `attempts` includes the first run. */
  RetriesExhausted: OfService &
    Answered & { readonly work: string; readonly attempts: number; readonly origin: string }
  /** A health check became unhealthy; without a `reason`, it became healthy again. */
  HealthChanged: OfService & {
    readonly check: string | undefined
    readonly isCritical: boolean
    readonly reason: string | undefined
  }
  /** An event was sent by `emit`. Frequent. */
  EventEmitted: Sent
  /** An event was sent by `publish`. Frequent. */
  EventPublished: Sent
  /** A listener handled an event. Frequent. */
  EventHandled: OfService & {
    readonly event: string
    readonly took: Duration.Duration
    readonly payload?: unknown
  }
  HandlerFailed: OfService & Answered & { readonly event: string }
  /** A listener missed events since its previous entry of this kind. */
  EventsDropped: OfService & {
    readonly event: string
    readonly count: number
    readonly reason: "queue full" | "service stopped"
  }
  /**
   * An event was sent on a bus where nobody listens to it, while these services
   * listen on another bus of the app. Once for each event of a bus.
   */
  OtherBusListens: At & {
    readonly event: string
    readonly sender: string | undefined
    readonly listeners: ReadonlyArray<string>
  }
  /** A `publish` is still waiting for the full queue of this listener. */
  PublishWaiting: OfService & { readonly event: string; readonly waited: Duration.Duration }
}>

/** The time of an entry, in milliseconds since the epoch from Effect's `Clock`. */
export interface At {
  readonly at: number
}

/** The service of an entry, as a path from the app down. */
export interface OfService extends At {
  readonly service: string
}

/** A failure and the policy applied to it. */
export interface Answered {
  readonly cause: Cause.Cause<unknown>
  readonly answer: "Log" | "Restart" | "Retry" | "Escalate" | "Handle"
}

/** A sent event. */
export interface Sent extends At {
  readonly event: string
  /** The sending service; undefined if the sender is not a service. */
  readonly sender: string | undefined
  readonly listeners: number
  readonly payload?: unknown
}

/** Kinds of entries that are recorded only while a reader asks for them. */
export type Frequent = (typeof frequent)[number]
export const frequent = ["TaskTicked", "EventEmitted", "EventPublished", "EventHandled"] as const

/** An entry without its timestamp, which the journal adds. */
export type Unstamped = Entry extends infer E ? (E extends Entry ? Omit<E, "at"> : never) : never
