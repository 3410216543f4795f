import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Scenario from "../src/testing/Scenario.ts"

const reached = new Map([
  ["Mailer: onStart", "start"],
  ["Mailer: listener paid", "handler"],
  ["Mailer: onStop", "stop"]
] as const)

describe("Scenario", () => {
  it("tries each trouble alone, simple ones first", () => {
    const seeds = Array.from(
      { length: 10 },
      (_, index) => `nothing goes wrong; the app is stopped (seed ${index + 1})`
    )
    assert.deepStrictEqual(Scenario.each({ reached, steps: { boot: 2, all: 4 } }).map(Scenario.describe), [
      "nothing goes wrong; the app is stopped by several at once",
      "nothing goes wrong; as a child it is restarted; the app is stopped",
      ...seeds,
      "Mailer: onStart fails; the app is stopped",
      "Mailer: onStart dies; the app is stopped",
      "Mailer: onStart is interrupted; the app is stopped",
      "Mailer: onStart hangs; the app is stopped",
      "Mailer: listener paid fails; the app is stopped",
      "Mailer: listener paid dies; the app is stopped",
      "Mailer: listener paid is interrupted; the app is stopped",
      "Mailer: listener paid hangs; the app is stopped",
      "Mailer: listener paid asks for the stop of its service; the app is stopped",
      "Mailer: listener paid takes a second longer; the app is stopped",
      "Mailer: onStop fails; the app is stopped",
      "Mailer: onStop dies; the app is stopped",
      "Mailer: onStop is interrupted; the app is stopped",
      "Mailer: onStop hangs; the app is stopped",
      "nothing goes wrong; the app is stopped after 1 step",
      "nothing goes wrong; the app is stopped after 2 steps",
      "nothing goes wrong; the app is stopped after 3 steps",
      "nothing goes wrong; the app is stopped after 4 steps"
    ])
  })

  it("stops what is long at points that are spread over all of it", () => {
    const stops = Scenario.each({ reached: new Map(), steps: { boot: 1_000, all: 1_300 } }).flatMap(
      ({ stopAfter }) => stopAfter ?? []
    )
    assert.deepStrictEqual(stops, [
      ...Array.from({ length: 100 }, (_, index) => 10 * (index + 1)),
      ...Array.from({ length: 30 }, (_, index) => 1_000 + 10 * (index + 1))
    ])
  })

  it("makes up the same scenarios from the same seed, with all that there is in them", () => {
    const known = { reached, steps: { boot: 2, all: 4 } }
    const scenarios = Scenario.atRandom(known, 100, 1)
    assert.deepStrictEqual(Scenario.atRandom(known, 100, 1), scenarios)
    assert.notDeepEqual(Scenario.atRandom(known, 100, 2), scenarios)
    assert.strictEqual(scenarios.length, 100)
    assert.isTrue(scenarios.some(({ faults = [] }) => faults.length === 3))
    assert.isTrue(scenarios.every(({ stopAfter = 1 }) => stopAfter >= 1 && stopAfter <= 4))
    for (const part of ["faults", "stopAfter", "stop", "isAdopted", "seed"] as const) {
      assert.isTrue(
        scenarios.some((scenario) => scenario[part] !== undefined),
        part
      )
    }
    // Where nothing is reached, nothing can go wrong.
    const none = Scenario.atRandom({ reached: new Map(), steps: { boot: 0, all: 0 } }, 10, 1)
    assert.isTrue(none.every(({ faults = [] }) => faults.length === 0))
  })

  it.effect("leaves out all that is not needed to show it", () =>
    Effect.gen(function* () {
      const long: Scenario.Scenario = { stopAfter: 40, stop: "twice", seed: 7, isAdopted: true }
      const short = yield* Scenario.shrink(long, long, Effect.succeed)
      assert.strictEqual(Scenario.describe(short), "nothing goes wrong; the app is stopped")
    })
  )

  it.effect("makes a scenario as short as what it shows lets it be", () =>
    Effect.gen(function* () {
      const fault = (at: string) => ({ at, trouble: "die" }) as const
      const shows = (scenario: Scenario.Scenario) =>
        Effect.succeed(
          scenario.faults?.some(({ at }) => at === "b") === true && (scenario.stopAfter ?? 0) > 3
            ? scenario
            : undefined
        )
      const long: Scenario.Scenario = {
        faults: [fault("a"), fault("b"), fault("c")],
        stopAfter: 40,
        stop: "twice",
        seed: 7,
        isAdopted: true
      }
      const { faults, isAdopted, seed, stop, stopAfter } = yield* Scenario.shrink(long, long, shows)
      assert.deepStrictEqual(
        { faults, isAdopted, seed, stop, stopAfter },
        {
          faults: [fault("b")],
          isAdopted: undefined,
          seed: undefined,
          stop: undefined,
          stopAfter: 5
        }
      )
    })
  )
})
