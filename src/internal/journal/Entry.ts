/**
 * What can happen, as one closed union.
 *
 * Payloads of events are there only for a reader that asks for them. A cause
 * may quote one, and what is `Redacted` stays so.
 */
import type * as Cause from "effect/Cause"
import type * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { BootReport } from "../status/BootReport.ts"
import type { Snapshot } from "../status/ServiceStatus.ts"
import type { StopPlan } from "../status/StopPlan.ts"
import type { StopReport } from "../status/StopReport.ts"

/** One thing that happened. `service` is a path: `Shop > Inbox > CsvImport[orders.csv]`. */
export type Entry = Data.TaggedEnum<{
  AppStarted: At & { readonly app: string; readonly report: BootReport }
  /** What its services have set as their deadlines does not fit into the app's `stopTimeout`. */
  StopPlanTooLong: At & { readonly app: string; readonly plan: StopPlan }
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
    readonly report: StopReport
    /** How its services were in the end. */
    readonly snapshot: Snapshot
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
  /**
   * A child that failed, or was asked to, starts anew after a pause; so do those
   * that go down with it. `restarts` counts this one too, and `origin` is the
   * path to what failed; without it, somebody asked.
   */
  ServiceRestarting: OfService & {
    readonly restarts: number
    readonly pause: Duration.Duration
    readonly origin: string | undefined
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
  /** A server goes on for `readinessDelay`, then takes no new connections, answers what is in flight and what comes over open ones. */
  ServerDraining: OfService & {
    readonly requests: number
    readonly streams: number
    readonly readinessDelay: Duration.Duration
  }
  /** Requests that a server had in flight had no answer in time, and get none. */
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
  /** Work has ended by an interruption that was neither its cancel nor the stop of its service. */
  WorkInterrupted: OfService & { readonly work: string }
  /** A service called `Service.stop` where nothing can stop it: outside of `App.launch`, or provided by work of a service to itself. */
  StopNotPossible: OfService
  ChildAdopted: OfService & { readonly child: string }
  /** A run of an interval, cron or timeout has succeeded. Happens often. */
  TaskTicked: OfService & { readonly task: string; readonly took: Duration.Duration }
  TaskFailed: OfService & Answered & { readonly task: string }
  /** An interval or cron was still running when these slots came due. */
  TicksSkipped: OfService & { readonly task: string; readonly missed: number }
  /** Work that failed is run again after a pause. `restarts` counts this one too. */
  WorkRestarting: OfService & {
    readonly work: string
    readonly restarts: number
    readonly pause: Duration.Duration
    readonly cause: Cause.Cause<unknown>
  }
  /** Work, or a child, has failed more often than its budget allows. */
  RestartsExhausted: OfService &
    Answered & { readonly work: string; readonly restarts: number; readonly origin: string }
  /** A health check became unhealthy, for this reason; with none, it is healthy again. */
  HealthChanged: OfService & {
    readonly check: string | undefined
    readonly isCritical: boolean
    readonly reason: string | undefined
  }
  /** An event was sent, to so many listeners. `sender` is a service, where one has sent it. Happens often. */
  EventEmitted: Sent
  EventPublished: Sent
  /** A listener has handled an event. Happens often. */
  EventHandled: OfService & {
    readonly event: string
    readonly took: Duration.Duration
    readonly payload?: unknown
  }
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
  readonly answer: "Log" | "Restart" | "Escalate" | "Handle"
}

/** An event that was sent. */
export interface Sent extends At {
  readonly event: string
  readonly sender: string | undefined
  readonly listeners: number
  readonly payload?: unknown
}

/** What happens often, and so is journaled only while somebody reads it. */
export type Frequent = (typeof frequent)[number]
export const frequent = ["TaskTicked", "EventEmitted", "EventPublished", "EventHandled"] as const

/** An entry before the journal has given it its time. */
export type Unstamped = Entry extends infer E ? (E extends Entry ? Omit<E, "at"> : never) : never
