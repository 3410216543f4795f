/**
 * Time for measuring and waiting. The wall clock may be set back or forth while
 * a service runs; a deadline or an interval must not notice.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Milliseconds since some fixed point, by Effect's Clock. */
export const millis: Effect.Effect<number> = Effect.map(
  Clock.currentTimeNanos,
  (nanos) => Number(nanos / 1_000n) / 1_000
)

/** The same, read without an effect. */
export const unsafeMillis = (clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() / 1_000n) / 1_000

/** The time since a reading of `millis`. */
export const since = (start: number): Effect.Effect<Duration.Duration> =>
  Effect.map(millis, (now) => Duration.millis(Math.round(now - start)))

/** JavaScript's timers end at 24.8 days, and stop while a laptop sleeps; a day is below both troubles. */
export const longestSleepMillis = Duration.toMillis("1 day")

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

/**
 * Sleeps so many milliseconds, however many; with none, one turn of the event
 * loop, since what is repeated without a pause must not keep the process from
 * all else.
 */
export const sleep = (length: number): Effect.Effect<void> =>
  length <= 0 ? Effect.sleep(0) : Effect.flatMap(millis, (start) => sleepUntil(millis, () => start + length))
