/** The workers of a service, in which whatever it owns runs but its listeners. */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Worker from "./Worker.ts"

/** A run. What it acquires is released when it ends. */
export interface Run extends Worker.Job<any> {
  readonly perform: (worker: RunWorker) => Effect.Effect<unknown, never, any>
  /** It has ended. A failure is one that it has not answered itself. */
  readonly ended: (exit: Exit.Exit<any>) => void
}

export type RunWorker = Worker.Worker<Run, unknown, any>

/** None until something runs. */
export class Runs implements Worker.Crew<Run, unknown, any> {
  workers: Set<RunWorker> | undefined = undefined
  spare: Array<RunWorker> | undefined = undefined
  private isClosed = false

  perform(run: Run, worker: RunWorker): Effect.Effect<unknown, never, any> {
    return run.perform(worker)
  }

  done(run: Run, value: unknown): void {
    run.ended(Exit.succeed(value))
    if (this.isClosed) Worker.dismiss(this)
  }

  /** Its service has stopped, but perhaps for a run that has asked for that. */
  close(): void {
    this.isClosed = true
    Worker.dismiss(this)
  }

  cut(run: Run, cause: Cause.Cause<unknown>): void {
    // It answers its own failures, so none is in the type.
    run.ended(Exit.failCause(cause as Cause.Cause<never>))
  }
}
