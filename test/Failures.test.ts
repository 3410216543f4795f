import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Layer, Logger, LogLevel, Schema, TestClock } from "effect"
import { App, Event, EventBus, Failure, Health, Journal, Service, ServiceRegistry } from "effect-services"
import { launch } from "./support.ts"

/** What can be thrown, and what must be said of it. */
const shapes: ReadonlyArray<readonly [name: string, make: () => unknown, said: string]> = [
  ["an error with a bigint", () => ({ _tag: "NoFunds", balance: 10n }), "NoFunds"],
  ["an error whose cause has a bigint", () => new Error("boom", { cause: { balance: 10n } }), "boom"],
  [
    "an error that is its own cause",
    () => {
      const error = new Error("")
      error.cause = error
      return error
    },
    "Error"
  ],
  [
    "errors that cause each other",
    () => {
      const error = new Error("one")
      error.cause = new Error("other", { cause: error })
      return error
    },
    "one: other"
  ],
  [
    "an error with a thousand causes",
    () =>
      Array.from({ length: 1_000 }).reduce(
        (cause: Error, _, n) => new Error(`e${n}`, { cause }),
        new Error("e")
      ),
    "e998: e997"
  ],
  [
    "a message that cannot be read",
    () =>
      Object.defineProperty(new TypeError("x"), "message", {
        get: () => {
          throw new Error("no")
        }
      }),
    "TypeError"
  ],
  [
    "texts that cannot be made",
    () => ({
      toString: () => {
        throw new Error("no")
      },
      toJSON: () => {
        throw new Error("no")
      }
    }),
    "a value that cannot be read"
  ],
  [
    "a Proxy that throws",
    () =>
      new Proxy(
        {},
        Object.fromEntries(
          ["get", "has", "ownKeys", "getPrototypeOf", "getOwnPropertyDescriptor"].map((trap) => [
            trap,
            () => {
              throw new Error("no")
            }
          ])
        )
      ),
    "a value that cannot be read"
  ],
  ["a tag that is no text", () => ({ _tag: Object.create(null), n: 1 }), '{"_tag":{},"n":1}'],
  ["an object without a prototype", () => Object.assign(Object.create(null), { n: 1 }), '{"n":1}'],
  [
    "an AggregateError without a message",
    () =>
      Object.assign(
        new AggregateError([
          new Error("connect ECONNREFUSED ::1:5432"),
          new Error("connect ECONNREFUSED 127.0.0.1:5432")
        ]),
        { code: "ECONNREFUSED" }
      ),
    "connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432"
  ],
  [
    "the error of fetch",
    () => new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED 127.0.0.1:1") }),
    "fetch failed: connect ECONNREFUSED 127.0.0.1:1"
  ],
  ["an error with only a code", () => Object.assign(new Error(""), { code: "ETIMEDOUT" }), "ETIMEDOUT"],
  ["an error with only fields", () => Object.assign(new Error(""), { status: 500 }), 'Error {"status":500}'],
  ["null", () => null, "null"],
  ["undefined", () => undefined, "undefined"],
  ["a symbol", () => Symbol("s"), "Symbol(s)"],
  ["a function", () => function broken() {}, "function broken"]
]

/** The lines that each of Effect's loggers writes. */
const logging = (minimum = LogLevel.Info) => {
  const lines = { string: new Array<string>(), logfmt: new Array<string>(), json: new Array<string>() }
  const loggers = Object.entries({
    string: Logger.stringLogger,
    logfmt: Logger.logfmtLogger,
    json: Logger.jsonLogger
  }).map(([name, logger]) => Logger.map(logger, (line) => void lines[name as keyof typeof lines].push(line)))
  const [first, ...others] = loggers as [Logger.Logger<unknown, void>, ...Array<Logger.Logger<unknown, void>>]
  return {
    lines,
    layer: Layer.mergeAll(
      Logger.replace(Logger.defaultLogger, first),
      ...others.map((logger) => Logger.add(logger)),
      Logger.minimumLogLevel(minimum)
    )
  }
}

const Ping = Event.make("ping", {})

describe.each(shapes)("a failure with %s", (_, make, said) => {
  for (const how of ["fail", "die"] as const) {
    const failing: Effect.Effect<never, unknown> = Effect.suspend(() =>
      Effect.failCause(how === "fail" ? Cause.fail(make()) : Cause.die(make()))
    )

    it.effect(`in a tick, a task, a handler and a check is told, and breaks nothing (${how})`, () =>
      Effect.gen(function* () {
        const done = yield* Deferred.make<EventBus.Receipt>()
        const seen = yield* Deferred.make<ReadonlyArray<Journal.Entry>>()
        const { layer, lines } = logging()
        let runs = 0
        class Shop extends Service.make<Shop>()("Shop", {
          onStart: Effect.gen(function* () {
            yield* Service.interval(
              Effect.suspend(() => (runs++, failing)),
              "10 seconds",
              { name: "tick" }
            )
            yield* Service.spawn(failing, { name: "task", onFailure: Failure.log })
            yield* Service.health(failing, { name: "check" })
            yield* Service.listen(Ping, () => failing)
            yield* Service.timeout(
              Effect.flatMap(EventBus.emit(Ping, {}), (receipt) => Deferred.succeed(done, receipt)),
              "1 second"
            )
            yield* Service.timeout(
              Effect.zipRight(
                Effect.flatMap(Journal.recent, (all) => Deferred.succeed(seen, all)),
                Service.stop
              ),
              "35 seconds"
            )
          })
        }) {}
        const fiber = yield* Effect.provide(launch(Layer.provide(Shop.layer, EventBus.layer)), layer)
        yield* TestClock.adjust("40 seconds")
        const exit = yield* fiber.await
        assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause), "the app ran to its end")
        assert.isAtLeast(runs, 3)
        const [outcome] = (yield* Deferred.await(done)).outcomes
        assert.strictEqual(outcome?._tag, "Failed")
        const entries = yield* Deferred.await(seen)
        const tasks = entries.flatMap((entry) => (entry._tag === "TaskFailed" ? [entry.task] : []))
        assert.includeMembers(tasks, ["tick", "task"])
        assert.isTrue(entries.some(({ _tag }) => _tag === "HandlerFailed"))
        const unhealthy = entries.find((entry) => entry._tag === "HealthChanged")
        assert.include(unhealthy?.reason, said)
        for (const each of Object.values(lines)) {
          for (const work of ["tick failed", "task failed", "listener of ping failed"]) {
            const line = each.find((line) => line.includes(work))
            assert.isDefined(line, work)
            const text = each === lines.string ? line : JSON.stringify(line)
            // A defect has its causes below it.
            for (const part of said.split(": ")) assert.include(text?.replaceAll("\\", ""), part)
          }
        }
      })
    )

    it.effect(`in a stop and in a cleanup is told (${how})`, () =>
      Effect.gen(function* () {
        const { layer, lines } = logging()
        class Shop extends Service.make<Shop>()("Shop", {
          onStart: Effect.zipRight(Service.addCleanup(failing), Service.timeout(Service.stop, "1 second")),
          onStop: () => failing
        }) {}
        const fiber = yield* Effect.provide(launch(Shop.layer), layer)
        yield* TestClock.adjust("2 seconds")
        const exit = yield* fiber.await
        assert.isTrue(Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
        const text = lines.string.join("\n").replaceAll("\\", "")
        assert.include(text, "failed in onStop")
        assert.include(text, "App stopped in")
        assert.include(text, said.slice(0, 30))
      })
    )

    it.effect(`in a start is told, also by a logger of all levels (${how})`, () =>
      Effect.gen(function* () {
        const { layer, lines } = logging(LogLevel.All)
        class Shop extends Service.make<Shop>()("Shop", { onStart: failing }) {}
        const fiber = yield* Effect.provide(launch(Shop.layer), layer)
        const exit = yield* fiber.await
        assert.isTrue(Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
        assert.include(lines.string.join("\n").replaceAll("\\", ""), said)
        // What the app fails with can be printed, too: Effect's runPromise does so.
        if (Exit.isFailure(exit)) {
          assert.include(Cause.pretty(exit.cause, { renderErrorCause: true }), said.split(": ")[0]!)
          if (how === "fail") assert.instanceOf(Cause.squash(exit.cause), Service.StartError)
        }
      })
    )
  }

  it.effect("that nothing has caught is told", () =>
    Effect.gen(function* () {
      const { layer, lines } = logging()
      class Shop extends Service.make<Shop>()("Shop", { onStart: Effect.void }) {}
      const app = App.make({ name: "App" })
      const fiber = yield* Effect.provide(Effect.forkDaemon(app.launch(Shop.layer)), layer)
      yield* TestClock.adjust(0)
      yield* Effect.provide(app.crash("uncaught exception", make()), layer)
      yield* fiber.await
      const line = lines.string.find((line) => line.includes("App crashed"))
      for (const part of said.split(": ")) assert.include(line?.replaceAll("\\", ""), part)
    })
  )
})

/** What an app with a failure in each place logs, and what it shows of itself before it stops. */
const toldOf = (failing: Effect.Effect<never, unknown>) =>
  Effect.gen(function* () {
    const { layer, lines } = logging(LogLevel.All)
    const shown = yield* Deferred.make<string>()
    const show = Effect.map(Effect.all([ServiceRegistry.snapshot, Health.ready]), ([snapshot, readiness]) =>
      [
        ServiceRegistry.render(snapshot),
        ...readiness.problems.map(({ reason }) => reason),
        JSON.stringify(Schema.encodeSync(Health.Status)(snapshot))
      ].join("\n")
    )
    class Shop extends Service.make<Shop>()("Shop", {
      onStart: Effect.gen(function* () {
        yield* Service.interval(failing, "10 seconds", { name: "tick" })
        yield* Service.health(failing, { name: "check" })
        yield* Service.listen(Ping, () => failing)
        yield* Service.timeout(EventBus.emit(Ping, {}), "1 second")
        yield* Service.timeout(
          Effect.zipRight(
            Effect.flatMap(show, (text) => Deferred.succeed(shown, text)),
            Service.stop
          ),
          "15 seconds"
        )
      }),
      onStop: () => failing
    }) {}
    const fiber = yield* Effect.provide(launch(Layer.provide(Shop.layer, EventBus.layer)), layer)
    yield* TestClock.adjust("20 seconds")
    yield* fiber.await
    return { lines, shown: yield* Deferred.await(shown) }
  })

describe("The text of a failure", () => {
  const controls = (
    "\r\u0007\u001B\u0000\u007F\u0085\u009B\u2028\u2029\u061C\u200E\u200F" +
    "\u202A\u202B\u202C\u202D\u202E\u2066\u2067\u2068\u2069"
  ).split("")
  const forged = `x${controls.map((it) => `${it}timestamp=2000 level=INFO `).join("")}\ntimestamp=2000 level=INFO forged`

  const evil = (): Error => {
    const error = new Error(forged, { cause: new Error(forged, { cause: { forged } }) })
    error.name = forged
    error.stack = `${forged}\n    at ${forged}\ntimestamp=2000\n    at file.js:1:1`
    return error
  }

  const forging: ReadonlyArray<readonly [string, () => Effect.Effect<never, unknown>]> = [
    ["an error that is expected", () => Effect.fail(evil())],
    ["a defect", () => Effect.die(evil())],
    [
      "a defect in a span",
      () =>
        Effect.withSpan(
          Effect.suspend(() => Effect.die(evil())),
          forged
        )
    ],
    ["a string", () => Effect.fail(forged)],
    ["a tagged value", () => Effect.fail({ _tag: forged })],
    ["fields", () => Effect.fail({ [forged]: forged })],
    ["an AggregateError", () => Effect.fail(new AggregateError([evil(), forged], forged))]
  ]
  it.effect.each(forging)("of %s forges no line of the log", ([, failing]) =>
    Effect.gen(function* () {
      const { lines, shown } = yield* toldOf(Effect.suspend(failing))
      for (const line of [...lines.string, shown]) {
        for (const control of controls) assert.notInclude(line, control)
      }
      // The lines of a stack are indented.
      for (const line of lines.string.join("\n").split("\n"))
        assert.isFalse(line.startsWith("timestamp=2000"), line)
      assert.isTrue(lines.string.some((line) => line.includes("tick failed")))
    })
  )

  it.effect("of a request's path or a name forges no line either", () =>
    Effect.sync(() => {
      const text = Journal.format({
        _tag: "RequestFailed",
        service: "Shop",
        route: `GET /${forged}`,
        cause: Cause.fail("no"),
        took: Duration.millis(1)
      })
      for (const control of [...controls, "\n"]) assert.notInclude(text, control)
      const { name } = Event.make(forged, {})
      for (const control of [...controls, "\n"]) assert.notInclude(name, control)
    })
  )

  it.effect("is bounded, however long and deep it is", () =>
    Effect.gen(function* () {
      const long = () => {
        let error = new Error("x ".repeat(1_000_000))
        for (let n = 0; n < 50; n++) error = new Error("y".repeat(100_000), { cause: error })
        return new AggregateError(Array.from({ length: 100_000 }, () => error))
      }
      for (const failing of [Effect.fail(long()), Effect.die(long())]) {
        const { lines, shown } = yield* toldOf(failing)
        assert.isBelow(shown.length, 20_000)
        for (const line of lines.string) assert.isBelow(line.length, 60_000)
      }
    })
  )

  it.effect("of one that is expected has no stack, and that of a defect has", () =>
    Effect.gen(function* () {
      // @effect-diagnostics-next-line globalErrorInEffectFailure:off
      const expected = (yield* toldOf(Effect.fail(new Error("no disk")))).lines.string
      const line = expected.find((line) => line.includes("tick failed"))
      assert.include(line, "Error: no disk")
      assert.notInclude(expected.join("\n"), "Failures.test.ts")
      const cause = new TypeError("no field")
      const defects = (yield* toldOf(Effect.die(new Error("a bug", { cause })))).lines.string
      const logged = defects.find((line) => line.includes("tick failed")) ?? ""
      assert.include(logged, "Error: a bug\n    at ")
      assert.include(logged, "[cause]: TypeError: no field\n")
      assert.include(logged, "Failures.test.ts")
    })
  )

  it.effect("is printed by a stand-in, which gives loggers the error itself", () =>
    Effect.gen(function* () {
      const error = { _tag: "NoFunds", balance: 10n }
      const seen: Array<unknown> = []
      const logger = Logger.make(({ cause }) => {
        if (!Cause.isEmpty(cause)) seen.push(Cause.originalError(Cause.squash(cause)))
      })
      class Shop extends Service.make<Shop>()("Shop", {
        onStart: Service.spawn(Effect.fail(error), { onFailure: Failure.log })
      }) {}
      const fiber = yield* Effect.provide(launch(Shop.layer), Logger.replace(Logger.defaultLogger, logger))
      yield* fiber.interruptAsFork(fiber.id())
      yield* fiber.await
      assert.deepStrictEqual(seen, [error])
    })
  )
})

describe("Work that fails again and again", () => {
  it.effect("is logged at once, then once a second with the count and the last reason", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ cause, message }) => {
        lines.push([...(message as Array<string>), ...Cause.failures(cause)].join(" | "))
      })
      let runs = 0
      const seen = yield* Deferred.make<ReadonlyArray<Journal.Entry>>()
      class Shop extends Service.make<Shop>()("Shop", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(
            // @effect-diagnostics-next-line globalErrorInEffectFailure:off
            Effect.suspend(() => Effect.fail(new Error(++runs < 40 ? "no" : `no ${runs}`))),
            "20 millis",
            { name: "tick" }
          )
          yield* Service.timeout(
            Effect.zipRight(
              Effect.flatMap(Journal.recent, (all) => Deferred.succeed(seen, all)),
              Service.stop
            ),
            "2510 millis"
          )
        })
      }) {}
      const fiber = yield* Effect.provide(launch(Shop.layer), Logger.replace(Logger.defaultLogger, logger))
      yield* TestClock.adjust("3 seconds")
      yield* fiber.await
      const told = lines.filter((line) => line.includes("tick failed"))
      assert.deepStrictEqual(told, [
        "App > Shop: tick failed | Error: no",
        // Another reason is news, but not one after another.
        "App > Shop: tick failed | Error: no 40",
        "App > Shop: tick failed | Error: no 41",
        "App > Shop: tick failed (48 times more in 1s, the last: no 51)",
        "App > Shop: tick failed (50 times more in 1s, the last: no 101)",
        "App > Shop: tick failed (24 times more in 490ms, the last: no 125)"
      ])
      // Before the stop is told.
      assert.isBelow(
        lines.indexOf(told[5]!),
        lines.findIndex((line) => line.includes("App stopped"))
      )
      const entries = (yield* Deferred.await(seen)).filter(({ _tag }) => _tag === "TaskFailed")
      assert.strictEqual(entries.length, 125)
    })
  )

  it.effect("but seldom is logged each time, with its cause", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ cause, message }) => {
        lines.push([...(message as Array<string>), ...Cause.defects(cause)].join(" | "))
      })
      class Shop extends Service.make<Shop>()("Shop", {
        onStart: Service.interval(Effect.dieMessage("no"), "1 second", { name: "tick" })
      }) {}
      const fiber = yield* Effect.provide(launch(Shop.layer), Logger.replace(Logger.defaultLogger, logger))
      yield* TestClock.adjust("10500 millis")
      yield* fiber.interruptAsFork(fiber.id())
      yield* fiber.await
      const told = lines.filter((line) => line.includes("tick failed"))
      assert.deepStrictEqual(told, Array<string>(10).fill("App > Shop: tick failed | RuntimeException: no"))
    })
  )
})
