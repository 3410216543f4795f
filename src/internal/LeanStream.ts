/** What `Stream` does, without what runs streams: that is 10 kB of each bundle, for apps that read none. */
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** As `Stream.unwrapScoped`. */
export const unwrapScoped = <A, E, R, R2>(
  make: Effect.Effect<Stream.Stream<A, E, R>, E, R2>
): Stream.Stream<A, E, R | Exclude<R2, Scope.Scope>> =>
  Stream.fromChannel(Channel.unwrapScoped(Effect.map(make, Stream.toChannel)))

/** As `Stream.concat` of some values and a stream. */
export const after = <A, E, R>(
  first: ReadonlyArray<A>,
  rest: Stream.Stream<A, E, R>
): Stream.Stream<A, E, R> =>
  first.length === 0
    ? rest
    : Stream.fromChannel(
        Channel.flatMap(Channel.write(Chunk.unsafeFromArray(first)), () => Stream.toChannel(rest))
      )
