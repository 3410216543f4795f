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

/** What is due at some time. */
export abstract class Timer {
  /** When it is due, in monotonic milliseconds. */
  at = 0
  /** Those that are due at the very same time, which happens to clocks of tests, come in the order in which they were made. */
  order = 0
  /** Its place among those that wait; below zero when it does not wait. */
  place = -1
  /** It is due, and waits no more. Must not throw, nor take long. */
  abstract fire(now: number): void
}

/** The timers of a clock, soonest first: a binary heap, each above two that are due no sooner. */
export class Timers {
  private readonly clock: Clock.Clock
  private readonly runtime: Runtime.Runtime<never>
  private readonly fired: () => void
  private readonly waiting: Array<Timer> = []
  private added = 0
  private sleeper: Fiber.RuntimeFiber<void> | undefined = undefined
  /** When the sleeper looks again at the latest. */
  private looksAt = Number.POSITIVE_INFINITY

  /** None yet. The sleeper runs in this runtime. `fired` is called when all that were due have fired. */
  constructor(clock: Clock.Clock, runtime: Runtime.Runtime<never>, fired: () => void) {
    this.clock = clock
    this.runtime = runtime
    this.fired = fired
  }

  /** Fires a timer when it is due, never at once. */
  add(timer: Timer, at: number): void {
    timer.at = at
    if (timer.order === 0) timer.order = ++this.added
    this.waiting.push(timer)
    this.rise(timer, this.waiting.length - 1)
    if (timer.at >= this.looksAt) return
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.looksAt = timer.at
    this.sleeper = Runtime.runFork(this.runtime)(Effect.interruptible(this.sleep(false)), {
      immediate: false
    })
  }

  /** Takes a timer off, if it waits. */
  remove(timer: Timer): void {
    const { place } = timer
    if (place < 0) return
    timer.place = -1
    const last = this.waiting.pop()
    if (last !== undefined && last !== timer) this.settle(last, place)
    if (this.waiting.length > 0) return
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.rest()
  }

  /** Until nothing waits. Looks again when it wakes: JavaScript's timers may be early, and end at 24.8 days. */
  private sleep(hasFired: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = Monotonic.unsafeMillis(this.clock)
      const [first] = this.waiting
      if (first === undefined) return Effect.sync(() => this.rest())
      this.looksAt = first.at
      const left = first.at - now
      if (left <= 0 && !hasFired) {
        this.fireUntil(now)
        return this.sleep(true)
      }
      // Where more comes due than can be done, a turn of the event loop: all else must go on.
      const millis = Math.min(Math.max(0, Math.ceil(left)), Monotonic.longestSleepMillis)
      return Effect.zipRight(this.clock.sleep(Duration.millis(millis)), this.sleep(false))
    })
  }

  /** Nothing waits, so nobody sleeps. */
  private rest(): void {
    this.sleeper = undefined
    this.looksAt = Number.POSITIVE_INFINITY
  }

  private fireUntil(now: number): void {
    for (let [first] = this.waiting; first !== undefined && first.at <= now; [first] = this.waiting) {
      this.takeFirst(first)
      first.fire(now)
    }
    this.fired()
  }

  private takeFirst(first: Timer): void {
    first.place = -1
    const last = this.waiting.pop()
    if (last !== undefined && last !== first) this.settle(last, 0)
  }

  /** Puts a timer where there is room, or up or down from there. */
  private settle(timer: Timer, place: number): void {
    const { waiting } = this
    for (;;) {
      const left = 2 * place + 1
      const child = before(waiting[left + 1], waiting[left]) ? left + 1 : left
      const next = waiting[child]
      if (next === undefined || !before(next, timer)) break
      waiting[place] = next
      next.place = place
      place = child
    }
    this.rise(timer, place)
  }

  private rise(timer: Timer, place: number): void {
    const { waiting } = this
    for (;;) {
      const above = (place - 1) >> 1
      const next = waiting[above]
      if (next === undefined || !before(timer, next)) break
      waiting[place] = next
      next.place = place
      place = above
    }
    waiting[place] = timer
    timer.place = place
  }
}

const before = (one: Timer | undefined, other: Timer | undefined): boolean =>
  one !== undefined &&
  other !== undefined &&
  (one.at < other.at || (one.at === other.at && one.order < other.order))
