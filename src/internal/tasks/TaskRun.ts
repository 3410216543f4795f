/** The runs of a task: each is counted, traced, and answered by the task's policy when it fails. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fork from "../Fork.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type { Lifetime } from "../lifecycle/Lifetime.ts"
import type { Run } from "../lifecycle/Work.ts"
import type { TaskStatus } from "../status/ServiceStatus.ts"
import * as Escalation from "../supervision/Escalation.ts"
import type * as Restarts from "../supervision/Restarts.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import * as Spans from "../telemetry/Spans.ts"

/** What a task is. */
export interface Spec<A, E, R, R2> {
  readonly kind: TaskStatus["kind"]
  readonly name: string
  readonly schedule: string
  readonly effect: Effect.Effect<A, E, R>
  readonly answer: Restarts.Answer<E, R2>
}

/** A task of a service, with what is known of its runs. */
export class Task<A, E, R, R2> {
  readonly service: Lifetime
  readonly spec: Spec<A, E, R, R2>
  private readonly metrics: Metrics.OfTask
  private runs = 0
  private failures = 0
  private skips = 0
  private isRunning = false
  private lastStart: number | undefined = undefined
  private lastDuration: number | undefined = undefined
  private lastError: string | undefined = undefined
  /** When it runs next, in monotonic milliseconds. */
  private nextRun: number | undefined = undefined

  constructor(service: Lifetime, spec: Spec<A, E, R, R2>) {
    this.service = service
    this.spec = spec
    this.metrics = service.metrics.task(spec.name)
  }

  get name(): string {
    return this.spec.name
  }

  /**
   * Runs the effect, again as long as the policy says so, and gives the exit of
   * the last attempt. A tick has a span; a spawned effect may never end, so it has none.
   */
  run(run: Run): Effect.Effect<Exit.Exit<A, E>, never, any> {
    if (run.isInterrupted) return Effect.interrupt
    return this.attempt((effect, settle) => run.perform(effect, settle), run)
  }

  /** Slots came due while a run was in progress. */
  skipped(slots: number): void {
    this.skips += slots
    this.metrics.skipped(slots)
  }

  /** The next run is due at this time, in monotonic milliseconds. */
  isDue(at: number): void {
    this.nextRun = at
    this.service.owner.shared.changes.note()
  }

  readonly status = (): TaskStatus => {
    const { clock } = this.service
    const { kind, name, schedule } = this.spec
    const left = this.nextRun === undefined ? undefined : this.nextRun - Monotonic.unsafeMillis(clock)
    return {
      kind,
      name,
      schedule,
      runs: this.runs,
      failures: this.failures,
      skipped: this.skips,
      isRunning: this.isRunning,
      lastStart: this.lastStart,
      lastDuration: this.lastDuration === undefined ? undefined : Duration.millis(this.lastDuration),
      nextRun: left === undefined ? undefined : Math.round(clock.unsafeCurrentTimeMillis() + left),
      lastError: this.lastError
    }
  }

  private attempt(perform: Perform<A, E>, run: Run): Effect.Effect<Exit.Exit<A, E>, never, any> {
    const { effect, kind, name } = this.spec
    const { service } = this
    const startedAt = Monotonic.unsafeMillis(service.clock)
    this.begun()
    const decorated = service.owner.shared.around(service, "run", name, effect)
    const traced = kind === "spawn" ? decorated : this.traced(decorated)
    return perform(traced, (exit) =>
      this.settle(run, exit, Monotonic.unsafeMillis(service.clock) - startedAt)
    )
  }

  /** A tick's span ends when all that it acquired is released. */
  private traced(effect: Effect.Effect<A, E, any>): Effect.Effect<A, E, any> {
    const { path, key } = this.service
    return Spans.whereShown(effect, () =>
      Spans.around(`${key} ${this.name}`, { service: path, task: this.name })(Effect.scoped(effect))
    )
  }

  private settle(run: Run, exit: Exit.Exit<A, E>, took: number): Effect.Effect<Exit.Exit<A, E>, never, any> {
    const { service, name } = this
    const { answer, kind } = this.spec
    if (Exit.isSuccess(exit)) {
      this.ended(Math.round(took), undefined)
      if (answer._tag === "Restart") answer.restarts.reset()
      const { journal } = service.owner.shared
      if (kind === "spawn" || !journal.reads("TaskTicked")) return Effect.succeed(exit)
      const ticked = { service: service.path, task: name, took: Duration.millis(Math.round(took)) }
      return Effect.as(journal.append({ _tag: "TaskTicked", ...ticked }), exit)
    }
    const { cause } = exit
    this.ended(Math.round(took), Cause.isInterruptedOnly(cause) ? undefined : cause)
    // The fiber ends as the effect did: interrupted by its owner, or with a failure of that interruption.
    if (run.isInterrupted) return Fork.told(Effect.failCause(cause as Cause.Cause<never>))
    const responded = Escalation.respond({ service, work: name, answer }, cause, took, (millis) =>
      this.isDue(Monotonic.unsafeMillis(service.clock) + millis)
    )
    return Effect.flatMap(run.afterwards(responded), (isAgain) =>
      isAgain ? this.attempt((effect, settle) => run.again(effect, settle), run) : Effect.succeed(exit)
    )
  }

  private begun(): void {
    this.runs++
    this.isRunning = true
    this.lastStart = this.service.clock.unsafeCurrentTimeMillis()
    this.nextRun = undefined
    this.service.owner.shared.changes.note()
  }

  private ended(tookMillis: number, cause: Cause.Cause<unknown> | undefined): void {
    this.isRunning = false
    this.lastDuration = tookMillis
    if (cause === undefined) this.metrics.succeeded(tookMillis)
    else {
      this.failures++
      this.lastError = Reason.ofCause(cause)
      this.metrics.failed(tookMillis)
    }
    this.service.owner.shared.changes.note()
  }
}

type Perform<A, E> = (
  effect: Effect.Effect<A, E, any>,
  settle: (exit: Exit.Exit<A, E>) => Effect.Effect<Exit.Exit<A, E>, never, any>
) => Effect.Effect<Exit.Exit<A, E>, never, any>
