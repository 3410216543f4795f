/**
 * Waits with a hard deadline, even for work that cannot be interrupted.
 *
 * `Effect.timeout` waits for the interrupted work to end, and has no effect in an
 * uninterruptible region, where finalizers run. Here the work runs in a fiber of
 * its own, so the caller continues at the deadline.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Latch from "../Latch.ts"
import * as Fork from "../Fork.ts"

/** Most stop steps end within a few turns of the scheduler. Polling first saves them a timer and its fiber. */
const turnsWithoutTimer = 8

/**
 * The exit of `work`, or none after `millis`. Late work is interrupted and
 * abandoned: the caller does not wait for its interruption.
 */
export const within = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Fork.now(Effect.interruptible(work)), (fiber) => {
      const exit = fiber.unsafePoll()
      if (exit !== null) return Effect.succeedSome(exit)
      return Effect.onInterrupt(restore(awaitWithin(fiber, millis)), () => Fiber.interruptFork(fiber))
    })
  )

/** Like `within`, for a fiber. */
export const awaitWithin = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  millis: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> => poll(fiber, millis, turnsWithoutTimer)

const poll = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  millis: number,
  turns: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.suspend(() => {
    const exit = fiber.unsafePoll()
    if (exit !== null) return Effect.succeed(Option.some(exit))
    if (turns > 0) return Effect.zipRight(Effect.yieldNow(), poll(fiber, millis, turns - 1))
    const done = Deferred.unsafeMake<Option.Option<Exit.Exit<A, E>>>(Latch.internal)
    fiber.addObserver((late) => Deferred.unsafeDone(done, Effect.succeed(Option.some(late))))
    // A daemon rather than a race: an interruption reaches the children of a fiber even in an uninterruptible region.
    // Uninterruptible, because `done` wakes the waiter, which interrupts this timer.
    const expire = Effect.uninterruptible(
      Effect.zipRight(Deferred.succeed(done, Option.none()), Fiber.interruptFork(fiber))
    )
    // TestClock has no fractions of a millisecond.
    const timer = Effect.interruptible(Effect.delay(expire, Math.ceil(millis)))
    return Effect.acquireUseRelease(Effect.forkDaemon(timer), () => Deferred.await(done), Fiber.interruptFork)
  })
