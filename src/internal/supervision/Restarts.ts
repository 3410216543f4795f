/** Whether and when failed work is run again: the backoff of one piece of work, and its budget. */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as RestartIntensity from "./RestartIntensity.ts"
import type * as Failure from "../../Failure.ts"
import * as Monotonic from "../Monotonic.ts"

/** The restarts of one piece of work. */
interface Restarts<in E, out R> {
  /** How many there have been. */
  readonly count: () => number
  /** Runs that failed since the backoff was last reset. */
  readonly attempts: () => number
  /**
   * Asks for one more after a failure, of a run that took so many milliseconds.
   * Gives the pause before it, in milliseconds, or none when the budget is used up.
   */
  readonly next: (cause: Cause.Cause<E>, ranMillis: number) => Effect.Effect<Option.Option<number>, never, R>
  /** The pause is over, or nobody waits for its end. */
  readonly resumed: (now: number) => void
  /** The work has succeeded: the backoff begins anew. */
  readonly reset: () => void
}

/** What is done about failures of one piece of work: a policy, with the restarts that there have been. */
export type Answer<E, R> =
  | Failure.Final<E, R>
  | {
      readonly _tag: "Restart"
      /** A retry restarts without a budget, and is recorded as a retry. */
      readonly policy: "Restart" | "Retry"
      readonly restarts: Restarts<E, R>
      readonly onExhausted: Failure.Final<E, R>
    }

/** A policy at work. Several may share a budget; each has a backoff of its own. */
export const answerOf = <E, R>(
  policy: Failure.Policy<E, R>,
  budget: RestartIntensity.RestartIntensity | undefined = budgetOf(policy)
): Answer<E, R> => {
  switch (policy._tag) {
    case "Restart":
      return {
        _tag: "Restart",
        policy: "Restart",
        restarts: make(policy, budget),
        onExhausted: policy.onExhausted
      }
    case "Retry": {
      // Only the schedule decides when to give up, however long a run takes.
      const restarts = make({ backoff: policy.schedule, healthyAfter: Duration.infinity }, undefined)
      return { _tag: "Restart", policy: "Retry", restarts, onExhausted: policy.onExhausted }
    }
    default:
      return policy
  }
}

/** The budget that a policy allows; none when it is unlimited, or does not restart. */
export const budgetOf = (
  policy: Failure.Policy<never, unknown>
): RestartIntensity.RestartIntensity | undefined =>
  policy._tag !== "Restart" || policy.budget === "unlimited"
    ? undefined
    : RestartIntensity.make(policy.budget.restarts, Duration.toMillis(policy.budget.within))

/** No restarts yet. */
const make = <E, R>(
  { backoff, healthyAfter }: Pick<Failure.Restart<E, R>, "backoff" | "healthyAfter">,
  budget: RestartIntensity.RestartIntensity | undefined
): Restarts<E, R> => {
  const healthyAfterMillis = Duration.toMillis(healthyAfter)
  let state = backoff.initial
  let count = 0
  let attempts = 0
  let isReset = true
  let pause: RestartIntensity.Pause | undefined
  const reset = () => {
    state = backoff.initial
    isReset = true
  }
  return {
    count: () => count,
    attempts: () => attempts,
    reset,
    resumed: (now) => pause?.end(now),
    next: (cause, ranMillis) =>
      Effect.gen(function* () {
        if (ranMillis >= healthyAfterMillis) reset()
        // Not in `reset`, so that the count can be read after the schedule has ended.
        if (isReset) attempts = 0
        isReset = false
        attempts++
        const now = yield* Monotonic.millis
        pause?.end(now - ranMillis)
        if (budget !== undefined && !budget.take(now)) return Option.none()
        const wall = yield* Clock.currentTimeMillis
        const [next, , decision] = yield* backoff.step(wall, cause, state)
        const millis = ScheduleDecision.isDone(decision)
          ? Number.POSITIVE_INFINITY
          : Math.max(0, Math.round(ScheduleIntervals.start(decision.intervals) - wall))
        // To wait for ever is to give up, too. The next tick, if there is one, has its own chances.
        if (!Number.isFinite(millis)) {
          reset()
          return Option.none()
        }
        state = next
        count++
        pause = budget?.pause(now, now + millis)
        return Option.some(millis)
      })
  }
}
