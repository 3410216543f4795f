import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Schedule, TestClock } from "effect"
import { App, Journal, Service } from "effect-services"
import { leavesNothing } from "./support.ts"

/** An app that has come as far as it can without time; its end, when it has been given time for that. */
const running = <A, E>(layer: Layer.Layer<A, E, App.Provided>, options: App.Options = {}) =>
  Effect.gen(function* () {
    const app = App.make({ name: "Shop", ...options })
    const fiber = yield* Effect.forkDaemon(app.launch(layer))
    yield* TestClock.adjust(0)
    const report = Effect.map(app.report, Option.getOrThrow)
    const ended = (within: Duration.DurationInput) =>
      Effect.zipRight(
        TestClock.adjust(within),
        Effect.flatMap(Fiber.await(fiber), () => report)
      )
    return { ...app, fiber, ended }
  })

/** How each service has stopped, as a line: when it was asked, when it had ended, and the outcome. */
const lines = ({ services }: App.StopReport) =>
  services.map(
    ({ askedAt, endedAt, outcome, service }) => `${service} ${time(askedAt)} ${time(endedAt)} ${outcome}`
  )
const time = (at: Duration.Duration | undefined) => (at === undefined ? "never" : Duration.toMillis(at))

/** An effect that nothing ends before an hour has passed. */
const stubborn = Effect.uninterruptible(Effect.sleep("1 hour"))

class Db extends Service.make<Db>()("Db", { onStart: Effect.void, onStop: () => Effect.sleep("5 millis") }) {}

describe("the report of a stop", () => {
  it.effect("tells of each service when it was asked and ended, and children too", () =>
    Effect.gen(function* () {
      class Import extends Service.make<Import>()("Import", {
        onStart: Effect.void,
        onStop: () => Effect.sleep("20 millis")
      }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Effect.zipRight(Db, Service.adopt(Import, { name: "a.csv" })),
        onStop: () => Effect.sleep("100 millis")
      }) {}
      const app = yield* running(Layer.provide(Web.layer, Db.layer))
      assert.deepStrictEqual(yield* app.report, Option.none())
      yield* TestClock.adjust("1 minute")
      app.stop("SIGTERM")
      const report = yield* app.ended("1 second")
      assert.deepStrictEqual(lines(report), [
        "Shop > Web 0 120 clean",
        "Shop > Web > Import[a.csv] 100 120 clean",
        "Shop > Db 120 125 clean"
      ])
      const { services: _, ...rest } = report
      assert.deepStrictEqual(rest, {
        app: "Shop",
        reason: "SIGTERM",
        took: Duration.millis(125),
        stopTimeout: Duration.seconds(30),
        exitCode: 0,
        exitReason: "it was asked to stop, and stopped cleanly",
        problems: []
      })
      assert.strictEqual(
        App.renderStop(report),
        `
Shop stopped in 125ms, clean
  stopped because: SIGTERM
  deadline: 30s
  exit code: 0, because it was asked to stop, and stopped cleanly
  service              asked  ended  outcome
  Web                    0ms  120ms  clean
  Web > Import[a.csv]  100ms  120ms  clean
  Db                   120ms  125ms  clean`.trim()
      )
    }).pipe(leavesNothing)
  )

  it.effect("tells what failed, what hung, what was left alive, and what never ended, the worst first", () =>
    Effect.gen(function* () {
      class Fails extends Service.make<Fails>()("Fails", {
        onStart: Effect.gen(function* () {
          yield* Service.addCleanup(Effect.die("no socket"))
          yield* Service.spawn(Effect.delay(Effect.die("data lost"), "1 second"), { name: "flush" })
        }),
        onStop: () => Effect.zipRight(Effect.sleep("3 seconds"), Effect.fail("the disk is full"))
      }) {}
      class Hangs extends Service.make<Hangs>()("Hangs", {
        onStart: Service.spawn(stubborn, { name: "rows" }),
        stopTimeout: "2 seconds"
      }) {}
      class Waits extends Service.make<Waits>()("Waits", {
        onStart: Service.spawn(Effect.never, { name: "watch" }),
        onStop: () => Effect.sleep("5 millis")
      }) {}
      class Endless extends Service.make<Endless>()("Endless", {
        onStart: Effect.zipRight(Waits, Service.spawn(stubborn, { name: "feed" })),
        stopTimeout: "1 minute"
      }) {}
      const app = yield* running(
        Layer.mergeAll(Fails.layer, Hangs.layer, Layer.provide(Endless.layer, Waits.layer)),
        { stopTimeout: "4 seconds" }
      )
      app.stop("SIGTERM")
      const report = yield* app.ended("5 seconds")
      assert.deepStrictEqual(lines(report).toSorted(), [
        "Shop > Endless 0 never abandoned",
        "Shop > Fails 0 3000 failed",
        "Shop > Hangs 0 2000 timedOut",
        "Shop > Waits 4000 4005 timedOut"
      ])
      const text = `
Shop stopped in 5s, not clean
  stopped because: SIGTERM
  deadline: 4s
  exit code: 1, because 4 of 4 services did not stop cleanly
  service  asked   ended  outcome
  Endless    0ms   never  abandoned  had not stopped after 4s (stopping: work), with feed still running
  Hangs      0ms      2s  timed out  hung in work, and was left after 2s, with rows still running
  Waits       4s  4s 5ms  timed out  had not stopped after 4s (running)
  Fails      0ms      3s  failed     failed, because flush failed: data lost
                                     failed in onStop: the disk is full
                                     failed in a cleanup: no socket`
      assert.strictEqual(App.renderStop(report), text.trim())
      // The journal and its log line tell the same.
      const entry = (yield* Journal.recent).at(-1)
      assert.deepInclude(entry, { _tag: "AppStopped", report })
      assert.strictEqual(Journal.format(entry!), App.renderStop(report))
      assert.deepStrictEqual(
        report.services
          .flatMap(({ alive, service }) => alive.map((name) => `${service}: ${name}`))
          .toSorted(),
        ["Shop > Endless: feed", "Shop > Hangs: rows"]
      )
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing, Effect.provide(Journal.layer))
  )

  it.effect("blames what hung, and not its owner, which has waited for it beyond its own time", () =>
    Effect.gen(function* () {
      class Request extends Service.make<Request>()("Request", {
        onStart: Effect.void,
        onStop: () => stubborn,
        stopTimeout: "5 seconds"
      }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Service.spawn(Effect.provide(Effect.zipRight(Request, Effect.never), Request.layer), {
          name: "request"
        }),
        stopTimeout: "2 seconds"
      }) {}
      const app = yield* running(Web.layer)
      app.stop("SIGTERM")
      const report = yield* app.ended("5 seconds")
      assert.deepStrictEqual(lines(report), [
        "Shop > Web 0 5000 clean",
        "Shop > Web > Request 0 5000 timedOut"
      ])
      yield* TestClock.adjust("2 hours")
    }).pipe(leavesNothing)
  )

  it.effect("tells of a boot that failed what had to be undone, and exits with 1", () =>
    Effect.gen(function* () {
      let tries = 0
      class Flaky extends Service.make<Flaky>()("Flaky", {
        onStart: Effect.suspend(() => (++tries === 1 ? Effect.fail("not yet") : Effect.void)),
        onStop: () => Effect.fail("no disk")
      }) {}
      class Broken extends Service.make<Broken>()("Broken", {
        onStart: Effect.zipRight(Effect.all([Db, Flaky]), Effect.fail("no route to host"))
      }) {}
      const flaky = Layer.retry(Layer.fresh(Flaky.layer), Schedule.spaced("1 second"))
      const app = yield* running(Layer.provide(Broken.layer, [Db.layer, flaky]))
      const report = yield* app.ended("2 seconds")
      assert.deepStrictEqual(lines(report), [
        "Shop > Broken 0 0 clean",
        "Shop > Flaky 0 0 failed",
        "Shop > Db 0 5 clean"
      ])
      assert.deepStrictEqual(report.took, Duration.millis(5))
      assert.deepStrictEqual(
        [report.reason, report.exitCode, report.exitReason, ...report.problems],
        [
          "it did not start",
          1,
          'Service "Shop > Broken" failed in onStart, so what it had begun was undone: no route to host; ' +
            "1 of 3 services did not stop cleanly"
        ]
      )
    }).pipe(leavesNothing)
  )

  it.effect("holds it against no stop that a service failed while it started", () =>
    Effect.gen(function* () {
      class Broken extends Service.make<Broken>()("Broken", {
        onStart: Effect.zipRight(Service.spawn(Effect.die("bug"), { name: "rows" }), Effect.never)
      }) {}
      const app = yield* running(Broken.layer)
      const report = yield* app.ended(0)
      assert.deepStrictEqual(lines(report), ["Shop > Broken 0 0 clean"])
      assert.deepStrictEqual(
        [report.reason, report.exitReason],
        ["Shop > Broken > rows failed", "Shop > Broken > rows failed, so the app was stopped: bug"]
      )
    }).pipe(leavesNothing)
  )

  it.effect("says of a boot that was interrupted which start held it up, and which had failed", () =>
    Effect.gen(function* () {
      class Broken extends Service.make<Broken>()("Broken", { onStart: Effect.fail("no disk") }) {}
      class Stuck extends Service.make<Stuck>()("Stuck", { onStart: Effect.zipRight(Db, stubborn) }) {}
      const app = yield* running(Layer.merge(Layer.provide(Stuck.layer, Db.layer), Broken.layer), {
        stopTimeout: "6 seconds"
      })
      app.stop("SIGTERM")
      const report = yield* app.ended("3 seconds")
      assert.strictEqual(
        App.renderStop(report),
        `
Shop stopped in 2s 5ms, not clean
  stopped because: SIGTERM
  deadline: 6s
  exit code: 1, because 1 of 2 services did not stop cleanly
  Shop > Broken did not start: onStart failed: no disk
  service  asked   ended  outcome
  Stuck       2s      2s  timed out  could not be interrupted while it started, and was left after 2s
  Db          2s  2s 5ms  clean`.trim()
      )
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )

  it.effect("keeps those apart that have one path, and knows those that stopped already", () =>
    Effect.gen(function* () {
      class Request extends Service.make<Request>()("Request", {
        onStart: Effect.void,
        onStop: () => Effect.sleep("1 second")
      }) {}
      class Kid extends Service.make<Kid>()("Kid", {
        onStart: Service.timeout(Service.stop, "1 second"),
        onStop: () => Effect.sleep("3 seconds")
      }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Effect.gen(function* () {
          yield* Service.adopt(Kid)
          const request = Effect.provide(Effect.zipRight(Request, Effect.never), Request.layer)
          yield* Service.spawn(request, { name: "one" })
          yield* Service.spawn(Effect.delay(request, "500 millis"), { name: "two" })
        })
      }) {}
      const app = yield* running(Web.layer)
      yield* TestClock.adjust("2 seconds")
      app.stop("SIGTERM")
      assert.deepStrictEqual(lines(yield* app.ended("1 minute")), [
        "Shop > Web 0 2000 clean",
        "Shop > Web > Request 0 1000 clean",
        "Shop > Web > Request 0 1000 clean",
        "Shop > Web > Kid 0 2000 clean"
      ])
    }).pipe(leavesNothing)
  )

  it("fits into a screen: those in trouble first, names and problems cut, the rest counted", () => {
    const services = Array.from({ length: 200 }, (_, n): App.StoppedService => ({
      service: `Shop > ${"Service".repeat(n === 7 ? 20 : 1)}${n}`,
      outcome: n === 7 ? "failed" : "clean",
      askedAt: Duration.zero,
      endedAt: Duration.millis(n),
      problems: Array.from({ length: n === 7 ? 9 : 0 }, () => ({
        _tag: "StepFailed",
        step: "a cleanup",
        reason: "no\n".repeat(100)
      })),
      alive: []
    }))
    const text = App.renderStop({
      app: "Shop",
      reason: "SIGTERM",
      took: Duration.seconds(1),
      stopTimeout: Duration.seconds(30),
      exitCode: 1,
      exitReason: "1 of 200 services did not stop cleanly",
      services,
      problems: Array.from({ length: 8 }, () => "a layer hung")
    }).split("\n")
    const name = `${"Service".repeat(5)}Serv…`
    const problem = `failed in a cleanup: ${"no ".repeat(26)}…`
    const blank = " ".repeat(name.length + 25)
    assert.deepStrictEqual(text.slice(4, 19), [
      ...Array.from({ length: 5 }, () => "  a layer hung"),
      "  and 3 more problems",
      `  service${" ".repeat(33)}  asked  ended  outcome`,
      `  ${name}    0ms    7ms  failed   ${problem}`,
      ...Array.from({ length: 4 }, () => `  ${blank}${problem}`),
      `  ${blank}and 4 more problems`,
      `  Service0${" ".repeat(32)}    0ms    0ms  clean`,
      `  Service1${" ".repeat(32)}    0ms    1ms  clean`
    ])
    assert.deepStrictEqual([text.length, text.at(-1)], [50, "  and 167 more services, clean"])
  })
})

describe("the exit code", () => {
  class Web extends Service.make<Web>()("Web", {
    onStart: (work: Effect.Effect<unknown, never, Service.Scope>) => Effect.zipRight(Db, work)
  }) {}
  const web = (work: Effect.Effect<unknown, never, Service.Scope>) =>
    running(Layer.provide(Web.layer(work), Db.layer))
  const exitOf = ({ exitCode, exitReason, reason }: App.StopReport) => [reason, exitCode, exitReason]
  const clean = "it was asked to stop, and stopped cleanly"

  it.effect("is 0 when a service asked for the stop", () =>
    Effect.gen(function* () {
      const app = yield* web(Service.timeout(Service.stop, "1 second"))
      assert.deepStrictEqual(exitOf(yield* app.ended("2 seconds")), ["Shop > Web asked for it", 0, clean])
    }).pipe(leavesNothing)
  )

  it.effect("is 0 when launch was interrupted", () =>
    Effect.gen(function* () {
      const app = yield* web(Effect.void)
      app.fiber.unsafeInterruptAsFork(app.fiber.id())
      assert.deepStrictEqual(exitOf(yield* app.ended("1 second")), ["it was interrupted", 0, clean])
    }).pipe(leavesNothing)
  )

  it.effect("is 1 when a service failed, however cleanly the app stopped then", () =>
    Effect.gen(function* () {
      const app = yield* web(Service.spawn(Effect.delay(Effect.die("bug"), "1 second"), { name: "rows" }))
      const report = yield* app.ended("2 seconds")
      assert.deepStrictEqual(exitOf(report), [
        "Shop > Web > rows failed",
        1,
        "Shop > Web > rows failed, so the app was stopped: bug"
      ])
      assert.deepStrictEqual(lines(report), ["Shop > Web 0 0 clean", "Shop > Db 0 5 clean"])
    }).pipe(leavesNothing)
  )

  it.effect("is 1 after a crash, also of one in the stop, or after it", () =>
    Effect.gen(function* () {
      const crashes = (when: "up" | "stopping" | "stopped") =>
        Effect.gen(function* () {
          const app = yield* web(Effect.void)
          const crash = app.crash("uncaught exception", new Error("boom"))
          if (when !== "up") app.stop("SIGTERM")
          if (when === "stopping") yield* TestClock.adjust(1)
          if (when === "stopped") yield* app.ended("1 second")
          yield* crash
          return exitOf(yield* app.ended("1 second"))
        })
      assert.deepStrictEqual(
        [yield* crashes("up"), yield* crashes("stopping"), yield* crashes("stopped")],
        [
          ["uncaught exception", 1, "it crashed (uncaught exception)"],
          ["SIGTERM", 1, "it crashed (uncaught exception)"],
          ["SIGTERM", 1, "it crashed (uncaught exception)"]
        ]
      )
    }).pipe(leavesNothing)
  )

  it.effect("is 1 when a layer that is no service did not stop cleanly", () =>
    Effect.gen(function* () {
      const app = yield* running(Layer.scopedDiscard(Effect.addFinalizer(() => Effect.die("no socket"))))
      app.stop("SIGTERM")
      const report = yield* app.ended("1 second")
      assert.deepStrictEqual(exitOf(report), ["SIGTERM", 1, "it did not stop cleanly"])
      assert.deepStrictEqual(report.problems, ["a finalizer failed: no socket"])
    }).pipe(leavesNothing)
  )
})

describe("a child whose start hangs", () => {
  it.effect("is not shown as clean", () =>
    Effect.gen(function* () {
      class Kid extends Service.make<Kid>()("Kid", { onStart: stubborn }) {}
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Service.spawn(Effect.orDie(Service.adopt(Kid)))
      }) {}
      const app = yield* running(Parent.layer)
      app.stop("SIGTERM")
      const report = yield* app.ended("1 minute")
      assert.deepStrictEqual(lines(report), [
        "Shop > Parent 0 5000 timedOut",
        "Shop > Parent > Kid 5000 5000 timedOut"
      ])
      assert.include(App.renderStop(report), "hung in onStart, and was left after 5s")
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )
})
