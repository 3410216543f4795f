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
 * own; a task that may go on for ever has none. It has its fiber for itself:
 * the context is set in that, since to provide it costs more than most ticks.
 */
export const runs = <A, E, R, R2>(
  service: ServiceScope.Lifetime,
  record: TaskRecord.TaskRecord,
  work: Work.Work,
  effect: Effect.Effect<A, E, R>,
  answer: Restarts.Answer<E, R2>
): Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> => {
  const { kind, name } = record.task
  const isTick = kind !== "spawn"
  const { clock } = service
  const { around, journal } = service.owner.shared
  const ended = (exit: Exit.Exit<A, E>, took: number, outer: Context.Context<never>): typeof again => {
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
    const whatFollows = FiberRef.set(FiberRef.currentContext, Context.add(outer, Work.CurrentWork, work))
    const responded = Escalation.respond(answered, exit.cause, took, (millis) => record.again(millis))
    return Effect.flatMap(Effect.zipRight(whatFollows, responded), (isAgain) =>
      isAgain ? again : Effect.succeed(exit)
    )
  }
  const again: Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> = Effect.withFiberRuntime(
    ({ currentContext, currentTracer }) => {
      const start = Monotonic.unsafeMillis(clock)
      record.begin()
      const once = scoped(around(service, name, effect), work)
      const isTraced = isTick && Spans.isShown(currentTracer)
      const span = { service: service.path, task: name }
      return Effect.flatMap(
        Effect.exit(isTraced ? Spans.around(`${service.key} ${name}`, span)(once) : once),
        (exit) => ended(exit, Monotonic.unsafeMillis(clock) - start, currentContext)
      )
    }
  )
  return again
}

/** As `Effect.scoped`, for work that has its fiber for itself, in which the context may stay. */
const scoped = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  work: Work.Work
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.make(), (scope) => {
      const within = Effect.withFiberRuntime<void>(({ currentContext }) => {
        const inner = new Map(currentContext.unsafeMap)
        inner.set(Work.CurrentWork.key, work)
        inner.set(Scope.Scope.key, scope)
        return FiberRef.set(FiberRef.currentContext, Context.unsafeMake<never>(inner))
      })
      // It has the scope that it needs, now.
      const run = Effect.exit(restore(effect)) as Effect.Effect<
        Exit.Exit<A, E>,
        never,
        Exclude<R, Scope.Scope>
      >
      return Effect.flatMap(Effect.zipRight(within, run), (exit) =>
        Effect.matchCauseEffect(Scope.close(scope, exit), {
          onSuccess: () => exit,
          onFailure: (cause) =>
            Exit.failCause(Exit.isFailure(exit) ? Cause.sequential(exit.cause, cause) : cause)
        })
      )
    })
  )
