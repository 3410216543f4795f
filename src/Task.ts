/**
 * Work that a service does in the background: at intervals, by a cron
 * expression, once after a while, or as long as it takes.
 *
 * Each run has a `Scope` of its own: what a tick acquires is released when the
 * tick ends. Time is Effect's Clock.
 */
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Escalation from "./Escalation.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Monotonic from "./Monotonic.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Tally from "./Tally.ts"
import * as Work from "./Work.ts"

/** Owned work that can be ended before its service. */
export interface Handle {
  readonly name: string
  /**
   * Ends the work and waits until it has ended; a run in progress is
   * interrupted. Called from within the work itself, it does not wait.
   */
  readonly cancel: Effect.Effect<void>
}

/** A spawned effect. */
export interface Spawned<out A, out E> extends Handle {
  /** Waits for the effect to end, and tells how it did. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
}

/** Options of all work. */
export interface Options<E, out R = never> {
  /** What logs and reports call it. Defaults to its kind and schedule, as `interval 1m`; a spawned effect is a `task`. */
  readonly name?: string | undefined
  /**
   * What to do when a run fails. Defaults to `Failure.log`, since the next run
   * may do better; for `spawn`, of which there is no next run, to `Failure.escalate`.
   */
  readonly onFailure?: Failure.Failure<E, R> | undefined
}

/** Options of `spawn` for an effect that can fail: the compiler asks what is to happen then. */
export interface SpawnOptions<E, out R = never> extends Options<E, R> {
  readonly onFailure: Failure.Failure<E, R>
}

/** Options of an interval. */
export interface IntervalOptions<E, out R = never> extends Options<E, R> {
  /** When the first run is. Defaults to `"afterOnePeriod"`, when the service has had time to start. */
  readonly first?: "afterOnePeriod" | "atOnce" | undefined
}

/** Options of a cron. */
export interface CronOptions<E, out R = never> extends Options<E, R> {
  /** An IANA zone, as `Europe/Berlin`. Defaults to the zone of the process. */
  readonly timeZone?: string | undefined
}

type Requirements<R, R2> = Exclude<R, Scope.Scope> | R2 | ServiceScope.ServiceScope

/**
 * Runs an effect again and again, `every` so often: first after one period, on
 * a fixed grid that does not drift, never two runs at once. Slots that come due
 * while a run is still going are skipped and journaled. A run that fails does
 * not end the interval.
 *
 * Dies with `InputError` when `every` is not a finite duration above zero.
 */
export const interval = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  every: Duration.DurationInput,
  options: IntervalOptions<NoInfer<E>, R2> = {}
): Effect.Effect<Handle, never, Requirements<R, R2>> =>
  Effect.flatMap(ServiceScope.lifetime, (service) => {
    const millis = Input.positiveMillis("Service.interval", "every", every)
    Input.options("Service.interval", options)
    const first = Input.oneOf(
      "Service.interval",
      "first",
      ["afterOnePeriod", "atOnce"],
      options.first ?? "afterOnePeriod"
    )
    return background(service, "interval", Duration.format(millis), effect, options, (tick, skipped) =>
      Effect.flatMap(Monotonic.millis, (start) => {
        // Slots are numbered from the start, so that a timer that is early or late never doubles or loses one.
        let slot = first === "atOnce" ? 0 : 1
        return Effect.forever(
          Effect.zipRight(
            sleepUntil(Monotonic.millis, () => start + slot * millis),
            tick
          ).pipe(
            Effect.zipRight(Monotonic.millis),
            Effect.flatMap((now) => {
              const due = Math.max(slot + 1, Math.ceil((now - start) / millis))
              const missed = due - slot - 1
              slot = due
              return missed === 0 ? Effect.void : skipped.add(missed)
            })
          )
        )
      })
    )
  })

/**
 * Runs an effect whenever a cron expression matches: five fields, or six with
 * seconds first, as `effect/Cron`. Never two runs at once: slots that come due
 * while a run is still going are skipped and journaled. A run that fails does
 * not end the cron. In a zone with summer time, `effect/Cron` leaves out the
 * hour that comes twice in autumn.
 *
 * Dies with `InputError` when the expression or the zone is malformed, or when
 * it never matches.
 */
export const cron = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  expression: string,
  options: CronOptions<NoInfer<E>, R2> = {}
): Effect.Effect<Handle, never, Requirements<R, R2>> =>
  Effect.flatMap(ServiceScope.lifetime, (service) =>
    Effect.flatMap(Clock.currentTimeMillis, (registeredAt) => {
      const parsed = parse(expression, Input.options("Service.cron", options).timeZone, registeredAt)
      return background(service, "cron", expression, effect, options, (tick, skipped) => {
        let last = registeredAt
        return Effect.forever(
          Effect.gen(function* () {
            const now = yield* Clock.currentTimeMillis
            const missed = slotsBetween(parsed, last, now)
            if (missed > 0) yield* skipped.add(missed)
            // A slot may be due this very millisecond. Not before `last`: a clock that is set back fires no slot twice.
            last = Cron.next(parsed, new Date(Math.max(last, now - 1))).getTime()
            yield* sleepUntil(Clock.currentTimeMillis, () => last)
            yield* tick
          })
        )
      })
    })
  )

/**
 * Runs an effect once, `after` a while, unless the service stops before.
 *
 * Dies with `InputError` when `after` is not a finite duration above zero.
 */
export const timeout = <A, E, R, R2 = never>(
  effect: Effect.Effect<A, E, R>,
  after: Duration.DurationInput,
  options: Options<NoInfer<E>, R2> = {}
): Effect.Effect<Handle, never, Requirements<R, R2>> =>
  Effect.flatMap(ServiceScope.lifetime, (service) => {
    const millis = Input.positiveMillis("Service.timeout", "after", after)
    Input.options("Service.timeout", options)
    return background(service, "timeout", Duration.format(millis), effect, options, (run) =>
      Effect.flatMap(Monotonic.millis, (start) =>
        Effect.zipRight(
          sleepUntil(Monotonic.millis, () => start + millis),
          run
        )
      )
    )
  })

/**
 * Runs an effect in a fiber of the service, which is interrupted and awaited
 * when the service stops.
 *
 * An effect that can fail needs `onFailure`. One that cannot may still have a
 * defect, and that fails the service unless `onFailure` says otherwise.
 */
export const spawn: {
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    options: SpawnOptions<NoInfer<E>, R2>
  ): Effect.Effect<Spawned<A, E>, never, Requirements<R, R2>>
  <A, R, R2 = never>(
    effect: Effect.Effect<A, never, R>,
    options?: Options<never, R2>
  ): Effect.Effect<Spawned<A, never>, never, Requirements<R, R2>>
  // `any`: no single signature is assignable to both overloads. Each gives `spawned` what it takes.
} = (effect: Effect.Effect<any, any, any>, options?: any): any =>
  spawned(effect, options === undefined ? {} : options)

const spawned = <A, E, R, R2>(effect: Effect.Effect<A, E, R>, options: Options<E, R2>) =>
  Effect.flatMap(ServiceScope.lifetime, (service) => {
    Input.options("Service.spawn", options)
    const name = options.name === undefined ? "task" : Input.name("Service.spawn", "name", options.name)
    Input.effect("Service.spawn", "effect", effect)
    const policy = Failure.check("Service.spawn", options.onFailure) ?? Failure.escalate
    const work = Effect.flatten(runOnce(service, name, effect, policy))
    return Effect.map(ServiceScope.fork(service, name, work), (task): Spawned<A, E> => ({
      ...handle(task),
      await: Fiber.await(task.fiber)
    }))
  })

/** Forks a loop whose runs are isolated from it: a run that fails is answered, and the loop goes on. */
const background = <A, E, R, R2, A2, R3>(
  service: ServiceScope.Lifetime,
  kind: string,
  schedule: string,
  effect: Effect.Effect<A, E, R>,
  options: Options<E, R2>,
  loop: (
    run: Effect.Effect<void, never, Exclude<R, Scope.Scope> | R2>,
    skipped: Tally.Tally
  ) => Effect.Effect<A2, never, R3>
): Effect.Effect<Handle, never, R3> => {
  const name =
    options.name === undefined ? `${kind} ${schedule}` : Input.name(`Service.${kind}`, "name", options.name)
  Input.effect(`Service.${kind}`, "effect", effect)
  const policy = Failure.check(`Service.${kind}`, options.onFailure) ?? Failure.log
  const run = Effect.asVoid(runOnce(service, name, effect, policy))
  const skipped = Tally.make((missed) =>
    service.owner.shared.journal.append({ _tag: "TicksSkipped", service: service.path, task: name, missed })
  )
  const whole = loop(run, skipped).pipe(
    // Nothing in a loop itself can fail but the reckoning of a cron, and then it must not end in silence.
    Effect.catchAllCause((cause) => Escalation.taskFailed(service, name, cause, Failure.escalate)),
    Effect.ensuring(skipped.end)
  )
  return Effect.map(ServiceScope.fork(service, name, whole), handle)
}

/** One run of an effect, in a scope of its own, its failure answered. */
const runOnce = <A, E, R, R2>(
  service: ServiceScope.Lifetime,
  name: string,
  effect: Effect.Effect<A, E, R>,
  policy: Failure.Failure<E, R2>
): Effect.Effect<Exit.Exit<A, E>, never, Exclude<R, Scope.Scope> | R2> =>
  Effect.tap(Effect.exit(Effect.scoped(effect)), (exit) =>
    exit._tag === "Success" ? Effect.void : Escalation.taskFailed(service, name, exit.cause, policy)
  )

const handle = ({ fiber, name, source }: ServiceScope.OwnedFiber): Handle => ({
  name,
  cancel: Effect.flatMap(Work.current, (caller) =>
    Work.isOf(caller, source) ? Fiber.interruptFork(fiber) : Effect.asVoid(Fiber.interrupt(fiber))
  )
})

/** JavaScript's timers end at 24.8 days, and stop while a laptop sleeps; a day is below both troubles. */
const longestSleepMillis = Duration.toMillis("1 day")

/** Sleeps until a clock has come to a time. Looks again when it wakes, since timers may be early. */
const sleepUntil = (clock: Effect.Effect<number>, target: () => number): Effect.Effect<void> =>
  Effect.flatMap(clock, (now) => {
    const left = target() - now
    return left <= 0
      ? Effect.void
      : Effect.zipRight(
          Effect.sleep(Math.min(Math.ceil(left), longestSleepMillis)),
          sleepUntil(clock, target)
        )
  })

const parse = (expression: string, timeZone: string | undefined, now: number): Cron.Cron => {
  const problem = (expected: string, actual: unknown, input = "expression") =>
    new Input.InputError({ where: "Service.cron", input, expected, actual })
  if (typeof expression !== "string") throw problem('a cron expression, like "0 3 * * *"', expression)
  const parsed = Cron.parse(expression, timeZone)
  if (Either.isLeft(parsed)) {
    throw timeZone !== undefined && Either.isRight(Cron.parse(expression))
      ? problem('an IANA time zone, like "Europe/Berlin"', timeZone, "timeZone")
      : problem(`a cron expression, like "0 3 * * *" (${parsed.left.message})`, expression)
  }
  try {
    Cron.next(parsed.right, new Date(now))
  } catch {
    throw problem("a cron expression that matches some day", expression)
  }
  return parsed.right
}

/** Past this, the exact number of missed slots tells nothing more. */
const mostCounted = 1_000

/** How many slots lie after `from` and before `to`, or `mostCounted`. */
const slotsBetween = (parsed: Cron.Cron, from: number, to: number): number => {
  let count = 0
  for (let at = Cron.next(parsed, new Date(from)).getTime(); at < to && count < mostCounted; count++) {
    at = Cron.next(parsed, new Date(at)).getTime()
  }
  return count
}
