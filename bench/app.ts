/** Apps of services, as the suites run them: launched by `App`, journaled, but without a logger. */
import { Effect, Fiber, Layer, Logger } from "effect"
import { App } from "effect-services"

/** Nothing is printed, on no side of a comparison. */
export const quiet = Logger.remove(Logger.defaultLogger)

export interface Launched {
  readonly stop: () => Promise<void>
}

/** As an app that has time to stop. */
const asApp = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<never, unknown> =>
  App.launch(layer, { stopTimeout: "10 minutes" })

/**
 * Launches a layer, and returns when it is up and all that its start has forked
 * has begun. What is written by hand is run `by` `Layer.launch`.
 */
export const launch = async <A, E>(
  layer: Layer.Layer<A, E>,
  by: (layer: Layer.Layer<never, E>) => Effect.Effect<never, unknown> = asApp
): Promise<Launched> => {
  const app = await new Promise<Fiber.RuntimeFiber<never, unknown>>((resolve, reject) => {
    const whenUp = Layer.effectDiscard(Effect.sync(() => resolve(fiber))).pipe(Layer.provide(layer))
    const fiber: Fiber.RuntimeFiber<never, unknown> = Effect.runFork(
      by(whenUp).pipe(
        Effect.tapErrorCause((cause) => Effect.sync(() => reject(new Error(String(cause))))),
        Effect.provide(quiet)
      ),
      { immediate: false }
    )
  })
  await turn()
  return {
    stop: async () => {
      const exit = await Effect.runPromise(Fiber.interrupt(app))
      // An app that was not stopped cleanly fails.
      if (exit._tag === "Success" || exit.cause._tag === "Fail") throw new Error(String(exit))
      await turn()
    }
  }
}

/** What is scheduled now has begun. */
export const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Runs an effect `n` times, one after another, each made anew. */
export const times = <E, R>(
  n: number,
  effect: (i: number) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i < n, body: () => effect(i++), step: () => {} })
  })
