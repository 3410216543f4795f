/** What is known of a task and its runs: counted always, and told to metrics. */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Monotonic from "./Monotonic.ts"
import * as Reason from "./Reason.ts"
import type * as ServiceMetrics from "./ServiceMetrics.ts"
import type { TaskStatus } from "./ServiceStatus.ts"

/** The record of one task. */
export interface TaskRecord {
  readonly status: () => TaskStatus
  /** A run begins. */
  readonly begin: () => void
  /** A run has ended, and with a cause has failed. */
  readonly end: (took: Duration.Duration, cause?: Cause.Cause<unknown>) => void
  readonly skip: (slots: number) => void
  /** The next run is due in so many milliseconds, however the wall clock is set meanwhile. */
  readonly due: (inMillis: number) => void
  /** The next run is due when the wall clock shows this. */
  readonly dueAt: (millis: number) => void
}

/** A task that has not run yet. */
export const make = (
  task: Pick<TaskStatus, "kind" | "name" | "schedule">,
  clock: Clock.Clock,
  metrics: ServiceMetrics.OfTask,
  changed: () => void
): TaskRecord => {
  let runs = 0
  let failures = 0
  let skipped = 0
  let isRunning = false
  let lastStart: number | undefined
  let lastDuration: Duration.Duration | undefined
  let nextRun: () => number | undefined = () => undefined
  let lastError: string | undefined
  return {
    status: () => ({
      ...task,
      runs,
      failures,
      skipped,
      isRunning,
      lastStart,
      lastDuration,
      nextRun: nextRun(),
      lastError
    }),
    begin: () => {
      runs++
      isRunning = true
      lastStart = clock.unsafeCurrentTimeMillis()
      nextRun = () => undefined
      changed()
    },
    end: (took, cause) => {
      isRunning = false
      lastDuration = took
      if (cause === undefined) metrics.succeeded(Duration.toMillis(took))
      else {
        failures++
        lastError = Reason.ofCause(cause)
        metrics.failed(Duration.toMillis(took))
      }
      changed()
    },
    skip: (slots) => {
      // When the next run is due changes with it, and that is told of.
      skipped += slots
      metrics.skipped(slots)
    },
    due: (inMillis) => {
      const at = Monotonic.unsafeMillis(clock) + inMillis
      nextRun = () => Math.round(clock.unsafeCurrentTimeMillis() + at - Monotonic.unsafeMillis(clock))
      changed()
    },
    dueAt: (millis) => {
      nextRun = () => millis
      changed()
    }
  }
}
