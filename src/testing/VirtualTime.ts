/**
 * Virtual time: a clock that is moved by hand, and a scheduler. Between two
 * moves, all fibers in it run until each waits for something.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import * as Utils from "effect/Utils"
import * as Monotonic from "../internal/Monotonic.ts"
import * as AppFibers from "./AppFibers.ts"
import * as RealWorld from "./RealWorld.ts"

/** A clock that is moved by hand, with the fibers that live in its time. */
export interface VirtualTime {
  /** Forks an effect into this time. It runs, with all that it forks, when time settles. */
  readonly fork: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R>
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** When the next sleeper wakes; none when nothing sleeps. */
  readonly next: () => number | undefined
  /** How many fibers sleep. */
  readonly sleepers: () => number
  /** Moves to a time no later than the next sleeper's, and wakes the sleepers that are due. Time never goes back. */
  readonly moveTo: (millis: number) => void
  /** Runs all that can run without more time. False when the fibers do not come to rest. */
  readonly settle: () => boolean
  readonly fibers: AppFibers.AppFibers
  /** Real timers that code in this time has set. */
  readonly timers: RealWorld.Timers
}

/**
 * Time that begins at a moment. With a seed, fibers yield at random points and
 * run in random order, the same for the same seed. `onStep` is called before
 * each run of a fiber, from one point where it waits to the next.
 */
export const make = (beginsAt: number, seed?: number, onStep?: () => void): VirtualTime => {
  let now = beginsAt
  /** In the order in which they wake. */
  const sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  const scheduler = new StepScheduler(seed, onStep)
  const random = Random.make(seed ?? 1)

  const sleep = (duration: Duration.Duration): Effect.Effect<void> =>
    Effect.async((resume) => {
      const millis = Duration.toMillis(duration)
      // An infinite sleep is a way to wait for ever.
      if (!Number.isFinite(millis)) return
      const sleeper = { at: after(now, millis), wake: () => resume(Effect.void) }
      sleepers.splice(indexAfter(sleepers, sleeper.at), 0, sleeper)
      return Effect.sync(() => {
        const index = sleepers.indexOf(sleeper)
        if (index >= 0) sleepers.splice(index, 1)
      })
    }, asleep)
  const nanos = () => BigInt(Math.round(now * 1_000_000))
  const clock = Monotonic.markWallClock({
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(nanos),
    sleep
  })

  return {
    fork: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.runtime<R>(), (runtime) => {
        const outer = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentSupervisor)
        const supervised = Runtime.setFiberRef(
          runtime,
          FiberRef.currentSupervisor,
          outer.zip(scheduler.fibers)
        )
        return Runtime.runFork(supervised)(
          Effect.interruptible(Effect.withRandom(Effect.withClock(effect, clock), random)),
          { scheduler, immediate: false }
        )
      }),
    now: () => now,
    next: () => sleepers[0]?.at,
    sleepers: () => sleepers.length,
    moveTo: (millis) => {
      now = Math.max(now, millis)
      while (sleepers[0] !== undefined && sleepers[0].at <= now) sleepers.shift()?.wake()
    },
    settle: () => StepScheduler.settle(),
    fibers: scheduler.fibers,
    timers: scheduler.timers
  }
}

/** What a sleeping fiber waits for. */
const asleep = FiberId.runtime(-1, 0)

/** A later time. A wait above zero moves it even where the number has no digit left for it. */
const after = (now: number, millis: number): number =>
  millis > 0 && now + millis === now ? now + Math.max(1, Math.abs(now)) * Number.EPSILON : now + millis

/** The place of a sleeper: after those that wake at the same time. */
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
 * With a seed, a fiber runs at least so many steps, and then yields at one in so
 * many. With fewer than ten, `Effect.forEach` itself does not complete.
 */
const fewestSteps = 10
const oneOfSteps = 6

/** How long, in real milliseconds, an app may run at one moment. After that it is taken to run for ever. */
const longestMoment = 3_000

/** How many runs there are between two looks at the real clock. */
const runsPerLook = 256

/** A run of a fiber, from one point where it waits to the next. */
interface Task {
  readonly run: () => void
  readonly fiber: AppFibers.AnyFiber | undefined
}

/** Queues the runs of fibers until time settles or, where nothing settles it, the next turn of the event loop. */
class StepScheduler implements Scheduler.Scheduler {
  /** Of all apps under test: they may share a bus, and then wait for each other. */
  private static readonly busy = new Set<StepScheduler>()
  private static isTurnAsked = false

  static settle(): boolean {
    const end = RealWorld.now() + longestMoment
    for (const scheduler of this.busy) {
      this.busy.delete(scheduler)
      if (!scheduler.timers.recording(() => scheduler.run(end))) {
        this.busy.add(scheduler)
        return false
      }
    }
    return true
  }

  private queue: Array<Task> = []
  /** The fibers in the queue. */
  private readonly scheduled = new Set<AppFibers.AnyFiber>()
  readonly fibers = new AppFibers.AppFibers(
    (fiber) => fiber.currentScheduler instanceof StepScheduler,
    (fiber) => this.scheduled.has(fiber)
  )
  readonly timers = RealWorld.makeTimers()
  private readonly random: Utils.PCGRandom | undefined
  private readonly onStep: (() => void) | undefined

  constructor(seed: number | undefined, onStep: (() => void) | undefined) {
    this.random = seed === undefined ? undefined : new Utils.PCGRandom(seed)
    this.onStep = onStep
  }

  shouldYield(fiber: AppFibers.AnyFiber): number | false {
    if (this.random !== undefined) {
      return fiber.currentOpCount >= fewestSteps && this.random.integer(oneOfSteps) === 0 ? 0 : false
    }
    return fiber.currentOpCount > fiber.getFiberRef(FiberRef.currentMaxOpsBeforeYield) ? 0 : false
  }

  scheduleTask(run: () => void, _priority: number, fiber?: AppFibers.AnyFiber): void {
    if (AppFibers.isAsked(fiber)) return run()
    this.queue.push({ run, fiber })
    if (fiber !== undefined) this.scheduled.add(fiber)
    StepScheduler.busy.add(this)
    if (StepScheduler.isTurnAsked) return
    // Something real may have happened, such as the answer to a promise.
    StepScheduler.isTurnAsked = true
    queueMicrotask(StepScheduler.inTurn)
  }

  /** Runs what nothing else has run. Work without end must not block the event loop. */
  private static readonly inTurn = (): void => {
    StepScheduler.isTurnAsked = !StepScheduler.settle()
    if (StepScheduler.isTurnAsked) RealWorld.later(StepScheduler.inTurn)
  }

  /** Runs until the queue is empty; false when it is not by the end of the time. */
  private run(end: number): boolean {
    let runs = 0
    while (this.queue.length > 0) {
      const batch = this.queue
      this.queue = []
      for (let next = 0; next < batch.length; next++) {
        if (this.random !== undefined) {
          const other = next + this.random.integer(batch.length - next)
          ;[batch[next], batch[other]] = [batch[other]!, batch[next]!]
        }
        this.onStep?.()
        const { fiber, run } = batch[next]!
        if (fiber !== undefined) this.scheduled.delete(fiber)
        run()
        this.fibers.afterRun()
        if (++runs % runsPerLook === 0 && RealWorld.now() > end) {
          this.queue.unshift(...batch.slice(next + 1))
          return false
        }
      }
    }
    return true
  }
}
