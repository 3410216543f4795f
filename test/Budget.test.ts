import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as RestartIntensity from "../src/internal/supervision/RestartIntensity.ts"

/** The moments at which a restart is allowed, of all that are asked for. */
const taken = (budget: RestartIntensity.RestartIntensity, moments: Iterable<number>) =>
  [...moments].filter((moment) => budget.take(moment))

describe("Budget", () => {
  it("allows a burst of so many, and the next one when the first is as old as the window", () => {
    const budget = RestartIntensity.make(3, 30_000)
    assert.deepStrictEqual(taken(budget, [0, 0, 0, 0, 29_999, 30_000]), [0, 0, 0, 30_000])
  })

  it("remembers what is older than the window, half as much with each further one", () => {
    // 5 at once count 2.5 after a window, and so leave room for 2 and not for 5.
    const budget = RestartIntensity.make(5, 30_000)
    assert.deepStrictEqual(
      taken(budget, [0, 0, 0, 0, 0, 30_000, 30_000, 30_000, 30_000]),
      [0, 0, 0, 0, 0, 30_000, 30_000, 30_000]
    )
    // Now it is 5.5, and 4.5 at the time at which it has been multiplied by 4.5 / 5.5.
    const recovered = 30_000 + 30_000 * Math.log2(5.5 / 4.5)
    assert.deepStrictEqual(taken(budget, [Math.floor(recovered), Math.ceil(recovered)]), [
      Math.ceil(recovered)
    ])
  })

  it("recovers, even if it is a budget of one", () => {
    const budget = RestartIntensity.make(1, 1_000)
    assert.deepStrictEqual(taken(budget, [0, 999, 1_000]), [0, 1_000])
  })

  it("does not count pauses as time, each moment once, and only as long as they last", () => {
    const budget = RestartIntensity.make(1, 1_000)
    assert.isTrue(budget.take(0))
    budget.pause(0, 60_000)
    budget.pause(30_000, 90_000)
    budget.pause(200_000, 300_000).end(200_500)
    // 90 seconds of the first two, and half a second of the last.
    assert.deepStrictEqual(taken(budget, [90_999, 91_000]), [91_000])
    assert.deepStrictEqual(taken(budget, [200_400]), [200_400])
    assert.deepStrictEqual(taken(budget, [201_499, 201_501]), [201_501])
  })

  it("is as it was when time has gone back", () => {
    const budget = RestartIntensity.make(1, 1_000)
    assert.deepStrictEqual(taken(budget, [5_000, 4_000, 5_999, 6_000]), [5_000, 6_000])
  })

  it.prop(
    "never allows more restarts than it has in any window, for any pattern of failures and pauses",
    [
      FastCheck.record({
        restarts: FastCheck.integer({ min: 1, max: 6 }),
        within: FastCheck.integer({ min: 1, max: 1_000 }),
        failures: FastCheck.array(
          FastCheck.record({
            after: FastCheck.nat(400),
            pause: FastCheck.nat(400),
            // Others that share the budget may fail during the pause.
            isAwaited: FastCheck.boolean()
          }),
          { maxLength: 200 }
        )
      })
    ],
    ([{ failures, restarts, within }]) => {
      const budget = RestartIntensity.make(restarts, within)
      const allowed: Array<number> = []
      let now = 0
      for (const { after, isAwaited, pause } of failures) {
        now += after
        if (!budget.take(now)) continue
        allowed.push(now)
        budget.pause(now, now + pause)
        if (isAwaited) now += pause
      }
      for (const [index, first] of allowed.entries()) {
        const next = allowed[index + restarts]
        if (next !== undefined) assert.isAtLeast(next - first, within)
      }
      assert.isAtLeast(allowed.length, Math.min(restarts, failures.length))
    },
    { fastCheck: { numRuns: 1_000 } }
  )
})
