import { assert, describe, it } from "@effect/vitest"
import { vi } from "vitest"
import {
  Cause,
  Effect,
  Exit,
  FiberRef,
  Layer,
  Logger,
  LogLevel,
  Random,
  Ref,
  Schedule,
  Schema,
  type Scope
} from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { TestApp } from "effect-services/testing"

const Ping = Event.make("ping", { n: Schema.Number })

class Metrics extends Service.make<Metrics>()("Metrics", {
  onStart: Effect.gen(function* () {
    const ticks = yield* Ref.make(0)
    yield* Service.interval(
      Ref.update(ticks, (n) => n + 1),
      "1 minute"
    )
    return { ticks: Ref.get(ticks) }
  })
}) {}

describe("TestApp", () => {
  it.scoped("runs a day in no time, and tells what happened, the same in each run", () =>
    Effect.gen(function* () {
      const once = Effect.scoped(
        Effect.gen(function* () {
          const app = yield* TestApp.make(Metrics.layer, { name: "Shop" })
          yield* app.advance("1 day")
          assert.strictEqual(yield* app.run(Effect.flatMap(Metrics, (metrics) => metrics.ticks)), 1_440)
          const report = yield* app.stop
          assert.deepStrictEqual([report.exitCode, report.reason], [0, "the test stops it"])
          return yield* app.timeline
        })
      )
      const timeline = yield* once
      assert.deepStrictEqual(timeline.slice(0, 4), [
        "00:00:00.000 Metrics is starting",
        "00:00:00.000 Metrics started in 0ms",
        "00:00:00.000 Shop started in 0ms, with 1 service",
        "00:01:00.000 Metrics ticked (interval 1m)"
      ])
      assert.deepStrictEqual(timeline.slice(-5), [
        "1d 00:00:00.000 Metrics ticked (interval 1m)",
        "1d 00:00:00.000 Shop is stopping: the test stops it",
        "1d 00:00:00.000 Metrics is stopping",
        "1d 00:00:00.000 Metrics stopped in 0ms",
        "1d 00:00:00.000 Shop stopped in 0ms, clean"
      ])
      assert.deepStrictEqual(yield* once, timeline)
    })
  )

  it.scoped("drives crons over a change to summer time, as the wall clock goes", () =>
    Effect.gen(function* () {
      const at: Array<string> = []
      class Night extends Service.make<Night>()("Night", {
        onStart: Service.cron(
          Effect.map(
            Effect.clock,
            (clock) => void at.push(new Date(clock.unsafeCurrentTimeMillis()).toISOString())
          ),
          "30 2 * * *",
          { timeZone: "Europe/Berlin" }
        )
      }) {}
      const app = yield* TestApp.make(Night.layer, { startsAt: "2026-03-27T12:00:00Z" })
      yield* app.advance("3 days")
      // On the 29th there is no half past two, so it is the first time after the hour that is left out.
      assert.deepStrictEqual(at, [
        "2026-03-28T01:30:00.000Z",
        "2026-03-29T01:00:00.000Z",
        "2026-03-30T00:30:00.000Z"
      ])
    })
  )

  it.scoped("boots and stops in virtual time: slow starts, backoff, deadlines", () =>
    Effect.gen(function* () {
      let tries = 0
      class Db extends Service.make<Db>()("Db", {
        onStart: Effect.retry(
          Effect.suspend(() => (++tries < 3 ? Effect.fail("refused") : Effect.void)),
          Schedule.spaced("10 seconds")
        ),
        onStop: () => Effect.never
      }) {}
      const app = yield* TestApp.make(Effect.succeed(Db.layer).pipe(Layer.unwrapEffect), { name: "Shop" })
      const report = yield* app.stop
      assert.deepStrictEqual([report.exitCode, report.services[0]?.outcome], [1, "timedOut"])
      assert.deepStrictEqual(yield* app.timeline, [
        "00:00:00.000 Db is starting",
        "00:00:20.000 Db started in 20s",
        "00:00:20.000 Shop started in 20s, with 1 service: Db 20s",
        "00:00:20.000 Shop is stopping: the test stops it",
        "00:00:20.000 Db is stopping",
        "00:00:30.000 Db hung in onStop while stopping; it was left after 10s",
        "00:00:30.000 Db stopped in 10s",
        "00:00:30.000 Shop stopped in 10s, not clean"
      ])
    })
  )

  it.scoped("fails as the app does, when that does not start or does not live on", () =>
    Effect.gen(function* () {
      class Broken extends Service.make<Broken>()("Broken", { onStart: Effect.fail("no route") }) {}
      const error = yield* Effect.flip(TestApp.make(Broken.layer))
      assert.include((error as Error).message, "no route")

      class Fragile extends Service.make<Fragile>()("Fragile", {
        onStart: Service.timeout(Effect.fail("it broke"), "5 seconds", {
          onFailure: Failure.escalate,
          name: "work"
        })
      }) {}
      const app = yield* TestApp.make(Fragile.layer, { name: "Shop" })
      yield* app.advance("1 minute")
      const report = yield* app.stop
      assert.deepStrictEqual([report.exitCode, report.reason], [1, "Shop > Fragile > work failed"])
      // What ended it came at its own time.
      assert.include(yield* app.timeline, "00:00:05.000 Shop is stopping: Shop > Fragile > work failed")
    })
  )

  it.scoped("waits for what is real within a tick, and tells of a tick that waits for ever", () =>
    Effect.gen(function* () {
      let done = 0
      class Real extends Service.make<Real>()("Real", {
        onStart: Effect.gen(function* () {
          const file = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 20)))
          yield* Service.interval(
            Effect.map(file, () => void done++),
            "1 minute",
            { name: "reads" }
          )
          yield* Service.interval(
            Effect.promise(() => new Promise(() => {})),
            "5 minutes",
            { name: "hangs" }
          )
        })
      }) {}
      const app = yield* TestApp.make(Real.layer, { patience: "100 millis" })
      yield* app.advance("10 minutes")
      assert.strictEqual(done, 10)
      assert.deepStrictEqual(
        (yield* app.timeline).filter((line) => line.includes("hangs")),
        ["00:05:00.000 Real: hangs waits for something that is not time"]
      )
    })
  )

  it.scoped("waits for what is real wherever it is, also beside what sleeps", () =>
    Effect.gen(function* () {
      const real = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 20)))
      const counts = { timed: 0, spawned: 0 }
      class Reads extends Service.make<Reads>()("Reads", {
        onStart: Effect.gen(function* () {
          yield* real
          yield* Service.interval(
            Effect.tap(Effect.timeout(real, "5 seconds"), () => Effect.sync(() => counts.timed++)),
            "1 minute"
          )
          const loop = Effect.zipRight(Effect.sleep("1 minute"), real)
          yield* Service.spawn(Effect.forever(Effect.tap(loop, () => Effect.sync(() => counts.spawned++))))
          yield* Service.health(real, { every: "1 minute", timeout: "2 seconds" })
        }),
        startTimeout: "5 seconds",
        onStop: () => real
      }) {}
      const app = yield* TestApp.make(Layer.provide(Reads.layer, Metrics.layer), { name: "Shop" })
      yield* app.advance("10 minutes")
      assert.deepStrictEqual(counts, { timed: 10, spawned: 10 })
      yield* app.run(Effect.timeout(real, "5 seconds"))
      assert.strictEqual((yield* app.stop).exitCode, 0)
      const odd = (yield* app.timeline).filter((line) => /not time|unhealthy|hung/.test(line))
      assert.deepStrictEqual(odd, [])
    })
  )

  it.scoped("does not wait long for those that wait for each other", () =>
    Effect.gen(function* () {
      class Jobs extends Service.make<Jobs>()("Jobs", {
        onStart: Effect.gen(function* () {
          const one = yield* Effect.makeSemaphore(1)
          yield* Service.interval(one.withPermits(1)(Effect.sleep("30 seconds")), "1 minute", {
            name: "holder"
          })
          yield* Service.interval(one.withPermits(1)(Effect.void), "1 minute", { name: "waiter" })
        })
      }) {}
      const app = yield* TestApp.make(Jobs.layer, { patience: "200 millis" })
      const begun = performance.now()
      yield* app.advance("30 minutes")
      assert.isBelow(performance.now() - begun, 2_000)
      assert.isFalse((yield* app.timeline).some((line) => line.includes("holder waits")))
    })
  )

  it.effect("fails a test that does not look how its app has ended, when that was not well", () =>
    Effect.gen(function* () {
      class Bad extends Service.make<Bad>()("Bad", {
        onStart: Effect.void,
        onStop: () => Effect.die("no")
      }) {}
      const exit = yield* Effect.exit(Effect.scoped(TestApp.make(Bad.layer, { name: "Shop" })))
      assert.include(
        Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
        "The app did not end well:\nShop stopped in 0ms, not clean"
      )
    })
  )

  it.effect("fails a test whose app leaves something behind, and tells what that is", () =>
    Effect.gen(function* () {
      const pending = () => setTimeout(() => {}, 60_000).unref()
      class Careless extends Service.make<Careless>()("Careless", {
        onStart: Effect.gen(function* () {
          yield* Effect.forkDaemon(Effect.never)
          const cleared = pending()
          clearTimeout(cleared)
          const late = pending()
          yield* Service.addCleanup(Effect.sync(() => clearTimeout(late)))
          const outside = pending()
          queueMicrotask(() => clearTimeout(outside))
          setTimeout(() => {}, 0)
          setImmediate(() => {})
          pending()
        })
      }) {}
      const seen: Array<string> = []
      const exit = yield* Effect.exit(
        Effect.scoped(
          Effect.gen(function* () {
            const app = yield* TestApp.make(Careless.layer)
            assert.strictEqual((yield* app.stop).exitCode, 0)
            seen.push(...(yield* app.leftovers))
          })
        )
      )
      const left = [
        "a fiber, forked by Careless: onStart",
        "a setTimeout by Careless: onStart, set at TestApp.test.ts:0"
      ]
      const withoutLines = (text: string) => text.replaceAll(/ts:\d+/g, "ts:0")
      assert.deepStrictEqual(seen.map(withoutLines), left)
      const [error] = Exit.isFailure(exit) ? Cause.defects(exit.cause) : []
      assert.strictEqual(
        withoutLines((error as Error).message),
        `The app has stopped, but left behind: ${left.join("; ")}. What a service begins is to end with it.`
      )
    })
  )

  it.scoped("tells once of a stop that never ends", () =>
    Effect.gen(function* () {
      class Endless extends Service.make<Endless>()("Endless", {
        onStart: Effect.void,
        onStop: () => Effect.never,
        stopTimeout: "2 days"
      }) {}
      const app = yield* TestApp.make(Endless.layer, { stopTimeout: "3 days" })
      assert.strictEqual(
        (yield* Effect.flip(app.stop)).message,
        "The stop of the app does not end: a day of virtual time has passed. Still there: App > Endless (stopping: onStop)."
      )
    })
  )

  it.scoped("runs an app that stops itself as soon as it is up", () =>
    Effect.gen(function* () {
      class Once extends Service.make<Once>()("Once", { onStart: Service.stop }) {}
      const app = yield* TestApp.make(Once.layer)
      assert.deepStrictEqual(
        [(yield* app.stop).exitCode, (yield* app.stop).reason],
        [0, "App > Once asked for it"]
      )
    })
  )

  it.scoped("gives the same random numbers each time, and time that never goes back", () =>
    Effect.gen(function* () {
      const draw = Effect.scoped(
        Effect.flatMap(TestApp.make(Metrics.layer, { seed: 7 }), (app) =>
          app.run(Effect.all([Random.nextInt, Random.nextInt]))
        )
      )
      assert.deepStrictEqual(yield* draw, yield* draw)

      const app = yield* TestApp.make(Metrics.layer)
      yield* Effect.all([app.advance("90 seconds"), app.advance("1 hour")], { concurrency: 2 })
      const at = (yield* app.journal).map((entry) => entry.at)
      assert.deepStrictEqual(
        at,
        at.toSorted((a, b) => a - b)
      )
    })
  )

  it.scoped("puts stubs in the place of services and methods, however layers are nested", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      class Mail extends Service.make<Mail>()("Mail", {
        onStart: (_host: string) =>
          Effect.as(Effect.die("no mail in tests"), {
            send: (_to: string): Effect.Effect<void> => Effect.void,
            count: Effect.succeed(0)
          })
      }) {}
      class Orders extends Service.make<Orders>()("Orders", {
        onStart: Effect.gen(function* () {
          const mail = yield* Mail
          return {
            place: (to: string) => Effect.as(mail.send(to), `placed for ${to}`),
            total: Effect.succeed(1)
          }
        })
      }) {}
      const layer = Layer.provideMerge(Orders.layer, Mail.layer("smtp.example"))
      const app = yield* TestApp.make(layer, {
        replace: [
          TestApp.stub(Mail, { send: (to) => Effect.sync(() => void sent.push(to)) }),
          TestApp.override(Orders, () => ({ total: Effect.succeed(2) }))
        ]
      })
      assert.deepStrictEqual(
        yield* app.run(Effect.flatMap(Orders, (orders) => Effect.zip(orders.place("ada"), orders.total))),
        ["placed for ada", 2]
      )
      assert.deepStrictEqual(sent, ["ada"])
      const missing = yield* Effect.exit(app.run(Effect.flatMap(Mail, (mail) => mail.count)))
      assert.include(
        Exit.isFailure(missing) ? Cause.pretty(missing.cause) : "",
        `"count" of Mail was asked for, but the test's stub does not have it.`
      )
    })
  )

  it.scoped("runs two apps beside each other, which share a bus and not a clock", () =>
    Effect.gen(function* () {
      class Heard extends Service.make<Heard>()("Heard", {
        onStart: Effect.gen(function* () {
          const heard = yield* Ref.make<ReadonlyArray<number>>([])
          yield* Service.listen(Ping, ({ n }) => Ref.update(heard, (all) => [...all, n]))
          return { heard: Ref.get(heard) }
        })
      }) {}
      class Sends extends Service.make<Sends>()("Sends", {
        onStart: Effect.gen(function* () {
          let n = 0
          yield* Service.interval(
            Effect.suspend(() => EventBus.emit(Ping, { n: ++n })),
            "1 second"
          )
        })
      }) {}
      const one = yield* TestApp.make(Heard.layer)
      const other = yield* TestApp.make(Sends.layer)
      yield* other.advance("3 seconds")
      assert.deepStrictEqual(yield* one.run(Effect.flatMap(Heard, (_) => _.heard)), [1, 2, 3])
      assert.deepStrictEqual((yield* one.timeline).at(-1), "00:00:00.000 Heard handled ping in 0ms")
      assert.deepStrictEqual((yield* other.timeline).at(-1), "00:00:03.000 Sends ticked (interval 1s)")
      yield* other.stop
      yield* one.stop
    }).pipe(Effect.provide(EventBus.layer))
  )

  it.scoped("runs an effect in its time, for as long as that takes, and says when it never ends", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(Metrics.layer, { name: "Shop", patience: "20 millis" })
      yield* app.run(Effect.sleep("90 seconds"))
      assert.strictEqual(yield* app.run(Effect.flatMap(Metrics, (metrics) => metrics.ticks)), 1)
      assert.strictEqual(yield* Effect.flip(app.run(Effect.fail("no"))), "no")
      const error = yield* Effect.flip(app.run(Effect.never))
      assert.strictEqual(
        (error as Error).message,
        "What was run does not end: a day of virtual time has passed. Still there: Shop > Metrics (running)."
      )
      const round = yield* Effect.flip(app.run(Effect.forever(Effect.yieldNow())))
      const loops = "it runs round and round, and time does not move"
      assert.include((round as Error).message, loops)
      const sleeping = yield* Effect.flip(app.run(Effect.forever(Effect.sleep(0))))
      assert.include((sleeping as Error).message, loops)
      yield* app.run(Effect.sleep("3 hours"))
    })
  )

  it.scoped("leaves the fiber of the test as it is: not in the app's order, nor in its time", () =>
    Effect.gen(function* () {
      const mine = Effect.all([FiberRef.get(FiberRef.currentScheduler), Effect.clock])
      const before = yield* mine
      const app = yield* TestApp.make(Metrics.layer, { seed: 1 })
      yield* app.run(Effect.void)
      yield* Effect.exit(app.run(Effect.fail("no")))
      class Broken extends Service.make<Broken>()("Broken", { onStart: Effect.fail("no") }) {}
      yield* Effect.exit(TestApp.make(Broken.layer))
      const after = yield* mine
      assert.isTrue(after.every((one, index) => one === before[index]))
    })
  )

  it.scoped("finds a race with a seed, and finds it again with the same", () =>
    Effect.gen(function* () {
      // Reads, and writes what it has read and one more: right only if nobody comes in between.
      class Counter extends Service.make<Counter>()("Counter", {
        onStart: Effect.gen(function* () {
          const count = yield* Ref.make(0)
          const increment = Effect.flatMap(Ref.get(count), (n) => Ref.set(count, n + 1))
          return {
            run: Effect.all([increment, increment, increment], { concurrency: 3 }),
            count: Ref.get(count)
          }
        })
      }) {}
      const counted = (seed?: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const app = yield* TestApp.make(Counter.layer, { seed })
            return yield* app.run(Effect.flatMap(Counter, (_) => Effect.zipRight(_.run, _.count)))
          })
        )
      assert.strictEqual(yield* counted(), 3)
      const seeds = Array.from({ length: 30 }, (_, index) => index + 1)
      const counts = yield* Effect.forEach(seeds, counted)
      assert.isBelow(Math.min(...counts), 3)
      assert.deepStrictEqual(yield* Effect.forEach(seeds, counted), counts)
    })
  )

  it.scoped("changes some of what a service offers, and leaves the rest as it is", () =>
    Effect.gen(function* () {
      class Counted {
        #n = 0
        get n() {
          return this.#n
        }
        add() {
          return ++this.#n
        }
        name() {
          return "real"
        }
      }
      class Counter extends Service.make<Counter>()("Counter", {
        onStart: Effect.sync(() => new Counted())
      }) {}
      const app = yield* TestApp.make(Counter.layer, {
        replace: [TestApp.override(Counter, () => ({ name: () => "other" }))]
      })
      const counter = yield* app.run(Counter)
      assert.deepStrictEqual([counter.add(), counter.n, counter.name()], [1, 1, "other"])
    })
  )

  it.scoped("tells of a stub that stands in for nothing", () =>
    Effect.gen(function* () {
      class Elsewhere extends Service.make<Elsewhere>()("Elsewhere", { onStart: Effect.succeed({ n: 1 }) }) {}
      const app = yield* TestApp.make(Metrics.layer, { replace: [TestApp.stub(Elsewhere, {})] })
      assert.include(
        yield* app.timeline,
        "00:00:00.000 Elsewhere: stands in for nothing that has started with the app"
      )
    })
  )

  it.effect("refuses what cannot be used", () =>
    Effect.gen(function* () {
      const refusal = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>) =>
        Effect.map(Effect.exit(Effect.scoped(effect)), (exit) =>
          Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
        )
      const made = (options: unknown) => refusal(TestApp.make(Metrics.layer, options as TestApp.Options))
      assert.include(yield* made({ seed: 0 }), "TestApp.make: `seed` must be a whole number of at least 1")
      assert.include(yield* made({ startsAt: "soon" }), "TestApp.make: `startsAt` must be a moment")
      assert.include(yield* made({ patience: 0 }), "TestApp.make: `patience` must be a duration above zero")
      assert.include(
        yield* refusal(Effect.flatMap(TestApp.make(Metrics.layer), (app) => app.advance(-1))),
        "TestApp.advance: `duration` must be a duration"
      )
      assert.throws(() => TestApp.stub(Metrics, null as never), "TestApp.stub: `methods` must be an object")
    })
  )
})

it.live("needs no timers of the test runner, which may have replaced those there are", () =>
  Effect.gen(function* () {
    class Waiting extends Service.make<Waiting>()("Waiting", {
      onStart: Service.interval(
        Effect.async<void>(() => {}),
        "1 minute"
      )
    }) {}
    yield* Effect.acquireRelease(
      Effect.sync(() => vi.useFakeTimers()),
      () => Effect.sync(() => vi.useRealTimers())
    )
    const app = yield* TestApp.make(Waiting.layer, { patience: "10 millis" })
    yield* app.advance("1 hour")
    assert.include(
      yield* app.timeline,
      "00:01:00.000 Waiting: interval 1m waits for something that is not time"
    )
  }).pipe(Effect.scoped)
)

it.effect(
  "twenty services that start at once, one of which fails, fail the boot in whatever order they run",
  () => {
    const services = Array.from({ length: 20 }, (_, index) => {
      class One extends Service.make<One>()(`One${index}`, {
        onStart: Effect.zipRight(
          Service.addCleanup(Effect.void),
          index === 4 ? Effect.fail("no") : Effect.void
        )
      }) {}
      return One.layer
    })
    // There are twenty.
    const layer = Layer.mergeAll(services[0]!, ...services.slice(1))
    return Effect.forEach(
      Array.from({ length: 20 }, (_, index) => index + 1),
      (seed) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(TestApp.make(layer, { seed }))
          assert.strictEqual(error._tag, "StartError", `seed ${seed}: ${error.message}`)
        }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
    )
  }
)
