/** Reports the first occurrence immediately, then an aggregate once per second. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** A throttled counter. */
export interface Throttle {
  readonly add: (count: number) => Effect.Effect<void>
  /** Reports the remaining count. Nothing may be added afterwards. */
  readonly end: Effect.Effect<void>
}

const window = "1 second"

/** Creates a throttle that passes each total to `report`, and calls `onIdle` after a window without occurrences. */
export const make = (
  report: (count: number) => Effect.Effect<void>,
  onIdle: () => void = () => {}
): Throttle => {
  let timer: Fiber.Fiber<void> | undefined
  let total = 0

  const flush = Effect.suspend(() => {
    const count = total
    total = 0
    return count === 0 ? Effect.void : report(count)
  })
  // Runs until a window passes without occurrences.
  const flushEachWindow: Effect.Effect<void> = Effect.delay(
    Effect.suspend(() => {
      if (total > 0) return Effect.zipRight(flush, flushEachWindow)
      timer = undefined
      onIdle()
      return Effect.void
    }),
    window
  )
  const startTimer = Effect.map(Effect.forkDaemon(Effect.interruptible(flushEachWindow)), (fiber) => {
    timer = fiber
  })

  return {
    add: (count) =>
      Effect.suspend(() => {
        total += count
        return timer === undefined ? Effect.zipRight(flush, startTimer) : Effect.void
      }),
    end: Effect.suspend(() => {
      const running = timer
      timer = undefined
      return Effect.zipRight(running === undefined ? Effect.void : Fiber.interruptFork(running), flush)
    })
  }
}
