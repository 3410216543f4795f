/**
 * Tells readers that something has changed. Whatever changes is not slowed by
 * them: a reader looks once, however often it happened while it was away.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Latch from "../Latch.ts"
import * as LeanStream from "../LeanStream.ts"

/** Something that changes. */
export interface Changes {
  /** It has changed. */
  readonly note: () => void
  /** What one sees of it now, and again so long after a change: whatever changes in that time is seen at once. */
  readonly looks: <A>(look: Effect.Effect<A>, after: Duration.DurationInput) => Stream.Stream<A>
}

/** Nothing has changed yet. */
export const make = (): Changes => {
  const readers = new Set<Latch.Latch>()
  const add = Effect.sync(() => {
    const reader = Latch.make()
    readers.add(reader)
    return reader
  })
  return {
    note: () => {
      for (const reader of readers) reader.unsafeOpen()
    },
    looks: (look, after) =>
      Effect.acquireRelease(add, (reader) => Effect.sync(() => readers.delete(reader))).pipe(
        Effect.map((reader) => {
          const pause = Effect.zipRight(reader.await, Effect.delay(reader.close, after))
          const next = (before: Effect.Effect<unknown>) =>
            Effect.map(Effect.zipRight(before, look), (seen) => Option.some([seen, pause] as const))
          return Stream.unfoldEffect(Effect.void, next)
        }),
        LeanStream.unwrapScoped
      )
  }
}
