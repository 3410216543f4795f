/**
 * Notifies readers that something has changed, without slowing the writer: a
 * reader that falls behind sees many changes as one.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Latch from "../Latch.ts"

/** A source of change notifications. */
export interface Notifier {
  /** Records a change. */
  readonly note: () => void
  /** Runs `read` now and `delay` after each change. Changes within the delay are combined. */
  readonly changes: <A>(read: Effect.Effect<A>, delay: Duration.DurationInput) => Stream.Stream<A>
}

/** Creates a notifier without readers. */
export const make = (): Notifier => {
  const readers = new Set<Latch.Latch>()
  const subscribe = Effect.acquireRelease(
    Effect.sync(() => {
      const reader = Latch.make()
      readers.add(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.delete(reader))
  )
  return {
    note: () => {
      for (const reader of readers) reader.unsafeOpen()
    },
    changes: (read, delay) =>
      Stream.unwrapScoped(
        Effect.map(subscribe, (reader) => {
          const nextChange = Effect.zipRight(reader.await, Effect.delay(reader.close, delay))
          return Stream.unfoldEffect(Effect.void, (wait: Effect.Effect<unknown>) =>
            Effect.map(Effect.zipRight(wait, read), (value) => Option.some([value, nextChange] as const))
          )
        })
      )
  }
}
