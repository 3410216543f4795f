import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Redacted,
  Schema,
  Stream,
  TestClock
} from "effect"
import { type App, Event, EventBus, Journal, Service, type ServiceRegistry } from "effect-services"
import { build, leavesNothing, nothing } from "./support.ts"

const at = { service: "Shop > Inbox" }
const cause = Cause.fail("no")
const took = Duration.millis(1500)
const snapshot: ServiceRegistry.Snapshot = {
  name: "Shop",
  state: { _tag: "Stopping", step: "services" },
  since: 0,
  at: 1_000,
  stopTimeout: Duration.seconds(30),
  services: [
    { ...nothing, name: "Inbox", path: "Shop > Inbox", state: { _tag: "Stopping", step: "work" }, since: 995 }
  ]
}

const boot: App.BootReport = {
  app: "Shop",
  took,
  services: ["Db", "Inbox"].map((name) => ({
    service: `Shop > ${name}`,
    level: 0,
    startedAt: Duration.zero,
    took,
    dependencies: []
  })),
  criticalPath: [
    { service: "Shop > Db", waited: Duration.zero, took: Duration.millis(1_200) },
    { service: "Shop > Inbox", waited: Duration.millis(50), took: Duration.millis(250) }
  ]
}
const way: App.Way = {
  steps: [
    { service: "Shop > Http", time: Duration.seconds(20) },
    { service: "Shop > Db", time: Duration.seconds(25) }
  ],
  sum: Duration.seconds(45)
}
const stop: App.StopReport = {
  app: "Shop",
  reason: "SIGTERM",
  took,
  stopTimeout: Duration.seconds(30),
  exitCode: 1,
  exitReason: "it did not stop cleanly",
  services: [],
  problems: ["a layer that is no service hung"]
}

/** Every kind of entry, as an operator reads it. A new kind without a line here does not compile. */
const lines: {
  readonly [K in Journal.Entry["_tag"]]: readonly [Extract<Journal.Unstamped, { _tag: K }>, string]
} = {
  AppStarted: [
    { _tag: "AppStarted", app: "Shop", report: boot },
    "INFO Shop started in 1s 500ms, with 2 services: Db 1s 200ms > Inbox 250ms, and 50ms for what is no service"
  ],
  StopPlanTooLong: [
    {
      _tag: "StopPlanTooLong",
      app: "Shop",
      plan: {
        app: "Shop",
        stopTimeout: Duration.seconds(30),
        levels: [],
        longest: way,
        claimed: way,
        fits: false
      }
    },
    "WARN Shop may be cut while it stops: what its services have set as stopTimeout adds up to 45s (Http 20s > Db 25s), but its own is 30s. Raise that, and terminationGracePeriodSeconds above it, or lower theirs."
  ],
  BootWaiting: [
    { _tag: "BootWaiting", app: "Shop", failed: "Shop > Mailer", cause, services: ["Shop > Db (starting)"] },
    "ERROR Shop > Mailer did not start, and the boot of Shop waits for others: Shop > Db (starting)"
  ],
  AppCrashed: [
    { _tag: "AppCrashed", app: "Shop", kind: "uncaught exception", cause },
    "ERROR Shop crashed: uncaught exception"
  ],
  AppStopping: [
    { _tag: "AppStopping", app: "Shop", reason: "SIGTERM", cause: undefined },
    "INFO Shop is stopping: SIGTERM"
  ],
  AppStopped: [
    { _tag: "AppStopped", app: "Shop", report: stop, snapshot },
    "ERROR Shop stopped in 1s 500ms, not clean\n  stopped because: SIGTERM\n  deadline: 30s\n" +
      "  exit code: 1, because it did not stop cleanly\n  a layer that is no service hung"
  ],
  ServiceStarting: [{ _tag: "ServiceStarting", ...at }, "DEBUG Shop > Inbox is starting"],
  ServiceStarted: [
    { _tag: "ServiceStarted", ...at, took: Duration.zero },
    "INFO Shop > Inbox started in 0ms"
  ],
  StartFailed: [
    { _tag: "StartFailed", ...at, step: "onStart", cause },
    "DEBUG Shop > Inbox did not start: onStart failed"
  ],
  ServiceFailed: [
    { _tag: "ServiceFailed", ...at, work: "scan", origin: "Shop > Inbox > scan", cause },
    "ERROR Shop > Inbox failed, because scan failed"
  ],
  ServiceRestarting: [
    { _tag: "ServiceRestarting", ...at, restarts: 2, pause: took, origin: "Shop > Inbox > scan" },
    "WARN Shop > Inbox restarts in 1s 500ms (restart 2), because Shop > Inbox > scan failed"
  ],
  ServiceStopping: [{ _tag: "ServiceStopping", ...at }, "DEBUG Shop > Inbox is stopping"],
  ServiceStopped: [{ _tag: "ServiceStopped", ...at, took }, "INFO Shop > Inbox stopped in 1s 500ms"],
  StopStepFailed: [
    { _tag: "StopStepFailed", ...at, step: "onStop", cause },
    "ERROR Shop > Inbox failed in onStop while stopping, and went on to the next step"
  ],
  StopTimedOut: [
    { _tag: "StopTimedOut", ...at, step: "work", after: took, alive: ["a", "b", "c", "d", "e", "f", "g"] },
    "ERROR Shop > Inbox hung in work while stopping; it was left after 1s 500ms, with a, b, c, d, e and 2 more still running"
  ],
  WorkInterrupted: [
    { _tag: "WorkInterrupted", ...at, work: "scan" },
    "WARN Shop > Inbox: scan was interrupted by its own code"
  ],
  ServerDraining: [
    { _tag: "ServerDraining", ...at, requests: 1, streams: 2, readinessDelay: Duration.seconds(5) },
    "INFO Shop > Inbox serves on for 5s, then takes no new connections, with 1 request and 2 streams in flight"
  ],
  RequestFailed: [
    { _tag: "RequestFailed", ...at, route: "GET /orders/:id", cause, took: Duration.millis(12) },
    "ERROR Shop > Inbox: GET /orders/:id failed after 12ms"
  ],
  RequestsCut: [
    {
      _tag: "RequestsCut",
      ...at,
      after: Duration.seconds(20),
      requests: [
        { route: "GET /orders/:id", count: 1 },
        { route: "POST /orders", count: 2 }
      ]
    },
    "ERROR Shop > Inbox cut 3 requests that had no answer after 20s: GET /orders/:id, 2 of POST /orders"
  ],
  StopAsked: [{ _tag: "StopAsked", ...at }, "DEBUG Shop > Inbox asked to be stopped"],
  StopNotPossible: [
    { _tag: "StopNotPossible", ...at },
    "WARN Shop > Inbox asked to be stopped, but nothing stops it: it does not run under App.launch"
  ],
  ChildAdopted: [{ _tag: "ChildAdopted", ...at, child: "Import[a]" }, "DEBUG Shop > Inbox adopted Import[a]"],
  TaskTicked: [
    { _tag: "TaskTicked", ...at, task: "interval 1m", took },
    "TRACE Shop > Inbox: interval 1m ran for 1s 500ms"
  ],
  TaskFailed: [
    { _tag: "TaskFailed", ...at, task: "interval 1m", cause, answer: "Log" },
    "ERROR Shop > Inbox: interval 1m failed"
  ],
  TicksSkipped: [
    { _tag: "TicksSkipped", ...at, task: "interval 1m", missed: 1 },
    "WARN Shop > Inbox: interval 1m skipped 1 run, because it ran long or late"
  ],
  WorkRestarting: [
    { _tag: "WorkRestarting", ...at, work: "rows", restarts: 1, pause: took, cause },
    "WARN Shop > Inbox: rows failed, and is run again in 1s 500ms (restart 1)"
  ],
  WorkRetrying: [
    { _tag: "WorkRetrying", ...at, work: "rows", attempt: 2, pause: took, cause },
    "WARN Shop > Inbox: rows failed, and is retried in 1s 500ms (attempt 2)"
  ],
  RetriesExhausted: [
    {
      _tag: "RetriesExhausted",
      ...at,
      work: "rows",
      attempts: 3,
      origin: "Shop > Inbox > rows",
      cause,
      answer: "Log"
    },
    "ERROR Shop > Inbox: rows failed in 3 attempts, and is given up"
  ],
  RestartsExhausted: [
    {
      _tag: "RestartsExhausted",
      ...at,
      work: "rows",
      restarts: 5,
      origin: "Shop > Inbox > rows",
      cause,
      answer: "Log"
    },
    "ERROR Shop > Inbox: rows failed again after 5 restarts, and is given up"
  ],
  HealthChanged: [
    { _tag: "HealthChanged", ...at, check: "disk", isCritical: true, reason: "1% left" },
    "WARN Shop > Inbox > disk is unhealthy: 1% left"
  ],
  EventEmitted: [
    { _tag: "EventEmitted", event: "ping", sender: "Shop > Inbox", listeners: 2 },
    "TRACE ping was emitted to 2 listeners by Shop > Inbox"
  ],
  EventPublished: [
    { _tag: "EventPublished", event: "ping", sender: undefined, listeners: 1 },
    "TRACE ping was published to 1 listener"
  ],
  EventHandled: [
    { _tag: "EventHandled", ...at, event: "ping", took },
    "TRACE Shop > Inbox handled ping in 1s 500ms"
  ],
  HandlerFailed: [
    { _tag: "HandlerFailed", ...at, event: "ping", cause, answer: "Handle" },
    "DEBUG Shop > Inbox: the listener of ping failed"
  ],
  EventsDropped: [
    { _tag: "EventsDropped", ...at, event: "ping", count: 3, reason: "queue full" },
    "WARN Shop > Inbox: the listener of ping missed 3 events, queue full"
  ],
  OtherBusListens: [
    { _tag: "OtherBusListens", event: "ping", sender: "Shop > Web", listeners: ["Shop > Mailer"] },
    "WARN ping was sent by Shop > Web on a bus where nobody listens to it, while Shop > Mailer listens on another bus of the app. Provide one EventBus.layer to both."
  ],
  PublishWaiting: [
    { _tag: "PublishWaiting", ...at, event: "ping", waited: took },
    "WARN Shop > Inbox: the queue of the listener of ping is full; a publish has waited 1s 500ms for it and still waits"
  ]
}

describe("Journal", () => {
  for (const [entry, line] of Object.values(lines)) {
    it.effect(line, () =>
      Effect.gen(function* () {
        const logged: Array<string> = []
        const logger = Logger.make(
          ({ logLevel, message }) => void logged.push(`${logLevel.label} ${[message].flat()[0]}`)
        )
        yield* TestClock.adjust(7)
        const journal = yield* Journal.Journal
        yield* journal
          .append(entry)
          .pipe(
            Logger.withMinimumLogLevel(LogLevel.All),
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
        // What happens often is neither kept nor logged.
        const isRare = !line.startsWith("TRACE")
        assert.strictEqual(Journal.format(entry), line.replace(/^\w+ /, ""))
        assert.deepStrictEqual(logged, isRare ? [line] : [])
        assert.deepStrictEqual(yield* Journal.recent, isRare ? [{ ...entry, at: 7 }] : [])
      }).pipe(Effect.provide(Journal.layer))
    )
  }

  const append = (n: number) =>
    Effect.flatMap(Journal.Journal, (journal) => journal.append({ _tag: "StopAsked", service: String(n) }))
  const numbers = (entries: Iterable<Journal.Entry>) =>
    Array.from(entries, (entry) => (entry._tag === "StopAsked" ? Number(entry.service) : Number.NaN))

  it.effect("keeps the last 1,000 entries", () =>
    Effect.gen(function* () {
      for (let n = 0; n < 2_500; n++) yield* append(n)
      const kept = numbers(yield* Journal.recent)
      assert.deepStrictEqual([kept.length, kept[0], kept.at(-1)], [1_000, 1_500, 2_499])
    }).pipe(Effect.provide(Journal.layer))
  )

  it.effect("streams what comes, and a reader that is slow loses the oldest and slows nobody", () =>
    Effect.gen(function* () {
      yield* append(0)
      const reader = yield* Effect.fork(Stream.runCollect(Stream.take(Journal.stream, 1_000)))
      yield* TestClock.adjust(0)
      for (let n = 1; n <= 1_100; n++) yield* append(n)
      const read = numbers(yield* Fiber.join(reader))
      assert.strictEqual(read.length, 1_000)
      assert.isAtLeast(read[0]!, 1)
      assert.deepStrictEqual(
        read,
        read.toSorted((a, b) => a - b)
      )
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )

  it.effect("has dropped events at once, then their sum once a second, and the rest at the stop", () =>
    Effect.gen(function* () {
      const Ping = Event.make("ping", { n: Schema.Number })
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Service.listen(Ping, () => Effect.sleep("2500 millis"), {
          capacity: 1,
          onFull: "dropNewest"
        })
      }) {}
      const outer = yield* build(Layer.merge(EventBus.layer, Journal.layer))
      const slow = yield* Effect.provide(build(Slow.layer), outer.context)
      const publish = (times: number) =>
        Effect.replicateEffect(Effect.provide(EventBus.publish(Ping, { n: 1 }), outer.context), times)
      const dropped = Effect.map(Effect.provide(Journal.recent, outer.context), (entries) =>
        entries.flatMap((entry) => (entry._tag === "EventsDropped" ? [entry.count] : []))
      )
      yield* publish(1)
      yield* TestClock.adjust(0)
      // One has room to wait, and three have none.
      yield* publish(4)
      assert.deepStrictEqual(yield* dropped, [1])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(yield* dropped, [1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* dropped, [1, 2])
      yield* publish(4)
      assert.deepStrictEqual(yield* dropped, [1, 2])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* dropped, [1, 2, 4])
      yield* publish(6)
      const stopping = yield* Effect.fork(Effect.zipRight(slow.stop, outer.stop))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* dropped, [1, 2, 4, 6])
    }).pipe(leavesNothing)
  )

  it.effect("outlives a logger that throws", () =>
    Effect.gen(function* () {
      yield* append(1)
      assert.deepStrictEqual(numbers(yield* Journal.recent), [1])
    }).pipe(
      Logger.withMinimumLogLevel(LogLevel.All),
      Effect.provide([
        Journal.layer,
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(() => {
            throw new Error("disk full")
          })
        )
      ])
    )
  )

  const Ping = Event.make("ping", { n: Schema.Number, key: Schema.Redacted(Schema.String) })
  const ping = { n: 1, key: Redacted.make("open sesame") }
  class Busy extends Service.make<Busy>()("Busy", {
    onStart: Effect.gen(function* () {
      yield* Service.listen(Ping, () => Effect.void)
      yield* Service.interval(EventBus.emit(Ping, ping), "1 second")
      yield* Service.timeout(EventBus.publish(Ping, ping), "1500 millis")
    })
  }) {}
  const busy = Layer.merge(Busy.layer, Journal.layer).pipe(Layer.provideMerge(EventBus.layer))

  it.effect("tells of what happens often only while somebody reads it, and of payloads only who asks", () =>
    Effect.gen(function* () {
      const running = yield* build(busy)
      const { reads } = Context.get(running.context, Journal.Journal)
      const often = ["TaskTicked", "EventEmitted", "EventPublished", "EventHandled"] as const
      const read = (stream: Stream.Stream<Journal.Entry, never, Journal.Journal>) =>
        Effect.fork(
          Effect.provide(Stream.runCollect(Stream.interruptAfter(stream, "1200 millis")), running.context)
        )
      assert.deepStrictEqual(often.filter(reads), [])
      const one = yield* read(Journal.streamOf(["TaskTicked"]))
      const all = yield* read(Journal.streamOf(often))
      const payloads = yield* read(Journal.streamOf(["EventHandled", "EventEmitted"], { payloads: true }))
      const rare = yield* read(Journal.stream)
      yield* TestClock.adjust("1200 millis")
      assert.deepStrictEqual(often.filter(reads), [])

      const entries = Effect.map(Fiber.join(all), (chunk) => [...chunk])
      const ticked: Journal.Entry = {
        _tag: "TaskTicked",
        service: "Busy",
        task: "interval 1s",
        took: Duration.zero,
        at: 1_000
      }
      assert.deepStrictEqual([...(yield* one)], [ticked])
      assert.deepStrictEqual(yield* entries, [
        { _tag: "EventEmitted", event: "ping", sender: "Busy", listeners: 1, at: 1_000 },
        { _tag: "EventHandled", service: "Busy", event: "ping", took: Duration.zero, at: 1_000 },
        ticked
      ])
      const told = [...(yield* payloads)]
      assert.deepStrictEqual(
        told.map((entry) => "payload" in entry && entry.payload),
        [ping, ping]
      )
      assert.notInclude(JSON.stringify(told), "open sesame")
      assert.deepStrictEqual([...(yield* rare)], [])

      yield* TestClock.adjust("1 minute")
      const kept = yield* Effect.provide(Journal.recent, running.context)
      assert.deepStrictEqual(
        kept.map(({ _tag }) => _tag),
        ["ServiceStarting", "ServiceStarted"]
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("streams what is rare, too, and only the kinds that are asked for", () =>
    Effect.gen(function* () {
      const running = yield* build(busy)
      const reader = yield* Effect.fork(
        Effect.provide(
          Stream.runCollect(Stream.take(Journal.streamOf(["EventPublished", "ServiceStopped"]), 2)),
          running.context
        )
      )
      yield* TestClock.adjust("2 seconds")
      yield* running.stop
      assert.deepStrictEqual(
        Array.from(yield* reader, (entry) => Journal.format(entry)),
        ["ping was published to 1 listener by Busy", "Busy stopped in 0ms"]
      )
    }).pipe(leavesNothing)
  )

  it.effect("refuses kinds that there are not", () =>
    Effect.gen(function* () {
      for (const [kinds, options, problem] of [
        [["TaskTicked", "Tick"], {}, '`kinds` must be kinds of entries, like TaskTicked, but it is "Tick".'],
        [
          "TaskTicked",
          {},
          '`kinds` must be a list of kinds of entries, like TaskTicked, but it is "TaskTicked".'
        ],
        [[Symbol("x")], {}, "`kinds` must be kinds of entries, like TaskTicked, but it is Symbol(x)."],
        [["TaskTicked"], { payloads: "false" }, '`payloads` must be true or false, but it is "false".'],
        [["TaskTicked"], 5, "`options` must be an object, or left out, but it is 5."]
      ] as const) {
        const exit = yield* Effect.exit(Stream.runDrain(Journal.streamOf(kinds as any, options as any)))
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.strictEqual((error as Error).message, `Journal.streamOf: ${problem}`)
      }
    }).pipe(Effect.provide(Journal.layer))
  )
})
