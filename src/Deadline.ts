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

/** Most work ends within a few turns of the scheduler. Looking that often first saves a timer and two fibers. */
const turnsWithoutTimer = 8

/**
 * The exit of `work`, or none when it took longer than `millis`. Work that is
 * late is interrupted and left: the caller does not wait for the interruption.
 */
export const within = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.flatMap(Effect.forkDaemon(Effect.interruptible(work)), (fiber) =>
    awaitWithin(fiber, millis, turnsWithoutTimer)
  )

const awaitWithin = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  millis: number,
  turns: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.suspend(() => {
    const exit = fiber.unsafePoll()
    if (exit !== null) return Effect.succeed(Option.some(exit))
    if (turns > 0) return Effect.zipRight(Effect.yieldNow(), awaitWithin(fiber, millis, turns - 1))
    return Effect.interruptible(Fiber.await(fiber)).pipe(
      Effect.timeoutOption(millis),
      Effect.tap((late) => (Option.isNone(late) ? Fiber.interruptFork(fiber) : Effect.void))
    )
  })
