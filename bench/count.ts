/** Counts the calls of handlers, so that no variant wins by not doing the work. */
import { Context, Effect } from "effect"

/** Calls of handlers so far, calls still expected, and what to do after the last of them. */
export interface Count {
  handled: number
  left: number
  done: () => void
}

export const makeCount = (): Count => ({ handled: 0, left: 0, done: () => {} })

/** The work of every handler, on every bus. */
export const handled = (count: Count): void => {
  count.handled++
  if (--count.left === 0) count.done()
}

/** Sends, then waits until handlers have been called `calls` times. */
export const until = <R>(
  count: Count,
  calls: number,
  send: Effect.Effect<unknown, never, R>
): Effect.Effect<void, never, R> =>
  Effect.suspend(() => {
    count.left = calls
    return Effect.zipRight(
      send,
      Effect.async<void>((resume) => {
        if (count.left === 0) return resume(Effect.void)
        count.done = () => {
          count.done = () => {}
          resume(Effect.void)
        }
      })
    )
  })

/** The environment of handlers that are Effects. */
export class Counter extends Context.Tag("Counter")<Counter, Count>() {}

/** Returns a new handler with each call. */
export const handler = (): ((event: unknown) => Effect.Effect<void, never, Counter>) => () =>
  Effect.map(Counter, (count) => handled(count))

export const range = (n: number): Array<number> => Array.from({ length: n }, (_, i) => i)
