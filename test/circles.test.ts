import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, TestClock } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { doing, leavesNothing, timeline } from "./support.ts"

const [A, B] = [Event.make("a", Schema.Void), Event.make("b", Schema.Void)]

describe("work that waits for the end of other work, which waits for it,", () => {
  it.effect("ends at once where two listeners cancel each other", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const cancels: { a: Effect.Effect<void>; b: Effect.Effect<void> } = { a: Effect.void, b: Effect.void }
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          const handler = (name: "a" | "b") => () =>
            Effect.sleep("1 second").pipe(
              Effect.zipRight(Effect.suspend(() => cancels[name === "a" ? "b" : "a"])),
              Effect.zipRight(say(`${name} done`))
            )
          cancels.a = (yield* Service.listen(A, handler("a"))).cancel
          cancels.b = (yield* Service.listen(B, handler("b"))).cancel
        })
      )
      const both = Effect.all([EventBus.emit(A, undefined), EventBus.emit(B, undefined)], { concurrency: 2 })
      const sending = yield* Effect.fork(Effect.provide(both, running.context))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines.toSorted(), ["a done", "b done"])
      const receipts = yield* Fiber.join(sending)
      assert.deepStrictEqual(
        receipts.map(({ handled }) => handled),
        [1, 1]
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("ends at once where two children stop each other", () =>
    Effect.gen(function* () {
      const stops: Record<string, Effect.Effect<void>> = {}
      class Child extends Service.make<Child>()("Child", {
        onStart: (name: string, other: string) =>
          Service.spawn(
            Effect.uninterruptible(
              Effect.zipRight(
                Effect.sleep("1 second"),
                Effect.suspend(() => stops[other]!)
              )
            )
          ).pipe(Effect.as({ name }))
      }) {}
      const running = yield* doing(
        "Parent",
        Effect.gen(function* () {
          stops["a"] = (yield* Service.adopt(Child.layer("a", "b"), { name: "a" })).stop
          stops["b"] = (yield* Service.adopt(Child.layer("b", "a"), { name: "b" })).stop
        })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* running.status).children, [])
      assert.notInclude(
        (yield* running.entries).map(({ _tag }) => _tag),
        "StopTimedOut"
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("ends at once where three tasks cancel each other in a ring", () =>
    Effect.gen(function* () {
      const cancels: Array<Effect.Effect<void>> = []
      const running = yield* doing(
        "L",
        Effect.forEach([0, 1, 2], (index) =>
          Effect.map(
            Service.spawn(
              Effect.uninterruptible(
                Effect.zipRight(
                  Effect.sleep("1 second"),
                  Effect.suspend(() => cancels[(index + 1) % 3]!)
                )
              )
            ),
            ({ await: end, cancel }) => {
              cancels.push(cancel)
              return end
            }
          )
        )
      )
      const ends = yield* Effect.fork(Effect.all(running.value))
      yield* TestClock.adjust("1 second")
      assert.lengthOf(yield* Fiber.join(ends), 3)
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
