/**
 * Policies for failures of the work that a service owns.
 *
 * A failure is an error or a defect. Interruption is the regular end of work and
 * never counts as a failure.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Input from "./internal/Input.ts"

/** A policy for failures of type `E`, which requires `R`. */
export type Policy<E, R = never> = Final<E, R> | Restart<E, R> | Retry<E, R>

/** A policy that does not run the failed work again. */
export type Final<E, R = never> = Log | Escalate | Handle<E, R>

const TypeId = "~effect-services/Failure"

/** The brand of policies created by this module. */
interface Made {
  readonly [TypeId]: typeof TypeId
}

/** See `log`. */
export interface Log extends Made {
  readonly _tag: "Log"
}

/** See `escalate`. */
export interface Escalate extends Made {
  readonly _tag: "Escalate"
}

/** See `handle`. */
export interface Handle<in E, out R> extends Made {
  readonly _tag: "Handle"
  readonly handle: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
}

/** See `restart`. */
export interface Restart<in E, out R> extends Made {
  readonly _tag: "Restart"
  readonly backoff: Schedule.Schedule<unknown, Cause.Cause<E>, R>
  readonly healthyAfter: Duration.Duration
  readonly budget: { readonly restarts: number; readonly within: Duration.Duration } | "unlimited"
  readonly onExhausted: Final<E, R>
}

/** See `retry`. */
export interface Retry<in E, out R> extends Made {
  readonly _tag: "Retry"
  readonly schedule: Schedule.Schedule<unknown, Cause.Cause<E>, R>
  readonly onExhausted: Final<E, R>
}

/** The origin of a failure. */
export interface Source {
  /** The path of the service, such as `Shop > Inbox > CsvImport[orders.csv]`. */
  readonly service: string
  /** The name of the work: its own, or one such as `interval 1m` or `listener order:completed`. */
  readonly work: string
}

/** Options of `restart`. */
export interface RestartOptions<E, R = never> {
  /**
   * The pauses between restarts, as a schedule whose input is the cause. If it
   * completes, the budget counts as exhausted. Defaults to exponential backoff
   * from 500 milliseconds to 30 seconds, with 20 % jitter so that work that failed
   * together does not restart together.
   */
  readonly backoff?: Schedule.Schedule<unknown, Cause.Cause<E>, R> | undefined
  /**
   * The backoff resets after a run of at least this duration, or a successful
   * one. Defaults to `30 seconds`, the longest default pause.
   */
  readonly healthyAfter?: Duration.DurationInput | undefined
  /**
   * The maximum number of restarts in any window, like OTP's restart intensity.
   * Older restarts still count, halved after each further window, like suture's
   * failure decay. Pauses do not count as elapsed time. Defaults to 5 within 30
   * seconds, suture's defaults: with the default backoff, work that always fails
   * immediately is given up after about 15 seconds.
   */
  readonly budget?:
    | { readonly restarts: number; readonly within: Duration.DurationInput }
    | "unlimited"
    | undefined
  /** The policy once the budget is exhausted. Defaults to `Failure.escalate`. */
  readonly onExhausted?: Final<E, R> | undefined
}

/** Records the failure, logs it as an error, and continues. */
export const log: Log = { [TypeId]: TypeId, _tag: "Log" }

/**
 * Records the failure and fails the service that owns the work. For an adopted
 * service, the parent's policy applies next. For a service of the app, the app
 * stops in order and exits with code 1.
 */
export const escalate: Escalate = { [TypeId]: TypeId, _tag: "Escalate" }

/**
 * Records the failure, then runs an effect with its cause. If that effect fails,
 * its failure is recorded and logged.
 */
export const handle = <E, R = never>(
  f: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
): Handle<E, R> => ({ [TypeId]: TypeId, _tag: "Handle", handle: Input.callable("Failure.handle", "f", f) })

/**
 * Runs failed work again after a growing pause, and gives up when it fails too
 * often. Applies to a spawned effect, a tick of an interval or cron, an event
 * delivery, and a child, which is stopped in order and rebuilt. Records each
 * failure and each restart. While a delivery waits, so do its emitter and the
 * events queued behind it.
 *
 * Throws `InputError` on an invalid option.
 */
export const restart = <E = unknown, R = never>(options: RestartOptions<E, R> = {}): Restart<E, R> => {
  const where = "Failure.restart"
  const {
    backoff = defaultBackoff,
    budget = { restarts: 5, within: "30 seconds" },
    healthyAfter = "30 seconds",
    onExhausted = escalate
  } = Input.options(where, options)
  checkSchedule(where, "backoff", backoff)
  if (budget !== "unlimited" && (typeof budget !== "object" || budget === null)) {
    const expected = '{ restarts, within }, or "unlimited"'
    throw new Input.InputError({ where, input: "budget", expected, actual: budget })
  }
  checkFinal(where, "onExhausted", onExhausted)
  return {
    [TypeId]: TypeId,
    _tag: "Restart",
    backoff,
    healthyAfter: Duration.millis(Input.positiveMillis(where, "healthyAfter", healthyAfter)),
    budget:
      budget === "unlimited"
        ? budget
        : {
            restarts: Input.positiveInteger(where, "budget.restarts", budget.restarts),
            within: Duration.millis(Input.positiveMillis(where, "budget.within", budget.within))
          },
    onExhausted
  }
}

/**
 * Retries failed work while a schedule continues, like `Effect.retry`, then
 * applies `last`, by default `Failure.log`. Each event delivery, tick and spawned
 * effect has its own run of the schedule, whose input is the cause. Use it for
 * transient failures, such as a lost request; use `restart` to keep work running
 * within a budget.
 *
 * Throws `InputError` if `schedule` is not a Schedule, or `last` is `restart` or
 * `retry`.
 *
 * ```ts
 * import { Schedule } from "effect"
 * import { Failure } from "effect-services"
 *
 * const onFailure = Failure.retry(Schedule.exponential("100 millis").pipe(Schedule.intersect(Schedule.recurs(3))))
 * ```
 */
export const retry = <E = unknown, R = never>(
  schedule: Schedule.Schedule<unknown, Cause.Cause<E>, R>,
  last: Final<E, R> = log
): Retry<E, R> => {
  checkSchedule("Failure.retry", "schedule", schedule)
  checkFinal("Failure.retry", "last", last)
  return { [TypeId]: TypeId, _tag: "Retry", schedule, onExhausted: last }
}

/** Whether a value is a policy created by this module. */
export const isPolicy = (u: unknown): u is Policy<never, unknown> =>
  typeof u === "object" && u !== null && TypeId in u

const checkSchedule = (where: string, input: string, schedule: unknown): void => {
  if (!Schedule.isSchedule(schedule))
    throw new Input.InputError({ where, input, expected: "a Schedule", actual: schedule })
}

/** Types exclude other policies, but JavaScript callers can pass them. */
const checkFinal = (where: string, input: string, policy: unknown): void => {
  if (isPolicy(policy) && policy._tag !== "Restart" && policy._tag !== "Retry") return
  const expected = "Failure.log, Failure.escalate or Failure.handle(f)"
  throw new Input.InputError({ where, input, expected, actual: policy })
}

/** `union` takes the shorter of the two pauses. */
const defaultBackoff = Schedule.exponential("500 millis").pipe(
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.jittered
)
