/**
 * Background work of a service: intervals, crons, timeouts and spawned effects.
 *
 * Each run is a fiber with a `Scope` of its own, closed when the run ends. Time
 * is Effect's Clock.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Failure from "../../Failure.ts"
import * as Input from "../Input.ts"
import * as Handle from "../lifecycle/Handle.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as OwnedFiber from "../lifecycle/OwnedFiber.ts"
import * as Restarts from "../supervision/Restarts.ts"
import * as Policy from "../supervision/Policy.ts"
import * as CronSchedule from "./CronSchedule.ts"
import * as ScheduledWork from "./ScheduledWork.ts"
import * as Slots from "./Slots.ts"
import * as TaskRun from "./TaskRun.ts"

/** Options of all background work. */
export interface Options<E, out R = never> {
  /** Name in logs and reports. Defaults to kind and schedule, such as `interval 1m`, and to `task` for `spawn`. */
  readonly name?: string | undefined
  /**
   * The policy for a failed run. Defaults to `Failure.log`, because the next run
   * may succeed, and to `Failure.escalate` for `spawn`, which has no next run.
   * `Failure.restart` repeats the run after a pause; slots that come due meanwhile
   * are skipped.
   */
  readonly onFailure?: Failure.Policy<E, R> | undefined
}

/** Options of `spawn`. */
export interface SpawnOptions<E, out R = never> extends Options<E, R> {
  /**
   * How long the effect is expected to run. `"done"`, the default: until it ends.
   * `"stop"`: until the service stops; an earlier end is a failure with the defect
   * `TaskEndedError`. As OTP's transient and permanent children.
   */
  readonly until?: "done" | "stop" | undefined
}

/** Options of `spawn` for an effect that can fail, which requires a policy. */
export interface FallibleSpawnOptions<E, out R = never> extends SpawnOptions<E, R> {
  readonly onFailure: Failure.Policy<E, R>
}

/** A task spawned with `until: "stop"` has ended before its service stopped. */
export class TaskEndedError extends Data.TaggedError("TaskEndedError")<{
  readonly service: string
  readonly task: string
}> {
  override get message(): string {
    return (
      `${this.task} of service "${this.service}" has ended, but was spawned with \`until: "stop"\`. ` +
      "Leave that out if it may end."
    )
  }
}

/** Options of `interval`. */
export interface IntervalOptions<E, out R = never> extends Options<E, R> {
  /** When the first run starts. Defaults to `"afterOnePeriod"`, which leaves the service time to start. */
  readonly first?: "afterOnePeriod" | "atOnce" | undefined
}

/** Options of `cron`. */
export interface CronOptions<E, out R = never> extends Options<E, R> {
  /** IANA time zone, such as `Europe/Berlin`. Defaults to the zone of the process: `TZ`, or the system's. */
  readonly timeZone?: string | undefined
}

/**
 * Runs an effect periodically, first after one period. Slots lie on a fixed grid
 * and do not drift. Runs never overlap: slots that come due during a run are
 * skipped and journaled. A failed run does not end the interval, unless its
 * policy escalates.
 *
 * Dies with `InputError` when `every` is not finite and positive, and on invalid
 * options.
 */
export const interval = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  every: Duration.DurationInput,
  options: IntervalOptions<NoInfer<E>, R2> = {}
): Effect.Effect<Handle.Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope> =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    const millis = Input.positiveMillis("Service.interval", "every", every)
    Input.options("Service.interval", options)
    const first = Input.oneOf(
      "Service.interval",
      "first",
      ["afterOnePeriod", "atOnce"],
      options.first ?? "afterOnePeriod"
    )
    const grid = new Slots.Grid(service.clock, millis, first)
    return background(service, "interval", Duration.format(millis), grid, effect, options)
  })

/**
 * Runs an effect at each match of a cron expression: five fields, or six with
 * seconds first, as in `effect/Cron`. Runs never overlap: slots that come due
 * during a run are skipped and journaled. A failed run does not end the cron,
 * unless its policy escalates.
 *
 * Where clocks are changed it follows vixie cron. A job with a wildcard for the
 * minute or the hour (`*`, also with a step; a list of all hours is one) goes by
 * elapsed time: it runs in both of two equal hours. Any other goes by the time of
 * day: it runs once in two equal hours, and right after an hour that is left out.
 * Slots that passed while the machine was suspended run once, and the rest is
 * journaled as skipped. The cron looks at the wall clock once a minute, so it
 * notices a change at most a minute late. The README lists all cases.
 *
 * Dies with `InputError` when the expression is malformed or never matches, and
 * on invalid options.
 */
export const cron = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  expression: string,
  options: CronOptions<NoInfer<E>, R2> = {}
): Effect.Effect<Handle.Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope> =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    const { clock } = service
    const { timeZone } = Input.options("Service.cron", options)
    const slots = new Slots.CronSlots(clock, CronSchedule.parse(expression, timeZone))
    return background(service, "cron", expression, slots, effect, options)
  })

/**
 * Runs an effect once, after a delay, unless the service stops first.
 *
 * Dies with `InputError` when `after` is not finite and positive, and on invalid
 * options.
 */
export const timeout = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  after: Duration.DurationInput,
  options: Options<NoInfer<E>, R2> = {}
): Effect.Effect<Handle.Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope> =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    const millis = Input.positiveMillis("Service.timeout", "after", after)
    Input.options("Service.timeout", options)
    const once = new Slots.Once(service.clock, millis)
    return background(service, "timeout", Duration.format(millis), once, effect, options)
  })

/**
 * Forks an effect into the service, which interrupts and awaits it when it stops.
 *
 * An effect that can fail requires `onFailure`. A defect of any other effect fails
 * the service, unless `onFailure` says otherwise. With `until: "stop"`, an end
 * before the stop of the service is a failure as well.
 *
 * Dies with `InputError` on invalid options.
 */
export const spawn: {
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    options: FallibleSpawnOptions<NoInfer<E>, R2>
  ): Effect.Effect<Handle.Spawned<A, E>, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope>
  <A, R, R2 = never>(
    effect: Effect.Effect<A, never, R>,
    options?: SpawnOptions<never, R2>
  ): Effect.Effect<Handle.Spawned<A, never>, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope>
  // `any`: no single signature is assignable to both overloads. Both pass what `spawned` takes.
} = (effect: Effect.Effect<any, any, any>, options?: any): any =>
  spawned(effect, options === undefined ? {} : options)

const spawned = <A, E, R, R2>(effect: Effect.Effect<A, E, R>, options: SpawnOptions<E, R2>) =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    Input.options("Service.spawn", options)
    const name = options.name === undefined ? "task" : Input.name("Service.spawn", "name", options.name)
    Input.effect("Service.spawn", "effect", effect)
    const until = Input.oneOf("Service.spawn", "until", ["done", "stop"], options.until ?? "done")
    const policy = Policy.check("Service.spawn", options.onFailure) ?? Failure.escalate
    const whole = until === "stop" ? untilStop(service, name, effect) : effect
    const task = new TaskRun.Task(service, {
      kind: "spawn",
      name,
      schedule: "",
      effect: whole,
      answer: Restarts.answerOf(policy)
    })
    return Effect.map(
      OwnedFiber.fork<Exit.Exit<A, E>, Exclude<R, Scope.Scope> | R2>(service, task),
      Handle.ofFiber
    )
  })

/** Dies with `TaskEndedError` when the effect ends before its service stops. */
const untilStop = <A, E, R>(service: Lifetime.Lifetime, name: string, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    // Interrupting itself is an end, too. During the stop, the effect may end in response to `onStop`.
    const hasEnded = Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)
    return hasEnded && service.state._tag !== "Stopping"
      ? Effect.die(new TaskEndedError({ service: service.path, task: name }))
      : exit
  })

/** Schedules a task of the service. A failed run does not affect the next one, unless the policy escalates. */
const background = <A, E, R, R2>(
  service: Lifetime.Lifetime,
  kind: "interval" | "cron" | "timeout",
  schedule: string,
  slots: Slots.Slots,
  effect: Effect.Effect<A, E, R>,
  options: Options<E, R2>
): Effect.Effect<Handle.Handle, never, Exclude<R, Scope.Scope> | R2> => {
  const name =
    options.name === undefined ? `${kind} ${schedule}` : Input.name(`Service.${kind}`, "name", options.name)
  Input.effect(`Service.${kind}`, "effect", effect)
  const policy = Policy.check(`Service.${kind}`, options.onFailure) ?? Failure.log
  const answer = Restarts.answerOf(policy)
  const task = new TaskRun.Task(service, { kind, name, schedule, effect, answer })
  return Effect.map(ScheduledWork.schedule<Exclude<R, Scope.Scope> | R2>(service, slots, task), Handle.of)
}
