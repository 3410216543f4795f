/**
 * Waits for work no longer than a limit, whatever the work does.
 *
 * `Effect.timeout` waits for the loser to end, and does nothing in an
 * uninterruptible region, which is where finalizers run. Here the work has a
 * fiber of its own, so the one who waits is free when the limit passes.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"

/**
 * The exit of `work`, or none when it took longer than `millis`. Work that is
 * late is interrupted and left: the caller does not wait for the interruption.
 */
export const within = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.flatMap(Effect.forkDaemon(Effect.interruptible(work)), (fiber) =>
    Effect.interruptible(Fiber.await(fiber)).pipe(
      Effect.timeoutOption(millis),
      Effect.tap((exit) => (Option.isNone(exit) ? Fiber.interruptFork(fiber) : Effect.void))
    )
  )
