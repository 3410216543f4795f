/** The runs of a task: each in a scope of its own, counted, traced, and answered when it fails. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Escalation from "./Escalation.ts"
import type * as Failure from "./Failure.ts"
import * as Monotonic from "./Monotonic.ts"
import type * as ServiceScope from "./ServiceScope.ts"
import type { TaskStatus } from "./ServiceStatus.ts"
import * as Restarts from "./Restarts.ts"
import * as Spans from "./Spans.ts"
import * as TaskRecord from "./TaskRecord.ts"

/** A record of a task of a service. */
export const recordOf = (
  service: ServiceScope.Lifetime,
  task: Pick<TaskStatus, "kind" | "name" | "schedule">
) => TaskRecord.make(task, service.clock, service.metrics.task(task.name), service.owner.shared.changes.note)

/**
 * Runs an effect, each time in a scope of its own, until its policy does not
 * say to run it again. Gives the exit of the last run. A tick has a span of its
 * own; a task that may go on for ever has none.
 */
export const runs = <A, E, R, R2>(
  service: ServiceScope.Lifetime,
  record: TaskRecord.TaskRecord,
  effect: Effect.Effect<A, E, R>,
  policy: Failure.Policy<E, R2>
): Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> => {
  const { kind, name } = record.status()
  const isTick = kind !== "spawn"
  const { around, journal } = service.owner.shared
  const answered = Escalation.answered(service, name, Restarts.answerOf(policy))
  const run = Effect.scoped(around(service, name, effect))
  const attempt = Effect.exit(
    isTick ? Spans.around(`${service.key} ${name}`, { service: service.path, task: name })(run) : run
  )
  const again: Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> = Effect.flatMap(
    Monotonic.millis,
    (start) => {
      record.begin()
      return Effect.flatMap(attempt, (exit) =>
        Effect.flatMap(Monotonic.millis, (now) => {
          const ranMillis = now - start
          const took = Duration.millis(Math.round(ranMillis))
          if (Exit.isSuccess(exit)) {
            record.end(took)
            if (answered.answer._tag === "Restart") answered.answer.restarts.reset()
            if (!isTick || !journal.reads("TaskTicked")) return Effect.succeed(exit)
            return Effect.as(
              journal.append({ _tag: "TaskTicked", service: service.path, task: name, took }),
              exit
            )
          }
          record.end(took, Cause.isInterruptedOnly(exit.cause) ? undefined : exit.cause)
          return Effect.flatMap(
            Escalation.respond(answered, exit.cause, ranMillis, record.due),
            (isAgain): typeof again => (isAgain ? again : Effect.succeed(exit))
          )
        })
      )
    }
  )
  return again
}
