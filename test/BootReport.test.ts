import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Logger, LogLevel, Schedule, TestClock } from "effect"
import { App, Journal, Service } from "effect-services"
import { launch, leavesNothing } from "./support.ts"

/** The boot of an app that takes so long, and the lines that it has logged. */
const booted = <A, E>(layer: Layer.Layer<A, E, App.Provided>, takes: Duration.DurationInput) =>
  Effect.gen(function* () {
    const logged: Array<string> = []
    const logger = Logger.make(
      ({ logLevel, message }) => void logged.push(`${logLevel.label} ${String(message)}`)
    )
    const fiber = yield* launch(layer, { name: "Shop" }).pipe(
      Logger.withMinimumLogLevel(LogLevel.Debug),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
    yield* TestClock.adjust(takes)
    const report = (yield* Journal.recent).flatMap((entry) =>
      entry._tag === "AppStarted" ? [entry.report] : []
    )[0]!
    yield* Fiber.interrupt(fiber)
    return { report, logged }
  }).pipe(Effect.provide(Journal.layer))

class Settings extends Service.make<Settings>()("Settings", { onStart: Effect.sleep("3 millis") }) {}
class Mailer extends Service.make<Mailer>()("Mailer", {
  onStart: Effect.zipRight(Settings, Effect.sleep("10 millis"))
}) {}
class Orders extends Service.make<Orders>()("Orders", {
  onStart: Effect.zipRight(Settings, Effect.sleep("900 millis"))
}) {}
class Http extends Service.make<Http>()("Http", {
  onStart: Effect.zipRight(Effect.all([Mailer, Orders]), Effect.sleep("300 millis"))
}) {}
const shop = Http.layer.pipe(Layer.provide([Mailer.layer, Orders.layer]), Layer.provide(Settings.layer))

describe("the report of a boot", () => {
  it.effect(
    "tells of each service its level, when it began and how long it took, and of the longest way",
    () =>
      Effect.gen(function* () {
        const { report } = yield* booted(shop, "2 seconds")
        const millis = Duration.toMillis
        assert.deepStrictEqual(
          report.services
            .map(
              ({ level, service, startedAt, took }) =>
                `${level} ${service} ${millis(startedAt)} ${millis(took)}`
            )
            .toSorted(),
          ["0 Shop > Settings 0 3", "1 Shop > Mailer 3 10", "1 Shop > Orders 3 900", "2 Shop > Http 903 300"]
        )
        assert.deepStrictEqual(report.criticalPath, [
          { service: "Shop > Settings", waited: Duration.zero, took: Duration.millis(3) },
          { service: "Shop > Orders", waited: Duration.zero, took: Duration.millis(900) },
          { service: "Shop > Http", waited: Duration.zero, took: Duration.millis(300) }
        ])
        assert.deepStrictEqual([report.app, report.took], ["Shop", Duration.millis(1_203)])
      }).pipe(leavesNothing)
  )

  it.effect(
    "is logged at Debug, by level; of a boot of a second and more, the line says what took so long",
    () =>
      Effect.gen(function* () {
        const text = `
Shop started in 1s 203ms, with 4 services
  1. Settings (3ms)
  2. Orders (900ms, after 3ms), Mailer (10ms, after 3ms)
  3. Http (300ms, after 903ms)
  the longest way: Settings 3ms > Orders 900ms > Http 300ms`.trim()
        const { logged, report } = yield* booted(shop, "2 seconds")
        assert.strictEqual(App.renderBoot(report), text)
        assert.deepStrictEqual(
          logged.filter((line) => line.includes("Shop started")),
          [
            "INFO Shop started in 1s 203ms, with 4 services: Settings 3ms > Orders 900ms > Http 300ms",
            `DEBUG ${text}`
          ]
        )
      }).pipe(leavesNothing)
  )

  it.effect(
    "says how long layers took that are no services, and leaves out what was tried and given up",
    () =>
      Effect.gen(function* () {
        class Pool extends Context.Tag("Pool")<Pool, number>() {}
        let tries = 0
        class Db extends Service.make<Db>()("Db", {
          onStart: Effect.zipRight(
            Pool,
            Effect.suspend(() => (++tries < 3 ? Effect.fail("not yet") : Effect.sleep("20 millis")))
          )
        }) {}
        class Web extends Service.make<Web>()("Web", { onStart: Db }) {}
        const pool = Layer.effect(Pool, Effect.as(Effect.sleep("50 millis"), 1))
        const migration = Layer.effectDiscard(Effect.zipRight(Db, Effect.sleep("30 millis")))
        const db = Layer.retry(Layer.fresh(Db.layer), Schedule.spaced("100 millis"))
        const app = Web.layer.pipe(Layer.provide(migration), Layer.provide(db), Layer.provide(pool))
        const { report } = yield* booted(app, "1 second")
        assert.strictEqual(
          App.renderBoot(report),
          `
Shop started in 300ms, with 2 services
  1. Db (20ms, after 250ms)
  2. Web (0ms, after 300ms)
  the longest way: Db 20ms > Web 0ms, and 280ms for what is no service`.trim()
        )
        assert.deepStrictEqual(
          report.criticalPath.map(({ service, waited }) => [service, Duration.toMillis(waited)]),
          [
            ["Shop > Db", 250],
            ["Shop > Web", 30]
          ]
        )
      }).pipe(leavesNothing)
  )

  it.effect("is not led astray by a wall clock that is set back", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      let behind = 0
      const watch: typeof clock = Object.assign(Object.create(clock) as typeof clock, {
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() - behind,
        currentTimeMillis: Effect.sync(() => clock.unsafeCurrentTimeMillis() - behind)
      })
      class Clock extends Service.make<Clock>()("Clock", {
        onStart: Effect.zipRight(
          Orders,
          Effect.sync(() => void (behind = 3_600_000))
        )
      }) {}
      class Last extends Service.make<Last>()("Last", {
        onStart: Effect.zipRight(Clock, Effect.sleep("5 millis"))
      }) {}
      const app = Last.layer.pipe(
        Layer.provide(Clock.layer),
        Layer.provide(Orders.layer),
        Layer.provide(Settings.layer)
      )
      const { report } = yield* booted(app, "2 seconds").pipe(Effect.withClock(watch))
      assert.include(
        App.renderBoot(report),
        "the longest way: Settings 3ms > Orders 900ms > Clock 0ms > Last 5ms"
      )
    })
  )

  it.effect("says nothing of what took long where no service did", () =>
    Effect.gen(function* () {
      const { logged } = yield* booted(Layer.effectDiscard(Effect.sleep("1200 millis")), "2 seconds")
      assert.include(logged, "INFO Shop started in 1s 200ms, with 0 services")
    }).pipe(leavesNothing)
  )

  it.effect("has nothing to say of an app without services", () =>
    Effect.gen(function* () {
      const { report } = yield* booted(Layer.empty, 0)
      assert.strictEqual(App.renderBoot(report), "Shop started in 0ms, with 0 services")
    }).pipe(leavesNothing)
  )

  it("fits into a screen: the slowest services of a level, the longest parts of the way", () => {
    const chain = Array.from({ length: 100 }, (_, n) => ({
      service: `Shop > Link${n}`,
      level: n,
      startedAt: Duration.millis(n),
      took: Duration.millis(n % 10),
      dependencies: []
    }))
    const wide = Array.from({ length: 20 }, (_, n) => ({
      ...chain[0]!,
      service: `Shop > ${"Wide".repeat(n === 19 ? 20 : 1)}${n}`,
      took: Duration.millis(n)
    }))
    const lines = App.renderBoot({
      app: "Shop",
      took: Duration.millis(450),
      services: [...wide, ...chain],
      criticalPath: chain.map(({ service, took }) => ({ service, took, waited: Duration.zero }))
    }).split("\n")
    assert.strictEqual(lines.length, 30)
    assert.deepStrictEqual(
      [lines[1], lines[2], ...lines.slice(-2)],
      [
        `  1. ${"Wide".repeat(9)}Wid… (19ms), Wide18 (18ms), Wide17 (17ms), Wide16 (16ms), Wide15 (15ms) and 16 more`,
        "  2. Link1 (1ms, after 1ms)",
        "  and 73 more levels",
        "  the longest way: Link9 9ms > Link19 9ms > Link29 9ms > Link39 9ms > Link49 9ms > Link59 9ms (and 94 more)"
      ]
    )
  })
})
