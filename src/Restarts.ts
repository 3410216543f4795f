/** Whether and when failed work is run again: the backoff of one piece of work, and its budget. */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as Budget from "./Budget.ts"
import type * as Failure from "./Failure.ts"
import * as Monotonic from "./Monotonic.ts"

/** The restarts of one piece of work. */
export interface Restarts<in E, out R> {
  /** How many there have been. */
  readonly count: () => number
  /**
   * Asks for one more after a failure, of a run that took so many milliseconds.
   * Gives the pause before it, in milliseconds, or none when the budget is used up.
   */
  readonly next: (cause: Cause.Cause<E>, ranMillis: number) => Effect.Effect<Option.Option<number>, never, R>
  /** The work has succeeded: the backoff begins anew. */
  readonly reset: () => void
}

/** The budget that a policy allows; none when it is unlimited. */
export const budgetOf = <E, R>({ budget }: Failure.Restart<E, R>): Budget.Budget | undefined =>
  budget === "unlimited" ? undefined : Budget.make(budget.restarts, budget.withinMillis)

/** No restarts yet. */
export const make = <E, R>(
  policy: Failure.Restart<E, R>,
  budget: Budget.Budget | undefined = budgetOf(policy)
): Restarts<E, R> => {
  const { backoff, healthyAfterMillis } = policy
  let state = backoff.initial
  let count = 0
  const reset = () => {
    state = backoff.initial
  }
  return {
    count: () => count,
    reset,
    next: (cause, ranMillis) =>
      Effect.gen(function* () {
        if (ranMillis >= healthyAfterMillis) reset()
        if (budget !== undefined && !budget.take(yield* Monotonic.millis)) return Option.none()
        const now = yield* Clock.currentTimeMillis
        const [next, , decision] = yield* backoff.step(now, cause, state)
        const pause = ScheduleDecision.isDone(decision)
          ? Number.POSITIVE_INFINITY
          : Math.max(0, Math.round(ScheduleIntervals.start(decision.intervals) - now))
        // To wait for ever is to give up, too. The next tick, if there is one, has its own chances.
        if (!Number.isFinite(pause)) {
          reset()
          return Option.none()
        }
        state = next
        count++
        budget?.pause(pause)
        return Option.some(pause)
      })
  }
}
