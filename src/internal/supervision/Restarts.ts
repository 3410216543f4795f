/** Decides whether and when failed work runs again: backoff, bounded by a restart intensity. */
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

/** Backoff state of one piece of work. */
interface Restarts<in E, out R> {
  /** How many restarts there have been. */
  readonly count: () => number
  /** Runs that failed since the backoff was last reset. */
  readonly attempts: () => number
  /**
   * Returns the pause before the next restart, in milliseconds, after a run of
   * `ranMillis`. None when the budget is used up or the backoff schedule is done.
   */
  readonly next: (cause: Cause.Cause<E>, ranMillis: number) => Effect.Effect<Option.Option<number>, never, R>
  /** Ends the pause early. Safe to call when there is none. */
  readonly resumed: (now: number) => void
  /** Resets the backoff, after a success. */
  readonly reset: () => void
}

/** A policy with its state for one piece of work. */
export type Answer<E, R> =
  | Failure.Final<E, R>
  | {
      readonly _tag: "Restart"
      /** A retry restarts without a budget, and is recorded as a retry. */
      readonly policy: "Restart" | "Retry"
      readonly restarts: Restarts<E, R>
      readonly onExhausted: Failure.Final<E, R>
    }

/** Makes the state of a policy. A budget may be shared; the backoff is per piece of work. */
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

/** The budget of a policy; undefined when it is unlimited or the policy does not restart. */
export const budgetOf = (
  policy: Failure.Policy<never, unknown>
): RestartIntensity.RestartIntensity | undefined =>
  policy._tag !== "Restart" || policy.budget === "unlimited"
    ? undefined
    : RestartIntensity.make(policy.budget.restarts, Duration.toMillis(policy.budget.within))

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
        // An infinite pause means no restart. Reset, because an interval goes on with its next tick.
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
