/**
 * Fibers with a head start: they run at once, on the stack of whoever forks or
 * wakes them, until they first wait. Most of what has a fiber only to be left
 * alone never waits, and so costs neither a turn of the scheduler nor an
 * awaiting of its end: a fifth of `Effect.fork` and `Fiber.await`.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import type { InnerFiber } from "./InnerFiber.ts"

/** Forks an effect that belongs to nobody, as `Effect.forkDaemon` does. */
export const fork = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => unsafeFork(runtime, effect))

/** As `fork`, where there is a runtime at hand. */
export const unsafeFork = <A, E, R>(
  runtime: Runtime.Runtime<R>,
  effect: Effect.Effect<A, E, R>
): Fiber.RuntimeFiber<A, E> => {
  depth++
  try {
    return Runtime.runFork(runtime)(effect, { immediate: depth <= deepest })
  } finally {
    depth--
  }
}

/** How many run on top of each other now. */
let depth = 0
/** Children within children within children would fill JavaScript's stack, of some ten thousand frames. */
const deepest = 50

/** Resumes a fiber that waits, and runs it at once, without its scheduler. */
export const wake = (fiber: InnerFiber, resume: () => void): void => {
  const { currentScheduler } = fiber
  const waking: Scheduler.Scheduler = {
    shouldYield: (fiber) => currentScheduler.shouldYield(fiber),
    scheduleTask: (task) => {
      fiber.currentScheduler = currentScheduler
      task()
    }
  }
  fiber.currentScheduler = waking
  resume()
  // It may have been about to run already.
  if (fiber.currentScheduler === waking) fiber.currentScheduler = currentScheduler
}
