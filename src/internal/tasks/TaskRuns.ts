/** The runs of a task: each in a scope of its own, counted, traced, and answered when it fails. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Escalation from "../supervision/Escalation.ts"
import * as Monotonic from "../Monotonic.ts"
import type { Shown } from "../lifecycle/OwnedWork.ts"
import type * as ServiceScope from "../lifecycle/Lifetime.ts"
import type { TaskStatus } from "../status/ServiceStatus.ts"
import type * as Restarts from "../supervision/Restarts.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as TaskRecord from "./TaskRecord.ts"
import type * as Worker from "../lifecycle/Worker.ts"

/** A record of a task of a service. */
export const recordOf = (
  service: ServiceScope.Lifetime,
  task: Pick<TaskStatus, "kind" | "name" | "schedule">
) => new TaskRecord.TaskRecord(task, service, service.metrics.task(task.name))

/** An effect that runs as work of a service. There may be very many, so it is small. */
export class Task<A, E, R, R2> {
  readonly service: ServiceScope.Lifetime
  readonly record: TaskRecord.TaskRecord
  private readonly effect: Effect.Effect<A, E, R>
  private readonly answer: Restarts.Answer<E, R2>

  constructor(
    service: ServiceScope.Lifetime,
    record: TaskRecord.TaskRecord,
    effect: Effect.Effect<A, E, R>,
    answer: Restarts.Answer<E, R2>
  ) {
    this.service = service
    this.record = record
    this.effect = effect
    this.answer = answer
  }

  get name(): string {
    return this.record.task.name
  }

  get shown(): Shown {
    return { task: () => this.record.status() }
  }

  /**
   * Runs the effect, each time in a scope of its own, until its policy does not
   * say to run it again. Gives the exit of the last run. A tick has a span of its
   * own; a task that may go on for ever has none.
   */
  run(worker: Worker.Worker): Running<A, E, R, R2> {
    const { effect, name, record, service } = this
    const start = Monotonic.unsafeMillis(service.clock)
    record.begin()
    const settle = (exit: Exit.Exit<A, E>) =>
      this.ended(worker, exit, Monotonic.unsafeMillis(service.clock) - start)
    const decorated = service.owner.shared.around(service, "run", name, effect)
    if (!this.isTick || !worker.isTraced) return worker.settled(decorated, settle)
    // Its span ends when all is released.
    const span = { service: service.path, task: name }
    const traced = Spans.around(`${service.key} ${name}`, span)(Effect.scoped(decorated))
    return Effect.flatMap(Effect.exit(traced), settle)
  }

  private get isTick(): boolean {
    return this.record.task.kind !== "spawn"
  }

  private ended(worker: Worker.Worker, exit: Exit.Exit<A, E>, took: number): Running<A, E, R, R2> {
    const { answer, name, record, service } = this
    if (Exit.isFailure(exit)) {
      record.end(Math.round(took), Cause.isInterruptedOnly(exit.cause) ? undefined : exit.cause)
      const answered = Escalation.answered(service, name, answer)
      const responded = Escalation.respond(answered, exit.cause, took, (millis) => record.again(millis))
      return Effect.flatMap(worker.afterwards(responded), (isAgain) =>
        isAgain ? this.run(worker) : Effect.succeed(exit)
      )
    }
    record.end(Math.round(took))
    if (answer._tag === "Restart") answer.restarts.reset()
    const { journal } = service.owner.shared
    if (!this.isTick || !journal.reads("TaskTicked")) return Effect.succeed(exit)
    const ticked = { service: service.path, task: name, took: Duration.millis(Math.round(took)) }
    return Effect.as(journal.append({ _tag: "TaskTicked", ...ticked }), exit)
  }
}

type Running<A, E, R, R2> = Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2>
