import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber } from "effect"
import * as Backlog from "../src/internal/events/Backlog.ts"
import { leavesNothing } from "./support.ts"

const offerAll = <A>(backlog: Backlog.Backlog<A>, items: ReadonlyArray<A>) =>
  items.map((item) => {
    const became = backlog.offer(item)
    return typeof became === "string" ? became : { ...became, fiber: Effect.runFork(became.room) }
  })

const takeAll = <A>(backlog: Backlog.Backlog<A>) => {
  const taken: Array<A | undefined> = []
  while (!backlog.isEmpty()) taken.push(backlog.take())
  return taken
}

describe("Backlog", () => {
  it.effect("gives what is there before what waits, and that in the order in which it was offered", () =>
    Effect.gen(function* () {
      const backlog = Backlog.make<number>(2, "wait")
      backlog.seed([0])
      const [first, second, third, fourth] = offerAll(backlog, [1, 2, 3, 4])
      assert.deepStrictEqual([first, second], ["taken", "taken"])
      assert.deepStrictEqual([typeof third, typeof fourth], ["object", "object"])
      assert.deepStrictEqual(takeAll(backlog), [0, 1, 2, 3, 4])
    }).pipe(leavesNothing)
  )

  it.effect("takes no more when it has ended", () =>
    Effect.gen(function* () {
      const backlog = Backlog.make<number>(1, "wait")
      assert.strictEqual(backlog.offer(1), "taken")
      backlog.end()
      assert.strictEqual(backlog.offer(2), "refused")
      assert.deepStrictEqual([backlog.take(), backlog.take()], [1, undefined])
      yield* Effect.void
    }).pipe(leavesNothing)
  )

  it.effect("forgets an offer that is withdrawn", () =>
    Effect.gen(function* () {
      const backlog = Backlog.make<number>(1, "wait")
      const [, second, third] = offerAll(backlog, [1, 2, 3])
      assert.deepStrictEqual([typeof second, typeof third], ["object", "object"])
      if (typeof second === "object") second.withdraw()
      assert.deepStrictEqual(takeAll(backlog), [1, 3])
    })
  )

  it.effect("lets in what waits when it ends, and counts all of it when it is cleared", () =>
    Effect.gen(function* () {
      const ended = Backlog.make<number>(1, "wait")
      offerAll(ended, [1, 2, 3])
      ended.end()
      assert.deepStrictEqual(takeAll(ended), [1, 2, 3])

      const cleared = Backlog.make<number>(1, "wait")
      cleared.seed([0])
      const [, second] = offerAll(cleared, [1, 2, 3])
      assert.strictEqual(cleared.clear(), 4)
      assert.strictEqual(cleared.clear(), 0)
      if (typeof second === "object") yield* Fiber.join(second.fiber)
      assert.isUndefined(cleared.take())
    }).pipe(leavesNothing)
  )

  it.effect.prop(
    "is a list that is never longer than its capacity",
    [
      FastCheck.constantFrom<"dropOldest" | "dropNewest">("dropOldest", "dropNewest"),
      FastCheck.integer({ min: 1, max: 4 }),
      FastCheck.array(FastCheck.boolean(), { maxLength: 40 })
    ],
    ([onFull, capacity, steps]) =>
      Effect.gen(function* () {
        const backlog = Backlog.make<number>(capacity, onFull)
        let model: Array<number> = []
        for (const [n, isOffer] of steps.entries()) {
          if (isOffer) {
            const isFull = model.length >= capacity
            assert.strictEqual(backlog.offer(n), isFull ? "dropped" : "taken")
            if (!isFull) model.push(n)
            else if (onFull === "dropOldest") model = [...model.slice(1), n]
          } else if (model.length > 0) {
            assert.strictEqual(backlog.take(), model.shift())
          }
          assert.strictEqual(backlog.isEmpty(), model.length === 0)
        }
        assert.deepStrictEqual(takeAll(backlog), model)
      })
  )
})
