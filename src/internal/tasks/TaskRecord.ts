/** What is known of a task and its runs: counted always, and told to metrics. */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import type { Notifier } from "../status/Notifier.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import type { TaskStatus } from "../status/ServiceStatus.ts"

/** The record of one task. There may be very many, so what is done with each is written down once. */
export class TaskRecord {
  readonly task: Pick<TaskStatus, "kind" | "name" | "schedule">
  private readonly keeper: Keeper
  private readonly metrics: Metrics.OfTask
  private runs = 0
  private failures = 0
  private skipped = 0
  private isRunning = false
  private lastStart: number | undefined = undefined
  private lastDuration: number | undefined = undefined
  private lastError: string | undefined = undefined
  /** When the next run is due, in monotonic milliseconds, or as is planned. */
  private nextRun: number | Planned | undefined = undefined

  /** A task that has not run yet. */
  constructor(task: Pick<TaskStatus, "kind" | "name" | "schedule">, keeper: Keeper, metrics: Metrics.OfTask) {
    this.task = task
    this.keeper = keeper
    this.metrics = metrics
  }

  status(): TaskStatus {
    const { clock } = this.keeper
    const { kind, name, schedule } = this.task
    const at = typeof this.nextRun === "number" ? this.nextRun : this.nextRun?.at()
    const left = at === undefined ? undefined : at - Monotonic.unsafeMillis(clock)
    // One by one: V8 would make a class of its own, of 400 bytes, for each that begins with a spread.
    return {
      kind,
      name,
      schedule,
      runs: this.runs,
      failures: this.failures,
      skipped: this.skipped,
      isRunning: this.isRunning,
      lastStart: this.lastStart,
      lastDuration: this.lastDuration === undefined ? undefined : Duration.millis(this.lastDuration),
      nextRun: left === undefined ? undefined : Math.round(clock.unsafeCurrentTimeMillis() + left),
      lastError: this.lastError
    }
  }

  /** A run begins. */
  begin(): void {
    this.runs++
    this.isRunning = true
    this.lastStart = this.keeper.clock.unsafeCurrentTimeMillis()
    this.nextRun = undefined
    this.changed()
  }

  /** A run has ended, and with a cause has failed. */
  end(tookMillis: number, cause?: Cause.Cause<unknown>): void {
    this.isRunning = false
    this.lastDuration = tookMillis
    if (cause === undefined) this.metrics.succeeded(tookMillis)
    else {
      this.failures++
      this.lastError = Reason.ofCause(cause)
      this.metrics.failed(tookMillis)
    }
    this.changed()
  }

  /** Slots were missed. When the next run is due changes with it, and that is told of. */
  skip(slots: number): void {
    this.skipped += slots
    this.metrics.skipped(slots)
  }

  /** What failed is run again in so many milliseconds. */
  again(inMillis: number): void {
    this.nextRun = Monotonic.unsafeMillis(this.keeper.clock) + inMillis
    this.changed()
  }

  /** The next run is due as planned. */
  due(planned: Planned): void {
    this.nextRun = planned
    this.changed()
  }

  private changed(): void {
    this.keeper.owner.shared.changes.note()
  }
}

/** What tells when a run is due, in monotonic milliseconds. */
interface Planned {
  readonly at: () => number
}

/** For whom a record is kept. */
export interface Keeper {
  readonly clock: Clock.Clock
  readonly owner: { readonly shared: { readonly changes: Pick<Notifier, "note"> } }
}
