/** The streams of one event. They never slow a sender. */
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Envelope } from "./Envelope.ts"
import type * as Journal from "./Journal.ts"
import * as Tally from "./Tally.ts"

/** Those who read. */
export interface Streams {
  readonly send: (sent: Envelope) => Effect.Effect<unknown>
  readonly subscribe: Effect.Effect<Stream.Stream<Envelope>, never, Scope.Scope>
  readonly end: Effect.Effect<unknown>
}

/** How far a stream may fall behind: a burst of some seconds; the buffer is 32 kB. */
const capacity = 4_096

/** One `PubSub` for all of them. An exit carries what was sent or, with none, the end. */
export const make = (event: string, journal: Journal.Journal["Type"]): Effect.Effect<Streams> =>
  Effect.map(PubSub.sliding<Exit.Exit<Envelope, Option.Option<never>>>(capacity), (pubsub) => {
    const drops = Tally.make((count) =>
      journal.append({
        _tag: "EventsDropped",
        service: "EventBus.stream",
        event,
        count,
        reason: "queue full"
      })
    )
    return {
      send: (sent) =>
        Effect.flatMap(pubsub.isFull, (isFull) =>
          Effect.zipRight(isFull ? drops.add(1) : Effect.void, PubSub.publish(pubsub, Exit.succeed(sent)))
        ),
      // `Stream.fromPubSub` would bring what runs streams into each bundle: 10 kB.
      subscribe: Effect.map(PubSub.subscribe(pubsub), (queue) =>
        Stream.flattenExitOption(Stream.fromQueue(queue, { shutdown: true }))
      ),
      end: Effect.zipRight(drops.end, PubSub.publish(pubsub, Exit.fail(Option.none())))
    }
  })

/** What came first, and then the rest. `Stream.concat` would bring what runs streams into each bundle. */
export const after = (
  first: ReadonlyArray<Envelope>,
  rest: Stream.Stream<Envelope>
): Stream.Stream<Envelope> =>
  Stream.fromChannel(
    Channel.flatMap(Channel.write(Chunk.unsafeFromArray(first)), () => Stream.toChannel(rest))
  )
