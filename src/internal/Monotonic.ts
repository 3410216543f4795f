/**
 * Monotonic time for measuring and waiting. Adjustments of the wall clock must
 * not affect deadlines and intervals.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Milliseconds since an arbitrary fixed point, from Effect's `Clock`. */
export const millis: Effect.Effect<number> = Effect.map(
  Clock.currentTimeNanos,
  (nanos) => Number(nanos / 1_000n) / 1_000
)

/** Reads `millis` synchronously. */
export const unsafeMillis = (clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() / 1_000n) / 1_000

/**
 * Whether a clock's monotonic time is its wall time, as in tests: then neither
 * can move without the other. A clock made from such a one, with methods of its
 * own, is another clock.
 */
export const isWallClock = (clock: Clock.Clock): boolean =>
  wallClocks.has(clock) ||
  // Effect's `TestClock`, whose sleepers each cost milliseconds of real time.
  ("adjust" in clock && "setTime" in clock && !Object.hasOwn(clock, "unsafeCurrentTimeMillis"))

/** Makes `isWallClock` true for a clock. */
export const markWallClock = (clock: Clock.Clock): Clock.Clock => {
  wallClocks.add(clock)
  return clock
}

const wallClocks = new WeakSet<Clock.Clock>()

/** The time elapsed since a reading of `millis`. */
export const since = (start: number): Effect.Effect<Duration.Duration> =>
  Effect.map(millis, (now) => Duration.millis(Math.round(now - start)))

/** The longest single timer. JavaScript timers overflow at 24.8 days and pause while the machine sleeps. */
export const longestSleepMillis = Duration.toMillis("1 day")

/** Sleeps until a clock reaches a time. Checks again after each timer, since timers may fire early. */
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

/**
 * Sleeps for any number of milliseconds. Zero yields to the event loop once, so
 * that work repeated without a pause does not block the process.
 */
export const sleep = (length: number): Effect.Effect<void> =>
  length <= 0 ? Effect.sleep(0) : Effect.flatMap(millis, (start) => sleepUntil(millis, () => start + length))
