/**
 * A gate that is open or closed, and waiting that is known to be ours: a test
 * in virtual time tells it from waiting for something real, as a promise, which
 * Effect's `Latch` and `never` look like.
 */
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

/** What waits at a gate, or for one of our deferred values, says that it waits for this. */
export const ours: FiberId.FiberId = FiberId.runtime(-2, 0)

/** A gate, as Effect's `Latch`. There may be very many, so it is small while nobody waits. */
export class Latch {
  private isOpen = false
  private waiting: Set<() => void> | undefined = undefined

  get open(): Effect.Effect<void> {
    return Effect.sync(() => this.unsafeOpen())
  }

  get close(): Effect.Effect<void> {
    return Effect.sync(() => this.unsafeClose())
  }

  unsafeOpen(): void {
    const { waiting } = this
    this.isOpen = true
    this.waiting = undefined
    for (const resume of waiting ?? []) resume()
  }

  unsafeClose(): void {
    this.isOpen = false
  }

  /** Waits until it is open. */
  get await(): Effect.Effect<void> {
    return Effect.suspend(() => (this.isOpen ? Effect.void : this.wait))
  }

  private get wait(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      // It may have been opened since the fiber has looked, which may yield in between.
      if (this.isOpen) return resume(Effect.void)
      const go = () => resume(Effect.void)
      const waiting = (this.waiting ??= new Set())
      waiting.add(go)
      return Effect.sync(() => waiting.delete(go))
    }, ours)
  }
}

/** A closed gate. */
export const make = (): Latch => new Latch()

/** Never ends, and holds a timer: JavaScript ends a process that has nothing to wait for but an Effect. */
export const never: Effect.Effect<never> = Effect.async<never>(() => {
  const timer = setInterval(() => {}, longestTimer)
  return Effect.sync(() => clearInterval(timer))
}, ours)

/** The longest that JavaScript's timers can be, in milliseconds. */
const longestTimer = 2 ** 31 - 1
