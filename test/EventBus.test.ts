import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Logger,
  HashMap,
  Option,
  Redacted,
  Schema,
  type Scope,
  Stream,
  TestClock,
  Chunk
} from "effect"
import { Event, EventBus, Failure, Journal, Service } from "effect-services"
import { build, journalLines, launch, leavesNothing, timeline } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })
const Pong = Event.make("pong", { n: Schema.Number })

type OnStart = Effect.Effect<unknown, never, Service.Scope | EventBus.EventBus | Scope.Scope>

it("an event made of fields has a payload that is one object", () => {
  const Order = Event.make("order", { id: Schema.String, note: Schema.optional(Schema.String) })
  expectTypeOf(Order).toEqualTypeOf<
    Event.Event<"order", { readonly id: string; readonly note?: string | undefined }>
  >()
  expectTypeOf(Event.make("order", Schema.Void)).toEqualTypeOf<Event.Event<"order", void>>()
  // Machinery of other modules is not offered to users.
  expectTypeOf<keyof typeof Event>().toEqualTypeOf<"make" | "isEvent" | "PayloadError">()
  expectTypeOf<keyof typeof Failure>().toEqualTypeOf<
    "log" | "escalate" | "handle" | "restart" | "retry" | "isPolicy"
  >()
  expectTypeOf<keyof typeof Journal>().toEqualTypeOf<
    "Journal" | "layer" | "recent" | "stream" | "streamOf" | "format"
  >()
})

/** Runs a test beside services that listen; `stop` stops the one named so, under the journal and the bus. */
const listening = (services: Record<string, OnStart>) =>
  Effect.gen(function* () {
    const outer = yield* build(Layer.merge(EventBus.layer, Journal.layer))
    const stops: Record<string, Effect.Effect<void>> = {}
    for (const [name, onStart] of Object.entries(services)) {
      class Listening extends Service.make<Listening>()(name, { onStart }) {}
      stops[name] = (yield* Effect.provide(build(Listening.layer), outer.context)).stop
    }
    const inside = Effect.provide(outer.context)
    return { stops, inside, stop: Effect.zipRight(Effect.all(Object.values(stops)), outer.stop) }
  })

const outcomes = (receipt: EventBus.Receipt) => receipt.outcomes.map((_) => `${_._tag} ${_.service}`)

describe("emit", () => {
  it.effect("waits for every listener, isolates their failures, and tells of each", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        Slow: Service.listen(Ping, () => Effect.delay(say("slow"), "3 seconds")),
        Fails: Service.listen(Ping, () => Effect.fail("no")),
        Dies: Service.listen(Ping, () => Effect.die("bug")),
        Late: Service.listen(Ping, () => Effect.never, { timeout: "2 seconds" }),
        Other: Service.listen(Pong, () => say("other"))
      })
      const emitting = yield* Effect.fork(bus.inside(EventBus.emit(Ping, { n: 1 })))
      yield* TestClock.adjust("2999 millis")
      assert.isNull(emitting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const receipt = yield* Fiber.join(emitting)

      assert.deepStrictEqual(outcomes(receipt), [
        "Handled Slow",
        "Failed Fails",
        "Failed Dies",
        "TimedOut Late"
      ])
      assert.deepStrictEqual([receipt.event, receipt.handled, receipt.failed], ["ping", 1, 3])
      assert.deepStrictEqual(
        receipt.outcomes.map((_) => Duration.toMillis(_.took)),
        [3000, 0, 0, 2000]
      )
      assert.deepStrictEqual(lines, ["slow"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("without listeners has an empty receipt", () =>
    Effect.gen(function* () {
      const receipt = yield* EventBus.emit(Ping, { n: 1 })
      assert.deepStrictEqual(receipt, { event: "ping", handled: 0, failed: 0, outcomes: [] })
    }).pipe(Effect.provide(EventBus.layer), leavesNothing)
  )

  it.effect("runs a listener of the same event at once for each emit, whatever is queued", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) => Effect.zipRight(say(`begin ${n}`), Effect.sleep("1 second")))
      })
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      yield* bus.inside(EventBus.publish(Ping, { n: 2 }))
      yield* TestClock.adjust(0)
      const emits = yield* Effect.fork(
        bus.inside(
          Effect.all([EventBus.emit(Ping, { n: 3 }), EventBus.emit(Ping, { n: 4 })], { concurrency: 2 })
        )
      )
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines, ["begin 1", "begin 3", "begin 4"])
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(emits)
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("keeps the order of one fiber's emits", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) => Effect.delay(say(`${n}`), `${10 - n} seconds`))
      })
      const emits = yield* Effect.fork(
        bus.inside(Effect.forEach([1, 2, 3], (n) => EventBus.emit(Ping, { n })))
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(emits)
      assert.deepStrictEqual(lines, ["1", "2", "3"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("cannot deadlock in a cycle, within one chain or across concurrent ones", () =>
    Effect.gen(function* () {
      const handled: Array<string> = []
      const relay =
        (to: typeof Ping, name: string) =>
        ({ n }: { readonly n: number }) =>
          Effect.gen(function* () {
            yield* Effect.sleep("1 millis")
            if (n > 0) yield* EventBus.emit(to, { n: n - 1 })
            handled.push(`${name} ${n}`)
          })
      const bus = yield* listening({
        A: Service.listen(Ping, relay(Pong as any, "A")),
        B: Service.listen(Pong, relay(Ping, "B"))
      })
      const chains = yield* Effect.fork(
        bus.inside(
          Effect.all([EventBus.emit(Ping, { n: 50 }), EventBus.emit(Pong, { n: 50 })], { concurrency: 2 })
        )
      )
      yield* TestClock.adjust("1 second")
      const receipts = yield* Fiber.join(chains)
      assert.deepStrictEqual([receipts.map((_) => _.handled), handled.length], [[1, 1], 102])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("has an event handled by all before one that a handler of it has emitted", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        Inner: Service.listen(Pong, () => say("inner")),
        One: Service.listen(Ping, ({ n }) => Effect.zipRight(say("one"), EventBus.emit(Pong, { n }))),
        Two: Service.listen(Ping, () => say("two"))
      })
      yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
      // By workers that begin, and by workers that are woken.
      yield* bus.inside(EventBus.emit(Ping, { n: 2 }))
      assert.deepStrictEqual(lines, ["one", "two", "inner", "one", "two", "inner"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "begins after what was published before, and releases with its service what an answer acquires",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const answer = Failure.handle(() => Effect.acquireRelease(say("answer"), () => say("released")))
        const bus = yield* listening({
          L: Service.listen(Ping, ({ n }) => Effect.zipRight(say(String(n)), Effect.fail("no")), {
            onFailure: answer
          })
        })
        yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
        yield* bus.inside(Effect.zipRight(EventBus.publish(Ping, { n: 2 }), EventBus.emit(Ping, { n: 3 })))
        assert.deepStrictEqual(lines, ["1", "answer", "2", "answer", "3", "answer"])
        yield* bus.stop
        assert.deepStrictEqual(lines.slice(6), ["released", "released", "released"])
      }).pipe(leavesNothing)
  )

  it.effect("is safe for the stack in a chain of 2,000", () =>
    Effect.gen(function* () {
      const bus = yield* listening({
        A: Service.listen(Ping, ({ n }): Effect.Effect<unknown, never, EventBus.EventBus> =>
          n === 0 ? Effect.void : EventBus.emit(Ping, { n: n - 1 })
        )
      })
      const receipt = yield* bus.inside(EventBus.emit(Ping, { n: 2_000 }))
      assert.strictEqual(receipt.handled, 1)
      yield* bus.stop
    })
  )

  it.effect("does not cut its handlers when the emitter is interrupted", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.delay(say("handled"), "1 second"))
      })
      const emitting = yield* Effect.fork(bus.inside(EventBus.emit(Ping, { n: 1 })))
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(emitting)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["handled"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("is let go when the listener's service stops and its handler does not end in time", () =>
    Effect.gen(function* () {
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.uninterruptible(Effect.sleep("1 hour")))
      })
      const emitting = yield* Effect.fork(bus.inside(EventBus.emit(Ping, { n: 1 })))
      yield* TestClock.adjust(0)
      const stopping = yield* Effect.fork(bus.stops["L"]!)
      yield* TestClock.adjust("9999 millis")
      assert.isNull(emitting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(outcomes(yield* Fiber.join(emitting)), ["Interrupted L"])
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(outcomes(yield* bus.inside(EventBus.emit(Ping, { n: 2 }))), [])
      yield* TestClock.adjust("1 hour")
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("logs as the listener's service, whoever sends", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ annotations, message }) => {
        logged.push([String(message), Option.getOrUndefined(HashMap.get(annotations, "service"))])
      })
      const bus = yield* listening({ L: Service.listen(Ping, () => Effect.log("hello")) }).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      yield* bus.inside(EventBus.emit(Ping, { n: 1 })).pipe(Effect.annotateLogs("service", "X"))
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(logged.slice(-2), [
        ["hello", "L"],
        ["hello", "L"]
      ])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("answers a failure as the listener says", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.fail("no"), {
          onFailure: Failure.handle((cause, source) =>
            say(`${String(Cause.squash(cause))} in ${source.service}, ${source.work}`)
          )
        })
      })
      const receipt = yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
      assert.deepStrictEqual(outcomes(receipt), ["Failed L"])
      assert.deepStrictEqual(lines, ["no in L, listener ping"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )
})

describe("publish", () => {
  it.effect("returns at once, and has events handled one at a time in order", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) =>
          Effect.zipRight(say(`begin ${n}`), Effect.delay(say(`end ${n}`), "1 second"))
        )
      })
      for (const n of [1, 2, 3]) yield* bus.inside(EventBus.publish(Ping, { n }))
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("has several handled at once where the listener says so", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) => Effect.zipRight(say(`${n}`), Effect.sleep("1 second")), {
          concurrency: 2
        })
      })
      for (const n of [1, 2, 3]) yield* bus.inside(EventBus.publish(Ping, { n }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines, ["1", "2"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(lines, ["1", "2", "3"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "waits for a full queue by default, holds up no other listener, and says so when it is long",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const bus = yield* listening({
          Full: Service.listen(Ping, () => Effect.sleep("5 seconds"), { capacity: 1 }),
          Free: Service.listen(Ping, ({ n }) => say(`${n}`))
        })
        for (const n of [1, 2]) {
          yield* bus.inside(EventBus.publish(Ping, { n }))
          yield* TestClock.adjust(0)
        }
        const third = yield* Effect.fork(bus.inside(EventBus.publish(Ping, { n: 3 })))
        yield* TestClock.adjust("2999 millis")
        assert.deepStrictEqual(lines, ["1", "2", "3"])
        assert.notInclude(yield* bus.inside(journalLines), "PublishWaiting Full")
        yield* TestClock.adjust("1 millis")
        assert.include(yield* bus.inside(journalLines), "PublishWaiting Full")
        assert.isNull(third.unsafePoll())
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(third)
        const stopping = yield* Effect.fork(bus.stop)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(stopping)
      }).pipe(leavesNothing)
  )

  for (const [onFull, kept] of [
    ["dropOldest", ["1", "5", "6"]],
    ["dropNewest", ["1", "2", "3"]]
  ] as const) {
    it.effect(`drops from a full queue where the listener says "${onFull}", and tells how many`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const bus = yield* listening({
          L: Service.listen(Ping, ({ n }) => Effect.delay(say(`${n}`), "1 second"), { capacity: 2, onFull })
        })
        yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
        yield* TestClock.adjust(0)
        for (const n of [2, 3, 4, 5, 6]) yield* bus.inside(EventBus.publish(Ping, { n }))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(lines, [...kept])
        yield* bus.stop
        const entries = yield* bus.inside(Journal.recent)
        assert.deepStrictEqual(
          entries.flatMap((entry) => (entry._tag === "EventsDropped" ? [Journal.format(entry)] : [])),
          [
            "L: the listener of ping missed 1 event, queue full",
            "L: the listener of ping missed 2 events, queue full"
          ]
        )
      }).pipe(leavesNothing)
    )
  }

  it.effect(
    "decides about every queue before it waits for any, so that no full listener holds up another",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const slowly = (name: string, takes: Duration.DurationInput) => (ping: { readonly n: number }) =>
          Effect.delay(say(`${name} ${ping.n}`), takes)
        const bus = yield* listening({
          Stuck: Service.listen(Ping, slowly("stuck", "1 hour"), { capacity: 1 }),
          Drops: Service.listen(Ping, slowly("drops", "1 second"), { capacity: 1, onFull: "dropOldest" }),
          Waits: Service.listen(Ping, slowly("waits", "1 second"), { capacity: 1 })
        })
        const publishing = yield* Effect.fork(
          bus.inside(
            Effect.forEach(
              [1, 2, 3, 4],
              (n) => Effect.zipRight(EventBus.publish(Ping, { n }), Effect.yieldNow()),
              {
                concurrency: "unbounded"
              }
            )
          )
        )
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(
          lines.filter((line) => line.startsWith("waits")),
          ["waits 1", "waits 2", "waits 3", "waits 4"]
        )
        assert.strictEqual(
          lines.findLast((line) => line.startsWith("drops")),
          "drops 4"
        )
        yield* Fiber.interrupt(publishing)
        const stopping = yield* Effect.fork(bus.stop)
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(stopping)
      }).pipe(leavesNothing)
  )

  it.effect("takes an event back from every listener that still has it waiting, when it is interrupted", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const slowly = (name: string) => (ping: { readonly n: number }) =>
        Effect.delay(say(`${name} ${ping.n}`), "1 minute")
      const bus = yield* listening({
        A: Service.listen(Ping, slowly("a"), { capacity: 1 }),
        B: Service.listen(Ping, slowly("b"), { capacity: 1 })
      })
      for (const n of [1, 2]) {
        yield* bus.inside(EventBus.publish(Ping, { n }))
        yield* TestClock.adjust(0)
      }
      const third = yield* Effect.fork(
        bus.inside(Effect.timeoutOption(EventBus.publish(Ping, { n: 3 }), "1 second"))
      )
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isNone(yield* Fiber.join(third)))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(lines.toSorted(), ["a 1", "a 2", "b 1", "b 2"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("warns once for as long as publishers wait, however many they are", () =>
    Effect.gen(function* () {
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.sleep("5 seconds"), { capacity: 1 })
      })
      const all = Effect.forEach([1, 2, 3, 4, 5], (n) => EventBus.publish(Ping, { n }), {
        concurrency: "unbounded"
      })
      const publishing = yield* Effect.fork(bus.inside(all))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(publishing)
      yield* TestClock.adjust("1 minute")
      const waits = (yield* bus.inside(journalLines)).filter((line) => line.startsWith("PublishWaiting"))
      assert.deepStrictEqual(waits, ["PublishWaiting L"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect.prop(
    "loses nothing in silence: what was published is handled or counted as dropped, in order",
    [
      FastCheck.constantFrom<"wait" | "dropOldest" | "dropNewest">("wait", "dropOldest", "dropNewest"),
      FastCheck.integer({ min: 1, max: 3 }),
      FastCheck.array(FastCheck.tuple(FastCheck.integer({ min: 1, max: 6 }), FastCheck.nat(30)), {
        maxLength: 8
      }),
      FastCheck.constantFrom(10, 4_000)
    ],
    ([onFull, capacity, bursts, takes]) =>
      Effect.gen(function* () {
        const handled: Array<number> = []
        const bus = yield* listening({
          L: Service.listen(
            Ping,
            ({ n }) =>
              Effect.delay(
                Effect.sync(() => handled.push(n)),
                takes
              ),
            {
              capacity,
              onFull
            }
          )
        })
        let sent = 0
        const publishers: Array<Fiber.Fiber<void>> = []
        for (const [burst, pause] of bursts) {
          for (let k = 0; k < burst; k++)
            publishers.push(yield* Effect.fork(bus.inside(EventBus.publish(Ping, { n: sent++ }))))
          yield* TestClock.adjust(pause)
        }
        const stopping = yield* Effect.fork(bus.stop)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(stopping)
        yield* Fiber.awaitAll(publishers)
        const entries = yield* bus.inside(Journal.recent)
        const dropped = entries.reduce(
          (sum, entry) => (entry._tag === "EventsDropped" ? sum + entry.count : sum),
          0
        )
        assert.strictEqual(handled.length + dropped, sent)
        assert.deepStrictEqual(
          handled,
          handled.toSorted((a, b) => a - b)
        )
        if (onFull === "wait" && takes === 10) assert.strictEqual(dropped, 0)
      }).pipe(leavesNothing),
    { fastCheck: { numRuns: 25 }, timeout: 60_000 }
  )

  it.effect("has what was accepted handled before its listener's service stops", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) => Effect.delay(say(`${n}`), "1 second"))
      })
      for (const n of [1, 2, 3]) yield* bus.inside(EventBus.publish(Ping, { n }))
      const stopping = yield* Effect.fork(bus.stop)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(lines, ["1", "2", "3"])
    }).pipe(leavesNothing)
  )

  it.effect("counts and journals what could not be handled before the deadline of a stop", () =>
    Effect.gen(function* () {
      const bus = yield* listening({ L: Service.listen(Ping, () => Effect.sleep("4 seconds")) })
      for (const n of [1, 2, 3, 4, 5]) yield* bus.inside(EventBus.publish(Ping, { n }))
      const stopping = yield* Effect.fork(bus.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      const entries = yield* bus.inside(Journal.recent)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "EventsDropped" ? [Journal.format(entry)] : [])),
        ["L: the listener of ping missed 3 events, service stopped"]
      )
    }).pipe(leavesNothing)
  )

  it.effect("is not missed when its handler stops its service, and what then ends is counted once", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let stop: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        L: Service.listen(Ping, () =>
          Effect.zipRight(
            Effect.suspend(() => stop),
            say("done")
          )
        )
      })
      stop = bus.stops["L"]!
      for (const n of [1, 2]) yield* bus.inside(EventBus.publish(Ping, { n }))
      yield* TestClock.adjust("20 seconds")
      yield* bus.stop
      assert.deepStrictEqual(lines, ["done"])
      const entries = yield* bus.inside(Journal.recent)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "EventsDropped" ? [entry.count] : [])),
        [1]
      )
    }).pipe(leavesNothing)
  )

  it.effect("is cut when its service stops, also where another service's has been handled before", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const hang = Effect.onInterrupt(Effect.never, () => say("cut"))
      class First extends Service.make<First>()("First", {
        onStart: Service.listen(Ping, () => Effect.void)
      }) {}
      class Second extends Service.make<Second>()("Second", {
        onStart: Effect.zipRight(
          First,
          Service.listen(Ping, () => hang)
        )
      }) {}
      const layer = Layer.provideMerge(Second.layer, First.layer)
      const app = yield* build(Layer.provideMerge(layer, Layer.merge(EventBus.layer, Journal.layer)))
      yield* Effect.provide(EventBus.publish(Ping, { n: 1 }), app.context)
      const stopping = yield* Effect.fork(app.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(lines, ["cut"])
    }).pipe(leavesNothing)
  )

  it.effect("is cut alone when it is cancelled and its handler does not end", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const hang = (name: string) => () => Effect.onInterrupt(Effect.never, () => say(`${name} cut`))
      let cancel: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        L: Effect.gen(function* () {
          cancel = (yield* Service.listen(Ping, hang("one"))).cancel
          yield* Service.listen(Ping, hang("other"))
        })
      })
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      const cancelling = yield* Effect.fork(cancel)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(cancelling)
      assert.deepStrictEqual(lines, ["one cut"])
      const stopping = yield* Effect.fork(bus.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(lines, ["one cut", "other cut"])
    }).pipe(leavesNothing)
  )

  it.effect("does not wait for a listener whose service stops while its queue is full", () =>
    Effect.gen(function* () {
      const bus = yield* listening({ L: Service.listen(Ping, () => Effect.never, { capacity: 1 }) })
      for (const n of [1, 2]) {
        yield* bus.inside(EventBus.publish(Ping, { n }))
        yield* TestClock.adjust(0)
      }
      const third = yield* Effect.fork(bus.inside(EventBus.publish(Ping, { n: 3 })))
      yield* TestClock.adjust(0)
      const stopping = yield* Effect.fork(bus.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      yield* Fiber.join(third)
      const entries = yield* bus.inside(Journal.recent)
      const missed = entries.reduce(
        (sum, entry) => (entry._tag === "EventsDropped" ? sum + entry.count : sum),
        0
      )
      assert.strictEqual(missed, 3, "the one in its handler, the one in the queue, the one that waited")
    }).pipe(leavesNothing)
  )
})

describe("listen", () => {
  it.effect("can be cancelled, and handles first what it has accepted", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let cancel: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        L: Effect.map(
          Service.listen(Ping, ({ n }) => say(`${n}`)),
          (listener) => (cancel = listener.cancel)
        )
      })
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      yield* cancel
      yield* bus.inside(EventBus.publish(Ping, { n: 2 }))
      assert.deepStrictEqual(outcomes(yield* bus.inside(EventBus.emit(Ping, { n: 3 }))), [])
      assert.deepStrictEqual(lines, ["1"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("can be cancelled from within its own handler", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let cancel: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        L: Effect.map(
          Service.listen(Ping, ({ n }) =>
            Effect.zipRight(
              say(`${n}`),
              Effect.suspend(() => cancel)
            )
          ),
          (listener) => (cancel = listener.cancel)
        )
      })
      yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
      yield* bus.inside(EventBus.emit(Ping, { n: 2 }))
      assert.deepStrictEqual(lines, ["1"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("goes on, and says so, when a handler interrupts the very fiber that it runs in", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const suicide = Effect.withFiberRuntime<void>((fiber) => {
        fiber.unsafeInterruptAsFork(fiber.id())
        return Effect.yieldNow()
      })
      const bus = yield* listening({
        L: Service.listen(Ping, ({ n }) => (n === 1 ? suicide : n === 2 ? Effect.interrupt : say(`${n}`)))
      })
      for (const n of [1, 2, 3]) yield* bus.inside(EventBus.publish(Ping, { n }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines, ["3"])
      assert.include(yield* bus.inside(journalLines), "WorkInterrupted L")
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("answers a handler that passes its timeout as the listener says", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const onFailure = Failure.handle((cause: Cause.Cause<Cause.TimeoutException>) =>
        say(String(Cause.squash(cause)))
      )
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.never, { timeout: "1 second", onFailure })
      })
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["TimeoutException: the handler passed its timeout"])
      assert.include(yield* bus.inside(journalLines), "HandlerFailed L")
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("is left, and named, when cancelled with a handler that does not end", () =>
    Effect.gen(function* () {
      let cancel: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        L: Effect.map(
          Service.listen(Ping, () => Effect.never),
          (listener) => (cancel = listener.cancel)
        )
      })
      yield* bus.inside(EventBus.publish(Ping, { n: 1 }))
      const cancelling = yield* Effect.fork(cancel)
      yield* TestClock.adjust("9999 millis")
      assert.isNull(cancelling.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(cancelling)
      assert.include(yield* bus.inside(journalLines), "StopTimedOut L")
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("can be cancelled by a handler of an event that its own handler emits and waits for", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let cancel: Effect.Effect<void> = Effect.void
      const bus = yield* listening({
        A: Effect.map(
          Service.listen(Ping, ({ n }) => Effect.zipRight(EventBus.emit(Pong, { n }), say(`A ${n}`))),
          (listener) => (cancel = listener.cancel)
        ),
        B: Service.listen(Pong, () =>
          Effect.timeout(
            Effect.suspend(() => cancel),
            "1 hour"
          )
        )
      })
      const receipt = yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
      assert.deepStrictEqual(outcomes(receipt), ["Handled A"])
      assert.deepStrictEqual(lines, ["A 1"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("releases what a handler acquires when the handler ends", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const bus = yield* listening({
        L: Service.listen(Ping, () => Effect.acquireRelease(say("acquire"), () => say("release")))
      })
      yield* bus.inside(EventBus.emit(Ping, { n: 1 }))
      assert.deepStrictEqual(lines, ["acquire", "release"])
      yield* bus.stop
    }).pipe(leavesNothing)
  )
})

describe("stream", () => {
  it.effect("is subscribed when it returns, and gives events emitted and published alike", () =>
    Effect.gen(function* () {
      const pings = yield* EventBus.stream(Ping)
      yield* EventBus.emit(Ping, { n: 1 })
      yield* EventBus.publish(Ping, { n: 2 })
      const first = yield* Stream.runCollect(Stream.take(pings, 2))
      assert.deepStrictEqual(Chunk.toReadonlyArray(first), [{ n: 1 }, { n: 2 }])
    }).pipe(Effect.scoped, Effect.provide(EventBus.layer), leavesNothing)
  )

  it.effect("loses the oldest events when it falls 4,096 behind, and says so", () =>
    Effect.gen(function* () {
      const pings = yield* EventBus.stream(Ping)
      yield* Effect.forEach(Array.from({ length: 4_100 }), (_, n) => EventBus.publish(Ping, { n }))
      const first = yield* Stream.runHead(pings)
      assert.deepStrictEqual(Option.getOrThrow(first), { n: 4 })
      yield* TestClock.adjust("1 second")
      const entries = yield* Journal.recent
      assert.deepStrictEqual(
        entries.map((entry) => Journal.format(entry)),
        [
          "EventBus.stream: the listener of ping missed 1 event, queue full",
          "EventBus.stream: the listener of ping missed 3 events, queue full"
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(EventBus.layer, Journal.layer)), leavesNothing)
  )

  it.effect("ends when the bus ends", () =>
    Effect.gen(function* () {
      const bus = yield* build(EventBus.layer)
      const pings = yield* Effect.provide(EventBus.stream(Ping), bus.context)
      const all = yield* Effect.fork(Stream.runCollect(pings))
      yield* Effect.provide(EventBus.emit(Ping, { n: 1 }), bus.context)
      yield* bus.stop
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(all)), [{ n: 1 }])
    }).pipe(Effect.scoped, leavesNothing)
  )
})

describe("events of the boot", () => {
  it.effect(
    "reach listeners and streams that subscribe later in the boot, and not those that come after it",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Early extends Service.make<Early>()("Early", {
          onStart: Effect.all([
            Service.listen(Ping, ({ n }) => say(`early ${n}`)),
            EventBus.emit(Ping, { n: 1 }),
            EventBus.publish(Ping, { n: 2 })
          ])
        }) {}
        class Late extends Service.make<Late>()("Late", {
          onStart: Effect.gen(function* () {
            yield* Early
            yield* Service.listen(Ping, ({ n }) => say(`late ${n}`), { capacity: 1 })
            const stream = yield* EventBus.stream(Ping)
            yield* Service.spawn(Stream.runForEach(stream, ({ n }) => say(`stream ${n}`)))
            yield* Service.timeout(
              Service.listen(Ping, ({ n }) => say(`too late ${n}`)),
              "1 second"
            )
          })
        }) {}
        for (const where of ["inside", "outside"]) {
          const services = Late.layer.pipe(Layer.provide(Early.layer))
          const fiber =
            where === "inside"
              ? yield* launch(services.pipe(Layer.provide(EventBus.layer)))
              : yield* Effect.map(build(EventBus.layer), (bus) => bus.context).pipe(
                  Effect.flatMap((context) => Effect.provide(launch(services), context))
                )
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual(
            lines.splice(0).toSorted(),
            ["early 1", "early 2", "late 1", "late 2", "stream 1", "stream 2"],
            where
          )
          yield* Fiber.interrupt(fiber)
        }
      }).pipe(leavesNothing)
  )
})

describe("what cannot be used is refused where it is given, and reaches nobody", () => {
  const Twin = Event.make("ping", { n: Schema.Number })
  const bad: ReadonlyArray<readonly [Effect.Effect<unknown, never, EventBus.EventBus>, string]> = [
    [
      EventBus.emit(Ping, { n: "1" } as any),
      'Event "ping" was refused, because its payload does not fit its schema: n must be number, but is of type string'
    ],
    [
      EventBus.publish(Ping, null as any),
      'Event "ping" was refused, because its payload does not fit its schema: it must be { readonly n: number }, but is of type null'
    ],
    [
      EventBus.emit("ping" as any, {}),
      'EventBus.emit: `event` must be made by Event.make, but it is "ping".'
    ],
    [
      EventBus.publish(undefined as any, {}),
      "EventBus.publish: `event` must be made by Event.make, but it is undefined."
    ],
    [
      Effect.scoped(EventBus.stream(null as any)),
      "EventBus.stream: `event` must be made by Event.make, but it is null."
    ],
    [
      EventBus.emit(Twin, { n: 1 }),
      'Two different events are named "ping". Make it once, export it, and import it where it is used.'
    ]
  ]
  it.effect("never quotes a payload, in whatever tells of it", () =>
    Effect.gen(function* () {
      const Login = Event.make("login", {
        user: Schema.String,
        password: Schema.RedactedFromSelf(Schema.String),
        n: Schema.Number.pipe(Schema.between(1, 5)),
        tags: Schema.Array(Schema.Union(Schema.Literal("a", "b"), Schema.Number))
      })
      const login = { user: "ada", password: Redacted.make("hunter2"), n: 3, tags: ["a", 1] }
      const filtered = Event.make(
        "card",
        Schema.Struct({ pan: Schema.String }).pipe(Schema.filter(() => false))
      )
      const problems = [
        Login.reject({ ...login, password: "hunter2" }),
        Login.reject({ ...login, n: 1234 }),
        Login.reject({ ...login, tags: ["hunter2"] }),
        Login.reject({ ...login, tags: "hunter2" }),
        Login.reject({}),
        Login.reject(["hunter2"]),
        Login.reject(null),
        filtered.reject({ pan: "hunter2" }),
        Event.make("scores", { of: Schema.Record({ key: Schema.String, value: Schema.Number }) }).reject({
          of: { hunter2: "1" }
        })
      ].map((error) => error?.problem)
      assert.deepStrictEqual(problems, [
        "password must be Redacted(<redacted>), but is of type string",
        "n must be between(1, 5)",
        'tags.0 must be "a", but is of type string; tags.0 must be "b", but is of type string; tags.0 must be number, but is of type string',
        'tags must be ReadonlyArray<"a" | "b" | number>, but is of type string',
        "user is missing",
        `it must be ${String(Login.schema.ast)}, but is of type an array`,
        `it must be ${String(Login.schema.ast)}, but is of type null`,
        "it must be { { readonly pan: string } | filter }",
        "of.* must be number, but is of type string"
      ])
      assert.strictEqual(yield* Effect.succeed(Login.reject(login)), undefined)
    })
  )

  for (const [send, message] of bad) {
    it.effect(message, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const bus = yield* listening({ L: Service.listen(Ping, () => say("handled")) })
        const exit = yield* Effect.exit(bus.inside(send))
        yield* TestClock.adjust(0)
        assert.strictEqual(Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : "", message)
        assert.deepStrictEqual(lines, [])
        yield* bus.stop
      }).pipe(leavesNothing)
    )
  }

  const options: ReadonlyArray<readonly [object, string]> = [
    [{ capacity: 0 }, "Service.listen: `capacity` must be a whole number of at least 1, but it is 0."],
    [
      { concurrency: 1.5 },
      "Service.listen: `concurrency` must be a whole number of at least 1, but it is 1.5."
    ],
    [
      { timeout: 0 },
      'Service.listen: `timeout` must be a duration above zero and below infinity, like "5 seconds", but it is 0.'
    ],
    [
      { onFull: "drop" },
      'Service.listen: `onFull` must be "wait" or "dropOldest" or "dropNewest", but it is "drop".'
    ]
  ]
  for (const [given, message] of options) {
    it.effect(message, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(listening({ L: Service.listen(Ping, () => Effect.void, given) }))
        assert.include(Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : "", message)
      })
    )
  }

  it.effect("payloads are not checked where the bus is told so", () =>
    Effect.gen(function* () {
      const pings = yield* EventBus.stream(Ping)
      yield* EventBus.emit(Ping, { n: "1" } as any)
      assert.deepStrictEqual(Option.getOrThrow(yield* Stream.runHead(pings)), { n: "1" } as any)
    }).pipe(Effect.scoped, Effect.provide(EventBus.layerWith({ validate: false })))
  )
})
