/**
 * What a service does when work it owns fails.
 *
 * A failure is an error or a defect. Interruption is how work is ended, and is
 * never treated as a failure.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Input from "./internal/Input.ts"

/** What to do about a failure of type `E`. `R` is what that needs. */
export type Policy<E, R = never> = Final<E, R> | Restart<E, R>

/** An answer after which the failed work is not run again. */
export type Final<E, R = never> = Log | Escalate | Handle<E, R>

const TypeId = "~effect-services/Failure"

/** What this module has made. */
interface Made {
  readonly [TypeId]: typeof TypeId
}

/** Journal it, log it as an error, and go on. */
export interface Log extends Made {
  readonly _tag: "Log"
}

/** Journal it, and fail the service that owns the work. */
export interface Escalate extends Made {
  readonly _tag: "Escalate"
}

/** Run an effect. What it does is up to it; the failure is journaled first. */
export interface Handle<in E, out R> extends Made {
  readonly _tag: "Handle"
  readonly handle: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
}

/** Run it again after a pause, until the budget is used up. */
export interface Restart<in E, out R> extends Made {
  readonly _tag: "Restart"
  readonly backoff: Schedule.Schedule<unknown, Cause.Cause<E>, R>
  readonly healthyAfter: Duration.Duration
  readonly budget: { readonly restarts: number; readonly within: Duration.Duration } | "unlimited"
  readonly onExhausted: Final<E, R>
}

/** Where a failure happened. */
export interface Source {
  /** The service, with those it belongs to: `Shop > Inbox > CsvImport[orders.csv]`. */
  readonly service: string
  /** The work: `interval 1m`, `listener order:completed`, or the name it was given. */
  readonly work: string
}

/** Options of `restart`. */
export interface RestartOptions<E, R = never> {
  /**
   * The pauses before the restarts: any Schedule, as `Effect.retry` takes, which
   * is given the cause. Where it ends, the budget counts as used up. Defaults to 500 milliseconds, doubled
   * each time up to 30 seconds, each with a fifth more or less at random, so that
   * what failed together does not come back together.
   */
  readonly backoff?: Schedule.Schedule<unknown, Cause.Cause<E>, R> | undefined
  /**
   * After a run of this length, or one that succeeded, the backoff begins anew.
   * Defaults to `30 seconds`, the longest pause there is by default.
   */
  readonly healthyAfter?: Duration.DurationInput | undefined
  /**
   * How many restarts are allowed within a time; time spent in pauses does not
   * count. In no window of that length are there more, as with OTP's restart
   * intensity; older ones count half after each further window, as with suture's
   * failure decay. Defaults to 5 within 30 seconds, suture's numbers: with the
   * default backoff, what fails at once and always is given up after 15 seconds.
   */
  readonly budget?:
    | { readonly restarts: number; readonly within: Duration.DurationInput }
    | "unlimited"
    | undefined
  /** What to do when the budget is used up. Defaults to `Failure.escalate`. */
  readonly onExhausted?: Final<E, R> | undefined
}

/** Journals the failure, logs it as an error, and goes on. */
export const log: Log = { [TypeId]: TypeId, _tag: "Log" }

/**
 * Fails the service that owns the work. The one that adopted it decides what
 * follows; for a service of the app, the app stops in order and exits with 1.
 */
export const escalate: Escalate = { [TypeId]: TypeId, _tag: "Escalate" }

/**
 * Journals the failure and runs an effect with it. When that effect fails, its
 * failure is journaled and logged.
 */
export const handle = <E, R = never>(
  f: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
): Handle<E, R> => ({ [TypeId]: TypeId, _tag: "Handle", handle: Input.callable("Failure.handle", "f", f) })

/**
 * Runs what failed again, after a pause that grows, and gives up when it has
 * failed too often: a spawned effect, the tick of an interval or cron, the
 * handling of an event, or a child, which is stopped in order and built anew.
 * Each failure and each restart is journaled. While an event waits to be
 * handled again, so does its emitter, and so do those queued behind it.
 *
 * Throws `InputError` on an option that cannot be used.
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
 * Runs what failed again for as often as a schedule says, as `Effect.retry`
 * does, and then answers by `last`: `Failure.log` by default. Each handling of
 * an event, each tick and each spawned effect has a schedule of its own, which
 * is given the causes. What it is for is one failure, as of a request that did
 * not come through; `restart` is for what is to be kept up, within a budget.
 *
 * Throws `InputError` when the schedule is none, or `last` is to run it again, too.
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
): Restart<E, R> => {
  checkSchedule("Failure.retry", "schedule", schedule)
  checkFinal("Failure.retry", "last", last)
  // The schedule alone says when it is enough, however long a run has taken.
  const healthyAfter = Duration.infinity
  return {
    [TypeId]: TypeId,
    _tag: "Restart",
    backoff: schedule,
    healthyAfter,
    budget: "unlimited",
    onExhausted: last
  }
}

/** The policy that was given, if one was. Throws `InputError` when it was not made by this module. */
export const check = <F extends Policy<never, unknown>>(
  where: string,
  policy: F | undefined
): F | undefined => {
  if (policy !== undefined && !isPolicy(policy)) {
    const expected = "Failure.log, Failure.restart(options), Failure.escalate or Failure.handle(f)"
    throw new Input.InputError({ where, input: "onFailure", expected, actual: policy })
  }
  return policy
}

/** Whether a failure fails the service in the end, when a policy has done what it can. */
export const escalates = (policy: Policy<never, unknown>): boolean =>
  (policy._tag === "Restart" ? policy.onExhausted : policy)._tag === "Escalate"

const checkSchedule = (where: string, input: string, schedule: unknown): void => {
  if (!Schedule.isSchedule(schedule))
    throw new Input.InputError({ where, input, expected: "a Schedule", actual: schedule })
}

const checkFinal = (where: string, input: string, policy: Policy<never, unknown>): void => {
  if (isPolicy(policy) && tagOf(policy) !== "Restart") return
  const expected = "Failure.log, Failure.escalate or Failure.handle(f)"
  throw new Input.InputError({ where, input, expected, actual: policy })
}

const isPolicy = (u: unknown): boolean => typeof u === "object" && u !== null && TypeId in u
/** Types say that it is no restart, and JavaScript does not. */
const tagOf = (policy: Policy<never, unknown>): string => policy._tag

/** `union` takes the shorter of both pauses. */
const defaultBackoff = Schedule.exponential("500 millis").pipe(
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.jittered
)
