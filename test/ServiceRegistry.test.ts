import { assert, describe, it } from "@effect/vitest"
import {
  Chunk,
  Context,
  Duration,
  Effect,
  Fiber,
  Layer,
  Option,
  Schedule,
  Schema,
  Stream,
  TestClock
} from "effect"
import { App, Event, EventBus, Failure, Service, ServiceRegistry } from "effect-services"
import { build, leavesNothing, noServices, nothing } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

/** An app that runs, as one sees it from outside. */
const running = <A, E>(layer: Layer.Layer<A, E, App.Provided>, name = "Shop") =>
  Effect.gen(function* () {
    const app = App.make({ name })
    const fiber = yield* Effect.forkDaemon(app.launch(layer))
    yield* TestClock.adjust(0)
    const snapshot = Effect.map(app.snapshot, Option.getOrThrow)
    /** A line for the app and each service: what it is called, its state, and since when. */
    const lines = Effect.map(snapshot, ({ name, services, since, state }) => [
      `${name} ${state._tag} ${since}`,
      ...services.map((service) => `${service.path} ${service.state._tag} ${service.since}`)
    ])
    const stop = Effect.gen(function* () {
      const stopping = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.await(stopping)
    })
    return { fiber, snapshot, lines, first: Effect.map(snapshot, ({ services }) => services[0]!), stop }
  })

/** An app of one service that does one thing. */
const worker = <A, E>(onStart: Effect.Effect<A, E, Service.Scope | EventBus.EventBus>, name?: string) => {
  class Worker extends Service.make<Worker>()("Worker", { onStart }) {}
  return running(Worker.layer.pipe(Layer.provideMerge(EventBus.layer)), name)
}

describe("snapshot", () => {
  it.effect("tells of the app and of each service its state and since when, from the boot to the end", () =>
    Effect.gen(function* () {
      const slow = Effect.sleep("1 second")
      class Db extends Service.make<Db>()("Db", { onStart: slow, onStop: () => slow }) {}
      class Web extends Service.make<Web>()("Web", { onStart: Effect.zipRight(Db, slow) }) {}
      const app = yield* running(Layer.provide(Web.layer, Db.layer))
      assert.deepStrictEqual(yield* app.lines, ["Shop Starting 0", "Shop > Db Starting 0"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* app.lines, [
        "Shop Starting 0",
        "Shop > Db Running 1000",
        "Shop > Web Starting 1000"
      ])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* app.lines, [
        "Shop Running 2000",
        "Shop > Db Running 1000",
        "Shop > Web Running 2000"
      ])
      const stopping = yield* Effect.fork(Fiber.interrupt(app.fiber))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* app.lines, [
        "Shop Stopping 5000",
        "Shop > Db Stopping 5000",
        "Shop > Web Stopped 5000"
      ])
      yield* TestClock.adjust("1 second")
      yield* stopping
      assert.deepStrictEqual(yield* app.lines, [
        "Shop Stopped 6000",
        "Shop > Db Stopped 6000",
        "Shop > Web Stopped 5000"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("tells which services each was given, children too", () =>
    Effect.gen(function* () {
      class Pool extends Context.Tag("Pool")<Pool, number>() {}
      class Db extends Service.make<Db>()("Db", { onStart: Effect.void }) {}
      class Mail extends Service.make<Mail>()("Mail", { onStart: Effect.void }) {}
      class Import extends Service.make<Import>()("Import", { onStart: Db }) {}
      class Web extends Service.make<Web>()("Web", {
        onStart: Effect.all([Db, Mail, Pool, Service.adopt(Import)])
      }) {}
      const layer = Web.layer.pipe(
        Layer.provide([Db.layer, Mail.layer, Layer.succeed(Pool, 1)]),
        Layer.provide(EventBus.layer)
      )
      const app = yield* running(layer)
      const dependencies = (service: ServiceRegistry.ServiceStatus): ReadonlyArray<unknown> => [
        service.name,
        [...service.dependencies].toSorted(),
        ...service.children.map(dependencies)
      ]
      assert.deepStrictEqual((yield* app.snapshot).services.map(dependencies), [
        ["Db", []],
        ["Mail", []],
        ["Web", ["Shop > Db", "Shop > Mail"], ["Import", ["Shop > Db", "Shop > Mail"]]]
      ])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("tells why an app did not start, or failed, and what failed last", () =>
    Effect.gen(function* () {
      const failing = yield* worker(Effect.fail("no disk"))
      assert.deepStrictEqual((yield* failing.first).state, {
        _tag: "Failed",
        reason: "Shop > Worker > onStart: no disk"
      })
      yield* Fiber.await(failing.fiber)

      const onFailure = Failure.log
      const failed = yield* worker(
        Effect.zipRight(
          Service.timeout(Effect.fail("no mail"), "1 second", { name: "mail", onFailure }),
          Service.timeout(Effect.die("bug"), "2 seconds", { name: "sum", onFailure: Failure.escalate })
        )
      )
      yield* TestClock.adjust("1500 millis")
      assert.deepStrictEqual((yield* failed.first).lastFailure, {
        at: 1_000,
        work: "mail",
        reason: "no mail"
      })
      yield* TestClock.adjust("500 millis")
      yield* Fiber.await(failed.fiber)
      const { services, state } = yield* failed.snapshot
      assert.deepStrictEqual(services[0]!.state, { _tag: "Failed", reason: "Shop > Worker > sum: bug" })
      assert.deepStrictEqual(state, {
        _tag: "Failed",
        reason: "Shop > Worker > sum failed, so the app was stopped: bug"
      })
    }).pipe(leavesNothing)
  )

  it.effect("tells of each task what it is, what its runs were, and when the next is", () =>
    Effect.gen(function* () {
      let ticks = 0
      const tick = Effect.suspend(() => {
        ticks++
        return ticks === 2
          ? Effect.fail("no")
          : ticks === 4
            ? Effect.sleep("2500 millis")
            : Effect.sleep("200 millis")
      })
      const app = yield* worker(
        Effect.all([
          Service.interval(tick, "1 second"),
          Service.cron(Effect.void, "* * * * *", { timeZone: "UTC", name: "each minute" }),
          Service.timeout(Effect.void, "50 seconds"),
          Service.spawn(Effect.never, { name: "feed" })
        ])
      )
      const common = {
        schedule: "",
        runs: 0,
        failures: 0,
        skipped: 0,
        isRunning: false,
        lastStart: undefined,
        lastDuration: undefined,
        nextRun: undefined,
        lastError: undefined
      }
      const feed = { ...common, kind: "spawn", name: "feed", runs: 1, isRunning: true, lastStart: 0 } as const
      const cron = {
        ...common,
        kind: "cron",
        name: "each minute",
        schedule: "* * * * *",
        nextRun: 60_000
      } as const
      const timeout = {
        ...common,
        kind: "timeout",
        name: "timeout 50s",
        schedule: "50s",
        nextRun: 50_000
      } as const
      const interval = { ...common, kind: "interval", name: "interval 1s", schedule: "1s" } as const
      const tasks = Effect.map(app.first, (service) => service.tasks)

      assert.deepStrictEqual(yield* tasks, [{ ...interval, nextRun: 1_000 }, cron, timeout, feed])
      yield* TestClock.adjust("1100 millis")
      assert.deepStrictEqual((yield* tasks)[0], { ...interval, runs: 1, isRunning: true, lastStart: 1_000 })
      yield* TestClock.adjust("1 second")
      const afterTwo = {
        ...interval,
        runs: 2,
        failures: 1,
        lastStart: 2_000,
        lastDuration: Duration.zero,
        nextRun: 3_000,
        lastError: "no"
      }
      assert.deepStrictEqual((yield* tasks)[0], afterTwo)
      yield* TestClock.adjust("4500 millis")
      assert.deepStrictEqual((yield* tasks)[0], {
        ...afterTwo,
        runs: 4,
        skipped: 2,
        lastStart: 4_000,
        lastDuration: Duration.millis(2_500),
        nextRun: 7_000
      })
      yield* TestClock.adjust("50 seconds")
      assert.deepStrictEqual(
        (yield* tasks).map(({ name }) => name),
        ["interval 1s", "each minute", "feed"]
      )
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("tells of each listener what it handled, and what waits for how long", () =>
    Effect.gen(function* () {
      const app = yield* worker(
        Effect.gen(function* () {
          yield* Service.listen(Ping, ({ n }) => (n === 2 ? Effect.fail("no") : Effect.sleep("1 second")), {
            capacity: 2,
            onFull: "dropNewest"
          })
          yield* Service.timeout(
            Effect.forEach([1, 2, 3, 4, 5], (n) => EventBus.publish(Ping, { n })),
            "1 second"
          )
          yield* Service.timeout(EventBus.emit(Ping, { n: 0 }), "2 seconds")
        })
      )
      const listener = Effect.map(app.first, (service) => service.listeners[0])
      const nothing = { event: "ping", handled: 0, failed: 0, queued: 0, dropped: 0, lag: Duration.zero }
      assert.deepStrictEqual(yield* listener, nothing)
      yield* TestClock.adjust("1900 millis")
      assert.deepStrictEqual(yield* listener, {
        ...nothing,
        queued: 2,
        dropped: 2,
        lag: Duration.millis(900)
      })
      yield* TestClock.adjust("1200 millis")
      assert.deepStrictEqual(yield* listener, { ...nothing, handled: 3, failed: 1, dropped: 2 })
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("keeps the last ten children that failed for good, and no more", () =>
    Effect.gen(function* () {
      class Job extends Service.make<Job>()("Job", {
        onStart: Service.timeout(Effect.die("no"), 1, { onFailure: Failure.escalate })
      }) {}
      let n = 0
      const app = yield* worker(
        Service.interval(
          Effect.suspend(() => Service.adopt(Job, { name: `${++n}`, onFailure: Failure.log })),
          "1 second"
        )
      )
      yield* TestClock.adjust("12500 millis")
      assert.deepStrictEqual(
        (yield* app.first).children.map(({ name }) => name),
        Array.from({ length: 10 }, (_, index) => `Job[${index + 3}]`)
      )
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("tells what each was given, whoever looks first, and not of a mock in its place", () =>
    Effect.gen(function* () {
      class Db extends Service.make<Db>()("Db", { onStart: Effect.succeed({ name: "real" }) }) {}
      class Web extends Service.make<Web>()("Web", { onStart: Db }) {}
      class Test extends Service.make<Test>()("Test", { onStart: Db }) {}
      const app = yield* running(
        Layer.merge(Web.layer, Layer.provide(Test.layer, Layer.succeed(Db, { name: "mock" }))).pipe(
          Layer.provideMerge(Db.layer)
        )
      )
      yield* app.stop
      assert.deepStrictEqual(
        (yield* app.snapshot).services
          .map(({ dependencies, name }) => `${name}: ${dependencies.join()}`)
          .toSorted(),
        ["Db: ", "Test: ", "Web: Shop > Db"]
      )
    }).pipe(leavesNothing)
  )

  it.effect("forgets what did not start when the app is up all the same", () =>
    Effect.gen(function* () {
      let tries = 0
      class Db extends Service.make<Db>()("Db", {
        onStart: Effect.suspend(() => (++tries < 3 ? Effect.fail("not yet") : Effect.void))
      }) {}
      const app = yield* running(Layer.retry(Layer.fresh(Db.layer), Schedule.spaced("1 second")))
      assert.deepStrictEqual(yield* app.lines, ["Shop Starting 0", "Shop > Db Failed 0"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* app.lines, ["Shop Running 2000", "Shop > Db Running 2000"])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("keeps why and since when over restarts, for each service of a layer", () =>
    Effect.gen(function* () {
      let lives = 0
      class Breaks extends Service.make<Breaks>()("Breaks", {
        onStart: Effect.suspend(() =>
          ++lives === 3
            ? Effect.fail("no disk")
            : Service.timeout(Effect.die("broke"), "1 second", { name: "job", onFailure: Failure.escalate })
        )
      }) {}
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.void,
        onStop: () => Effect.sleep("1 second")
      }) {}
      const onFailure = Failure.restart({
        backoff: Schedule.spaced("10 seconds"),
        budget: { restarts: 2, within: "1 hour" },
        onExhausted: Failure.log
      })
      const app = yield* worker(Service.adopt(Layer.merge(Breaks.layer, Slow.layer), { onFailure }))
      const shown = Effect.map(app.first, ({ children }) =>
        children.map(
          ({ lastFailure, name, restarts, since, state }) =>
            `${name} ${state._tag} ${since} (${restarts}): ${lastFailure?.reason}`
        )
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* shown, [
        "Breaks Restarting 1000 (0): broke",
        "Slow Restarting 1000 (0): undefined"
      ])
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(yield* shown, [
        "Breaks Running 12000 (1): broke",
        "Slow Running 12000 (1): undefined"
      ])
      // The second life breaks at 13 s, the third does not start at 24 s, and when Slow has stopped it is given up.
      yield* TestClock.adjust("12500 millis")
      assert.deepStrictEqual(yield* shown, [
        "Breaks Restarting 13000 (2): broke",
        "Slow Restarting 13000 (2): undefined"
      ])
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* shown, [
        "Breaks Failed 25000 (2): no disk",
        "Slow Failed 25000 (2): undefined"
      ])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("shows what the work of a service provides to itself below that service, however many", () =>
    Effect.gen(function* () {
      class Request extends Service.make<Request>()("Request", { onStart: Effect.sleep("1 second") }) {}
      class Kid extends Service.make<Kid>()("Kid", {
        onStart: Service.timeout(
          Effect.all(
            [1, 2].map(() => Effect.provide(Request, Request.layer)),
            { concurrency: "unbounded" }
          ),
          "1 second"
        )
      }) {}
      let kid: Service.Child<void> | undefined
      const app = yield* worker(Effect.map(Service.adopt(Kid), (child) => void (kid = child)))
      yield* TestClock.adjust("1500 millis")
      assert.deepStrictEqual([kid?.name, yield* kid!.status], ["Kid", { _tag: "Running" }])
      const paths = ({ children, path }: ServiceRegistry.ServiceStatus): ReadonlyArray<string> => [
        path,
        ...children.flatMap(paths)
      ]
      assert.deepStrictEqual(paths(yield* app.first), [
        "Shop > Worker",
        "Shop > Worker > Kid",
        "Shop > Worker > Kid > Request",
        "Shop > Worker > Kid > Request"
      ])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(paths(yield* app.first), ["Shop > Worker", "Shop > Worker > Kid"])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("tells when a task runs next and how long events wait, however the wall clock is set", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      let ahead = 0
      const watch: typeof clock = Object.assign(Object.create(clock) as typeof clock, {
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + ahead,
        currentTimeMillis: Effect.sync(() => clock.unsafeCurrentTimeMillis() + ahead)
      })
      const app = yield* worker(
        Effect.gen(function* () {
          yield* Service.timeout(Effect.void, "2 hours")
          yield* Service.listen(Ping, () => Effect.never)
          yield* Effect.forEach([1, 2], (n) => EventBus.publish(Ping, { n }))
        })
      ).pipe(Effect.withClock(watch))
      yield* TestClock.adjust("1 minute")
      ahead = Duration.toMillis("1 hour")
      const { listeners, tasks } = yield* app.first
      assert.strictEqual(tasks[0]?.nextRun, ahead + Duration.toMillis("2 hours"))
      assert.deepStrictEqual(listeners[0]?.lag, Duration.minutes(1))
      yield* app.stop
    })
  )

  it.effect("tells of a stop that failed", () =>
    Effect.gen(function* () {
      class Web extends Service.make<Web>()("Web", {
        onStart: Effect.void,
        onStop: () => Effect.fail("no disk")
      }) {}
      const app = yield* running(Web.layer)
      yield* app.stop
      assert.deepInclude((yield* app.first).lastFailure, { work: "its stop (onStop)", reason: "no disk" })
    }).pipe(leavesNothing)
  )

  it.effect("costs no more for each level of adoption", () =>
    Effect.gen(function* () {
      let looks = 0
      const level = (depth: number): Effect.Effect<unknown, unknown, Service.Scope> =>
        depth === 0
          ? Effect.map(Service.Scope, (scope) => {
              const own = scope as unknown as { status: () => unknown }
              const { status } = own
              own.status = () => {
                looks++
                return status()
              }
            })
          : Effect.suspend(() => {
              class Level extends Service.make<Level>()(`Level${depth}`, { onStart: level(depth - 1) }) {}
              return Service.adopt(Level)
            })
      const app = yield* worker(Effect.orDie(level(20)))
      looks = 0
      yield* app.snapshot
      assert.strictEqual(looks, 1)
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("is one for each app, and outside of one for each composition of layers", () =>
    Effect.gen(function* () {
      const [one, two] = yield* Effect.all([worker(Effect.void, "One"), worker(Effect.void, "Two")])
      assert.deepStrictEqual(
        (yield* one.snapshot).services.map(({ path }) => path),
        ["One > Worker"]
      )
      assert.deepStrictEqual(
        (yield* two.snapshot).services.map(({ path }) => path),
        ["Two > Worker"]
      )

      class Alone extends Service.make<Alone>()("Alone", { onStart: Effect.void }) {}
      const plain = yield* build(Layer.merge(Alone.layer, ServiceRegistry.layer))
      const { name, services, state } = yield* Effect.provide(ServiceRegistry.snapshot, plain.context)
      assert.deepStrictEqual([name, state._tag], ["", "Running"])
      assert.deepStrictEqual(
        services.map(({ path, state }) => [path, state._tag]),
        [["Alone", "Running"]]
      )
      yield* plain.stop
      assert.deepStrictEqual((yield* Effect.provide(ServiceRegistry.snapshot, plain.context)).services, [])
      yield* one.stop
      yield* two.stop
    }).pipe(leavesNothing)
  )
})

describe("changes", () => {
  it.effect("begins with how it is now, tells of changes at most ten times a second, and slows nobody", () =>
    Effect.gen(function* () {
      class Worker extends Service.make<Worker>()("Worker", {
        onStart: Service.interval(Effect.void, "10 millis")
      }) {}
      const running = yield* build(Layer.merge(Worker.layer, ServiceRegistry.layer))
      const runs = ({ services }: ServiceRegistry.Snapshot) => services[0]?.tasks[0]?.runs
      const read = (pause: Duration.DurationInput) =>
        ServiceRegistry.changes.pipe(
          Stream.tap(() => Effect.sleep(pause)),
          Stream.takeUntil(({ at }) => at >= 1_000),
          Stream.runCollect,
          Effect.map((all) => Chunk.toReadonlyArray(all).map((now) => [now.at, runs(now)])),
          Effect.provide(running.context),
          Effect.fork
        )
      const [quick, slow] = yield* Effect.all([read(0), read("450 millis")])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* quick, [
        [0, 0],
        ...Array.from({ length: 10 }, (_, n) => [110 + n * 110, 11 + n * 11])
      ])
      assert.deepStrictEqual(yield* slow, [
        [0, 0],
        [550, 55],
        [1_100, 110]
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("tells of a change once", () =>
    Effect.gen(function* () {
      class Once extends Service.make<Once>()("Once", {
        onStart: Service.timeout(Effect.void, "10 seconds")
      }) {}
      const running = yield* build(Layer.merge(Once.layer, ServiceRegistry.layer))
      const seen: Array<number> = []
      const reader = yield* Effect.fork(
        Effect.provide(
          Stream.runForEach(ServiceRegistry.changes, ({ at }) => Effect.sync(() => void seen.push(at))),
          running.context
        )
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(seen, [0, 10_100])
      yield* Fiber.interrupt(reader)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is silent while nothing changes", () =>
    Effect.gen(function* () {
      class Quiet extends Service.make<Quiet>()("Quiet", { onStart: Effect.void }) {}
      const running = yield* build(Layer.merge(Quiet.layer, ServiceRegistry.layer))
      const seen: Array<number> = []
      const reader = yield* Effect.fork(
        Effect.provide(
          Stream.runForEach(ServiceRegistry.changes, ({ at }) => Effect.sync(() => void seen.push(at))),
          running.context
        )
      )
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(seen, [0])
      yield* Fiber.interrupt(reader)
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("render", () => {
  it.effect("is a line for each thing that runs, and says what is not well", () =>
    Effect.gen(function* () {
      class Import extends Service.make<Import>()("Import", {
        onStart: Service.spawn(Effect.delay(Effect.die("half a line"), "1 second"), { name: "rows" })
      }) {}
      class Inbox extends Service.make<Inbox>()("Inbox", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(Effect.fail("no folder"), "10 seconds", { name: "scan" })
          yield* Service.listen(Ping, () => Effect.void)
          const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
          yield* Service.adopt(Import, { name: "a.csv", onFailure })
          yield* Service.adopt(Import, { name: "b.csv", onFailure: Failure.log })
        })
      }) {}
      class Mail extends Service.make<Mail>()("Mail", { onStart: Effect.void }) {}
      const app = yield* running(
        Layer.merge(Inbox.layer, Layer.provide(Mail.layer, Inbox.layer)).pipe(Layer.provide(EventBus.layer))
      )
      yield* TestClock.adjust("75 seconds")
      assert.strictEqual(
        ServiceRegistry.render(yield* app.snapshot),
        `
Shop: running for 1m 15s
├─ Inbox: running for 1m 15s, scan failed 5s ago (no folder)
│  │  scan: 7 runs, 7 failed, last 5s ago for 0ms, next in 5s
│  │  on ping: 0 handled
│  ├─ Import[a.csv]: restarting for 1m 14s, next start in 58m 46s (Shop > Inbox > Import[a.csv] > rows: half a line)
│  └─ Import[b.csv]: failed for 1m 14s (Shop > Inbox > Import[b.csv] > rows: half a line)
└─ Mail: running for 1m 15s`.trim()
      )
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it("fits into a screen: of many alike it shows those in trouble, and counts the rest", () => {
    const children = Array.from({ length: 1_000 }, (_, n) => ({
      ...nothing,
      name: `Job[${n}]`,
      state: n === 500 ? ({ _tag: "Stopping", step: "work" } as const) : nothing.state
    }))
    const lines = ServiceRegistry.render({
      ...noServices,
      at: 90_061_000,
      services: [{ ...nothing, name: "Jobs", children }]
    }).split("\n")
    assert.deepStrictEqual(lines, [
      "Services: running for 1d 1h",
      "└─ Jobs: running for 1d 1h",
      "   ├─ Job[500]: stopping (work) for 1d 1h",
      ...[0, 1, 2, 3, 4, 5, 6].map((n) => `   ├─ Job[${n}]: running for 1d 1h`),
      "   └─ and 992 more"
    ])
  })

  it("shows first, of many, those below which something is not well, and not those that have stopped", () => {
    const failing = { at: 0, work: "scan", reason: "no" }
    const bad: ReadonlyArray<Partial<ServiceRegistry.ServiceStatus>> = [
      { lastFailure: failing },
      { children: [{ ...nothing, children: [{ ...nothing, state: { _tag: "Failed", reason: "no" } }] }] },
      {
        listeners: [{ event: "e", handled: 0, failed: 0, queued: 0, dropped: 1, lag: Duration.zero }]
      },
      { state: { _tag: "Stopping", step: "onStop" } }
    ]
    const good = Array.from({ length: 12 }, () => ({ state: { _tag: "Stopped" } as const }))
    const services = Array.from([...good, ...bad], (part, n) => ({ ...nothing, name: `S${n}`, ...part }))
    const text = ServiceRegistry.render({ ...noServices, services })
    const shown = [...text.matchAll(/^[├└]─ (S\d+)/gm)].map(([, name]) => name)
    assert.deepStrictEqual(shown, ["S13", "S15", "S12", "S14", "S0", "S1", "S2", "S3"])
  })

  it("shows what is in trouble now before what was once, and the latest of that first", () => {
    const blips = Array.from({ length: 9 }, (_, n) => ({
      ...nothing,
      name: `S${n}`,
      lastFailure: { at: n, work: "scan", reason: "no" }
    }))
    const dead = { ...nothing, name: "Dead", state: { _tag: "Failed", reason: "no" } as const }
    const task = { kind: "interval", schedule: "1s", runs: 2, skipped: 0, isRunning: false } as const
    const rest = { lastStart: undefined, lastDuration: undefined, nextRun: undefined, lastError: undefined }
    const tasks = Array.from({ length: 10 }, (_, n) => ({ ...task, ...rest, name: `t${n}`, failures: 1 }))
    const busy = { ...dead, tasks, lastFailure: { at: 0, work: "t9", reason: "no" } }
    const services = [...blips, busy]
    const text = ServiceRegistry.render({ ...noServices, services })
    const shown = [...text.matchAll(/^[├└]─ (\w+):/gm)].map(([, name]) => name)
    assert.deepStrictEqual(shown, ["Dead", "S8", "S7", "S6", "S5", "S4", "S3", "S2"])
    assert.match(text, /Dead: .*\n│ +t9: /)
  })

  it("of a tree that is deep shows the way down to the trouble", () => {
    const calm = Array.from({ length: 3 }, () => ({
      event: "e",
      handled: 0,
      failed: 0,
      queued: 0,
      dropped: 0,
      lag: Duration.zero
    }))
    const deep = (depth: number): ServiceRegistry.ServiceStatus =>
      depth === 0
        ? { ...nothing, name: "Culprit", state: { _tag: "Failed", reason: "no" } }
        : { ...nothing, listeners: calm, children: [{ ...nothing, listeners: calm }, deep(depth - 1)] }
    const render = (depth: number) =>
      ServiceRegistry.render({
        ...noServices,
        services: [deep(depth)]
      })
    assert.include(render(12), "Culprit: failed")
    assert.match(render(60), /\nand \d+ more lines$/)
  })

  it("has fifty lines at most, with fewer of many alike if need be", () => {
    const tree = (depth: number): ServiceRegistry.ServiceStatus => ({
      ...nothing,
      children: depth === 0 ? [] : Array.from({ length: 8 }, () => tree(depth - 1))
    })
    for (const depth of [1, 2, 3, 4, 60]) {
      const services = depth === 60 ? chain(60) : [tree(depth)]
      const text = ServiceRegistry.render({ ...noServices, services })
      assert.isAtMost(text.split("\n").length, 50)
    }
  })
  const chain = (length: number): ReadonlyArray<ServiceRegistry.ServiceStatus> =>
    length === 0 ? [] : [{ ...nothing, children: chain(length - 1) }]

  it("cuts what is long, and keeps what comes from outside on its line", () => {
    const [, line] = ServiceRegistry.render({
      ...noServices,
      services: [
        { ...nothing, name: "a\r\n\u001b[31mb", state: { _tag: "Failed", reason: "x\n".repeat(200) } }
      ]
    }).split("\n")
    assert.strictEqual(line, `└─ a [31mb: failed for 0ms (${"x ".repeat(49)}x…)`)
  })
})
