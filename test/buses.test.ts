import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, MetricState, Schema, Stream, TestClock } from "effect"
import { Event, EventBus, Journal, Service } from "effect-services"
import { build, launch, leavesNothing, timeline } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

const warnings = Effect.map(Journal.recent, (entries) =>
  entries.flatMap((entry) =>
    entry._tag === "OtherBusListens" || entry._tag === "EventsDropped" ? [Journal.format(entry)] : []
  )
)

describe("a second bus in one app", () => {
  it.effect("is warned of, once for each event, by event, listener and sender", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Mailer extends Service.make<Mailer>()("Mailer", {
        onStart: Service.listen(Ping, ({ n }) => say(`mailer ${n}`))
      }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Service.interval(EventBus.emit(Ping, { n: 1 }), "1 second")
      }) {}
      const layer = Layer.mergeAll(
        Layer.provide(Mailer.layer, EventBus.layer),
        Layer.provide(Web.layer, EventBus.layerWith({ validate: false })),
        Journal.layer
      )
      const running = yield* build(layer)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, [])
      assert.deepStrictEqual(yield* Effect.provide(warnings, running.context), [
        "ping was sent by Web on a bus where nobody listens to it, while Mailer listens on another bus of the app. Provide one EventBus.layer to both."
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is nothing to warn of where both have their own listeners, or where nobody listens at all", () =>
    Effect.gen(function* () {
      class Alone extends Service.make<Alone>()("Alone", { onStart: EventBus.emit(Ping, { n: 1 }) }) {}
      class Other extends Service.make<Other>()("Other", { onStart: EventBus.emit(Ping, { n: 1 }) }) {}
      const layer = Layer.mergeAll(
        Layer.provide(Alone.layer, EventBus.layer),
        Layer.provide(Other.layer, EventBus.layerWith({})),
        Journal.layer
      )
      const running = yield* build(layer)
      assert.deepStrictEqual(yield* Effect.provide(warnings, running.context), [])
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("the events of a boot", () => {
  it.effect("are kept up to 10,000 of a kind, and what is dropped is journaled", () =>
    Effect.gen(function* () {
      const handled: Array<number> = []
      class Eager extends Service.make<Eager>()("Eager", {
        onStart: Effect.forEach(
          Array.from({ length: 120_000 }, (_, n) => n),
          (n) => EventBus.publish(Ping, { n }),
          { discard: true }
        )
      }) {}
      class Late extends Service.make<Late>()("Late", {
        onStart: Effect.zipRight(
          Eager,
          Service.listen(Ping, ({ n }) => Effect.sync(() => void handled.push(n)))
        )
      }) {}
      const layer = Late.layer.pipe(Layer.provide(Eager.layer), Layer.provide(EventBus.layer))
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const fiber = yield* Effect.provideService(launch(layer), Journal.Journal, journal)
      yield* TestClock.adjust("1 second")
      assert.isAtLeast(handled.length, 5_000)
      assert.isAtMost(handled.length, 10_000)
      assert.deepStrictEqual(
        handled,
        Array.from({ length: handled.length }, (_, index) => 120_000 - handled.length + index)
      )
      const dropped = (yield* journal.recent).reduce(
        (sum, entry) => (entry._tag === "EventsDropped" ? sum + entry.count : sum),
        0
      )
      assert.strictEqual(dropped, 120_000 - handled.length)
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("1 second")
    }).pipe(leavesNothing)
  )

  it.effect("reach, once, a listener and a stream that come while they are being journaled", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Late extends Service.make<Late>()("Late", {
        onStart: Effect.gen(function* () {
          yield* Effect.forkDaemon(EventBus.publish(Ping, { n: 1 }))
          yield* Effect.sleep("500 millis")
          const stream = yield* EventBus.stream(Ping)
          yield* Service.spawn(Stream.runForEach(stream, ({ n }) => say(`read ${n}`)))
          yield* Service.listen(Ping, ({ n }) => say(`heard ${n}`))
          yield* Effect.sleep("2 seconds")
        })
      }) {}
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const slow: typeof journal = {
        ...journal,
        reads: () => true,
        append: (entry) =>
          entry._tag === "EventPublished"
            ? Effect.delay(journal.append(entry), "1 second")
            : journal.append(entry)
      }
      const layer = Layer.provide(Late.layer, EventBus.layer)
      const fiber = yield* Effect.provideService(launch(layer), Journal.Journal, slow)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(lines.toSorted(), ["heard 1", "read 1"])
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("1 second")
    }).pipe(leavesNothing)
  )
})

describe("a listener that drops from a full queue", () => {
  it.effect("is not mistaken by events of the boot: what was published is handled or counted", () =>
    Effect.gen(function* () {
      const handled: Array<number> = []
      const publish = (from: number, to: number) =>
        Effect.forEach(
          Array.from({ length: to - from }, (_, index) => from + index),
          (n) => EventBus.publish(Ping, { n }),
          { discard: true }
        )
      class First extends Service.make<First>()("First", { onStart: publish(0, 5) }) {}
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.zipRight(
          First,
          Service.listen(
            Ping,
            ({ n }) =>
              Effect.delay(
                Effect.sync(() => handled.push(n)),
                "20 millis"
              ),
            { capacity: 2, onFull: "dropOldest" }
          )
        ),
        stopTimeout: "3 seconds"
      }) {}
      class Last extends Service.make<Last>()("Last", { onStart: Effect.zipRight(Slow, publish(10, 16)) }) {}
      const layer = Last.layer.pipe(
        Layer.provide(Slow.layer),
        Layer.provide(First.layer),
        Layer.provide(EventBus.layer)
      )
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const fiber = yield* Effect.provideService(launch(layer), Journal.Journal, journal)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(handled, [0, 1, 2, 3, 4, 14, 15])
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("10 seconds")
      const entries = yield* journal.recent
      const dropped = entries.reduce(
        (sum, each) => (each._tag === "EventsDropped" ? sum + each.count : sum),
        0
      )
      assert.strictEqual(dropped, 4)
      assert.notInclude(
        entries.map(({ _tag }) => _tag),
        "StopTimedOut"
      )
    }).pipe(leavesNothing)
  )
})

describe("a backlog of published events", () => {
  it.live("leaves the event loop its turns", () =>
    Effect.gen(function* () {
      let handled = 0
      const busy = Effect.sync(() => {
        const end = performance.now() + 0.1
        while (performance.now() < end);
        handled++
      })
      class Busy extends Service.make<Busy>()("Busy", {
        onStart: Service.listen(Ping, () => busy, { capacity: 5_000 })
      }) {}
      const running = yield* build(Layer.provideMerge(Busy.layer, EventBus.layer))
      let turns = 0
      const isDone = () => handled === 5_000
      const done = new Promise<void>((resolve) => {
        const count = () => {
          turns++
          if (isDone()) resolve()
          else setImmediate(count)
        }
        setImmediate(count)
      })
      yield* Effect.forEach(
        Array.from({ length: 5_000 }, (_, n) => n),
        (n) => Effect.provide(EventBus.publish(Ping, { n }), running.context),
        { discard: true }
      )
      yield* Effect.promise(() => done)
      // Half a second of handlers, in slices of 10 milliseconds and the handlers of a batch.
      assert.isAtLeast(turns, 10)
      yield* running.stop
    })
  )
})

describe("events that are made at run time", () => {
  it.effect("have metrics of a bounded number of names", () =>
    Effect.gen(function* () {
      class Many extends Service.make<Many>()("ManyEvents", {
        onStart: Effect.forEach(
          Array.from({ length: 80 }, (_, index) => Event.make(`made:${index}`, Schema.Void)),
          (event) => Service.listen(event, () => Effect.void),
          { discard: true }
        )
      }) {}
      const running = yield* build(Layer.provide(Many.layer, EventBus.layer))
      const labels = (yield* Metric.snapshot).flatMap(({ metricKey, metricState }) =>
        metricKey.name === "effect_services_listener_handled" &&
        MetricState.isCounterState(metricState) &&
        metricKey.tags.some(({ value }) => value === "ManyEvents")
          ? [metricKey.tags.find(({ key }) => key === "event")?.value]
          : []
      )
      assert.lengthOf(new Set(labels), 51)
      assert.include(labels, "other")
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
