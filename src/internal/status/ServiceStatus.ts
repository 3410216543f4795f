/**
 * The state of services and of everything they own at one moment, as plain data.
 *
 * Timestamps are milliseconds since the epoch from Effect's `Clock`. Counters
 * reset when the service restarts.
 */
import type * as Data from "effect/Data"
import type * as Duration from "effect/Duration"

/** All services of an app. Without an app, all services of one layer composition; `name` is then empty. */
export interface Snapshot {
  readonly name: string
  readonly state: State
  readonly since: number
  /** When the snapshot was taken. */
  readonly at: number
  /** How long the app may take to stop; undefined without an app. */
  readonly stopTimeout: Duration.Duration | undefined
  /** In start order. While the app stops, includes services that have already stopped. */
  readonly services: ReadonlyArray<ServiceStatus>
}

/** One service. */
export interface ServiceStatus {
  /** The name within its parent: `Inbox`, `CsvImport[orders.csv]`. */
  readonly name: string
  /** The names from the app down: `Shop > Inbox > CsvImport[orders.csv]`. */
  readonly path: string
  readonly state: State
  /** When it entered this state. */
  readonly since: number
  /** How often its parent has restarted it. */
  readonly restarts: number
  /**
   * Whether its failure would fail the app: true for a service of the app, and
   * for a child whose failure escalates to one.
   */
  readonly isCritical: boolean
  /** The last failure of its work, handled or not. */
  readonly lastFailure: LastFailure | undefined
  /** When it began to start, relative to the start of the app. Undefined for a child that is down. */
  readonly startedAfter: Duration.Duration | undefined
  /** How long its start took; undefined until it is up. */
  readonly startTook: Duration.Duration | undefined
  /** How long it may take to stop, excluding its children. For a child that is down, its parent's value. */
  readonly stopTimeout: Duration.Duration
  /** Whether `stopTimeout` was set explicitly. */
  readonly isStopTimeoutSet: boolean
  /**
   * The paths of the services in its context when it was built. It started after
   * them and stops before them. It need not use all of them: a layer also
   * receives what is provided to its neighbours.
   */
  readonly dependencies: ReadonlyArray<string>
  readonly checks: ReadonlyArray<CheckStatus>
  /** Tasks that have not completed. */
  readonly tasks: ReadonlyArray<TaskStatus>
  readonly listeners: ReadonlyArray<ListenerStatus>
  readonly children: ReadonlyArray<ServiceStatus>
}

/** The lifecycle state of a service or an app. */
export type State = Data.TaggedEnum<{
  Starting: {}
  Running: {}
  /** It failed or was asked to restart, and waits for its next start. */
  Restarting: {
    readonly reason: string
    /** When the next start is due, once known. */
    readonly nextStart: number | undefined
  }
  /** `services` is the step of an app. */
  Stopping: { readonly step: Step | "services" }
  Stopped: {}
  /** It failed and will not restart. `reason` begins with the path to the origin of the failure. */
  Failed: { readonly reason: string }
}>

/** The steps of stopping a service, in order. */
export type Step = (typeof steps)[number]
export const steps = ["onStop", "work", "listeners", "children", "cleanups"] as const

/** A failure, rendered as text. */
export interface LastFailure {
  readonly at: number
  /** What failed, such as `interval 1m`. */
  readonly work: string
  readonly reason: string
}

/** A health check of a service. */
export interface CheckStatus {
  /** Undefined if it is the only check of its service and has no name. */
  readonly name: string | undefined
  /** Whether the app is not ready while it is unhealthy. */
  readonly isCritical: boolean
  readonly state: CheckState
  /** When it entered this state. */
  readonly since: number
  readonly lastStart: number | undefined
  /** How long the last run took, or how long it was awaited. */
  readonly lastDuration: Duration.Duration | undefined
}

/** The result of the last run of a check. */
export type CheckState = Data.TaggedEnum<{
  /** No run has completed yet. */
  Pending: {}
  Healthy: {}
  Unhealthy: { readonly reason: string }
}>

/** A background task of a service. */
export interface TaskStatus {
  readonly kind: "interval" | "cron" | "timeout" | "spawn"
  readonly name: string
  /** An interval such as `1m` or a cron expression; empty for a spawned effect. */
  readonly schedule: string
  /** Started runs, including retries and restarts. */
  readonly runs: number
  readonly failures: number
  /** Slots skipped because an earlier run was still running. */
  readonly skipped: number
  readonly isRunning: boolean
  readonly lastStart: number | undefined
  readonly lastDuration: Duration.Duration | undefined
  /** The next scheduled run, retry or restart; undefined while it runs. */
  readonly nextRun: number | undefined
  readonly lastError: string | undefined
}

/** A listener of a service. */
export interface ListenerStatus {
  readonly event: string
  readonly handled: number
  /** Failed attempts to handle an event. */
  readonly failed: number
  /** Published events waiting to be handled. */
  readonly queued: number
  readonly dropped: number
  /** How long the oldest queued event has waited. */
  readonly lag: Duration.Duration
}
