/** Tells of dropped events: of the first at once, and then of their sum, once a second while it goes on. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Entry, Journal } from "./Journal.ts"

/** Why an event was dropped. */
type Why = Extract<Entry, { readonly _tag: "EventsDropped" }>["reason"]

/** How long drops are summed up. */
const window = "1 second"

/** Counts the drops of one listener. */
export const make = (
  journal: Journal["Type"],
  source: { readonly service: string; readonly event: string }
) => {
  let summing: Fiber.Fiber<void> | undefined
  let sum = 0

  const add = (reason: Why, count: number) =>
    journal.append({ _tag: "EventsDropped", ...source, count, reason })
  const report: Effect.Effect<void> = Effect.suspend(() => {
    const count = sum
    sum = 0
    return count === 0 ? Effect.void : add("queue full", count)
  })
  const sumUp: Effect.Effect<void> = Effect.delay(
    Effect.suspend(() => {
      if (sum > 0) return Effect.zipRight(report, sumUp)
      summing = undefined
      return Effect.void
    }),
    window
  )

  return {
    add,
    /** One more. */
    one: (reason: Why): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (reason !== "queue full") return add(reason, 1)
        sum++
        if (summing !== undefined) return Effect.void
        return Effect.zipRight(
          report,
          Effect.map(Effect.forkDaemon(Effect.interruptible(sumUp)), (fiber) => {
            summing = fiber
          })
        )
      }),
    /** Tells of those that are left. No more come after it. */
    end: Effect.suspend(() => {
      const fiber = summing
      summing = undefined
      return Effect.zipRight(fiber === undefined ? Effect.void : Fiber.interruptFork(fiber), report)
    })
  }
}
