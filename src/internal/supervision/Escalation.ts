/** How a policy answers the failure of owned work. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Failure from "../../Failure.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Monotonic from "../Monotonic.ts"
import type * as Restarts from "./Restarts.ts"
import * as Reason from "../Reason.ts"
import { ServiceStoppedError } from "../lifecycle/Errors.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as ServiceFailure from "../lifecycle/ServiceFailure.ts"

/** Work with its policy. */
export interface Answered<in E, out R> {
  readonly service: Lifetime.Lifetime
  readonly work: string
  readonly answer: Restarts.Answer<E, R>
  /** Whether it is run again although a stop has begun: an event that was accepted. */
  readonly isOwed?: boolean | undefined
  /** Makes the journal entry of a failure. Defaults to `TaskFailed`. */
  readonly entry?:
    | ((cause: Cause.Cause<unknown>, answer: Journal.Answered["answer"]) => Journal.Unstamped)
    | undefined
}

/**
 * Records a failure and applies the policy. Returns true, after the pause, when
 * the work is to run again. An interruption is recorded as such and not answered.
 *
 * Run it uninterruptibly: the pause and the policy's own effects stay interruptible.
 */
export const respond = <E, R>(
  { answer, entry, isOwed = false, service, work }: Answered<E, R>,
  cause: Cause.Cause<E>,
  ranMillis: number,
  onPause: (millis: number) => void = () => {}
): Effect.Effect<boolean, never, R> => {
  const applied = answer._tag === "Restart" ? answer.policy : answer._tag
  const recorded = ServiceFailure.record(
    service,
    work,
    cause,
    entry?.(cause, applied) ?? ServiceFailure.taskFailed(service, work, cause, applied)
  )
  if (Cause.isInterruptedOnly(cause)) return Effect.as(recorded, false)
  // Work that asked for a child when the stop had begun ends with it.
  if (Lifetime.isStopping(service) && isRefused(cause)) return Effect.as(recorded, false)
  const failed = { work, cause }
  if (answer._tag !== "Restart")
    return Effect.as(Effect.zipRight(recorded, conclude(service, answer, failed)), false)
  if (!isOwed && Lifetime.isStopping(service)) return Effect.as(recorded, false)
  const { restarts } = answer
  const next = Effect.interruptible(restarts.next(cause, ranMillis))
  return Effect.flatMap(Effect.zipRight(recorded, next), (pause) => {
    if (Option.isNone(pause)) return Effect.as(exhausted(service, answer, failed), false)
    const millis = pause.value
    onPause(millis)
    const repeated = { service: service.path, work, pause: Duration.millis(millis), cause }
    const repeating = service.owner.shared.journal.append(
      answer.policy === "Retry"
        ? { _tag: "WorkRetrying", ...repeated, attempt: restarts.attempts() + 1 }
        : { _tag: "WorkRestarting", ...repeated, restarts: restarts.count() }
    )
    const paused = isOwed ? Effect.as(Monotonic.sleep(millis), true) : Lifetime.pause(service, millis)
    return Effect.zipRight(repeating, Effect.interruptible(paused))
  })
}

/** Whether all that went wrong is that the service takes no children any more. */
const isRefused = (cause: Cause.Cause<unknown>): boolean => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  return errors.length > 0 && errors.every((error) => Reason.isA(error, ServiceStoppedError))
}

/** A failure to answer. */
export interface Failed<E> {
  readonly work: string
  readonly cause: Cause.Cause<E>
  /** Path to the work that failed first. Defaults to `work` itself. */
  readonly origin?: string | undefined
}

/** Applies a policy that does not run the work again. */
export const conclude = <E, R>(
  service: Lifetime.Lifetime,
  policy: Failure.Final<E, R>,
  { cause, origin, work }: Failed<E>
): Effect.Effect<void, never, R> => {
  switch (policy._tag) {
    case "Log":
      return Effect.void
    case "Escalate":
      return ServiceFailure.fail(service, work, cause, origin)
    case "Handle": {
      const handler = `the failure handler of ${work}`
      return Effect.suspend(() => policy.handle(cause, { service: service.path, work })).pipe(
        Effect.interruptible,
        Effect.catchAllCause((failure) =>
          ServiceFailure.record(
            service,
            handler,
            failure,
            ServiceFailure.taskFailed(service, handler, failure, "Log")
          )
        ),
        Effect.asVoid
      )
    }
  }
}

/** Records that the restart intensity is exceeded, and applies `onExhausted`. */
export const exhausted = <E, R>(
  service: Lifetime.Lifetime,
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
