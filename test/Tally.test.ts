import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import * as Throttle from "../src/internal/journal/Throttle.ts"
import { leavesNothing } from "./support.ts"

describe("Tally", () => {
  it.effect("tells of the first at once, and then of the sum once a second while it goes on", () =>
    Effect.gen(function* () {
      const told: Array<number> = []
      const tally = Throttle.make((count) => Effect.sync(() => told.push(count)))
      yield* tally.add(1)
      yield* tally.add(2)
      yield* tally.add(3)
      assert.deepStrictEqual(told, [1])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(told, [1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(told, [1, 5])
      yield* TestClock.adjust("1 minute")
      yield* tally.add(4)
      assert.deepStrictEqual(told, [1, 5, 4])
      yield* tally.add(6)
      yield* tally.end
      assert.deepStrictEqual(told, [1, 5, 4, 6])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(told, [1, 5, 4, 6])
    }).pipe(leavesNothing)
  )
})
