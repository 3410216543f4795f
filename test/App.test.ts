import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Logger, TestClock } from "effect"
import { App, Journal, Service } from "effect-services"
import { journalLines, launch, leavesNothing, timeline } from "./support.ts"

const messages = <E>(exit: Exit.Exit<unknown, E>) =>
  Exit.isFailure(exit)
    ? [...Cause.failures(exit.cause), ...Cause.defects(exit.cause)].map((error: any) => error.message)
    : []

describe("launch", () => {
  it.effect("tells what happens, from the boot to the stop, with times", () =>
    Effect.gen(function* () {
      class Database extends Service.make<Database>()("Database", {
        onStart: Effect.sleep(20),
        onStop: () => Effect.sleep(5)
      }) {}
      class Web extends Service.make<Web>()("Web", { onStart: Effect.zipRight(Database, Effect.sleep(3)) }) {}
      const lines: Array<string> = []
      const logger = Logger.make(
        ({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`)
      )
      const fiber = yield* launch(Web.layer.pipe(Layer.provide(Database.layer)), { name: "Shop" }).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      yield* TestClock.adjust(23)
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust(5)

      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(lines, [
        "INFO Shop > Database started in 20ms",
        "INFO Shop > Web started in 3ms",
        "INFO Shop started in 23ms, with 2 services",
        "INFO Shop is stopping: it was interrupted",
        "INFO Shop > Web stopped in 0ms",
        "INFO Shop > Database stopped in 5ms",
        "INFO Shop stopped in 5ms, clean"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("writes to the journal around it, and gives its own to what it runs", () =>
    Effect.gen(function* () {
      let inside: ReadonlyArray<string> = []
      class Reader extends Service.make<Reader>()("Reader", {
        onStart: Effect.map(journalLines, (lines) => void (inside = lines))
      }) {}
      yield* Fiber.interrupt(yield* launch(Reader.layer))
      assert.deepStrictEqual(inside, ["ServiceStarting App > Reader"])

      const outside = yield* Effect.zipRight(
        Effect.flatMap(launch(Reader.layer), Fiber.interrupt),
        journalLines
      ).pipe(Effect.provide(Journal.layer))
      assert.deepStrictEqual(outside, [
        "ServiceStarting App > Reader",
        "ServiceStarted App > Reader",
        "AppStarted App",
        "AppStopping App",
        "ServiceStopping App > Reader",
        "ServiceStopped App > Reader",
        "AppStopped App"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("fails with the layer's error when it does not start", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Fine extends Service.make<Fine>()("Fine", { onStart: Effect.void, onStop: () => say("-Fine") }) {}
      const broken = Layer.fail({ _tag: "NoPort" as const, message: "port 3000 is in use" })
      const exit = yield* Effect.exit(App.launch(broken.pipe(Layer.provide(Fine.layer))))
      assert.deepStrictEqual(messages(exit), ["port 3000 is in use"])
      assert.deepStrictEqual(lines, ["-Fine"])
    }).pipe(leavesNothing)
  )

  it.effect("stops what has started when a service fails during the boot", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Dies extends Service.make<Dies>()("Dies", {
        onStart: Service.spawn(Effect.delay(Effect.die("bug"), "1 second"), { name: "worker" }),
        onStop: () => say("-Dies")
      }) {}
      class Slow extends Service.make<Slow>()("Slow", { onStart: Effect.zipRight(Dies, Effect.never) }) {}
      const fiber = yield* launch(Slow.layer.pipe(Layer.provide(Dies.layer)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(messages(yield* Fiber.await(fiber)), [
        "App > Dies > worker failed, so the app was stopped: bug"
      ])
      assert.deepStrictEqual(lines, ["-Dies"])
    }).pipe(leavesNothing)
  )

  it.effect("can be interrupted during the boot, and leaves a start that cannot be within its deadline", () =>
    Effect.gen(function* () {
      class Stuck extends Service.make<Stuck>()("Stuck", {
        onStart: Effect.uninterruptible(Effect.sleep("1 hour"))
      }) {}
      const fiber = yield* launch(Stuck.layer, { stopTimeout: "7 seconds" })
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("6999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(messages(yield* Fiber.await(fiber)), [
        "The app did not stop cleanly: App > Stuck (starting) had not stopped after 7s"
      ])
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )

  it.effect("names what hangs and what had to wait for it, with its step, when its own deadline passes", () =>
    Effect.gen(function* () {
      class Database extends Service.make<Database>()("Database", { onStart: Effect.void }) {}
      class Child extends Service.make<Child>()("Child", {
        onStart: Service.spawn(Effect.uninterruptible(Effect.sleep("1 hour")), { name: "stubborn" }),
        stopTimeout: "1 minute"
      }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Effect.zipRight(Database, Service.adopt(Child))
      }) {}
      const fiber = yield* launch(Web.layer.pipe(Layer.provide(Database.layer)))
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("30 seconds")
      const exit = yield* Fiber.await(fiber)
      assert.deepStrictEqual(messages(exit), [
        "The app did not stop cleanly: App > Database (running) had not stopped after 30s; " +
          "App > Web (stopping: children) had not stopped after 30s; " +
          "App > Web > Child (stopping: work) had not stopped after 30s"
      ])
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )

  it.effect("keeps two apps of one process apart", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Worker extends Service.make<Worker>()("Worker", {
        onStart: (name: string) =>
          Effect.as(Service.timeout(Service.stop, name === "a" ? "1 second" : "2 seconds"), name),
        onStop: (name) => say(`-${name}`)
      }) {}
      const a = yield* launch(Worker.layer("a"), { name: "A" })
      const b = yield* launch(Worker.layer("b"), { name: "B" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        [a.unsafePoll() === null, b.unsafePoll() === null, ...lines],
        [false, true, "-a"]
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["-a", "-b"])
    }).pipe(leavesNothing)
  )

  it("refuses options that cannot be used", () => {
    assert.throws(
      () => App.make({ name: "" }),
      'App.launch: `name` must be a name that is not empty, but it is "".'
    )
    assert.throws(
      () => App.make({ stopTimeout: "0 seconds" }),
      'App.launch: `stopTimeout` must be a duration above zero and below infinity, like "5 seconds", but it is "0 seconds".'
    )
  })
})
