/** Time as it is outside of tests, also where a test runner has replaced it since, as by `vi.useFakeTimers`. */
import * as Effect from "effect/Effect"

const { performance, setTimeout } = globalThis
const clock = performance.now.bind(performance)

/** Milliseconds since some moment. */
export const now = (): number => clock()

/** Calls back with a later turn of the event loop. */
export const later = (run: () => void): void => void setTimeout(run, 0)

/** Lets the event loop turn. */
export const turn = (millis: number): Effect.Effect<void> =>
  Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))
