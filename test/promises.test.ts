import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Effect,
  Exit,
  Fiber,
  HashMap,
  Layer,
  Logger,
  Metric,
  MetricState,
  Option,
  Schedule,
  Schema,
  type Scope,
  TestClock
} from "effect"
import { App, Event, EventBus, Failure, Journal, Service, ServiceRegistry } from "effect-services"
import { build, journalLines, launch, leavesNothing, timeline } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

describe("1. A service starts after all services it needs, and stops before any of them; where the graph allows it, siblings start and stop in parallel.", () => {
  it.effect("in a diamond", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const timed = (name: string, millis: number) => ({
        onStart: Effect.zipRight(Effect.sleep(millis), say(`+${name}`)),
        onStop: () => Effect.zipRight(Effect.sleep(millis), say(`-${name}`))
      })
      class Base extends Service.make<Base>()("Base", timed("Base", 10)) {}
      class Left extends Service.make<Left>()("Left", {
        ...timed("Left", 100),
        onStart: Effect.zipRight(Base, timed("Left", 100).onStart)
      }) {}
      class Right extends Service.make<Right>()("Right", {
        ...timed("Right", 50),
        onStart: Effect.zipRight(Base, timed("Right", 50).onStart)
      }) {}
      class Top extends Service.make<Top>()("Top", {
        ...timed("Top", 10),
        onStart: Effect.all([Left, Right, timed("Top", 10).onStart])
      }) {}
      const layer = Top.layer.pipe(Layer.provide([Left.layer, Right.layer]), Layer.provide(Base.layer))

      const fiber = yield* launch(layer)
      yield* TestClock.adjust(119)
      assert.deepStrictEqual(lines, ["+Base", "+Right", "+Left"])
      yield* TestClock.adjust(1)
      const stopping = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust(120)

      assert.deepStrictEqual(lines.slice(3), ["+Top", "-Top", "-Right", "-Left", "-Base"])
      yield* Fiber.join(stopping)
    }).pipe(leavesNothing)
  )
})

describe("2. `onStop` runs first, while background work is alive. Then timers and spawned work are interrupted and awaited, listeners finish what they had accepted, adopted children stop in reverse order of adoption, cleanups run last-in first-out.", () => {
  it.effect("in this order", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Child extends Service.make<Child>()("Child", {
        onStart: (name: string) => Effect.succeed({ name }),
        onStop: ({ name }) => say(`child ${name}`)
      }) {}
      let ticks = 0
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Effect.gen(function* () {
          yield* Effect.addFinalizer(() => say("acquired first"))
          yield* Service.addCleanup(say("cleanup 1"))
          yield* Service.addCleanup(say("cleanup 2"))
          yield* Service.adopt(Child.layer("a"), { name: "a" })
          yield* Service.adopt(Child.layer("b"), { name: "b" })
          yield* Service.listen(Ping, ({ n }) => Effect.zipRight(Effect.sleep(20), say(`handled ${n}`)))
          yield* Service.interval(
            Effect.sync(() => ticks++),
            5
          )
          yield* Service.spawn(Effect.onInterrupt(Effect.never, () => say("task interrupted")))
        }),
        onStop: () =>
          Effect.gen(function* () {
            const before = ticks
            yield* EventBus.publish(Ping, { n: 1 })
            yield* EventBus.publish(Ping, { n: 2 })
            yield* Effect.sleep(10)
            yield* say(`onStop, ticking: ${ticks > before}`)
          })
      }) {}
      const running = yield* build(Parent.layer.pipe(Layer.provide(EventBus.layer)))
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(stopping)

      assert.deepStrictEqual(lines, [
        "onStop, ticking: true",
        "task interrupted",
        "handled 1",
        "handled 2",
        "child b",
        "child a",
        "cleanup 2",
        "cleanup 1",
        "acquired first"
      ])
    }).pipe(leavesNothing)
  )
})

describe("3. Each of these steps is isolated: one failing or hanging step never keeps the next from running.", () => {
  const service = (broken: Effect.Effect<unknown, string>, say: (line: string) => Effect.Effect<void>) => {
    class Child extends Service.make<Child>()("Child", {
      onStart: Effect.void,
      onStop: () => Effect.zipRight(say("child"), broken),
      stopTimeout: "2 seconds"
    }) {}
    class Broken extends Service.make<Broken>()("Broken", {
      onStart: Effect.gen(function* () {
        yield* Service.addCleanup(say("cleanup 1"))
        yield* Service.addCleanup(Effect.zipRight(say("cleanup 2"), broken))
        yield* Service.addCleanup(say("cleanup 3"))
        yield* Service.adopt(Child)
        yield* Service.listen(Ping, () => Effect.zipRight(say("handler"), broken))
        yield* Service.spawn(
          Effect.onInterrupt(Effect.never, () => Effect.orDie(Effect.zipRight(say("task"), broken)))
        )
        yield* EventBus.publish(Ping, { n: 1 })
      }),
      onStop: () => Effect.zipRight(say("onStop"), broken)
    }) {}
    return Broken.layer.pipe(Layer.provide(EventBus.layer), Layer.provideMerge(Journal.layer))
  }
  const everything = ["handler", "onStop", "task", "child", "cleanup 3", "cleanup 2", "cleanup 1"]

  it.effect("when each fails", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const running = yield* build(service(Effect.fail("broken"), say))
      yield* TestClock.adjust(0)
      yield* running.stop
      assert.deepStrictEqual(lines, everything)

      const entries = yield* Effect.provide(journalLines, running.context)
      assert.deepStrictEqual(
        entries.filter((line) => line.includes("Failed")),
        [
          "HandlerFailed Broken",
          "StopStepFailed Broken",
          // What the task did when it was interrupted.
          "TaskFailed Broken",
          "StopStepFailed Broken > Child",
          "StopStepFailed Broken"
        ]
      )
    }).pipe(leavesNothing)
  )

  it.effect("when each hangs: 10 seconds in all, and 1 second for each step that is late", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const running = yield* build(service(Effect.never, say))
      yield* TestClock.adjust(0)
      const stopping = yield* Effect.fork(running.stop)
      // onStop 10 s, work 1 s, listeners 1 s, child 2 s, cleanup 2 1 s.
      yield* TestClock.adjust("14999 millis")
      assert.isNull(stopping.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopping)

      assert.deepStrictEqual(lines, everything)
      const entries = yield* Effect.provide(Journal.recent, running.context)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "StopTimedOut" ? [Journal.format(entry)] : [])),
        [
          "Broken hung in onStop while stopping; it was left after 10s",
          "Broken hung in work while stopping; it was left after 1s, with task still running",
          "Broken hung in listeners while stopping; it was left after 1s, with listener ping still running",
          "Broken > Child hung in onStop while stopping; it was left after 2s",
          "Broken hung in a cleanup while stopping; it was left after 1s"
        ]
      )
    })
  )

  it.effect("when several cleanups hang, and fibers and layers that were put into its scope", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Pool extends Service.make<Pool>()("Pool", { onStart: Effect.void, onStop: () => say("-Pool") }) {}
      class Hangs extends Service.make<Hangs>()("Hangs", {
        onStart: Effect.gen(function* () {
          yield* Pool
          yield* Service.addCleanup(say("cleanup 1"))
          yield* Effect.forkScoped(Effect.uninterruptible(Effect.sleep("1 hour")))
          yield* Layer.build(Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never)))
          yield* Service.addCleanup(Effect.never)
          yield* Service.addCleanup(Effect.never)
          yield* Service.addCleanup(say("cleanup 2"))
        })
      }) {}
      const fiber = yield* launch(Hangs.layer.pipe(Layer.provide(Pool.layer)))
      fiber.unsafeInterruptAsFork(fiber.id())
      // 10 seconds, 1 for the second cleanup, and 1 for all that was put straight into the scope.
      yield* TestClock.adjust("11999 millis")
      assert.deepStrictEqual(lines, ["cleanup 2"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, ["cleanup 2", "cleanup 1", "-Pool"])
      yield* Fiber.await(fiber)
      yield* TestClock.adjust("1 hour")
    })
  )
})

describe("4. A start that fails half-way undoes all that had started, and the error says which service, at which step, and why.", () => {
  it.effect("a service of an app", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class First extends Service.make<First>()("First", {
        onStart: say("+First"),
        onStop: () => say("-First")
      }) {}
      class Child extends Service.make<Child>()("Child", {
        onStart: say("+Child"),
        onStop: () => say("-Child")
      }) {}
      class Second extends Service.make<Second>()("Second", {
        onStart: Effect.gen(function* () {
          yield* First
          yield* Service.addCleanup(say("cleanup"))
          yield* Service.adopt(Child)
          yield* Service.interval(say("tick"), "1 second")
          return yield* Effect.fail("no database")
        }),
        onStop: () => say("onStop of what never started")
      }) {}
      const exit = yield* Effect.exit(
        App.launch(Second.layer.pipe(Layer.provide(First.layer)), { name: "Shop" })
      )

      assert.deepStrictEqual(lines, ["+First", "+Child", "-Child", "cleanup", "-First"])
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Service.StartError)
      assert.strictEqual(
        error.message,
        'Service "Shop > Second" failed in onStart, so what it had begun was undone: no database'
      )
      assert.deepStrictEqual([error.service, error.step], ["Shop > Second", "onStart"])
    }).pipe(leavesNothing)
  )
})

describe("5. A service stops once, however many ask; a stop asked for from inside its own timer, task or listener works and does not deadlock.", () => {
  it.effect("however many ask", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Once extends Service.make<Once>()("Once", {
        onStart: Service.spawn(Effect.zipRight(Service.stop, Service.stop)),
        onStop: () => Effect.zipRight(Effect.sleep(10), say("onStop"))
      }) {}
      class Parent extends Service.make<Parent>()("Parent", { onStart: Service.adopt(Once) }) {}
      yield* Effect.gen(function* () {
        const once = yield* Parent
        const stops = yield* Effect.fork(Effect.all([once.stop, once.stop], { concurrency: 2 }))
        yield* TestClock.adjust(10)
        yield* Fiber.join(stops)
        yield* once.stop
      }).pipe(Effect.provide(Parent.layer))
      assert.deepStrictEqual(lines, ["onStop"])
    }).pipe(leavesNothing)
  )

  const asks: Record<string, Effect.Effect<unknown, never, Service.Scope | EventBus.EventBus>> = {
    "its own timer": Service.interval(Service.stop, "1 second"),
    "its own task": Service.spawn(Effect.delay(Service.stop, "1 second")),
    "its own listener, while the emitter waits": Effect.zipRight(
      Service.listen(Ping, () => Service.stop),
      Service.spawn(Effect.delay(EventBus.emit(Ping, { n: 1 }), "1 second"))
    )
  }
  for (const [who, ask] of Object.entries(asks)) {
    it.effect(`from ${who}`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Self extends Service.make<Self>()("Self", { onStart: ask, onStop: () => say("onStop") }) {}
        const fiber = yield* launch(Self.layer.pipe(Layer.provide(EventBus.layer)))
        yield* TestClock.adjust("1 second")

        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(lines, ["onStop"])
      }).pipe(leavesNothing)
    )
    it.effect(`from ${who}, with the child's own handle`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        let stop: Effect.Effect<void> = Effect.void
        class Self extends Service.make<Self>()("Self", {
          onStart: Effect.zipRight(
            Service.listen(Ping, () => Effect.suspend(() => stop)),
            Service.timeout(EventBus.emit(Ping, { n: 1 }), "1 second")
          ),
          onStop: () => say("onStop")
        }) {}
        class Parent extends Service.make<Parent>()("Parent", {
          onStart: Effect.tap(Service.adopt(Self), (child) => Effect.sync(() => (stop = child.stop)))
        }) {}
        const running = yield* build(Parent.layer.pipe(Layer.provide(EventBus.layer)))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(lines, ["onStop"])
        yield* running.stop
      }).pipe(leavesNothing)
    )
  }
})

describe("6. Every stop has a deadline: per service (default 10 s) and for the app (default 30 s, the Kubernetes grace period). Past it, the app goes on with the rest, names what hung, and exits with a code that is not 0.", () => {
  it.effect("of a service", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Pool extends Service.make<Pool>()("Pool", { onStart: Effect.void, onStop: () => say("-Pool") }) {}
      class Hangs extends Service.make<Hangs>()("Hangs", { onStart: Pool, onStop: () => Effect.never }) {}
      const fiber = yield* launch(Hangs.layer.pipe(Layer.provide(Pool.layer)))
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust("1 millis")

      assert.deepStrictEqual(lines, ["-Pool"])
      const exit = yield* Fiber.await(fiber)
      assert.isFalse(Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause))
      const problems = Exit.isFailure(exit) ? [...Cause.failures(exit.cause)] : []
      assert.deepStrictEqual(
        problems.map((problem) => problem.message),
        ["The app did not stop cleanly: App > Hangs hung in onStop, and was left after 10s"]
      )
    }).pipe(leavesNothing)
  )

  const ofAnother: ReadonlyArray<
    readonly [
      how: string,
      begin: (inner: Layer.Layer<never>) => Effect.Effect<unknown, never, Service.Scope | Scope.Scope>
    ]
  > = [
    ["another has built for itself", Layer.build],
    ["its work has provided to itself", (inner) => Service.spawn(Layer.launch(inner))]
  ]
  for (const [how, begin] of ofAnother) {
    it.effect(`of a service that ${how}, beside that one's own`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Inner extends Service.make<Inner>()("Inner", {
          onStart: Effect.void,
          onStop: () => Effect.zipRight(Effect.sleep("15 seconds"), say("-Inner")),
          stopTimeout: "20 seconds"
        }) {}
        class Pool extends Service.make<Pool>()("Pool", {
          onStart: Effect.void,
          onStop: () => say("-Pool")
        }) {}
        class Outer extends Service.make<Outer>()("Outer", {
          onStart: Effect.asVoid(Effect.flatMap(Pool, () => begin(Inner.layer)))
        }) {}
        const fiber = yield* launch(Outer.layer.pipe(Layer.provide(Pool.layer)))
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* TestClock.adjust("15 seconds")

        assert.deepStrictEqual(lines, ["-Inner", "-Pool"])
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause), "clean")
      }).pipe(leavesNothing)
    )
  }

  it.effect(
    "of a service, also when a cleanup hangs before what it has built for itself is asked to stop",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Inner extends Service.make<Inner>()("Inner", {
          onStart: Effect.void,
          onStop: () => say("-Inner"),
          stopTimeout: "20 seconds"
        }) {}
        class Outer extends Service.make<Outer>()("Outer", {
          onStart: Effect.zipRight(Layer.build(Inner.layer), Service.addCleanup(Effect.never)),
          stopTimeout: "1 second"
        }) {}
        const fiber = yield* launch(Outer.layer)
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(lines, ["-Inner"])
        yield* Fiber.await(fiber)
      }).pipe(leavesNothing)
  )

  it.effect("of the app, when layers that are no services hang", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Fine extends Service.make<Fine>()("Fine", { onStart: Effect.void, onStop: () => say("-Fine") }) {}
      const hangs = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never))
      const fiber = yield* launch(hangs.pipe(Layer.provideMerge(Fine.layer)), { name: "Shop" })
      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("29999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")

      const exit = yield* Fiber.await(fiber)
      assert.deepStrictEqual(lines, ["-Fine"], "it goes on with the rest")
      const problems = Exit.isFailure(exit) ? [...Cause.failures(exit.cause)] : []
      assert.deepStrictEqual(
        problems.map((problem) => problem.message),
        [
          "The app did not stop cleanly: a layer that is no service hung; Shop > Fine had not stopped after 30s (running)"
        ]
      )
    })
  )
})

describe("8. Work that can fail has a policy. `interval` and `listen` log and go on unless told otherwise; `spawn` of an effect that can fail does not compile without one. A defect in a task without a policy fails its service.", () => {
  it.effect("interval and listen go on", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Flaky extends Service.make<Flaky>()("Flaky", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(Effect.zipRight(say("tick"), Effect.fail("tick failed")), "1 second")
          yield* Service.listen(Ping, () => Effect.zipRight(say("handled"), Effect.die("handler died")))
        })
      }) {}
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("2 seconds")
        yield* EventBus.emit(Ping, { n: 1 })
        yield* EventBus.emit(Ping, { n: 2 })
        assert.deepStrictEqual(lines, ["tick", "tick", "handled", "handled"])
        assert.deepStrictEqual((yield* journalLines).slice(2), [
          "TaskFailed Flaky",
          "TaskFailed Flaky",
          "HandlerFailed Flaky",
          "HandlerFailed Flaky"
        ])
      }).pipe(
        Effect.provide(Flaky.layer.pipe(Layer.provideMerge(EventBus.layer), Layer.merge(Journal.layer)))
      )
    }).pipe(leavesNothing)
  )

  it.effect("a defect in a spawned task fails its service", () =>
    Effect.gen(function* () {
      class Dies extends Service.make<Dies>()("Dies", {
        onStart: Service.spawn(Effect.delay(Effect.die("bug"), "1 second"), { name: "worker" })
      }) {}
      const fiber = yield* launch(Dies.layer, { name: "Shop" })
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.await(fiber)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, App.ServiceFailedError)
      assert.strictEqual(error.message, "Shop > Dies > worker failed, so the app was stopped: bug")
    }).pipe(leavesNothing)
  )

  it("spawn of an effect that can fail does not compile without a policy", () => {
    const spawns = [
      // @ts-expect-error no policy for the string
      Service.spawn(Effect.fail("x")),
      Service.spawn(Effect.fail("x"), { onFailure: Failure.log }),
      Service.spawn(Effect.never)
    ]
    assert.lengthOf(spawns, 3)
  })
})

describe("9. A failed service escalates to the one that adopted it; at the top the app stops in order and exits with 1. Nothing dies in silence.", () => {
  it.effect("from a grandchild up to the app", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Rows extends Service.make<Rows>()("Rows", {
        onStart: Service.timeout(Effect.fail("bad row"), "1 second", {
          name: "row task",
          onFailure: Failure.escalate
        }),
        onStop: () => say("-Rows")
      }) {}
      class Import extends Service.make<Import>()("Import", {
        onStart: Service.adopt(Rows, { name: "orders.csv" }),
        onStop: () => say("-Import")
      }) {}
      class Inbox extends Service.make<Inbox>()("Inbox", {
        onStart: Service.adopt(Import),
        onStop: () => say("-Inbox")
      }) {}
      class Dependent extends Service.make<Dependent>()("Dependent", {
        onStart: Inbox,
        onStop: () => say("-Dependent")
      }) {}
      const fiber = yield* launch(Dependent.layer.pipe(Layer.provide(Inbox.layer)), { name: "Shop" })
      yield* TestClock.adjust("1 second")

      const exit = yield* Fiber.await(fiber)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, App.ServiceFailedError)
      assert.strictEqual(error.origin, "Shop > Inbox > Import > Rows[orders.csv] > row task")
      assert.deepStrictEqual(lines, ["-Rows", "-Import", "-Dependent", "-Inbox"])
    }).pipe(leavesNothing)
  )
})

describe("7. An interval never overlaps itself, does not drift, skips slots it missed, ticks first after one period, and survives a failing tick.", () => {
  it.effect("with runs that take no time, too long, exactly a period, and that fail", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const takes = [0, 250, 100, 30, 0]
      let run = 0
      class Ticker extends Service.make<Ticker>()("Ticker", {
        onStart: Service.interval(
          Effect.gen(function* () {
            const took = takes[run++] ?? 0
            yield* say(`begin ${yield* Clock.currentTimeMillis}`)
            yield* Effect.sleep(took)
            yield* say(`end ${yield* Clock.currentTimeMillis}`)
            if (took === 0) return yield* Effect.fail("no reason")
          }),
          100
        )
      }) {}
      const running = yield* build(Layer.merge(Ticker.layer, Journal.layer))
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust(701)

      assert.deepStrictEqual(lines, [
        "begin 100",
        "end 100",
        "begin 200",
        "end 450",
        "begin 500",
        "end 600",
        "begin 600",
        "end 630",
        "begin 700",
        "end 700",
        "begin 800",
        "end 800"
      ])
      const entries = yield* Effect.provide(Journal.recent, running.context)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "TicksSkipped" ? [Journal.format(entry)] : [])),
        ["Ticker: interval 100ms skipped 2 runs, because it ran long or late"]
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("10. Every failure is data first (Journal, status, metric) and a log line second.", () => {
  it.effect("the log line is made from the journal entry", () =>
    Effect.gen(function* () {
      const { lines } = timeline()
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        lines.push(
          `${logLevel.label} ${String(message)} @${String(Option.getOrNull(HashMap.get(annotations, "service")))}`
        )
      })
      class Reminders extends Service.make<Reminders>()("Reminders", {
        onStart: Service.timeout(Effect.fail("late"), "1 second", { name: "reminder" })
      }) {}
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("1 second")
        const entry = (yield* Journal.recent).at(-1)
        assert.strictEqual(entry?._tag, "TaskFailed")
        assert.deepStrictEqual(
          entry?._tag === "TaskFailed" && [entry.service, entry.task, entry.at, entry.cause],
          ["Reminders", "reminder", 1000, Cause.fail("late")]
        )
        assert.strictEqual(lines.at(-1), "ERROR Reminders: reminder failed @Reminders")

        const [flaky] = (yield* ServiceRegistry.snapshot).services
        assert.deepStrictEqual(flaky?.lastFailure, { at: 1_000, work: "reminder", reason: "late" })
        const counted = Metric.unsafeSnapshot().filter(
          ({ metricKey: { name, tags } }) =>
            name === "effect_services_failures" && tags.some(({ value }) => value === "Reminders")
        )
        assert.deepStrictEqual(
          counted.map(({ metricState }) => metricState),
          [MetricState.counter(1)]
        )
      }).pipe(
        Effect.provide(
          Layer.mergeAll(Reminders.layer, Journal.layer, ServiceRegistry.layer).pipe(
            Layer.provide(Logger.replace(Logger.defaultLogger, logger))
          )
        )
      )
    }).pipe(leavesNothing)
  )
})

describe("11. All time goes through Effect's Clock: the whole app, deadlines and backoff included, runs under TestClock.", () => {
  it.effect("a day of an app, its stop included, passes in no time", () =>
    Effect.gen(function* () {
      let ticks = 0
      let nights = 0
      let breakdowns = 0
      class Clockwork extends Service.make<Clockwork>()("Clockwork", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(
            Effect.sync(() => ticks++),
            "10 minutes"
          )
          yield* Service.cron(
            Effect.sync(() => nights++),
            "0 3 * * *",
            { timeZone: "UTC" }
          )
          const breaks = Effect.delay(
            Effect.suspend(() => Effect.die(++breakdowns)),
            "11 hours"
          )
          yield* Service.spawn(breaks, {
            onFailure: Failure.restart({ backoff: Schedule.spaced("1 hour") })
          })
        }),
        onStop: () => Effect.sleep("9 seconds")
      }) {}
      const fiber = yield* launch(Clockwork.layer)
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual([ticks, nights, breakdowns], [144, 1, 2])

      fiber.unsafeInterruptAsFork(fiber.id())
      yield* TestClock.adjust("8999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
    }).pipe(leavesNothing)
  )
})
