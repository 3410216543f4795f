/**
 * Timers of one clock: however many there are, one fiber sleeps, until the
 * first of them is due.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Monotonic from "./Monotonic.ts"
import * as RunQueue from "./lifecycle/RunQueue.ts"

/** What is due at some time. */
export abstract class Timer {
  /** Those that are due at the very same time, which happens to clocks of tests, come in the order in which they were made. */
  order = 0
  /** Its place among those that wait; below zero when it does not wait. */
  place = -1
  /** It is due, and waits no more. Gives what is to begin, with all else that is due. Must not throw, nor take long. */
  abstract fire(now: number): RunQueue.Ready | undefined
}

/** The timers of a clock, soonest first: a binary heap, each above two that are due no sooner. */
export class Timers {
  private readonly clock: Clock.Clock
  private readonly runtime: Runtime.Runtime<never>
  private readonly waiting: Array<Timer> = []
  /** When each is due, beside each other: to look at each timer for it would cost ten times as much. */
  private readonly times: Array<number> = []
  private added = 0
  private sleeper: Fiber.RuntimeFiber<void> | undefined = undefined
  /** When the sleeper looks again at the latest. */
  private looksAt = Number.POSITIVE_INFINITY

  /** None yet. The sleeper runs in this runtime. */
  constructor(clock: Clock.Clock, runtime: Runtime.Runtime<never>) {
    this.clock = clock
    this.runtime = runtime
  }

  /** Fires a timer when it is due, in monotonic milliseconds, never at once. */
  add(timer: Timer, at: number): void {
    if (timer.order === 0) timer.order = ++this.added
    this.rise(timer, at, this.waiting.length)
    if (at >= this.looksAt) return
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.looksAt = at
    this.sleeper = Runtime.runFork(this.runtime)(Effect.interruptible(this.sleep(false)), {
      immediate: false
    })
  }

  /** Takes a timer off, if it waits. */
  remove(timer: Timer): void {
    if (timer.place < 0) return
    this.take(timer)
    if (this.waiting.length > 0) return
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.rest()
  }

  /** Until nothing waits. Looks again when it wakes: JavaScript's timers may be early, and end at 24.8 days. */
  private sleep(hasFired: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = Monotonic.unsafeMillis(this.clock)
      const [first] = this.times
      if (first === undefined) return Effect.sync(() => this.rest())
      this.looksAt = first
      const left = first - now
      if (left <= 0 && !hasFired) {
        this.fireUntil(now)
        return this.sleep(true)
      }
      // Where more comes due than can be done, a turn of the event loop: all else must go on.
      const millis = Math.min(Math.ceil(left), Monotonic.longestSleepMillis)
      return Effect.zipRight(this.clock.sleep(Duration.millis(millis)), this.sleep(false))
    })
  }

  /** Nothing waits, so nobody sleeps. */
  private rest(): void {
    this.sleeper = undefined
    this.looksAt = Number.POSITIVE_INFINITY
  }

  private fireUntil(now: number): void {
    const due: Array<RunQueue.Ready> = []
    for (let [first] = this.waiting; first !== undefined && this.times[0]! <= now; [first] = this.waiting) {
      this.take(first)
      const ready = first.fire(now)
      if (ready !== undefined) due.push(ready)
    }
    RunQueue.beginNow(due)
  }

  private take(timer: Timer): void {
    const { place } = timer
    timer.place = -1
    // There is one at least.
    const last = this.waiting.pop()!
    const at = this.times.pop()!
    if (last !== timer) this.settle(last, at, place)
  }

  // Each place below the length has a timer and its time.

  /** Puts a timer where there is room, or up or down from there. */
  private settle(timer: Timer, at: number, place: number): void {
    for (;;) {
      const left = 2 * place + 1
      const right = left + 1
      if (left >= this.waiting.length) break
      const isRight =
        right < this.waiting.length && this.isAfter(left, this.waiting[right]!, this.times[right]!)
      const child = isRight ? right : left
      if (this.isAfter(child, timer, at)) break
      this.put(this.waiting[child]!, this.times[child]!, place)
      place = child
    }
    this.rise(timer, at, place)
  }

  private rise(timer: Timer, at: number, place: number): void {
    while (place > 0) {
      const above = (place - 1) >> 1
      if (!this.isAfter(above, timer, at)) break
      this.put(this.waiting[above]!, this.times[above]!, place)
      place = above
    }
    this.put(timer, at, place)
  }

  private put(timer: Timer, at: number, place: number): void {
    this.waiting[place] = timer
    this.times[place] = at
    timer.place = place
  }

  /** Whether the timer at a place comes after another one. */
  private isAfter(place: number, timer: Timer, at: number): boolean {
    const time = this.times[place]!
    return time > at || (time === at && this.waiting[place]!.order > timer.order)
  }
}
