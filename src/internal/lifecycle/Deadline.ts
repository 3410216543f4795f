/**
 * Waits for work no longer than a limit, whatever the work does.
 *
 * `Effect.timeout` waits until the loser has ended, and has no effect in an
 * uninterruptible region, where finalizers run. Here the work has a fiber of its
 * own, so the waiting fiber goes on when the limit passes.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Latch from "../Latch.ts"
import * as Fork from "../Fork.ts"

/** Most steps of a stop end within a few turns of the scheduler: polling that often saves a timer and its fiber. */
const turnsWithoutTimer = 8

/**
 * The exit of `work`, or none when it took longer than `millis`. Late work is
 * interrupted and left: the caller does not wait for the interruption.
 */
export const within = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Fork.now(Fork.told(Effect.interruptible(work))), (fiber) => {
      const exit = fiber.unsafePoll()
      if (exit !== null) return Effect.succeedSome(exit)
      return Effect.onInterrupt(restore(awaitWithin(fiber, millis)), () => Fiber.interruptFork(fiber))
    })
  )

/** As `within`, for a fiber. */
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
    const done = Deferred.unsafeMake<Option.Option<Exit.Exit<A, E>>>(Latch.ours)
    fiber.addObserver((late) => Deferred.unsafeDone(done, Effect.succeed(Option.some(late))))
    // A daemon and no race: an interruption reaches the children of a fiber even where the fiber is masked.
    // Uninterruptible: the waiter, once told, interrupts this timer.
    const giveUp = Effect.uninterruptible(
      Effect.zipRight(Deferred.succeed(done, Option.none()), Fiber.interruptFork(fiber))
    )
    // A test clock has no parts of a millisecond.
    const timer = Effect.interruptible(Effect.delay(giveUp, Math.ceil(millis)))
    return Effect.acquireUseRelease(Effect.forkDaemon(timer), () => Deferred.await(done), Fiber.interruptFork)
  })
