/**
 * Tells readers that something has changed. Whatever changes is not slowed by
 * them: a reader is told once, however often it happened while it was away.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Something that changes. */
export interface Changes {
  /** It has changed. */
  readonly note: () => void
  /** An element at once, and one when it has changed since. */
  readonly stream: Stream.Stream<void>
}

/** Nothing has changed yet. */
export const make = (): Changes => {
  const readers = new Set<Reader>()
  return {
    note: () => {
      for (const reader of readers) reader.tell()
    },
    stream: Effect.acquireRelease(
      Effect.sync(() => {
        const reader = makeReader()
        readers.add(reader)
        return reader
      }),
      (reader) => Effect.sync(() => readers.delete(reader))
    ).pipe(
      Effect.map((reader) => Stream.repeatEffect(reader.next)),
      Stream.unwrapScoped
    )
  }
}

interface Reader {
  readonly tell: () => void
  readonly next: Effect.Effect<void>
}

const makeReader = (): Reader => {
  let isBehind = true
  let wake: (() => void) | undefined
  const take = () => {
    isBehind = false
    wake = undefined
  }
  return {
    tell: () => {
      isBehind = true
      wake?.()
    },
    next: Effect.async((resume) => {
      const done = () => {
        take()
        resume(Effect.void)
      }
      if (isBehind) done()
      else wake = done
    })
  }
}
