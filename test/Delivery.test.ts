import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck, Fiber, Layer, Logger, Schedule, Schema, TestClock } from "effect"
import { App, Event, EventBus, Failure, Journal, Service } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { doing, launch, leavesNothing, timeline } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number, of: Schema.String })
const Pong = Event.make("pong", { text: Schema.String })

/** A service that listens, and what is sent to it. */
const listening = <E>(onStart: Effect.Effect<unknown, E, Service.Scope | EventBus.EventBus>) =>
  Effect.map(doing("L", onStart), (running) => ({
    ...running,
    publish: (n: number, of = "") => Effect.provide(EventBus.publish(Ping, { n, of }), running.context),
    emit: (n: number, of = "") => Effect.provide(EventBus.emit(Ping, { n, of }), running.context),
    status: Effect.map(running.status, ({ listeners }) => listeners[0]!),
    journal: Effect.map(running.entries, (entries) => entries.map((entry) => Journal.format(entry)))
  }))

/** Says what begins and ends, and takes a second. */
const slow = (say: (line: string) => Effect.Effect<void>) => (ping: typeof Ping.schema.Type) =>
  Effect.zipRight(say(`begin ${ping.of}${ping.n}`), Effect.delay(say(`end ${ping.of}${ping.n}`), "1 second"))

/** A fiber of the mailbox yields between its take and the handling, and another takes. */
const overtaken = {
  sends: [
    [0, 0],
    [1, 1],
    [1, 0],
    [0, 1],
    [1, 0],
    [0, 0],
    [2, 0],
    [2, 0]
  ].map(([key = 0, takes = 0]) => ({ key, takes, after: 0 })),
  capacity: 2,
  concurrency: 3,
  seed: 437_524
}

describe("an ordering key", () => {
  it.effect("keeps the order of events of one key, and lets those of others go on beside them", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const l = yield* listening(
        Service.listen(Ping, slow(say), { concurrency: 2, orderingKey: ({ of }) => of })
      )
      for (const [n, of] of ["a", "a", "a", "b", "c"].entries()) yield* l.publish(n, of)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines.splice(0), ["begin a0", "begin b3"])
      assert.strictEqual((yield* l.status).queued, 3)
      yield* TestClock.adjust("1 second")
      // What is due at the same moment comes in an order of TestClock's own.
      assert.deepStrictEqual(lines.splice(0).toSorted(), ["begin a1", "begin c4", "end a0", "end b3"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines.splice(0).toSorted(), ["begin a2", "end a1", "end c4"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["end a2"])
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("counts for the queue: what waits for its key takes room in it", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const options = { capacity: 2, concurrency: 2, orderingKey: () => 1, onFull: "dropOldest" } as const
      const l = yield* listening(Service.listen(Ping, slow(say), options))
      for (const n of [1, 2, 3, 4, 5]) yield* l.publish(n)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, ["begin 1", "end 1", "begin 4", "end 4", "begin 5", "end 5"])
      assert.strictEqual((yield* l.status).dropped, 2)
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("that cannot be told is a failure of the handling, and of nobody else", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const orderingKey = ({ n }: { readonly n: number }) => {
        if (n === 1) throw new Error("no key")
        return n
      }
      const l = yield* listening(
        Service.listen(Ping, ({ n }) => say(`${n}`), { concurrency: 2, orderingKey })
      )
      for (const n of [1, 2]) yield* l.publish(n)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines, ["2"])
      assert.include((yield* l.journal).join("\n"), "L: the listener of ping failed")
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect.prop(
    "never has two events of one key handled at once or out of order, nor an event lost",
    {
      sends: FastCheck.array(
        FastCheck.record({ key: FastCheck.nat(3), takes: FastCheck.nat(20), after: FastCheck.nat(10) })
      ),
      capacity: FastCheck.integer({ min: 1, max: 4 }),
      concurrency: FastCheck.integer({ min: 1, max: 4 }),
      seed: FastCheck.option(FastCheck.nat(1_000_000), { nil: undefined })
    },
    ({ capacity, concurrency, seed, sends }) =>
      Effect.gen(function* () {
        const handled: Array<number> = []
        const running = new Set<number>()
        let most = 0
        const problems: Array<string> = []
        class L extends Service.make<L>()("L", {
          onStart: Service.listen(
            Ping,
            ({ n }) => {
              const { key, takes } = sends[n]!
              return Effect.suspend(() => {
                if (running.has(key)) problems.push(`two of ${key}`)
                running.add(key)
                most = Math.max(most, running.size)
                handled.push(n)
                return Effect.delay(
                  Effect.sync(() => running.delete(key)),
                  takes
                )
              })
            },
            { capacity, concurrency, orderingKey: ({ n }) => sends[n]!.key }
          ),
          stopTimeout: "1 hour"
        }) {}
        const sender = Layer.effectDiscard(
          Effect.forEach(sends, ({ after }, n) => Effect.delay(EventBus.publish(Ping, { n, of: "" }), after))
        )
        const time = VirtualTime.make(0, seed)
        const fiber = yield* time.fork(
          App.launch(sender.pipe(Layer.provide(L.layer), Layer.provide(EventBus.layer)), {
            stopTimeout: "1 hour"
          })
        )
        const run = () => {
          time.settle()
          for (let next = time.next(); next !== undefined; next = time.next()) {
            time.moveTo(next)
            time.settle()
          }
        }
        run()
        fiber.unsafeInterruptAsFork(fiber.id())
        run()
        assert.isNotNull(fiber.unsafePoll())
        assert.deepStrictEqual(problems, [])
        assert.isAtMost(most, concurrency)
        assert.deepStrictEqual(
          handled.toSorted((a, b) => a - b),
          sends.map((_, n) => n)
        )
        for (const key of [0, 1, 2, 3]) {
          const ofKey = handled.filter((n) => sends[n]!.key === key)
          assert.deepStrictEqual(
            ofKey,
            ofKey.toSorted((a, b) => a - b)
          )
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    // Each example is the list of the arguments; the types of @effect/vitest say otherwise.
    {
      fastCheck: { numRuns: Number(process.env["LAW_RUNS"] ?? 100), examples: [[overtaken]] as never },
      timeout: 60_000
    }
  )
})

describe("Failure.retry", () => {
  const thrice = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(2))

  it.effect("handles an event again as its schedule says, each in a scope and within a time of its own", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let left = 2
      const handler = () =>
        Effect.gen(function* () {
          yield* Effect.acquireRelease(say("acquire"), () => say("release"))
          if (left-- > 0) return yield* Effect.never
        })
      const l = yield* listening(
        Service.listen(Ping, handler, { timeout: "5 seconds", onFailure: Failure.retry(thrice) })
      )
      const emitting = yield* Effect.fork(l.emit(1))
      yield* TestClock.adjust("12999 millis")
      assert.deepStrictEqual(lines, ["acquire", "release", "acquire", "release"])
      assert.isNull(emitting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines.slice(4), ["acquire", "release"])
      assert.strictEqual((yield* Fiber.join(emitting)).handled, 1)
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("gives up when its schedule ends, and answers then; the next event has its own chances", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const last = Failure.handle((cause: Cause.Cause<unknown>) =>
        say(`gave up: ${String(Cause.squash(cause))}`)
      )
      const handler = ({ n }: { readonly n: number }) => Effect.zipRight(say(`${n}`), Effect.fail("no"))
      const l = yield* listening(Service.listen(Ping, handler, { onFailure: Failure.retry(thrice, last) }))
      yield* l.publish(1)
      yield* l.publish(2)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["1", "1", "1", "gave up: no", "2", "2", "2", "gave up: no"])
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("takes the schedule at its word, however long a run has taken", () =>
    Effect.gen(function* () {
      let runs = 0
      const handler = () =>
        Effect.zipRight(
          Effect.sync(() => runs++),
          Effect.delay(Effect.fail("no"), "1 minute")
        )
      const l = yield* listening(
        Service.listen(Ping, handler, { onFailure: Failure.retry(Schedule.recurs(1)) })
      )
      yield* l.publish(1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(runs, 2)
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("is recorded as a retry, and counts the attempts of each event anew", () =>
    Effect.gen(function* () {
      const handler = ({ n }: { readonly n: number }) => Effect.fail(`no ${n}`)
      const l = yield* listening(Service.listen(Ping, handler, { onFailure: Failure.retry(thrice) }))
      for (const n of [1, 2]) {
        yield* l.publish(n)
        yield* TestClock.adjust("1 minute")
      }
      const attempts = [
        "L: listener ping failed, and is retried in 1s (attempt 2)",
        "L: listener ping failed, and is retried in 2s (attempt 3)",
        "L: listener ping failed in 3 attempts, and is given up"
      ]
      const recorded = (yield* l.journal).filter((line) => line.includes("listener ping"))
      assert.deepStrictEqual(recorded, [...attempts, ...attempts])
      assert.deepStrictEqual(
        (yield* l.entries).flatMap((entry) => (entry._tag === "HandlerFailed" ? [entry.answer] : [])),
        Array.from({ length: 6 }, () => "Retry" as const)
      )
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("of a task counts the attempts of each run anew", () =>
    Effect.gen(function* () {
      let runs = 0
      const onlySecondTime = Effect.suspend(() => (++runs % 2 === 0 ? Effect.void : Effect.fail("no")))
      const l = yield* listening(
        Service.interval(onlySecondTime, "1 minute", { name: "poll", onFailure: Failure.retry(thrice) })
      )
      yield* TestClock.adjust("2 minutes")
      yield* TestClock.adjust("1 second")
      const recorded = (yield* l.journal).filter((line) => line.includes("retried"))
      const retried = "L: poll failed, and is retried in 1s (attempt 2)"
      assert.deepStrictEqual(recorded, [retried, retried])
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it("has a type of its own", () => {
    expectTypeOf(Failure.retry(Schedule.recurs(1))).toEqualTypeOf<Failure.Retry<unknown, never>>()
    expectTypeOf<Failure.Retry<unknown, never>>().not.toExtend<Failure.Restart<unknown, never>>()
    expectTypeOf<Failure.Retry<unknown, never>>().toExtend<Failure.Policy<unknown>>()
    expectTypeOf<Failure.Retry<unknown, never>>().not.toExtend<Failure.Final<unknown>>()
  })

  it("refuses what is no schedule, and a last answer that is none", () => {
    assert.throws(
      () => Failure.retry("1 second" as any),
      'Failure.retry: `schedule` must be a Schedule, but it is "1 second".'
    )
    assert.throws(
      () => Failure.retry(thrice, Failure.restart() as any),
      "Failure.retry: `last` must be Failure.log, Failure.escalate or Failure.handle(f), but it is an object."
    )
    assert.throws(
      () => Failure.retry(thrice, Failure.retry(thrice) as any),
      "Failure.retry: `last` must be Failure.log, Failure.escalate or Failure.handle(f), but it is an object."
    )
  })
})

describe("a listener of several events", () => {
  it.effect("is told of which one each payload is, and has them in the order in which they were sent", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const l = yield* listening(
        // The name tells the payloads apart for the compiler, too.
        Service.listen([Ping, Pong, Ping], (payload, event) =>
          Effect.delay(say(event === "ping" ? `ping ${payload.n}` : `pong ${payload.text}`), "1 second")
        )
      )
      const pong = (text: string) => Effect.provide(EventBus.publish(Pong, { text }), l.context)
      yield* Effect.all([l.publish(1), pong("2"), l.publish(3), pong("4")])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(lines, ["ping 1", "pong 2", "ping 3", "pong 4"])
      const { event, handled } = yield* l.status
      assert.deepStrictEqual([event, handled], ["ping, pong", 4])
      yield* l.stop
      assert.deepStrictEqual((yield* l.emit(5)).outcomes, [])
    }).pipe(leavesNothing)
  )

  it.effect("tells of a failure by the event that it was in", () =>
    Effect.gen(function* () {
      const l = yield* listening(Service.listen([Ping, Pong], () => Effect.fail("no")))
      yield* Effect.provide(EventBus.emit(Pong, { text: "" }), l.context)
      assert.include((yield* l.journal).join("\n"), "L: the listener of pong failed")
      yield* l.stop
    }).pipe(leavesNothing)
  )

  it.effect("has what was sent while its app booted, in order", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Early extends Service.make<Early>()("Early", {
        onStart: Effect.all([
          EventBus.publish(Pong, { text: "1" }),
          EventBus.emit(Ping, { n: 2, of: "" }),
          EventBus.publish(Pong, { text: "3" })
        ])
      }) {}
      class Late extends Service.make<Late>()("Late", {
        onStart: Effect.zipRight(
          Early,
          Service.listen([Ping, Pong], (payload, event) => say(`${event} ${JSON.stringify(payload)}`))
        )
      }) {}
      const app = yield* launch(Late.layer.pipe(Layer.provide(Early.layer), Layer.provide(EventBus.layer)))
      assert.deepStrictEqual(lines, ['pong {"text":"1"}', 'ping {"n":2,"of":""}', 'pong {"text":"3"}'])
      yield* Fiber.interrupt(app)
    }).pipe(leavesNothing)
  )

  it.effect("is refused without events", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(listening(Service.listen([] as any, () => Effect.void)))
      assert.include(
        Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : "",
        "Service.listen: `events` must be a list of at least one event"
      )
    })
  )
})

describe("the handling of an event", () => {
  it.effect("that hangs is named when its listener is cancelled", () =>
    Effect.gen(function* () {
      let cancel: Effect.Effect<void> = Effect.void
      const l = yield* listening(
        Effect.map(
          Service.listen(Ping, () => Effect.never),
          (listener) => (cancel = listener.cancel)
        )
      )
      yield* l.publish(1)
      const cancelling = yield* Effect.fork(cancel)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(cancelling)
      const entries = yield* l.entries
      const [timedOut] = entries.flatMap((entry) => (entry._tag === "StopTimedOut" ? [entry.alive] : []))
      assert.deepStrictEqual(timedOut, ["listener ping"])
      yield* l.stop
    }).pipe(leavesNothing)
  )
})
