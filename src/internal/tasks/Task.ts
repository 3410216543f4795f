/**
 * Work that a service does in the background: at intervals, by a cron
 * expression, once after a while, or as long as it takes.
 *
 * Each run has a `Scope` of its own: what a tick acquires is released when the
 * tick ends. Time is Effect's Clock.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Failure from "../../Failure.ts"
import * as Input from "../Input.ts"
import * as Throttle from "../journal/Throttle.ts"
import * as Handle from "../lifecycle/Handle.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as OwnedFiber from "../lifecycle/OwnedFiber.ts"
import type { Run } from "../lifecycle/Work.ts"
import * as Restarts from "../supervision/Restarts.ts"
import * as Policy from "../supervision/Policy.ts"
import * as CronSchedule from "./CronSchedule.ts"
import * as ScheduledWork from "./ScheduledWork.ts"
import * as Slots from "./Slots.ts"
import * as TaskRun from "./TaskRun.ts"

/** Options of all work. */
export interface Options<E, out R = never> {
  /** What logs and reports call it. Defaults to its kind and schedule, as `interval 1m`; a spawned effect is a `task`. */
  readonly name?: string | undefined
  /**
   * What to do when a run fails. Defaults to `Failure.log`, since the next run
   * may do better; for `spawn`, of which there is no next run, to
   * `Failure.escalate`. With `Failure.restart`, a run that failed is run again
   * after a pause, and slots that come due meanwhile are skipped.
   */
  readonly onFailure?: Failure.Policy<E, R> | undefined
}

/** Options of `spawn`. */
export interface SpawnOptions<E, out R = never> extends Options<E, R> {
  /**
   * Until when it is to run. `"done"`, the default: it may end. `"stop"`: as
   * long as the service, so that to end before is a failure, a defect that is a
   * `TaskEndedError`; as OTP's permanent and transient children.
   */
  readonly until?: "done" | "stop" | undefined
}

/** Options of `spawn` for an effect that can fail: the compiler asks what is to happen then. */
export interface FallibleSpawnOptions<E, out R = never> extends SpawnOptions<E, R> {
  readonly onFailure: Failure.Policy<E, R>
}

/** A task that was to run until its service stops has ended before. */
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

/** Options of an interval. */
export interface IntervalOptions<E, out R = never> extends Options<E, R> {
  /** When the first run is. Defaults to `"afterOnePeriod"`, when the service has had time to start. */
  readonly first?: "afterOnePeriod" | "atOnce" | undefined
}

/** Options of a cron. */
export interface CronOptions<E, out R = never> extends Options<E, R> {
  /** An IANA zone, as `Europe/Berlin`. Defaults to that of the process: `TZ`, or what the system is set to. */
  readonly timeZone?: string | undefined
}

/**
 * Runs an effect again and again, `every` so often: first after one period, on
 * a fixed grid that does not drift, never two runs at once. Slots that come due
 * while a run is still going are skipped and journaled. A run that fails does
 * not end the interval, unless its policy escalates.
 *
 * Dies with `InputError` when `every` is not a finite duration above zero.
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
 * Runs an effect whenever a cron expression matches: five fields, or six with
 * seconds first, as `effect/Cron`. Never two runs at once: slots that come due
 * while a run is still going are skipped and journaled. A run that fails does
 * not end the cron.
 *
 * The next slot is always after now. A job with a wildcard for the minute or the
 * hour (`*`, also with a step; a list of all hours is one) goes by the elapsed
 * time, any other by the time of day. What that means where clocks are changed
 * is as in vixie cron:
 *
 * | | with a wildcard | `30 2 * * *`, `0 2,14 * * *` |
 * |---|---|---|
 * | an hour comes twice | runs in both | runs once, in the first |
 * | an hour is left out | goes on after it | runs once, right after it |
 * | a zone leaves out more than 3 hours | goes on after it | goes on after it |
 * | the wall clock is set, by up to 5 minutes | each minute has its one run | each minute has its one run |
 * | it is set back, by up to 3 hours | goes on at once | does not run again |
 * | it is set back, by more | goes on at once | goes on at once |
 * | it goes on alone, as while the machine is suspended | runs once for all that came due, the rest is journaled as skipped | the same |
 * | it is set forward by more than 31 days | goes on at once | goes on at once |
 *
 * A cron looks at the wall clock once a minute, so it may notice a change as
 * late as that.
 *
 * Dies with `InputError` when the expression or the zone is malformed, or when
 * it never matches.
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
 * Runs an effect once, `after` a while, unless the service stops before.
 *
 * Dies with `InputError` when `after` is not a finite duration above zero.
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
 * Runs an effect in a fiber of the service, which is interrupted and awaited
 * when the service stops.
 *
 * An effect that can fail needs `onFailure`. One that cannot may still have a
 * defect, and that fails the service unless `onFailure` says otherwise. With
 * `until: "stop"`, to end is a failure too.
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
  // `any`: no single signature is assignable to both overloads. Each gives `spawned` what it takes.
} = (effect: Effect.Effect<any, any, any>, options?: any): any =>
  spawned(effect, options === undefined ? {} : options)

const spawned = <A, E, R, R2>(effect: Effect.Effect<A, E, R>, options: SpawnOptions<E, R2>) =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    Input.options("Service.spawn", options)
    const name = options.name === undefined ? "task" : Input.name("Service.spawn", "name", options.name)
    Input.effect("Service.spawn", "effect", effect)
    const until = Input.oneOf("Service.spawn", "until", ["done", "stop"], options.until ?? "done")
    const policy = Policy.check("Service.spawn", options.onFailure) ?? Failure.escalate
    const whole = until === "stop" ? endless(service, name, effect) : effect
    const task = new TaskRun.Task(service, {
      kind: "spawn",
      name,
      schedule: "",
      effect: whole,
      answer: Restarts.answerOf(policy)
    })
    return Effect.map(
      OwnedFiber.fork<Exit.Exit<A, E>, Exclude<R, Scope.Scope> | R2>(service, {
        name,
        task: task.status,
        run: (run) => task.run(run)
      }),
      Handle.ofFiber
    )
  })

/** Fails when the effect ends before its service does. */
const endless = <A, E, R>(service: Lifetime.Lifetime, name: string, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    // Interrupted by its own code, it has ended too. It may have been told that its service is stopping.
    const hasEnded = Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)
    return hasEnded && service.state._tag !== "Stopping"
      ? Effect.die(new TaskEndedError({ service: service.path, task: name }))
      : exit
  })

/** Schedules a task of the service. A run that fails is answered, and the next one comes when it is due. */
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
  return Effect.map(
    ScheduledWork.schedule<Exclude<R, Scope.Scope> | R2>(service, new Scheduled(task, slots)),
    Handle.of
  )
}

/** A task that runs in its slots, and reports those it skips. A class, as an app may have very many. */
class Scheduled implements ScheduledWork.Spec<any> {
  readonly slots: Slots.Slots
  private readonly of: TaskRun.Task<any, any, any, any>
  private skipped: Throttle.Throttle | undefined = undefined

  constructor(task: TaskRun.Task<any, any, any, any>, slots: Slots.Slots) {
    this.of = task
    this.slots = slots
  }

  get name(): string {
    return this.of.name
  }

  get task() {
    return this.of.status
  }

  run(run: Run): Effect.Effect<unknown, unknown, any> {
    return this.of.run(run)
  }

  isDue(at: number): void {
    this.of.isDue(at)
  }

  missed(slots: number): Effect.Effect<void> {
    const { name, service } = this.of
    this.skipped ??= Throttle.make((missed) =>
      service.owner.shared.journal.append({ _tag: "TicksSkipped", service: service.path, task: name, missed })
    )
    this.of.skipped(slots)
    return this.skipped.add(slots)
  }

  get finished(): Effect.Effect<void> | undefined {
    return this.skipped?.end
  }
}
