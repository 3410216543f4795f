/** The runs of a task: each in a scope of its own, counted, traced, and answered when it fails. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Scope from "effect/Scope"
import * as Escalation from "./Escalation.ts"
import * as Monotonic from "./Monotonic.ts"
import type * as OwnedFiber from "./OwnedFiber.ts"
import type * as ServiceScope from "./ServiceScope.ts"
import type { TaskStatus } from "./ServiceStatus.ts"
import type * as Restarts from "./Restarts.ts"
import * as Spans from "./Spans.ts"
import * as TaskRecord from "./TaskRecord.ts"
import * as Work from "./Work.ts"

/** A record of a task of a service. */
export const recordOf = (
  service: ServiceScope.Lifetime,
  task: Pick<TaskStatus, "kind" | "name" | "schedule">
) =>
  new TaskRecord.TaskRecord(task, {
    clock: service.clock,
    metrics: service.metrics.task(task.name),
    changed: service.owner.shared.changes.note
  })

/**
 * Runs an effect, each time in a scope of its own, until its policy does not
 * say to run it again. Gives the exit of the last run. A tick has a span of its
 * own; a task that may go on for ever has none.
 */
export const runs = <A, E, R, R2>(
  service: ServiceScope.Lifetime,
  record: TaskRecord.TaskRecord,
  run: OwnedFiber.Run,
  effect: Effect.Effect<A, E, R>,
  answer: Restarts.Answer<E, R2>
): Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> => {
  const { kind, name } = record.task
  const isTick = kind !== "spawn"
  const { clock } = service
  const { around, journal } = service.owner.shared
  const ended = (exit: Exit.Exit<A, E>, took: number): typeof again => {
    if (Exit.isSuccess(exit)) {
      record.end(Math.round(took))
      if (answer._tag === "Restart") answer.restarts.reset()
      if (!isTick || !journal.reads("TaskTicked")) return Effect.succeed(exit)
      const ticked = { service: service.path, task: name, took: Duration.millis(Math.round(took)) }
      return Effect.as(journal.append({ _tag: "TaskTicked", ...ticked }), exit)
    }
    record.end(Math.round(took), Cause.isInterruptedOnly(exit.cause) ? undefined : exit.cause)
    const answered = Escalation.answered(service, name, answer)
    // What follows is still work of the task, but not of this run.
    const whatFollows = FiberRef.set(
      FiberRef.currentContext,
      Context.add(run.outer, Work.CurrentWork, run.work)
    )
    const responded = Escalation.respond(answered, exit.cause, took, (millis) => record.again(millis))
    return Effect.flatMap(Effect.zipRight(whatFollows, responded), (isAgain) =>
      isAgain ? again : Effect.succeed(exit)
    )
  }
  const decorated = around(service, "run", name, effect)
  let isFirst = true
  const again: Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> = Effect.withFiberRuntime(
    ({ currentTracer }) => {
      const start = Monotonic.unsafeMillis(clock)
      record.begin()
      // It has the scope that it needs, and after that one of its own.
      const once = isFirst ? closing(decorated, run.scope) : Effect.scoped(decorated)
      isFirst = false
      const isTraced = isTick && Spans.isShown(currentTracer)
      const span = { service: service.path, task: name }
      return Effect.flatMap(
        Effect.exit(isTraced ? Spans.around(`${service.key} ${name}`, span)(once) : once),
        (exit) => ended(exit, Monotonic.unsafeMillis(clock) - start)
      )
    }
  )
  return again
}

/** As `Effect.scoped`, for an effect that finds the scope in its context. */
const closing = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  scope: Scope.CloseableScope
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.exit(restore(effect as Effect.Effect<A, E, Exclude<R, Scope.Scope>>)), (exit) =>
      Effect.matchCauseEffect(Scope.close(scope, exit), {
        onSuccess: () => exit,
        onFailure: (cause) =>
          Exit.failCause(Exit.isFailure(exit) ? Cause.sequential(exit.cause, cause) : cause)
      })
    )
  )
