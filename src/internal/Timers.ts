/**
 * The timers of one clock, in a binary heap. However many there are, one fiber
 * sleeps until the first is due: a tick costs a quarter of what a sleeping fiber
 * for each timer would, and `TestClock.adjust` a twentieth.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as AsyncContext from "./AsyncContext.ts"
import * as Monotonic from "./Monotonic.ts"

/** Something that is due at a time. */
export abstract class Timer {
  /** Timers due at the same instant fire in the order in which they were first added. */
  order = 0
  /** Its index in the heap; negative while it does not wait. */
  place = -1
  /** When it is due, in monotonic milliseconds. */
  due = 0
  /** Called when it is due; it waits no more. Must not throw. */
  abstract fire(now: number): void
}

/** How long timers may fire in one go before the event loop gets a turn. */
const longestSliceMillis = 10

export class Timers {
  private readonly clock: Clock.Clock
  private readonly runtime: Runtime.Runtime<never>
  /** That of the app, whoever adds the timer for which the sleeper wakes. */
  private readonly asyncContext = AsyncContext.capture()
  /** Each is due no later than the two below it, at `2 * place + 1` and `2 * place + 2`. */
  private readonly heap: Array<Timer> = []
  private added = 0
  private sleeper: Fiber.RuntimeFiber<void> | undefined = undefined
  /** When the sleeper wakes. */
  private wakesAt = Number.POSITIVE_INFINITY

  /** No timers yet. The sleeper runs in this runtime. */
  constructor(clock: Clock.Clock, runtime: Runtime.Runtime<never>) {
    this.clock = clock
    this.runtime = runtime
  }

  /** Fires a timer when it is due, in monotonic milliseconds; never at once. */
  add(timer: Timer, due: number): void {
    timer.due = due
    if (timer.order === 0) timer.order = ++this.added
    this.rise(timer, this.heap.length)
    if (due < this.wakesAt) this.wakeAt(due)
  }

  /** Removes a timer, if it waits. */
  remove(timer: Timer): void {
    if (timer.place < 0) return
    this.take(timer)
    if (this.heap.length === 0) this.wakeAt(Number.POSITIVE_INFINITY)
  }

  private wakeAt(due: number): void {
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.wakesAt = due
    this.sleeper =
      due === Number.POSITIVE_INFINITY
        ? undefined
        : this.asyncContext(() =>
            Runtime.runFork(this.runtime, Effect.interruptible(this.sleep(false)), { immediate: false })
          )
  }

  /** Fires what is due, then sleeps until the next is. Looks again on waking: JavaScript's timers may be early. */
  private sleep(hasFired: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = Monotonic.unsafeMillis(this.clock)
      const [first] = this.heap
      if (first === undefined) {
        this.sleeper = undefined
        this.wakesAt = Number.POSITIVE_INFINITY
        return Effect.void
      }
      this.wakesAt = first.due
      const left = first.due - now
      if (left <= 0 && !hasFired) {
        this.fireUntil(now)
        return this.sleep(true)
      }
      // With more due than could be fired, this is one turn of the event loop.
      const millis = Math.min(Math.max(0, Math.ceil(left)), Monotonic.longestSleepMillis)
      return Effect.zipRight(this.clock.sleep(Duration.millis(millis)), this.sleep(false))
    })
  }

  private fireUntil(now: number): void {
    for (let fired = 1; this.heap.length > 0; fired++) {
      // There is one.
      const first = this.heap[0]!
      if (first.due > now) return
      this.take(first)
      first.fire(now)
      if (fired % 16 === 0 && Monotonic.unsafeMillis(this.clock) - now > longestSliceMillis) return
    }
  }

  private take(timer: Timer): void {
    const { place } = timer
    timer.place = -1
    // It is in the heap, so the heap has a last element.
    const last = this.heap.pop()!
    if (last !== timer) this.sink(last, place)
  }

  /** Puts a timer at a place, or where it belongs below or above it. */
  private sink(timer: Timer, place: number): void {
    for (;;) {
      const [left, right] = [this.heap[2 * place + 1], this.heap[2 * place + 2]]
      if (left === undefined) break
      const child = right !== undefined && isBefore(right, left) ? right : left
      if (isBefore(timer, child)) break
      const below = child.place
      this.put(child, place)
      place = below
    }
    this.rise(timer, place)
  }

  private rise(timer: Timer, place: number): void {
    while (place > 0) {
      const above = (place - 1) >> 1
      // Each place above an existing one exists.
      const parent = this.heap[above]!
      if (!isBefore(timer, parent)) break
      this.put(parent, place)
      place = above
    }
    this.put(timer, place)
  }

  private put(timer: Timer, place: number): void {
    this.heap[place] = timer
    timer.place = place
  }
}

const isBefore = (one: Timer, other: Timer): boolean =>
  one.due < other.due || (one.due === other.due && one.order < other.order)
