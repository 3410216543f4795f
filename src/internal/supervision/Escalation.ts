/** What follows when owned work fails, or when a service asks to be stopped. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Failure from "../../Failure.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type * as Restarts from "./Restarts.ts"
import { become, type Lifetime, noteFailure } from "../lifecycle/Lifetime.ts"
import { rootOf } from "../lifecycle/StartError.ts"

/** Work whose failures are answered. */
export interface Answered<in E, out R> {
  readonly service: Lifetime
  readonly work: string
  readonly answer: Restarts.Answer<E, R>
  /** The entry that tells of a failure. */
  readonly entry: (cause: Cause.Cause<unknown>, answer: Journal.Answered["answer"]) => Journal.Unstamped
}

/** Work of a service whose failures a policy answers. */
export const answered = <E, R>(
  service: Lifetime,
  work: string,
  answer: Restarts.Answer<E, R>,
  entry: Answered<E, R>["entry"] = taskFailed(service, work)
): Answered<E, R> => ({ service, work, answer, entry })

/**
 * Journals a failure and does what the policy says: whether to run the work
 * again, for which the pause is over then. An interruption is journaled, and is
 * no failure.
 */
export const respond = <E, R>(
  { answer, entry, service, work }: Answered<E, R>,
  cause: Cause.Cause<E>,
  ranMillis: number,
  onPause: (millis: number) => void = () => {}
): Effect.Effect<boolean, never, R> => {
  const { journal } = service.owner.shared
  const told = tell(
    service,
    work,
    cause,
    entry(cause, answer._tag === "Restart" ? answer.policy : answer._tag)
  )
  // Not run when the work is cancelled, or ends with its service: then its fiber is over.
  if (Cause.isInterruptedOnly(cause)) return Effect.as(told, false)
  const failed = { work, cause }
  if (answer._tag !== "Restart")
    return Effect.as(Effect.zipRight(told, conclude(service, answer, failed)), false)
  const { restarts } = answer
  return Effect.zipRight(told, restarts.next(cause, ranMillis)).pipe(
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.as(exhausted(service, answer, failed), false),
        onSome: (millis) => {
          onPause(millis)
          const pause = Duration.millis(millis)
          const repeated = { service: service.path, work, pause, cause }
          return journal
            .append(
              answer.policy === "Retry"
                ? { _tag: "WorkRetrying", ...repeated, attempt: restarts.attempts() + 1 }
                : { _tag: "WorkRestarting", ...repeated, restarts: restarts.count() }
            )
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
        Effect.catchAllCause((failure) =>
          tell(service, handler, failure, taskFailed(service, handler)(failure, "Log"))
        ),
        Effect.asVoid
      )
    }
  }
}

/** Journals that the budget of restarts is used up, and does what the policy says then. */
export const exhausted = <E, R>(
  service: Lifetime,
  { onExhausted, policy, restarts }: Extract<Restarts.Answer<E, R>, { readonly _tag: "Restart" }>,
  failed: Failed<E>
): Effect.Effect<void, never, R> => {
  const { cause, origin = `${service.path} > ${failed.work}`, work } = failed
  const given = { service: service.path, work, origin, cause, answer: onExhausted._tag }
  return Effect.zipRight(
    service.owner.shared.journal.append(
      policy === "Retry"
        ? { _tag: "RetriesExhausted", ...given, attempts: restarts.attempts() }
        : { _tag: "RestartsExhausted", ...given, restarts: restarts.count() }
    ),
    conclude(service, onExhausted, failed)
  )
}

/** Journals the failure of work, or that it was interrupted, which is none. */
export const tell = (
  service: Lifetime,
  work: string,
  cause: Cause.Cause<unknown>,
  entry: Journal.Unstamped
): Effect.Effect<void> => {
  const { journal } = service.owner.shared
  if (Cause.isInterruptedOnly(cause))
    return journal.append({ _tag: "WorkInterrupted", service: service.path, work })
  noteFailure(service, work, cause)
  return journal.append(entry)
}

/** The entry that tells of the failure of a task. */
const taskFailed =
  (service: Lifetime, task: string): Answered<never, never>["entry"] =>
  (cause, answer) => ({ _tag: "TaskFailed", service: service.path, task, cause, answer })

/**
 * Work that answers its own failures can still fail: by a bug in a policy or
 * schedule, which fails the service, or in what it does when it is interrupted,
 * which is journaled. Neither is to be silent. Nothing, when there is nothing to tell.
 */
export const leaked = (
  service: Lifetime,
  work: string,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return undefined
  const { cause } = exit
  const entry = taskFailed(service, work)
  if (Cause.isInterrupted(cause)) return tell(service, work, cause, entry(cause, "Log"))
  return Effect.zipRight(tell(service, work, cause, entry(cause, "Escalate")), fail(service, work, cause))
}

/** Work whose failures that no policy has answered are not silent. */
export const guarded =
  (service: Lifetime, work: string) =>
  <A, R>(effect: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> =>
    Effect.onExit(effect, (exit) => leaked(service, work, exit) ?? Effect.void)

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
export const fail = (
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
    // One that has failed or is stopping is being dealt with already, but it must not fail further in silence.
    if (state._tag !== "Starting" && state._tag !== "Running") return failed
    if (state._tag === "Running") {
      const reason = `${origin}: ${Reason.ofCause(rootOf(cause).cause)}`
      become(service, { _tag: "Failed", onStop: state.onStop, reason })
    } else {
      service.state = { _tag: "Starting", pending: cause }
      service.interruptStart?.()
    }
    return Effect.zipRight(failed, service.owner.failed(service, origin, cause))
  })
