import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Config,
  Context,
  Effect,
  Exit,
  Fiber,
  Layer,
  ManagedRuntime,
  Option,
  Schema,
  Scope,
  TestClock
} from "effect"
import { Event, EventBus, Journal, Service } from "effect-services"
import { build, journalLines, launch, leavesNothing, timeline } from "./support.ts"

class DbError extends Schema.TaggedError<DbError>()("DbError", { reason: Schema.String }) {}
class Db extends Context.Tag("Db")<Db, { readonly query: Effect.Effect<number, DbError> }>() {}
const Ping = Event.make("ping", { n: Schema.Number })

class Counter extends Service.make<Counter>()("Counter", {
  onStart: Effect.gen(function* () {
    const db = yield* Db
    yield* Service.interval(Effect.void, "1 second")
    yield* Service.listen(Ping, () => Effect.void)
    yield* Effect.acquireRelease(Effect.void, () => Effect.void)
    return { count: yield* db.query }
  })
}) {}

class Mailer extends Service.make<Mailer>()("Mailer", {
  onStart: (options: { readonly from: string }, retries?: number) =>
    Effect.map(Counter, ({ count }) => ({ send: `${options.from} ${count} ${retries}` })),
  onStop: ({ send }) => Effect.zipRight(Db, Effect.log(send))
}) {}

class Headless extends Service.make<Headless>()("Headless", { onStart: Effect.void }) {}

const database = Layer.succeed(Db, { query: Effect.succeed(3) })

describe("a service class", () => {
  it("infers its layer's errors and requirements, less what the toolkit provides", () => {
    expectTypeOf(Counter.layer).toEqualTypeOf<
      Layer.Layer<Counter, Service.StartError<DbError>, Db | EventBus.EventBus>
    >()
    expectTypeOf(Headless.layer).toEqualTypeOf<Layer.Layer<Headless>>()
    expectTypeOf(Mailer.layer).toEqualTypeOf<
      (options: { readonly from: string }, retries?: number) => Layer.Layer<Mailer, never, Counter | Db>
    >()
    expectTypeOf<Effect.Effect.Success<typeof Counter>>().toEqualTypeOf<{ count: number }>()
    expectTypeOf<Effect.Effect.Context<typeof Mailer>>().toEqualTypeOf<Mailer>()
    expectTypeOf(Counter.key).toEqualTypeOf<"Counter">()
    // @ts-expect-error a parameter is missing
    Mailer.layer()
    // @ts-expect-error a parameter is of the wrong type
    Mailer.layer({ from: 1 })
    // @ts-expect-error two services are two types, even of one shape
    expectTypeOf(Headless).toEqualTypeOf(Counter)
  })

  it("may fail to start in time only where there is a time", () => {
    class Timed extends Service.make<Timed>()("Timed", { onStart: Effect.void, startTimeout: "1 second" }) {}
    expectTypeOf(Timed.layer).toEqualTypeOf<Layer.Layer<Timed, Service.StartError<never>>>()
  })

  it("does not let owned work be started outside of a service", () => {
    const owned: Array<Effect.Effect<unknown>> = [
      // @ts-expect-error requires Service.Scope
      Service.interval(Effect.void, "1 second"),
      // @ts-expect-error requires Service.Scope
      Service.cron(Effect.void, "* * * * *"),
      // @ts-expect-error requires Service.Scope
      Service.timeout(Effect.void, "1 second"),
      // @ts-expect-error requires Service.Scope
      Service.spawn(Effect.void),
      // @ts-expect-error requires Service.Scope
      Service.addCleanup(Effect.void),
      // @ts-expect-error requires Service.Scope
      Service.adopt(Headless),
      // @ts-expect-error requires Service.Scope
      Service.stop
    ]
    assert.lengthOf(owned, 7)
  })

  it("carries the requirements and errors of its children", () => {
    class Parent extends Service.make<Parent>()("Parent", {
      onStart: Effect.gen(function* () {
        const counter = yield* Service.adopt(Counter)
        expectTypeOf(counter.current).toEqualTypeOf<
          Effect.Effect<{ count: number }, Service.ChildStoppedError | Service.ChildRestartingError>
        >()
        const mailer = yield* Service.adopt(Mailer.layer({ from: "me" }).pipe(Layer.provide(Counter.layer)))
        expectTypeOf(mailer.current).toEqualTypeOf<
          Effect.Effect<{ send: string }, Service.ChildStoppedError | Service.ChildRestartingError>
        >()
        const both = yield* Service.adopt(Layer.merge(Headless.layer, Counter.layer))
        expectTypeOf(both.current).toEqualTypeOf<
          Effect.Effect<
            Context.Context<Headless | Counter>,
            Service.ChildStoppedError | Service.ChildRestartingError
          >
        >()
        const plain = yield* Service.adopt(database)
        expectTypeOf(plain.current).toEqualTypeOf<
          Effect.Effect<Context.Context<Db>, Service.ChildStoppedError | Service.ChildRestartingError>
        >()
      })
    }) {}
    expectTypeOf(Parent.layer).toEqualTypeOf<
      Layer.Layer<Parent, Service.StartError<DbError>, Db | EventBus.EventBus>
    >()
  })

  it.effect("gives what onStart returned, in any Effect.gen", () =>
    Effect.gen(function* () {
      const mailer = yield* Mailer
      assert.strictEqual(mailer.send, "shop@example.org 3 2")
      assert.isUndefined(yield* Headless)
    }).pipe(
      Effect.provide(
        Layer.merge(Mailer.layer({ from: "shop@example.org" }, 2), Headless.layer).pipe(
          Layer.provide(Counter.layer),
          Layer.provide([database, EventBus.layer])
        )
      ),
      leavesNothing
    )
  )

  it.effect("is built once, however often its layer is provided", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Once extends Service.make<Once>()("Once", { onStart: say("start") }) {}
      class A extends Service.make<A>()("A", { onStart: Effect.asVoid(Once) }) {}
      class B extends Service.make<B>()("B", { onStart: Effect.asVoid(Once) }) {}
      const layer = Layer.merge(
        A.layer.pipe(Layer.provide(Once.layer)),
        B.layer.pipe(Layer.provide(Once.layer))
      )
      yield* Effect.provide(Effect.all([A, B]), layer)
      assert.deepStrictEqual(lines, ["start"])
      assert.strictEqual(Once.layer, Once.layer)
    }).pipe(leavesNothing)
  )

  it.effect("may use Config and Scope in onStart", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Configured extends Service.make<Configured>()("Configured", {
        onStart: Effect.gen(function* () {
          yield* Scope.addFinalizer(yield* Effect.scope, say("finalizer"))
          return yield* Config.withDefault(Config.integer("EFFECT_SERVICES_TEST"), 7)
        })
      }) {}
      assert.strictEqual(yield* Effect.provide(Configured, Configured.layer), 7)
      assert.deepStrictEqual(lines, ["finalizer"])
    }).pipe(leavesNothing)
  )

  it.effect("says where it was made when it is not provided", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Headless as Effect.Effect<any, never, any> as Effect.Effect<void>)
      const message = Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : ""
      assert.match(message, /^Service not found: Headless \(defined at .*Service\.test\.ts:\d+:\d+\)$/)
    })
  )
})

describe("two services of one name", () => {
  const pair = () => {
    class One extends Service.make<One>()("Metrics", { onStart: Effect.succeed(1) }) {}
    class Two extends Service.make<Two>()("Metrics", { onStart: Effect.succeed(2) }) {}
    return [One, Two] as const
  }

  it.effect("are refused in one app, and both are named", () =>
    Effect.gen(function* () {
      const [One, Two] = pair()
      for (const layer of [Layer.merge(One.layer, Two.layer), Two.layer.pipe(Layer.provide(One.layer))]) {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
        const error = Exit.isFailure(exit) ? [...Cause.defects(exit.cause)][0] : undefined
        assert.instanceOf(error, Service.DuplicateServiceError)
        assert.match(
          error.message,
          /^Two different services are named "Metrics": one made at .*Service\.test\.ts:\d+:\d+, the other at .*Service\.test\.ts:\d+:\d+\. Rename one of them\.$/
        )
      }
    }).pipe(leavesNothing)
  )

  it.effect("are fine in two apps of one process", () =>
    Effect.gen(function* () {
      const [One, Two] = pair()
      const one = yield* launch(One.layer)
      const two = yield* launch(Two.layer)
      assert.isNull(one.unsafePoll())
      assert.isNull(two.unsafePoll())
      yield* Effect.all([Fiber.interrupt(one), Fiber.interrupt(two)])
    }).pipe(leavesNothing)
  )
})

describe("starting", () => {
  it.effect("ends at the startTimeout, even where it cannot be interrupted, and is undone", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const acquire = Effect.acquireRelease(Effect.zipRight(Effect.sleep("1 hour"), say("acquired")), () =>
        say("released")
      )
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.zipRight(Service.addCleanup(say("cleanup")), acquire),
        startTimeout: "5 seconds"
      }) {}
      const starting = yield* Effect.fork(Effect.exit(Effect.scoped(Layer.build(Slow.layer))))
      // 5 seconds, and 10 more for what it is in the middle of.
      yield* TestClock.adjust("14999 millis")
      assert.isNull(starting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const exit = yield* Fiber.join(starting)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Service.StartError)
      assert.strictEqual(
        error.message,
        'Service "Slow" passed its startTimeout, so what it had begun was undone: it took longer than 5s'
      )
      assert.deepStrictEqual(lines, ["cleanup"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(lines, ["cleanup", "acquired", "released"])
    }).pipe(leavesNothing)
  )

  it.effect("fails after its startTimeout only when what it was in the middle of is undone", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const migration = Effect.onInterrupt(Effect.never, () => Effect.delay(say("rolled back"), "1 second"))
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.zipRight(Service.addCleanup(say("pool closed")), migration),
        startTimeout: "5 seconds"
      }) {}
      const starting = yield* Effect.fork(Effect.exit(Effect.scoped(Layer.build(Slow.layer))))
      yield* TestClock.adjust("5999 millis")
      assert.isNull(starting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(starting)
      assert.deepStrictEqual(lines, ["rolled back", "pool closed"])

      const interrupted = yield* launch(Slow.layer)
      interrupted.unsafeInterruptAsFork(interrupted.id())
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(interrupted)
      assert.deepStrictEqual(lines.slice(2), ["rolled back", "pool closed"])
    }).pipe(leavesNothing)
  )

  it.effect("keeps a defect a defect, and says which service it is of", () =>
    Effect.gen(function* () {
      class Broken extends Service.make<Broken>()("Broken", { onStart: Effect.dieMessage("bug") }) {}
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Broken.layer)))
      const error = Exit.isFailure(exit) ? [...Cause.defects(exit.cause)][0] : undefined
      assert.instanceOf(error, Service.StartError)
      assert.strictEqual(
        error.message,
        'Service "Broken" failed in onStart, so what it had begun was undone: bug'
      )
    }).pipe(leavesNothing)
  )

  it.effect("fails with one StartError per level, and only the innermost holds the error", () =>
    Effect.gen(function* () {
      class Broken extends Service.make<Broken>()("Broken", {
        onStart: Effect.fail(new DbError({ reason: "offline" }))
      }) {}
      class Parent extends Service.make<Parent>()("Parent", { onStart: Service.adopt(Broken) }) {}
      const outer = yield* Effect.flip(Effect.scoped(Layer.build(Parent.layer)))
      expectTypeOf(outer).toEqualTypeOf<Service.StartError<DbError>>()
      assert.strictEqual(outer.service, "Parent")
      const inner = Option.getOrThrow(Cause.failureOption(outer.cause))
      expectTypeOf(inner).toEqualTypeOf<DbError | Service.StartError<DbError> | Cause.TimeoutException>()
      assert.instanceOf(inner, Service.StartError)
      assert.strictEqual(inner.service, "Parent > Broken")
      assert.deepStrictEqual(inner.cause, Cause.fail(new DbError({ reason: "offline" })))
    }).pipe(leavesNothing)
  )

  it.effect("that is interrupted is undone, without onStop", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Starting extends Service.make<Starting>()("Starting", {
        onStart: Effect.gen(function* () {
          yield* Service.addCleanup(say("cleanup"))
          yield* Service.spawn(Effect.onInterrupt(Effect.never, () => say("task")))
          return yield* Effect.never
        }),
        onStop: () => say("onStop")
      }) {}
      const fiber = yield* launch(Starting.layer)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(lines, ["task", "cleanup"])
    }).pipe(leavesNothing)
  )

  it.effect("is followed by the stop that the service asked for meanwhile", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Brief extends Service.make<Brief>()("Brief", {
        onStart: Effect.all([Service.stop, Service.stop, say("started")]),
        onStop: () => say("onStop")
      }) {}
      const exit = yield* Effect.fork(launch(Brief.layer)).pipe(
        Effect.flatMap(Fiber.join),
        Effect.flatMap(Fiber.await)
      )
      assert.isTrue(Exit.isInterrupted(exit))
      assert.deepStrictEqual(lines, ["started", "onStop"])
    }).pipe(leavesNothing)
  )

  it.effect("fails when work that it owns has failed it meanwhile", () =>
    Effect.gen(function* () {
      class Doomed extends Service.make<Doomed>()("Doomed", {
        onStart: Effect.zipRight(Service.spawn(Effect.die("bug"), { name: "worker" }), Effect.never)
      }) {}
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Doomed.layer)))
      assert.include(Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : "", "undone: bug")
    }).pipe(leavesNothing)
  )

  it.effect("after a stop is a start like the first", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Again extends Service.make<Again>()("Again", {
        onStart: Effect.zipRight(say("start"), Service.interval(say("tick"), "1 second")),
        onStop: () => say("stop")
      }) {}
      for (let n = 0; n < 2; n++) {
        const running = yield* build(Again.layer)
        yield* TestClock.adjust("1 second")
        yield* running.stop
      }
      assert.deepStrictEqual(lines, ["start", "tick", "stop", "start", "tick", "stop"])
    }).pipe(leavesNothing)
  )
})

describe("without App", () => {
  it.effect("services of one composition share the journal that Journal.layer gives", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* journalLines, ["ServiceStarting Headless", "ServiceStarted Headless"])
    }).pipe(Effect.provide(Layer.merge(Headless.layer, Journal.layer)))
  )

  it("they work under a ManagedRuntime, which stops them even when one of their own timers disposes of it", async () => {
    const lines: Array<string> = []
    let disposed: (done: Promise<void>) => void
    const disposal = new Promise<void>((resolve) => (disposed = resolve))
    class Worker extends Service.make<Worker>()("Worker", {
      onStart: Service.interval(
        Effect.promise(() => {
          disposed(runtime.dispose())
          return disposal
        }),
        "5 millis"
      ),
      onStop: () => Effect.sync(() => lines.push("onStop"))
    }) {}
    const runtime = ManagedRuntime.make(Worker.layer)
    await runtime.runPromise(Worker)
    await disposal
    assert.deepStrictEqual(lines, ["onStop"])
  })

  const closers = {
    "one of their own tasks": (close: Effect.Effect<void>) => Service.timeout(close, "1 second"),
    "a tick of their own": (close: Effect.Effect<void>) => Service.interval(close, "1 second"),
    "a spawned effect of their own": (close: Effect.Effect<void>) =>
      Service.spawn(Effect.delay(close, "1 second")),
    "one of their own listeners": (close: Effect.Effect<void>) =>
      Effect.all([
        Service.listen(Ping, () => close),
        Service.timeout(EventBus.emit(Ping, { n: 1 }), "1 second")
      ])
  }
  for (const [closer, closing] of Object.entries(closers)) {
    it.effect(`they stop completely when ${closer} closes their scope`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        let close: Effect.Effect<void> = Effect.void
        class Database extends Service.make<Database>()("Database", {
          onStart: Effect.void,
          onStop: () => say("-Database")
        }) {}
        class Worker extends Service.make<Worker>()("Worker", {
          onStart: Effect.gen(function* () {
            yield* Database
            yield* Service.addCleanup(say("cleanup"))
            yield* closing(Effect.suspend(() => close))
          }),
          onStop: () => say("onStop")
        }) {}
        const bus = yield* build(EventBus.layer)
        const running = yield* Effect.provide(
          build(Worker.layer.pipe(Layer.provide(Database.layer))),
          bus.context
        )
        close = running.stop
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(lines, ["onStop", "cleanup", "-Database"])
        const { outcomes } = yield* Effect.provide(EventBus.emit(Ping, { n: 2 }), bus.context)
        assert.deepStrictEqual(outcomes, [], "no listener is left")
        yield* bus.stop
      }).pipe(leavesNothing)
    )
  }

  it.effect("a service that asks to be stopped says that nobody does", () =>
    Effect.gen(function* () {
      assert.include(yield* journalLines, "StopNotPossible Asking")
    }).pipe(
      Effect.provide(
        Layer.merge(
          class Asking extends Service.make<Asking>()("Asking", { onStart: Service.stop }) {}.layer,
          Journal.layer
        )
      )
    )
  )
})

describe("a service that has stopped", () => {
  it.effect("owns nothing any more", () =>
    Effect.gen(function* () {
      const works: Record<string, Effect.Effect<unknown, never, Service.Scope | EventBus.EventBus>> = {
        "interval 1s": Service.interval(Effect.void, "1 second"),
        task: Service.spawn(Effect.void),
        "listener ping": Service.listen(Ping, () => Effect.void),
        "a child": Service.adopt(Headless),
        "a cleanup": Service.addCleanup(Effect.void)
      }
      const bus = yield* build(EventBus.layer)
      class Gone extends Service.make<Gone>()("Gone", { onStart: Service.Scope }) {}
      const gone = yield* build(Gone.layer)
      const scope = Context.get(gone.context, Gone)
      yield* gone.stop
      for (const [work, effect] of Object.entries(works)) {
        const late = effect.pipe(Effect.provideService(Service.Scope, scope), Effect.provide(bus.context))
        const exit = yield* Effect.exit(late)
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, Service.ServiceStoppedError)
        assert.strictEqual(error.work, work)
      }
      const { outcomes } = yield* Effect.provide(EventBus.emit(Ping, { n: 1 }), bus.context)
      assert.deepStrictEqual(outcomes, [])
      yield* bus.stop
    }).pipe(leavesNothing)
  )

  it.effect("owns nothing that comes up while it stops: it is refused, or ended", () =>
    Effect.gen(function* () {
      let all = 0
      for (let yields = 0; yields < 40; yields++) {
        let begun = 0
        let over = 0
        const counted = Effect.ensuring(
          Effect.zipRight(
            Effect.sync(() => begun++),
            Effect.never
          ),
          Effect.sync(() => over++)
        )
        class Busy extends Service.make<Busy>()("Busy", { onStart: Service.Scope }) {}
        const busy = yield* build(Busy.layer)
        const scope = Context.get(busy.context, Busy)
        const storm = Effect.forkDaemon(
          Effect.forEach(Array.from({ length: 30 }), () => Effect.exit(Service.spawn(counted))).pipe(
            Effect.provideService(Service.Scope, scope),
            Effect.withMaxOpsBeforeYield(12 + (yields % 20))
          )
        )
        const storming = yield* storm
        yield* Effect.repeatN(Effect.yieldNow(), yields * 4)
        yield* busy.stop
        yield* Fiber.await(storming)
        // One may be interrupted before it has counted itself as begun.
        assert.isAtLeast(over, begun)
        all += begun
      }
      assert.isAbove(all, 0)
    }).pipe(leavesNothing)
  )
})

describe("what cannot be used is refused where the class is made", () => {
  const onStart = Effect.void
  const bad: ReadonlyArray<readonly [() => unknown, string]> = [
    [
      () => Service.make<any>()("", { onStart }),
      'Service.make: `name` must be a name that is not empty, but it is "".'
    ],
    [
      () => Service.make<any>()(7 as any, { onStart }),
      "Service.make: `name` must be a name that is not empty, but it is 7."
    ],
    [
      () => Service.make<any>()("X", { onStart: 1 as any }),
      "Service.make: `onStart` must be an Effect, or a function that returns one, but it is 1."
    ],
    [
      () => Service.make<any>()("X", { onStart, onStop: Effect.void as any }),
      "Service.make: `onStop` must be a function, but it is an object."
    ],
    [
      () => Service.make<any>()("X", { onStart, stopTimeout: 0 }),
      'Service.make: `stopTimeout` must be a duration above zero and below infinity, like "5 seconds", but it is 0.'
    ],
    [
      () => Service.make<any>()("X", { onStart, startTimeout: "Infinity" as any }),
      'Service.make: `startTimeout` must be a duration above zero and below infinity, like "5 seconds", but it is "Infinity".'
    ],
    [() => Event.make("", {}), 'Event.make: `name` must be a name that is not empty, but it is "".'],
    [
      () => Event.make("x", { n: Number as any }),
      "Event.make: `fieldsOrSchema` must be a Schema, or a record of Schemas, but it is an object."
    ]
  ]
  for (const [make, message] of bad) it(message, () => assert.throws(make, message))
})
