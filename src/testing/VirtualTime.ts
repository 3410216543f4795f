/**
 * Time that stands still until it is moved, and a scheduler for the fibers that
 * live in it: between two moves, all of them run until each waits for something.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import * as Utils from "effect/Utils"
import * as InnerFiber from "../internal/InnerFiber.ts"
import * as Fibers from "./Fibers.ts"
import * as RealTime from "./RealTime.ts"
import * as RealTimers from "./RealTimers.ts"

type AnyFiber = Fibers.AnyFiber

/** A clock that is moved by hand. */
export interface VirtualTime {
  /** Forks an effect that, with all that it forks, lives in this time. Nothing of it runs before time settles. */
  readonly fork: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R>
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** When the next sleeper wakes; none when nobody sleeps. */
  readonly next: () => number | undefined
  /** How many sleep. */
  readonly sleepers: () => number
  /** Moves to a time at which no sleeper is passed over, and wakes those that are due. It never goes back. */
  readonly moveTo: (millis: number) => void
  /** Runs all that can run without more time. False when it does not come to rest. */
  readonly settle: () => boolean
  /** The fibers that wait for something that is neither time nor, as far as one can tell, another fiber. */
  readonly waiting: () => ReadonlyArray<AnyFiber>
  /** The fibers that live in it, and what has become of them. */
  readonly fibers: Fibers.Fibers
  /** The real timers that were set by what lives in this time, and are still there. */
  readonly realTimers: () => ReadonlyArray<string>
}

/**
 * Time that begins at a moment. With a seed, fibers are interrupted in their
 * course and chosen at random, the same way for the same seed. `onStep` is
 * called before each run of a fiber, from where it waits to where it waits next.
 */
export const make = (beginsAt: number, seed?: number, onStep?: () => void): VirtualTime => {
  let now = beginsAt
  /** By the time at which they wake, and of those in the order in which they fell asleep. */
  const sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  const scheduler = new StepScheduler(seed, onStep)
  const random = Random.make(seed ?? 1)

  const sleep = (duration: Duration.Duration): Effect.Effect<void> =>
    Effect.async((resume) => {
      const millis = Duration.toMillis(duration)
      // It is how others wait for ever.
      if (!Number.isFinite(millis)) return
      const sleeper = { at: after(now, millis), wake: () => resume(Effect.void) }
      sleepers.splice(indexAfter(sleepers, sleeper.at), 0, sleeper)
      return Effect.sync(() => {
        const index = sleepers.indexOf(sleeper)
        if (index >= 0) sleepers.splice(index, 1)
      })
    }, asleep)
  const nanos = () => BigInt(Math.round(now * 1_000_000))
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(nanos),
    sleep
  }

  return {
    fork: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.runtime<R>(), (runtime) =>
        Runtime.runFork(runtime)(
          Effect.interruptible(Effect.withRandom(Effect.withClock(effect, clock), random)),
          { scheduler, immediate: false }
        )
      ),
    now: () => now,
    next: () => sleepers[0]?.at,
    sleepers: () => sleepers.length,
    moveTo: (millis) => {
      now = Math.max(now, millis)
      while (sleepers[0] !== undefined && sleepers[0].at <= now) sleepers.shift()?.wake()
    },
    settle: () => StepScheduler.settle(),
    waiting: () => scheduler.waitingFibers(),
    fibers: scheduler.fibers,
    realTimers: scheduler.timers.left
  }
}

/** What one that sleeps waits for. */
const asleep = FiberId.runtime(-1, 0)

/** A moment later by so much, and by the least that a number can tell, if it is any. */
const after = (now: number, millis: number): number =>
  millis > 0 && now + millis === now ? now + Math.max(1, Math.abs(now)) * Number.EPSILON : now + millis

/** Where one belongs that wakes then: after those that wake at the same time. */
const indexAfter = (sleepers: ReadonlyArray<{ readonly at: number }>, at: number): number => {
  let low = 0
  let high = sleepers.length
  while (low < high) {
    const middle = (low + high) >>> 1
    // The middle is below the length.
    if (sleepers[middle]!.at <= at) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Where that is random: how many steps a fiber takes at least before it is
 * interrupted in its course, and at one of how many after that. With fewer than
 * ten, `Effect.forEach` itself does not come to its end.
 */
const fewestSteps = 10
const oneOfSteps = 6

/** How long, in real milliseconds, an app may be busy at one moment. What has not come to rest by then never will. */
const longestMoment = 3_000

/** Keeps what is to run, until it is told to run it or, when nobody does, the event loop comes by. */
class StepScheduler implements Scheduler.Scheduler {
  /** Those of all apps that are being tested: they may share a bus, and then wait for each other. */
  private static readonly busy = new Set<StepScheduler>()
  private static isComing = false

  static settle(): boolean {
    const end = RealTime.now() + longestMoment
    for (const scheduler of this.busy) {
      this.busy.delete(scheduler)
      if (!scheduler.timers.noting(() => scheduler.fibers.watching(() => scheduler.run(end)))) {
        this.busy.add(scheduler)
        return false
      }
    }
    return true
  }

  private tasks: Array<() => void> = []
  /** Fibers that have run since it was last asked who waits. */
  private readonly touched = new Set<AnyFiber>()
  private readonly waits = new Set<AnyFiber>()
  readonly fibers = Fibers.make((fiber) => InnerFiber.of(fiber).currentScheduler instanceof StepScheduler)
  readonly timers = RealTimers.make()
  private readonly random: Utils.PCGRandom | undefined

  private readonly onStep: (() => void) | undefined

  constructor(seed: number | undefined, onStep: (() => void) | undefined) {
    this.onStep = onStep
    this.random = seed === undefined ? undefined : new Utils.PCGRandom(seed)
  }

  shouldYield(fiber: AnyFiber): number | false {
    this.fibers.runs(fiber)
    this.touched.add(fiber)
    if (this.random !== undefined) {
      return fiber.currentOpCount >= fewestSteps && this.random.integer(oneOfSteps) === 0 ? 0 : false
    }
    return fiber.currentOpCount > fiber.getFiberRef(FiberRef.currentMaxOpsBeforeYield) ? 0 : false
  }

  scheduleTask(task: () => void, _priority: number, fiber?: AnyFiber): void {
    this.tasks.push(fiber === undefined ? task : this.fibers.noting(fiber, task))
    if (fiber !== undefined) this.touched.add(fiber)
    StepScheduler.busy.add(this)
    if (StepScheduler.isComing) return
    // Something real may have come, as the answer to a promise.
    StepScheduler.isComing = true
    queueMicrotask(StepScheduler.comeBy)
  }

  waitingFibers(): ReadonlyArray<AnyFiber> {
    const strangers = this.touched.size === 0 ? [] : this.fibers.strangers()
    for (const fiber of this.touched) {
      if (isWaiting(fiber, strangers)) this.waits.add(fiber)
      else this.waits.delete(fiber)
    }
    this.touched.clear()
    return [...this.waits]
  }

  /** Runs what nobody has run. Work without end must not keep the event loop from all else. */
  private static readonly comeBy = (): void => {
    StepScheduler.isComing = !StepScheduler.settle()
    if (StepScheduler.isComing) RealTime.later(StepScheduler.comeBy)
  }

  /** Runs until nothing is left to run, or the time is up. */
  private run(end: number): boolean {
    let count = 0
    while (this.tasks.length > 0) {
      const tasks = this.tasks
      this.tasks = []
      for (let next = 0; next < tasks.length; next++) {
        if (this.random !== undefined) {
          const other = next + this.random.integer(tasks.length - next)
          ;[tasks[next], tasks[other]] = [tasks[other]!, tasks[next]!]
        }
        this.onStep?.()
        tasks[next]!()
        if (++count % 256 === 0 && RealTime.now() > end) {
          this.tasks.unshift(...tasks.slice(next + 1))
          return false
        }
      }
    }
    return true
  }
}

/** Only Effect itself can tell: what a fiber is blocked on is set while it is suspended, and none for a promise. */
const isWaiting = (fiber: AnyFiber, strangers: ReadonlyArray<AnyFiber>): boolean => {
  const { _asyncBlockingOn } = InnerFiber.of(fiber)
  // Not `FiberId.isNone`, which in 3.22 calls itself for ever on it.
  if (fiber.unsafePoll() !== null || _asyncBlockingOn === undefined || _asyncBlockingOn === null) return false
  if (_asyncBlockingOn._tag === "None") return true
  // One that is no part of the app lives in real time.
  return (
    _asyncBlockingOn._tag === "Runtime" && strangers.some((other) => other.id().id === _asyncBlockingOn.id)
  )
}
