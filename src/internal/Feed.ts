/**
 * What a reader has not read yet, as a stream. It slides: of one that is too far
 * behind, the oldest is lost, so a reader never slows who writes. (Effect's
 * `Queue` and `PubSub` would do it, at 2 and 5 kB more of each bundle.)
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Latch from "./Latch.ts"

/** A feed of `A`. */
export interface Feed<A> {
  /** Gives the reader an item, unless the feed has ended. False when the oldest was lost for it. */
  readonly offer: (item: A) => boolean
  /** No more comes; what is there can still be read. */
  readonly end: () => void
  /** No more is read. */
  readonly close: () => void
  readonly stream: Stream.Stream<A>
}

/** A feed whose reader may be so many items behind. */
export const make = <A>(capacity: number): Feed<A> => {
  const news = Latch.make()
  let items: Array<A> = []
  let hasEnded = false

  const take: Effect.Effect<Chunk.Chunk<A>, Option.Option<never>> = Effect.suspend(() => {
    if (items.length > 0) {
      const taken = items
      items = []
      return Effect.succeed(Chunk.unsafeFromArray(taken))
    }
    if (hasEnded) return Effect.fail(Option.none())
    news.unsafeClose()
    return Effect.zipRight(news.await, take)
  })
  const end = () => {
    hasEnded = true
    news.unsafeOpen()
  }

  return {
    offer: (item) => {
      if (hasEnded) return true
      const isFull = items.length >= capacity
      if (isFull) items.shift()
      items.push(item)
      news.unsafeOpen()
      return !isFull
    },
    end,
    close: () => {
      items = []
      end()
    },
    stream: Stream.repeatEffectChunkOption(take)
  }
}
