/** Starts and stops the apps of the suites: a real `App.launch`, with its journal, but without a logger. */
import { Effect, Fiber, Layer, Logger } from "effect"
import { App } from "effect-services"

/** No side of a comparison logs. */
export const quiet = Logger.remove(Logger.defaultLogger)

export interface Launched {
  readonly stop: () => Promise<void>
}

const asApp = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<never, unknown> =>
  App.launch(layer, { stopTimeout: "10 minutes" })

/**
 * Launches a layer, and returns when it is built and the fibers that it forked
 * have started. What is written by hand is launched `by` `Layer.launch`.
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
      // An app that does not stop cleanly fails.
      if (exit._tag === "Success" || exit.cause._tag === "Fail") throw new Error(String(exit))
      await turn()
    }
  }
}

/** Lets everything run that is scheduled now. */
export const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Runs `n` effects, one after another. */
export const times = <E, R>(
  n: number,
  effect: (i: number) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i < n, body: () => effect(i++), step: () => {} })
  })
