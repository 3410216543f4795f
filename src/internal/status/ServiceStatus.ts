/**
 * How a service is, and all that it owns, at one moment, as plain data.
 *
 * Moments are milliseconds since the epoch by Effect's Clock. Counts begin anew
 * with each restart of the service.
 */
import type * as Data from "effect/Data"
import type * as Duration from "effect/Duration"

/** All services of an app. Where there is no app, those of one composition of layers; its name is empty then. */
export interface Snapshot {
  readonly name: string
  readonly state: State
  readonly since: number
  /** When the snapshot was taken. */
  readonly at: number
  /** How long the app may take to stop; none where there is no app. */
  readonly stopTimeout: Duration.Duration | undefined
  /** In the order in which they began to start. While the app stops, those that have stopped are there too. */
  readonly services: ReadonlyArray<ServiceStatus>
}

/** A service. */
export interface ServiceStatus {
  /** What it is called where it lives: `Inbox`, `CsvImport[orders.csv]`. */
  readonly name: string
  /** With those it belongs to: `Shop > Inbox > CsvImport[orders.csv]`. */
  readonly path: string
  readonly state: State
  /** When it came into this state. */
  readonly since: number
  /** How often it was started anew by the service that adopted it. */
  readonly restarts: number
  /**
   * Whether the app cannot do without it: a service of the app, or a child whose
   * failure would fail the services above it, up to one of the app.
   */
  readonly isCritical: boolean
  /** The last failure of its work, whatever was done about it. */
  readonly lastFailure: LastFailure | undefined
  /** When it began to start, after the begin of the app. None for a child that is down. */
  readonly startedAfter: Duration.Duration | undefined
  /** How long its start took; none until it is up. */
  readonly startTook: Duration.Duration | undefined
  /** How long it may take to stop, without its children. A child that is down counts with its parent's. */
  readonly stopTimeout: Duration.Duration
  /** Whether its author has set `stopTimeout`, and not left it to the default. */
  readonly isStopTimeoutSet: boolean
  /**
   * The paths of the services it was given when it was built. It started after
   * them and stops before them. Layers are given what their neighbours are, so
   * it may use fewer.
   */
  readonly dependencies: ReadonlyArray<string>
  /** Its health checks. */
  readonly checks: ReadonlyArray<CheckStatus>
  /** Its tasks that have not ended. */
  readonly tasks: ReadonlyArray<TaskStatus>
  readonly listeners: ReadonlyArray<ListenerStatus>
  readonly children: ReadonlyArray<ServiceStatus>
}

/** Where a service is in its life. */
export type State = Data.TaggedEnum<{
  Starting: {}
  Running: {}
  /** It failed, or somebody asked: it is stopped, waits, and is started anew. */
  Restarting: {
    readonly reason: string
    /** When the next start is due, once that is known. */
    readonly nextStart: number | undefined
  }
  /** `step` is what it is doing; an app stops its services. */
  Stopping: { readonly step: Step | "services" }
  Stopped: {}
  /** It failed, and is not started anew. `reason` begins with the path to what failed. */
  Failed: { readonly reason: string }
}>

/** The steps of stopping a service, in their order. */
export type Step = (typeof steps)[number]
export const steps = ["onStop", "work", "listeners", "children", "cleanups"] as const

/** A failure, in words. */
export interface LastFailure {
  readonly at: number
  /** What failed, as `interval 1m`. */
  readonly work: string
  readonly reason: string
}

/** A health check of a service. */
export interface CheckStatus {
  /** None, where it is the only one of its service. */
  readonly name: string | undefined
  /** Whether its service is of no use while it is unhealthy. */
  readonly isCritical: boolean
  readonly state: CheckState
  /** When it came into this state. */
  readonly since: number
  readonly lastStart: number | undefined
  /** How long the last run took, or was waited for. */
  readonly lastDuration: Duration.Duration | undefined
}

/** What the last run of a check has told. */
export type CheckState = Data.TaggedEnum<{
  /** No run has ended yet. */
  Pending: {}
  Healthy: {}
  Unhealthy: { readonly reason: string }
}>

/** Work that a service does in the background. */
export interface TaskStatus {
  readonly kind: "interval" | "cron" | "timeout" | "spawn"
  readonly name: string
  /** When it runs: `1m`, a cron expression; of a spawned effect nothing. */
  readonly schedule: string
  /** Runs that have begun, those that were run again after a failure too. */
  readonly runs: number
  readonly failures: number
  /** Slots that were not used, because a run before them took too long. */
  readonly skipped: number
  readonly isRunning: boolean
  readonly lastStart: number | undefined
  readonly lastDuration: Duration.Duration | undefined
  /** When it runs next, or is run again after a failure; none while it runs. */
  readonly nextRun: number | undefined
  readonly lastError: string | undefined
}

/** A listener of a service. */
export interface ListenerStatus {
  readonly event: string
  /** Events that were handled, and tries to handle one that failed. */
  readonly handled: number
  readonly failed: number
  /** Published events that wait to be handled. */
  readonly queued: number
  readonly dropped: number
  /** How long the oldest of those that wait has waited. */
  readonly lag: Duration.Duration
}
