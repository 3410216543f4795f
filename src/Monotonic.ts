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

/** The time since a reading of `millis`. */
export const since = (start: number): Effect.Effect<Duration.Duration> =>
  Effect.map(millis, (now) => Duration.millis(Math.round(now - start)))
