/** Counts the calls of handlers, so that nothing wins by not doing the work. */
import { Context, Effect } from "effect"

/** Calls of handlers, and whom to tell when the last is made. */
export interface Count {
  handled: number
  left: number
  done: () => void
}

export const makeCount = (): Count => ({ handled: 0, left: 0, done: () => {} })

/** What each handler does, of whatever bus. */
export const handled = (count: Count): void => {
  count.handled++
  if (--count.left === 0) count.done()
}

/** Sends, and waits until handlers have been called so often. */
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

/** Another handler with each call. */
export const handler = (): ((event: unknown) => Effect.Effect<void, never, Counter>) => () =>
  Effect.map(Counter, (count) => handled(count))

export const range = (n: number): Array<number> => Array.from({ length: n }, (_, i) => i)
