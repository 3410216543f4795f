import { assert, describe, it } from "@effect/vitest"
import { type Clock, Duration, Effect, FastCheck, TestClock } from "effect"
import * as Monotonic from "../src/internal/Monotonic.ts"
import * as RunQueue from "../src/internal/lifecycle/RunQueue.ts"
import * as Timers from "../src/internal/Timers.ts"
import { leavesNothing, timeline } from "./support.ts"

class Noted extends Timers.Timer {
  readonly note: () => void

  constructor(note: () => void) {
    super()
    this.note = note
  }

  fire(): undefined {
    this.note()
  }
}

/** Timers of the test's clock, each with the time at which it is due, and what has fired. */
const made = (times: ReadonlyArray<number>) =>
  Effect.zipWith(Effect.clock, Effect.runtime(), (clock, runtime) => {
    const fired: Array<number> = []
    const timers = new Timers.Timers(clock, runtime)
    const start = Monotonic.unsafeMillis(clock)
    const all = times.map((at, index) => {
      const timer = new Noted(() => fired.push(index))
      timers.add(timer, start + at)
      return timer
    })
    return { all, fired, start, timers }
  })

describe("timers", () => {
  it.effect.prop(
    "fire in the order of their times, and then of their making, but for those that are taken off",
    {
      of: FastCheck.array(
        FastCheck.record({ at: FastCheck.integer({ min: -99, max: 0 }), isOff: FastCheck.boolean() }),
        { maxLength: 60, size: "max" }
      )
    },
    ({ of }) =>
      Effect.gen(function* () {
        const { all, fired, timers } = yield* made(of.map(({ at }) => at))
        for (const [index, { isOff }] of of.entries()) if (isOff) timers.remove(all[index]!)
        // All are due, but none has fired yet.
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        const left = of.map(({ at, isOff }, index) => ({ at, index, isOff })).filter(({ isOff }) => !isOff)
        assert.deepStrictEqual(
          fired,
          left
            .toSorted((one, other) => one.at - other.at || one.index - other.index)
            .map(({ index }) => index)
        )
      }).pipe(leavesNothing)
  )

  it.effect("fire that are added when all others have been taken off", () =>
    Effect.gen(function* () {
      const { all, fired, start, timers } = yield* made([10])
      yield* TestClock.adjust("5 millis")
      timers.remove(all[0]!)
      timers.add(all[0]!, start + 20)
      yield* TestClock.adjust("15 millis")
      assert.deepStrictEqual(fired, [0])
    }).pipe(leavesNothing)
  )

  it.effect("let what they give begin when all have fired that are due", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const ready = new RunQueue.RunQueue<RunQueue.Ready>({
        scheduleTask: () => {},
        shouldYield: () => false
      })
      class Beginning extends Timers.Timer {
        fire() {
          Effect.runSync(say("fires"))
          return { crew: { ready, begin: () => Effect.runSync(say("begins")) } }
        }
      }
      const { start, timers } = yield* made([])
      for (const at of [10, 20, 10]) timers.add(new Beginning(), start + at)
      yield* TestClock.adjust("20 millis")
      assert.deepStrictEqual(lines, ["fires", "fires", "begins", "begins", "fires", "begins"])
    }).pipe(leavesNothing)
  )

  it.effect("fire that are added later, and are due before all others", () =>
    Effect.gen(function* () {
      const { fired, start, timers } = yield* made([10, 100])
      yield* TestClock.adjust("10 millis")
      timers.add(new Noted(() => fired.push(2)), start + 50)
      yield* TestClock.adjust("40 millis")
      assert.deepStrictEqual(fired, [0, 2])
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(fired, [0, 2, 1])
    }).pipe(leavesNothing)
  )

  it.effect("leave a turn to all else, where more comes due than can be done", () =>
    Effect.gen(function* () {
      const sleeps: Array<number> = []
      let now = 0
      const clock: Clock.Clock = {
        ...(yield* Effect.clock),
        unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
        sleep: (duration) => Effect.sync(() => void sleeps.push(Duration.toMillis(duration)))
      }
      const timers = new Timers.Timers(clock, yield* Effect.runtime())
      let left = 3
      const late = new Noted(() => {
        now += 10
        if (--left > 0) timers.add(late, now - 5)
      })
      timers.add(late, now)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.deepStrictEqual([left, sleeps], [0, [0, 0]])
    }).pipe(leavesNothing)
  )
})
