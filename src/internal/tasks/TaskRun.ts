/** The runs of a task: each is counted and traced, and a failure is answered by the task's policy. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fork from "../Fork.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import * as Throttle from "../journal/Throttle.ts"
import type { Lifetime } from "../lifecycle/Lifetime.ts"
import type { Run } from "../lifecycle/Work.ts"
import type { TaskStatus } from "../status/ServiceStatus.ts"
import * as Escalation from "../supervision/Escalation.ts"
import type * as Restarts from "../supervision/Restarts.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import * as Spans from "../telemetry/Spans.ts"
import type * as ScheduledWork from "./ScheduledWork.ts"

/** What a task is. */
export interface Spec<A, E, R, R2> {
  readonly kind: TaskStatus["kind"]
  readonly name: string
  readonly schedule: string
  readonly effect: Effect.Effect<A, E, R>
  readonly answer: Restarts.Answer<E, R2>
}

/** A task of a service. `any`: the functions of Task.ts state what its runs require. */
export class Task<A, E, R, R2> implements ScheduledWork.Spec<any> {
  readonly name: string
  private readonly service: Lifetime
  private readonly spec: Spec<A, E, R, R2>
  private readonly metrics: Metrics.OfTask
  private runs = 0
  private failures = 0
  private skips = 0
  /** Throttles the entries of skipped slots. */
  private skipReport: Throttle.Throttle | undefined = undefined
  private isRunning = false
  private lastStart: number | undefined = undefined
  private lastDuration: number | undefined = undefined
  private lastError: string | undefined = undefined
  /** When it runs next, in monotonic milliseconds. */
  private nextRun: number | undefined = undefined

  constructor(service: Lifetime, spec: Spec<A, E, R, R2>) {
    this.name = spec.name
    this.service = service
    this.spec = spec
    this.metrics = service.metrics.task(spec.name)
  }

  /**
   * Runs the effect, and repeats it as long as the policy says so. Returns the exit
   * of the last attempt. A spawned effect has no span, because it may never end.
   */
  run(run: Run): Effect.Effect<Exit.Exit<A, E>, never, any> {
    if (run.isInterrupted) return Effect.interrupt
    return this.attempt((effect, settle) => run.perform(effect, settle), run)
  }

  scheduled(at: number): void {
    this.nextRun = at
    this.service.owner.shared.changes.note()
  }

  skipped(slots: number): Effect.Effect<void> {
    this.skips += slots
    this.metrics.skipped(slots)
    this.skipReport ??= Throttle.make((missed) => {
      const entry = { service: this.service.path, task: this.name, missed }
      return this.service.owner.shared.journal.append({ _tag: "TicksSkipped", ...entry })
    })
    return this.skipReport.add(slots)
  }

  get finished(): Effect.Effect<void> | undefined {
    return this.skipReport?.end
  }

  taskStatus(): TaskStatus {
    const { clock } = this.service
    const { kind, schedule } = this.spec
    const left = this.nextRun === undefined ? undefined : this.nextRun - Monotonic.unsafeMillis(clock)
    return {
      kind,
      name: this.name,
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
    const { effect, kind } = this.spec
    const { name, service } = this
    const startedAt = Monotonic.unsafeMillis(service.clock)
    this.begun()
    const decorated = service.owner.shared.around(service, "run", name, effect)
    const traced = kind === "spawn" ? decorated : this.traced(decorated)
    return perform(traced, (exit) =>
      this.settle(run, exit, Monotonic.unsafeMillis(service.clock) - startedAt)
    )
  }

  /** Traces a tick. Its span ends when all resources of the tick are released. */
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
    // The fiber ends as the effect did: interrupted by its owner, perhaps with a failure of its cleanup.
    // The cast hides `E` from the type: a failed fiber is recorded as any cause.
    if (run.isInterrupted) return Fork.told(Effect.failCause(cause as Cause.Cause<never>))
    const responded = Escalation.respond({ service, work: name, answer }, cause, took, (millis) =>
      this.scheduled(Monotonic.unsafeMillis(service.clock) + millis)
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
