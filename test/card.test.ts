/** The user's card, clause by clause. What is only said of an Effect is shown with Effect's own means. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Queue, Ref, Schema, Scope, Stream, TestClock } from "effect"
import { App, Event, EventBus, Service } from "effect-services"
import { build, leavesNothing, timeline } from "./support.ts"

const Sold = Event.make("sold", { total: Schema.Number })

describe("services are Effect Layers whose acquire/release scopes model onStart/onStop", () => {
  it.effect("a service is acquired and released with the scope of its layer", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Pool extends Service.make<Pool>()("Pool", {
        onStart: Effect.as(
          Effect.acquireRelease(say("acquired"), () => say("released")),
          { size: 3 }
        ),
        onStop: ({ size }) => say(`onStop of ${size}`)
      }) {}
      assert.isTrue(Layer.isLayer(Pool.layer))
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Pool.layer, scope)
      assert.deepStrictEqual(yield* Effect.provide(Pool, context), { size: 3 })
      assert.deepStrictEqual(lines, ["acquired"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(lines, ["acquired", "onStop of 3", "released"])
    }).pipe(leavesNothing)
  )
})

describe("interval and timeout are scheduled fibers", () => {
  it.effect("each run is forked by the clock's timer, when it is due", () =>
    Effect.gen(function* () {
      const fibers = yield* Queue.unbounded<Option.Option<Fiber.RuntimeFiber<unknown, unknown>>>()
      const note = Effect.suspend(() => Queue.offer(fibers, Fiber.getCurrentFiber()))
      class Ticking extends Service.make<Ticking>()("Ticking", {
        onStart: Effect.zipRight(
          Service.interval(note, "1 second"),
          Service.timeout(Effect.zipRight(note, Effect.never), "1500 millis")
        )
      }) {}
      const running = yield* build(Ticking.layer)
      assert.strictEqual(yield* Queue.size(fibers), 0)
      yield* TestClock.adjust("2 seconds")
      const [tick, timeout, last] = Array.from(yield* Queue.takeAll(fibers), Option.getOrThrow)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(tick!)))
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(last!)))
      assert.notStrictEqual(tick!.id().id, last!.id().id)
      assert.isNull(timeout!.unsafePoll(), "it still runs")
      yield* running.stop
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(timeout!)))
    }).pipe(leavesNothing)
  )
})

describe("spawn forks fibers into the service scope", () => {
  it.effect("they are interrupted and awaited when the scope of the layer closes", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const work = Effect.onInterrupt(Effect.never, () =>
        Effect.zipRight(Effect.yieldNow(), say("interrupted"))
      )
      class Working extends Service.make<Working>()("Working", {
        onStart: Effect.all([Service.spawn(work), Service.spawn(work)])
      }) {}
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Working.layer, scope)
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(lines, ["interrupted", "interrupted"])
    }).pipe(leavesNothing)
  )
})

describe("adopt merges child scopes", () => {
  it.effect("they close with the parent's, the last adopted first, before what the parent acquired", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const child = (name: string) =>
        Layer.scopedDiscard(Effect.addFinalizer(() => say(`child ${name} closed`)))
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Effect.gen(function* () {
          yield* Effect.addFinalizer(() => say("parent closed"))
          yield* Service.adopt(child("a"), { name: "a" })
          yield* Service.adopt(child("b"), { name: "b" })
        })
      }) {}
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Parent.layer, scope)
      assert.deepStrictEqual(lines, [])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(lines, ["child b closed", "child a closed", "parent closed"])
    }).pipe(leavesNothing)
  )
})

describe("the event bus is a PubSub provided through context", () => {
  it.effect("publish waits for room, as Effect's backpressure strategy does", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Till extends Service.make<Till>()("Till", {
        onStart: Service.listen(Sold, ({ total }) => Effect.delay(say(`${total}`), "1 second"), {
          capacity: 1
        })
      }) {}
      const running = yield* build(Layer.provideMerge(Till.layer, EventBus.layer))
      const publish = (total: number) => Effect.provide(EventBus.publish(Sold, { total }), running.context)
      yield* publish(1)
      yield* TestClock.adjust(0)
      yield* publish(2)
      const third = yield* Effect.fork(publish(3))
      yield* TestClock.adjust("999 millis")
      assert.isNull(third.unsafePoll(), "the PubSub is full, and its strategy is backpressure")
      yield* TestClock.adjust("1 milli")
      yield* Fiber.join(third)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(lines, ["1", "2", "3"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  for (const [onFull, handled] of [
    ["dropOldest", ["1", "3"]],
    ["dropNewest", ["1", "2"]]
  ] as const) {
    it.effect(`publish with ${onFull} never waits, as Effect's sliding and dropping strategies do`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Till extends Service.make<Till>()("Till", {
          onStart: Service.listen(Sold, ({ total }) => Effect.delay(say(`${total}`), "1 second"), {
            capacity: 1,
            onFull
          })
        }) {}
        const running = yield* build(Layer.provideMerge(Till.layer, EventBus.layer))
        const publish = (total: number) => Effect.provide(EventBus.publish(Sold, { total }), running.context)
        yield* publish(1)
        yield* TestClock.adjust(0)
        yield* publish(2)
        yield* publish(3)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(lines, [...handled])
        yield* running.stop
      }).pipe(leavesNothing)
    )
  }

  it.effect("a stream subscribes before it returns", () =>
    Effect.gen(function* () {
      const sold = yield* EventBus.stream(Sold)
      yield* EventBus.publish(Sold, { total: 1 })
      yield* EventBus.emit(Sold, { total: 2 })
      const two = yield* Stream.runCollect(Stream.take(sold, 2))
      assert.deepStrictEqual([...two], [{ total: 1 }, { total: 2 }])
    }).pipe(Effect.scoped, Effect.provide(EventBus.layer), leavesNothing)
  )
})

describe("used by composing Layers into an app, yielding services inside Effect.gen controllers, testing with TestClock", () => {
  it.effect("a controller asks a service what an hour of its interval has counted", () =>
    Effect.gen(function* () {
      class Uptime extends Service.make<Uptime>()("Uptime", {
        onStart: Effect.gen(function* () {
          const minutes = yield* Ref.make(0)
          yield* Service.interval(
            Ref.update(minutes, (n) => n + 1),
            "1 minute"
          )
          return { minutes: Ref.get(minutes) }
        })
      }) {}
      const controller = Effect.gen(function* () {
        const uptime = yield* Uptime
        return yield* uptime.minutes
      })
      const answer = yield* Ref.make(0)
      const asking = Layer.scopedDiscard(
        Effect.forkScoped(
          Effect.delay(
            Effect.flatMap(controller, (n) => Ref.set(answer, n)),
            "1 hour"
          )
        )
      )
      const app = yield* Effect.fork(App.launch(Layer.provide(asking, Uptime.layer)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(answer), 60)
      yield* Fiber.interrupt(app)
    }).pipe(leavesNothing)
  )
})
