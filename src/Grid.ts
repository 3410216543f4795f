/** Runs an effect on a fixed grid of time, which does not drift: never two runs at once, and slots that were missed are skipped. */
import * as Effect from "effect/Effect"
import * as Monotonic from "./Monotonic.ts"

/** When the runs are, and who hears of it. */
export interface Options {
  readonly millis: number
  readonly first: "afterOnePeriod" | "atOnce"
  /** The next run is due in so many milliseconds. */
  readonly due?: (inMillis: number) => void
  /** So many slots came due while a run was still going. */
  readonly missed?: (slots: number) => Effect.Effect<void>
}

/** Runs until it is interrupted. */
export const run = <A, R>(
  tick: Effect.Effect<A, never, R>,
  { due = () => {}, first, millis, missed = () => Effect.void }: Options
): Effect.Effect<never, never, R> =>
  Effect.flatMap(Monotonic.millis, (start) => {
    // Slots are numbered from the start, so that a timer that is early or late never doubles or loses one.
    let slot = first === "atOnce" ? 0 : 1
    due(slot * millis)
    return Effect.forever(
      Effect.zipRight(
        Monotonic.sleepUntil(Monotonic.millis, () => start + slot * millis),
        tick
      ).pipe(
        Effect.zipRight(Monotonic.millis),
        Effect.flatMap((now) => {
          const next = Math.max(slot + 1, Math.ceil((now - start) / millis))
          const skipped = next - slot - 1
          slot = next
          due(start + slot * millis - now)
          return skipped === 0 ? Effect.void : missed(skipped)
        })
      )
    )
  })
