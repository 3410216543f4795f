import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, TestClock } from "effect"
import * as Deadline from "../src/internal/lifecycle/Deadline.ts"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { leavesNothing } from "./support.ts"

describe("Deadline.within", () => {
  it.effect("gives the exit of work that ends in time, whatever it is", () =>
    Effect.gen(function* () {
      for (const exit of [Exit.succeed(1), Exit.fail("no"), Exit.die("bug")]) {
        assert.deepStrictEqual(yield* Deadline.within(exit, 1_000), Option.some(exit))
        const waiting = yield* Effect.fork(Deadline.within(Effect.zipRight(Effect.sleep(999), exit), 1_000))
        yield* TestClock.adjust(999)
        assert.deepStrictEqual(yield* Fiber.join(waiting), Option.some(exit))
      }
    }).pipe(leavesNothing)
  )

  it.effect("gives up at the limit, and interrupts the work without waiting for it", () =>
    Effect.gen(function* () {
      const stubborn = Effect.onInterrupt(Effect.never, () => Effect.sleep("1 hour"))
      const waiting = yield* Effect.fork(Effect.uninterruptible(Deadline.within(stubborn, 1_000)))
      yield* TestClock.adjust(999)
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(waiting), Option.none())
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )

  it.effect("waits on when its caller is interrupted where that is masked", () =>
    Effect.gen(function* () {
      const waiting = yield* Effect.fork(Effect.uninterruptible(Deadline.within(Effect.sleep(300), 1_000)))
      yield* TestClock.adjust(50)
      waiting.unsafeInterruptAsFork(waiting.id())
      yield* TestClock.adjust(249)
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust(1)
      assert.isNotNull(waiting.unsafePoll())
    }).pipe(leavesNothing)
  )

  it.effect("interrupts what is late, whenever fibers are interrupted in their course", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const work = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const steps = Array.from({ length: 30 }, (_, index) => index + 10)
      for (const most of steps) {
        const time = VirtualTime.make(0)
        const fiber = yield* time.fork(Effect.withMaxOpsBeforeYield(Deadline.within(work, 10), most))
        assert.isTrue(time.settle())
        time.moveTo(10)
        assert.isTrue(time.settle())
        assert.isNotNull(fiber.unsafePoll())
      }
      assert.strictEqual(interrupted, steps.length)
    })
  )
})
