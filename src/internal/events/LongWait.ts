/** Tells of what waits long: once for as long as anything waits. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** Makes what runs something that waits, and tells by `tell` when it, or others that wait, do so for `after`. */
export const make = (tell: Effect.Effect<void>, after: Duration.DurationInput) => {
  let waiting = 0
  let warning: Fiber.Fiber<void> | undefined
  const begin = Effect.suspend(() => {
    waiting++
    if (waiting > 1) return Effect.void
    return Effect.map(Effect.forkDaemon(Effect.interruptible(Effect.delay(tell, after))), (fiber) => {
      warning = fiber
    })
  })
  const end = Effect.suspend(() => {
    waiting--
    return waiting > 0 || warning === undefined ? Effect.void : Fiber.interruptFork(warning)
  })
  return <A>(waits: Effect.Effect<A>): Effect.Effect<A> =>
    Effect.acquireUseRelease(
      begin,
      () => waits,
      () => end
    )
}
