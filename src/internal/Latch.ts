/**
 * A latch whose waits are marked as internal. Tests in virtual time must tell
 * internal waits from waits for real work, such as a promise, and waits on
 * Effect's own `Latch` and `never` look like the latter.
 */
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

/** The fiber id that internal waits, on a latch or a `Deferred`, are blocked on. No fiber has it. */
export const internal: FiberId.FiberId = FiberId.runtime(-2, 0)

/** Like Effect's `Latch`. A class that allocates on the first wait, to save memory with many latches. */
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

  /** Waits until the latch is open. */
  get await(): Effect.Effect<void> {
    return Effect.suspend(() => (this.isOpen ? Effect.void : this.wait))
  }

  private get wait(): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      // The fiber may have yielded since its check, and the latch may have opened meanwhile.
      if (this.isOpen) return resume(Effect.void)
      const go = () => resume(Effect.void)
      const waiting = (this.waiting ??= new Set())
      waiting.add(go)
      return Effect.sync(() => waiting.delete(go))
    }, internal)
  }
}

/** Makes a closed latch. */
export const make = (): Latch => new Latch()

/** Like `Effect.never`, which keeps the process alive with a timer, but an internal wait. */
export const never: Effect.Effect<never> = Effect.async<never>(() => {
  const timer = setInterval(() => {}, maxTimerMillis)
  return Effect.sync(() => clearInterval(timer))
}, internal)

/** The maximum delay of a JavaScript timer: 24.8 days. */
const maxTimerMillis = 2 ** 31 - 1
