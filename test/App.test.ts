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

  it.effect(
    "leaves a start that cannot be interrupted after a third of its deadline, and stops the rest",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Up extends Service.make<Up>()("Up", { onStart: Effect.void, onStop: () => say("-Up") }) {}
        class Stuck extends Service.make<Stuck>()("Stuck", {
          onStart: Effect.zipRight(Up, Effect.uninterruptible(Effect.sleep("1 hour")))
        }) {}
        const fiber = yield* launch(Stuck.layer.pipe(Layer.provide(Up.layer)), { stopTimeout: "6 seconds" })
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* TestClock.adjust("1999 millis")
        assert.deepStrictEqual(lines, [])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(lines, ["-Up"])
        assert.deepStrictEqual(messages(yield* Fiber.await(fiber)), [
          "The app did not stop cleanly: App > Stuck could not be interrupted while it started, and was left after 2s"
        ])
        yield* TestClock.adjust("1 hour")
      }).pipe(leavesNothing)
  )

  it.effect("says so when a service did not start and the boot waits for another", () =>
    Effect.gen(function* () {
      class Stuck extends Service.make<Stuck>()("Stuck", {
        onStart: Effect.uninterruptible(Effect.sleep("4 seconds"))
      }) {}
      class Broken extends Service.make<Broken>()("Broken", { onStart: Effect.fail("no disk") }) {}
      const fiber = yield* launch(Layer.merge(Stuck.layer, Broken.layer))
      yield* TestClock.adjust("2999 millis")
      assert.notInclude(yield* journalLines, "BootWaiting App")
      yield* TestClock.adjust("1 millis")
      assert.include(yield* journalLines, "BootWaiting App")
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("1 second")
      assert.include(messages(yield* Fiber.await(fiber)).join(), "no disk")
    }).pipe(leavesNothing, Effect.provide(Journal.layer))
  )

  it.effect(
    "names what hangs and what had to wait for it, and stops the latter, when its own deadline passes",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Database extends Service.make<Database>()("Database", {
          onStart: Effect.void,
          onStop: () => say("-Database")
        }) {}
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
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.await(fiber)
        assert.deepStrictEqual(messages(exit), [
          "The app did not stop cleanly: App > Web had not stopped after 30s (stopping: children); " +
            "App > Web > Child had not stopped after 30s (stopping: work), with stubborn still running; " +
            "App > Database had not stopped after 30s (running)"
        ])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(lines, ["-Database"])
      }).pipe(leavesNothing)
  )

  it.effect("is not clean when work fails during the stop, and is when it failed long before", () =>
    Effect.gen(function* () {
      class Child extends Service.make<Child>()("Child", {
        onStart: Service.timeout(Service.stop, "1 second"),
        onStop: () => Effect.fail("a child of long ago")
      }) {}
      class Flusher extends Service.make<Flusher>()("Flusher", {
        onStart: (fails: boolean) =>
          Effect.zipRight(
            Service.adopt(Child),
            Effect.when(
              Service.spawn(Effect.delay(Effect.die("data lost"), "10 seconds"), { name: "flush" }),
              () => fails
            )
          ),
        onStop: () => Effect.sleep("9 seconds")
      }) {}
      for (const fails of [true, false]) {
        const fiber = yield* launch(Flusher.layer(fails))
        yield* TestClock.adjust("2 seconds")
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(
          messages(yield* Fiber.await(fiber)),
          fails ? ["The app did not stop cleanly: App > Flusher failed, because flush failed: data lost"] : []
        )
      }
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

  it.effect("launches once, and only a layer", () =>
    Effect.gen(function* () {
      const app = App.make()
      app.stop("test")
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(app.launch(Layer.empty))))
      for (const exit of [
        yield* Effect.exit(app.launch(Layer.empty)),
        yield* Effect.exit(App.launch(undefined as unknown as Layer.Layer<never>))
      ]) {
        assert.match(messages(exit).join(), /^App\.launch: `layer` must be a layer, and that once, but it is/)
      }
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
