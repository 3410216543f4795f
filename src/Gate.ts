/**
 * A gate that is open or closed, and waiting that is known to be ours: a test
 * in virtual time tells it from waiting for something real, as a promise, which
 * Effect's `Latch` and `never` look like.
 */
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

/** What waits at a gate, or for one of our deferred values, says that it waits for this. */
export const ours: FiberId.FiberId = FiberId.runtime(-2, 0)

/** A gate, as Effect's `Latch`. */
export interface Gate {
  readonly open: Effect.Effect<void>
  readonly close: Effect.Effect<void>
  readonly unsafeOpen: () => void
  readonly unsafeClose: () => void
  /** Waits until it is open. */
  readonly await: Effect.Effect<void>
}

/** A closed gate. */
export const make = (): Gate => {
  const waiting = new Set<() => void>()
  let isOpen = false
  const unsafeOpen = () => {
    isOpen = true
    for (const resume of waiting) resume()
    waiting.clear()
  }
  const unsafeClose = () => {
    isOpen = false
  }
  return {
    open: Effect.sync(unsafeOpen),
    close: Effect.sync(unsafeClose),
    unsafeOpen,
    unsafeClose,
    await: Effect.async<void>((resume) => {
      if (isOpen) return resume(Effect.void)
      const go = () => resume(Effect.void)
      waiting.add(go)
      return Effect.sync(() => waiting.delete(go))
    }, ours)
  }
}

/** Never ends, and holds a timer: JavaScript ends a process that has nothing to wait for but an Effect. */
export const never: Effect.Effect<never> = Effect.async<never>(() => {
  const timer = setInterval(() => {}, longestTimer)
  return Effect.sync(() => clearInterval(timer))
}, ours)

/** The longest that JavaScript's timers can be, in milliseconds. */
const longestTimer = 2 ** 31 - 1
