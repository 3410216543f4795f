/** Tells of what may happen often: of the first at once, and then of the sum, once a second while it goes on. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** A count that is told of. */
export interface Tally {
  /** So many more. */
  readonly add: (count: number) => Effect.Effect<void>
  /** Tells of those that are left. No more come after it. */
  readonly end: Effect.Effect<void>
}

/** How long a sum is. */
const window = "1 second"

/** Makes a tally that tells by `tell`. */
export const make = (tell: (count: number) => Effect.Effect<void>): Tally => {
  let summing: Fiber.Fiber<void> | undefined
  let sum = 0

  const report = Effect.suspend(() => {
    const count = sum
    sum = 0
    return count === 0 ? Effect.void : tell(count)
  })
  const sumUp: Effect.Effect<void> = Effect.delay(
    Effect.suspend(() => {
      if (sum > 0) return Effect.zipRight(report, sumUp)
      summing = undefined
      return Effect.void
    }),
    window
  )
  const begin = Effect.map(Effect.forkDaemon(Effect.interruptible(sumUp)), (fiber) => {
    summing = fiber
  })

  return {
    add: (count) =>
      Effect.suspend(() => {
        sum += count
        return summing === undefined ? Effect.zipRight(report, begin) : Effect.void
      }),
    end: Effect.suspend(() => {
      const fiber = summing
      summing = undefined
      return Effect.zipRight(fiber === undefined ? Effect.void : Fiber.interruptFork(fiber), report)
    })
  }
}
