/** The streams of one event. They never slow a sender. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Envelope } from "./Envelope.ts"
import * as Feed from "../Feed.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Throttle from "../journal/Throttle.ts"

/** Those who read. */
export interface Streams {
  readonly send: (sent: Envelope) => Effect.Effect<unknown>
  readonly subscribe: Effect.Effect<Stream.Stream<Envelope>, never, Scope.Scope>
  readonly end: Effect.Effect<unknown>
}

/** How far a stream may fall behind: a burst of some seconds, 32 kB. */
const capacity = 4_096

/** No streams yet. */
export const make = (event: string, journal: Journal.Journal["Type"]): Streams => {
  const feeds = new Set<Feed.Feed<Envelope>>()
  const drops = Throttle.make((count) =>
    journal.append({
      _tag: "EventsDropped",
      service: "EventBus.stream",
      event,
      count,
      reason: "queue full"
    })
  )
  const add = Effect.sync(() => {
    const feed = Feed.make<Envelope>(capacity)
    feeds.add(feed)
    return feed
  })
  const leave = (feed: Feed.Feed<Envelope>) =>
    Effect.sync(() => {
      feeds.delete(feed)
      feed.close()
    })
  return {
    send: (sent) =>
      Effect.suspend(() => {
        let isLost = false
        for (const feed of feeds) {
          if (!feed.offer(sent)) isLost = true
        }
        return isLost ? drops.add(1) : Effect.void
      }),
    // One that has been read to its end, or as far as somebody wanted, loses nothing more.
    subscribe: Effect.map(Effect.acquireRelease(add, leave), (feed) =>
      Stream.ensuring(feed.stream, leave(feed))
    ),
    end: Effect.zipRight(
      drops.end,
      Effect.sync(() => feeds.forEach((feed) => feed.end()))
    )
  }
}
