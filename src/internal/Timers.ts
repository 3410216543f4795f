/**
 * The timers of one clock, in a binary heap. One fiber sleeps until the first is
 * due, however many there are. A tick costs a quarter of what it costs with a
 * sleeping fiber for each timer, and `TestClock.adjust` a twentieth.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as AsyncContext from "./AsyncContext.ts"
import * as Monotonic from "./Monotonic.ts"

/** An entry of the heap. */
export abstract class Timer {
  /** Timers due at the same instant fire in the order in which they were first added. */
  order = 0
  /** Its index in the heap; negative while it is not in it. */
  index = -1
  /** When it is due, in monotonic milliseconds. */
  due = 0
  /** Called when it is due, after its removal from the heap. Must not throw. */
  abstract fire(now: number): void
}

/** How long timers may fire in a row before the event loop gets a turn: too short for anyone to notice. */
const longestSliceMillis = 10

/** The clock is read once per so many timers, since a reading costs about as much as a short tick. */
const timersPerReading = 16

export class Timers {
  private readonly clock: Clock.Clock
  private readonly runtime: Runtime.Runtime<never>
  /** That of the app, whoever adds the timer that the sleeper wakes for. */
  private readonly asyncContext = AsyncContext.capture()
  /** Each is due no later than its two children, at `2 * index + 1` and `2 * index + 2`. */
  private readonly heap: Array<Timer> = []
  private added = 0
  /** Sleeps until `wakesAt`. Undefined while there are no timers. */
  private sleeper: Fiber.RuntimeFiber<void> | undefined = undefined
  private wakesAt = Number.POSITIVE_INFINITY

  /** No timers yet. The sleeper runs in this runtime. */
  constructor(clock: Clock.Clock, runtime: Runtime.Runtime<never>) {
    this.clock = clock
    this.runtime = runtime
  }

  /** Adds a timer that is due at a time, in monotonic milliseconds. Never fires it synchronously. */
  add(timer: Timer, due: number): void {
    timer.due = due
    if (timer.order === 0) timer.order = ++this.added
    this.rise(timer, this.heap.length)
    if (due < this.wakesAt) this.wakeAt(due)
  }

  /** Removes a timer, if it is in the heap. */
  remove(timer: Timer): void {
    if (timer.index < 0) return
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

  /** Fires what is due, then sleeps until the next timer is. Checks again on waking, since JavaScript's timers may be early. */
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
      // While more timers are due, this sleeps for one turn of the event loop.
      const millis = Math.min(Math.max(0, Math.ceil(left)), Monotonic.longestSleepMillis)
      return Effect.zipRight(this.clock.sleep(Duration.millis(millis)), this.sleep(false))
    })
  }

  private fireUntil(now: number): void {
    for (let fired = 1; this.heap.length > 0; fired++) {
      // The heap is not empty.
      const first = this.heap[0]!
      if (first.due > now) return
      this.take(first)
      first.fire(now)
      if (fired % timersPerReading === 0 && Monotonic.unsafeMillis(this.clock) - now > longestSliceMillis)
        return
    }
  }

  private take(timer: Timer): void {
    const { index } = timer
    timer.index = -1
    // The timer is in the heap, so there is a last one.
    const last = this.heap.pop()!
    if (last !== timer) this.sink(last, index)
  }

  /** Puts a timer at an index, or where the order of the heap wants it, below or above. */
  private sink(timer: Timer, index: number): void {
    for (;;) {
      const [left, right] = [this.heap[2 * index + 1], this.heap[2 * index + 2]]
      if (left === undefined) break
      const child = right !== undefined && isBefore(right, left) ? right : left
      if (isBefore(timer, child)) break
      const below = child.index
      this.put(child, index)
      index = below
    }
    this.rise(timer, index)
  }

  private rise(timer: Timer, index: number): void {
    while (index > 0) {
      const above = (index - 1) >> 1
      // A parent has a lower index than its child, so it exists.
      const parent = this.heap[above]!
      if (!isBefore(timer, parent)) break
      this.put(parent, index)
      index = above
    }
    this.put(timer, index)
  }

  private put(timer: Timer, index: number): void {
    this.heap[index] = timer
    timer.index = index
  }
}

const isBefore = (one: Timer, other: Timer): boolean =>
  one.due < other.due || (one.due === other.due && one.order < other.order)
