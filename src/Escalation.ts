/** What follows when owned work fails, or when a service asks to be stopped. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Failure from "./Failure.ts"
import type * as Journal from "./Journal.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Restarts from "./Restarts.ts"
import { become, type Lifetime, noteFailure } from "./ServiceScope.ts"

/** Work whose failures are answered. */
export interface Answered<in E, out R> {
  readonly service: Lifetime
  readonly work: string
  readonly policy: Failure.Failure<E, R>
  readonly restarts: Restarts.Restarts<E, R> | undefined
  /** The entry that tells of a failure. */
  readonly entry: (cause: Cause.Cause<unknown>, answer: Failure.Failure<E, R>["_tag"]) => Journal.Unstamped
}

/** A policy for one piece of work, with restarts of its own. */
export const answered = <E, R>(
  service: Lifetime,
  work: string,
  policy: Failure.Failure<E, R>,
  entry: Answered<E, R>["entry"] = (cause, answer) => ({
    _tag: "TaskFailed",
    service: service.path,
    task: work,
    cause,
    answer
  })
): Answered<E, R> => ({
  service,
  work,
  policy,
  entry,
  restarts: policy._tag === "Restart" ? Restarts.make(policy) : undefined
})

/**
 * Journals a failure and does what the policy says: whether to run the work
 * again, for which the pause is over then. An interruption is journaled, and is
 * no failure.
 */
export const answer = <E, R>(
  { entry, policy, restarts, service, work }: Answered<E, R>,
  cause: Cause.Cause<E>,
  ranMillis: number,
  onPause: (millis: number) => void = () => {}
): Effect.Effect<boolean, never, R> => {
  const { journal } = service.owner.shared
  // Not run when the work is cancelled, or ends with its service: then its fiber is over.
  if (Cause.isInterruptedOnly(cause))
    return Effect.as(journal.append({ _tag: "WorkInterrupted", service: service.path, work }), false)
  noteFailure(service, work, cause)
  const journaled = journal.append(entry(cause, policy._tag))
  if (policy._tag !== "Restart" || restarts === undefined) {
    // Only a restart has restarts.
    const final = policy as Failure.Final<E, R>
    return Effect.as(Effect.zipRight(journaled, conclude(service, final, { work, cause })), false)
  }
  return Effect.zipRight(journaled, restarts.next(cause, ranMillis)).pipe(
    Effect.flatMap(
      Option.match({
        onNone: () =>
          Effect.as(exhausted(service, policy, { work, cause, restarts: restarts.count() }), false),
        onSome: (millis) => {
          const pause = Duration.millis(millis)
          onPause(millis)
          return journal
            .append({
              _tag: "WorkRestarting",
              service: service.path,
              work,
              restarts: restarts.count(),
              pause,
              cause
            })
            .pipe(Effect.zipRight(Monotonic.sleep(millis)), Effect.as(true))
        }
      })
    )
  )
}

/** A failure of owned work. */
export interface Failed<E> {
  readonly work: string
  readonly cause: Cause.Cause<E>
  /** The path down to what failed first, where that is not `work`. */
  readonly origin?: string | undefined
}

/** Does what a policy says, other than to restart. */
export const conclude = <E, R>(
  service: Lifetime,
  policy: Failure.Final<E, R>,
  { cause, origin, work }: Failed<E>
): Effect.Effect<void, never, R> => {
  switch (policy._tag) {
    case "Log":
      return Effect.void
    case "Escalate":
      return fail(service, work, cause, origin)
    case "Handle": {
      const handler = `the failure handler of ${work}`
      return Effect.suspend(() => policy.handle(cause, { service: service.path, work })).pipe(
        Effect.catchAllCause((failure) => taskFailed(service, handler, failure)),
        Effect.asVoid
      )
    }
  }
}

/** Journals that the budget of restarts is used up, and does what the policy says then. */
export const exhausted = <E, R>(
  service: Lifetime,
  policy: Failure.Restart<E, R>,
  failed: Failed<E> & { readonly restarts: number }
): Effect.Effect<void, never, R> => {
  const { cause, origin = `${service.path} > ${failed.work}`, restarts, work } = failed
  return Effect.zipRight(
    service.owner.shared.journal.append({
      _tag: "RestartsExhausted",
      service: service.path,
      work,
      restarts,
      origin,
      cause,
      answer: policy.onExhausted._tag
    }),
    conclude(service, policy.onExhausted, failed)
  )
}

/** Journals the failure of work that has no policy of its own. */
export const taskFailed = (
  service: Lifetime,
  task: string,
  cause: Cause.Cause<unknown>,
  answer: "Log" | "Escalate" = "Log"
): Effect.Effect<void> => {
  if (Cause.isInterruptedOnly(cause))
    return service.owner.shared.journal.append({ _tag: "WorkInterrupted", service: service.path, work: task })
  noteFailure(service, task, cause)
  return service.owner.shared.journal.append({
    _tag: "TaskFailed",
    service: service.path,
    task,
    cause,
    answer
  })
}

/**
 * Work that answers its own failures can still fail: by a bug in a policy or
 * schedule, which fails the service, or in what it does when it is interrupted,
 * which is journaled. Neither is to be silent.
 */
export const guarded =
  (service: Lifetime, work: string) =>
  <A, R>(effect: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> =>
    Effect.onExit(effect, (exit) => {
      if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.void
      const { cause } = exit
      if (Cause.isInterrupted(cause)) return taskFailed(service, work, cause)
      return Effect.zipRight(taskFailed(service, work, cause, "Escalate"), fail(service, work, cause))
    })

/** Asks the owner to stop the service; one that still starts is stopped when it has started. */
export const askStop = (service: Lifetime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    const journaled = service.owner.shared.journal.append({ _tag: "StopAsked", service: service.path })
    if (state._tag === "Running") return Effect.zipRight(journaled, service.owner.stopAsked(service))
    if (state._tag !== "Starting" || state.pending !== undefined) return Effect.void
    service.state = { _tag: "Starting", pending: "stop" }
    return journaled
  })

/** Fails the service: its owner decides what follows. */
const fail = (
  service: Lifetime,
  work: string,
  cause: Cause.Cause<unknown>,
  origin: string = `${service.path} > ${work}`
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    const failed = service.owner.shared.journal.append({
      _tag: "ServiceFailed",
      service: service.path,
      work,
      origin,
      cause
    })
    noteFailure(service, work, cause)
    // One that has failed or is stopping is being dealt with already, but it must not fail further in silence.
    if (state._tag !== "Starting" && state._tag !== "Running") return failed
    service.failure = `${origin}: ${service.lastFailure?.reason}`
    if (state._tag === "Running") become(service, { _tag: "Failed", onStop: state.onStop })
    else {
      service.state = { _tag: "Starting", pending: cause }
      service.interruptStart()
    }
    return Effect.zipRight(failed, service.owner.failed(service, origin, cause))
  })
