import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Layer, Random, Schedule, Schema, TestClock } from "effect"
import { Event, EventBus, Failure, Journal, Service } from "effect-services"
import { expectTypeOf } from "vitest"
import { build, doing, leavesNothing, timeline } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

const worker = <A, E, R>(onStart: Effect.Effect<A, E, R>) =>
  Effect.map(doing("Worker", onStart), (running) => ({
    ...running,
    lines: Effect.map(running.entries, (entries) =>
      entries
        .filter((entry) => !entry._tag.startsWith("ServiceSt"))
        .map((entry) => `${entry.at} ${Journal.format(entry)}`)
    )
  }))

const stamp = (times: Array<number>) => Effect.map(Clock.currentTimeMillis, (now) => void times.push(now))
const everySecond = Schedule.spaced("1 second")

describe("Failure.restart", () => {
  it.effect("runs a spawned effect again, with what it acquires, after each pause of the backoff", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const task = Effect.gen(function* () {
        yield* Effect.acquireRelease(say("+"), () => say("-"))
        yield* Effect.sleep("1 second")
        return yield* Effect.fail("no connection")
      })
      const running = yield* worker(
        Service.spawn(task, {
          name: "feed",
          onFailure: Failure.restart({ backoff: Schedule.exponential("1 second") })
        })
      )
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(lines, ["+", "-", "+", "-"])
      const [feed] = (yield* running.status).tasks
      assert.deepInclude(feed, { runs: 2, failures: 2, isRunning: false, nextRun: 5_000 })
      assert.deepInclude(feed, {
        lastStart: 2_000,
        lastDuration: Duration.seconds(1),
        lastError: "no connection"
      })
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, ["+", "-", "+", "-", "+"])

      yield* running.stop
      assert.deepStrictEqual(lines, ["+", "-", "+", "-", "+", "-"])
      assert.deepStrictEqual(yield* running.lines, [
        "1000 Worker: feed failed",
        "1000 Worker: feed failed, and is run again in 1s (restart 1)",
        "3000 Worker: feed failed",
        "3000 Worker: feed failed, and is run again in 2s (restart 2)"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("runs a tick again until it succeeds, and skips the slots that come due meanwhile", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const failsOnce = Effect.flatMap(stamp(times), () =>
        times.length === 1 ? Effect.delay(Effect.fail("no"), "500 millis") : Effect.void
      )
      const running = yield* worker(
        Service.interval(failsOnce, "1 second", { onFailure: Failure.restart({ backoff: everySecond }) })
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times, [1_000, 2_500, 3_000, 4_000, 5_000])
      const [interval] = (yield* running.status).tasks
      assert.deepInclude(interval, { runs: 5, failures: 1, skipped: 1, nextRun: 6_000 })
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("begins the backoff anew with each tick that has succeeded in the end", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const failsFirst = Effect.flatMap(stamp(times), () =>
        times.length % 2 === 1 ? Effect.fail("no") : Effect.void
      )
      const running = yield* worker(
        Service.interval(failsFirst, "1 minute", {
          onFailure: Failure.restart({ backoff: Schedule.exponential("1 second") })
        })
      )
      yield* TestClock.adjust("200 seconds")
      assert.deepStrictEqual(times, [60_000, 61_000, 120_000, 121_000, 180_000, 181_000])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("runs a cron's tick and a timeout again", () =>
    Effect.gen(function* () {
      const cron: Array<number> = []
      const timeout: Array<number> = []
      const failsOnce = (times: Array<number>) =>
        Effect.flatMap(stamp(times), () => (times.length === 1 ? Effect.fail("no") : Effect.void))
      const onFailure = Failure.restart({ backoff: everySecond })
      const running = yield* worker(
        Effect.zipRight(
          Service.cron(failsOnce(cron), "* * * * *", { timeZone: "UTC", onFailure }),
          Service.timeout(failsOnce(timeout), "10 seconds", { onFailure })
        )
      )
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(cron, [60_000, 61_000, 120_000])
      assert.deepStrictEqual(timeout, [10_000, 11_000])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("lets a listener handle the same event again, for which its emitter waits", () =>
    Effect.gen(function* () {
      let tries = 0
      const running = yield* worker(
        Service.listen(Ping, () => (++tries < 3 ? Effect.fail("no") : Effect.void), {
          onFailure: Failure.restart({ backoff: everySecond })
        })
      )
      const emitted = yield* Effect.fork(Effect.provide(EventBus.emit(Ping, { n: 1 }), running.context))
      yield* TestClock.adjust("1999 millis")
      assert.isNull(emitted.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const receipt = yield* emitted
      assert.deepStrictEqual([receipt.handled, receipt.failed, tries], [1, 0, 3])
      assert.deepInclude((yield* running.status).listeners[0], { handled: 1, failed: 2 })
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("gives each event a backoff of its own, and all of a listener one budget", () =>
    Effect.gen(function* () {
      const tries: Array<number> = []
      const isFirst = new Map<number, boolean>()
      const running = yield* worker(
        Service.listen(
          Ping,
          ({ n }) =>
            Effect.flatMap(stamp(tries), () => {
              const fails = !isFirst.has(n)
              isFirst.set(n, true)
              return fails ? Effect.fail("no") : Effect.void
            }),
          {
            onFailure: Failure.restart({
              backoff: Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(1)),
              budget: { restarts: 3, within: "1 hour" },
              onExhausted: Failure.log
            })
          }
        )
      )
      const emit = (n: number) => Effect.fork(Effect.provide(EventBus.emit(Ping, { n }), running.context))
      for (const n of [1, 2, 3]) {
        yield* emit(n)
        yield* TestClock.adjust("10 seconds")
      }
      assert.deepStrictEqual(tries, [0, 1_000, 10_000, 11_000, 20_000, 21_000])
      const refused = yield* emit(4)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* refused).failed, 1)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("gives up when the budget is used up, and fails the service", () =>
    Effect.gen(function* () {
      const running = yield* worker(
        Service.spawn(Effect.fail("no"), {
          name: "feed",
          onFailure: Failure.restart({ backoff: everySecond, budget: { restarts: 2, within: "1 minute" } })
        })
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual((yield* running.lines).slice(4), [
        "2000 Worker: feed failed",
        "2000 Worker: feed failed again after 2 restarts, and is given up",
        "2000 Worker failed, because feed failed"
      ])
      const { state, tasks } = yield* running.status
      assert.deepStrictEqual(state, { _tag: "Failed", reason: "Worker > feed: no" })
      assert.deepStrictEqual(tasks, [])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("allows another restart when the window is over, and not a millisecond before", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      /** The first run fails at once; the second after so long. */
      const failsAfter = (millis: number) =>
        Effect.flatMap(stamp(runs), () => Effect.delay(Effect.fail("no"), runs.length === 1 ? 0 : millis))
      const onFailure = Failure.restart({
        backoff: everySecond,
        budget: { restarts: 1, within: "10 seconds" },
        onExhausted: Failure.log
      })
      const early = yield* worker(Service.spawn(failsAfter(9_999), { onFailure }))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(runs, [0, 1_000])
      yield* early.stop

      runs.length = 0
      const late = yield* worker(Service.spawn(failsAfter(10_000), { onFailure }))
      yield* TestClock.adjust("13 seconds")
      // The pauses do not count.
      assert.deepStrictEqual(runs, [60_000, 61_000, 72_000])
      yield* late.stop
    }).pipe(leavesNothing)
  )

  it.effect("begins the backoff anew after a healthy run, and not after one a millisecond shorter", () =>
    Effect.gen(function* () {
      const onFailure = Failure.restart({
        backoff: Schedule.exponential("1 second"),
        healthyAfter: "10 seconds",
        budget: "unlimited"
      })
      const runs: Array<number> = []
      const lengths = [0, 9_999, 10_000, 0]
      const task = Effect.flatMap(stamp(runs), () =>
        Effect.delay(Effect.fail("no"), lengths[runs.length - 1] ?? 0)
      )
      const running = yield* worker(Service.spawn(task, { onFailure }))
      yield* TestClock.adjust("1 minute")
      const pauses = runs.map((start, index) => start - (runs[index - 1] ?? 0) - (lengths[index - 1] ?? 0))
      assert.deepStrictEqual(pauses.slice(1, 5), [1_000, 2_000, 1_000, 2_000])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("pauses half a second at first, twice as long each time, up to half a minute", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      const running = yield* worker(
        Service.spawn(Effect.zipRight(stamp(runs), Effect.die("no")), {
          onFailure: Failure.restart({ budget: "unlimited" })
        })
      )
      yield* TestClock.adjust("3 minutes")
      const pauses = runs.slice(1).map((start, index) => start - runs[index]!)
      assert.deepStrictEqual(
        pauses.slice(0, 9),
        [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
      )
      yield* running.stop
      // In the middle of what jitter makes of it.
    }).pipe(Effect.withRandom(Random.fixed([0.5])), leavesNothing)
  )

  it.effect("by default gives up the sixth time", () =>
    Effect.gen(function* () {
      const running = yield* worker(Service.spawn(Effect.die("no"), { onFailure: Failure.restart() }))
      yield* TestClock.adjust("1 minute")
      const given = (yield* running.lines).filter((line) => line.includes("given up"))
      assert.deepStrictEqual(given, ["15500 Worker: task failed again after 5 restarts, and is given up"])
      yield* running.stop
    }).pipe(Effect.withRandom(Random.fixed([0.5])), leavesNothing)
  )

  it.effect("gives up when the backoff ends, or would wait for ever", () =>
    Effect.gen(function* () {
      for (const backoff of [Schedule.recurs(0), Schedule.spaced(Duration.infinity)]) {
        const running = yield* worker(
          Service.spawn(Effect.fail("no"), {
            onFailure: Failure.restart({ backoff, onExhausted: Failure.log })
          })
        )
        yield* TestClock.adjust(0)
        assert.include((yield* running.lines).at(-1), "task failed with no restart left, and is given up")
        yield* running.stop
      }
    }).pipe(leavesNothing)
  )

  it.effect("does what `onExhausted` says, and the service lives on", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const running = yield* worker(
        Service.interval(Effect.fail("no" as const), "1 second", {
          name: "poll",
          onFailure: Failure.restart({
            backoff: Schedule.recurs(1),
            onExhausted: Failure.handle((cause, { service, work }) =>
              say(`${service} ${work} ${Cause.pretty(cause)}`)
            )
          })
        })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["Worker poll Error: no"])
      assert.deepStrictEqual(yield* running.lines, [
        "1000 Worker: poll failed",
        "1000 Worker: poll failed, and is run again in 0ms (restart 1)",
        "1000 Worker: poll failed",
        "1000 Worker: poll failed again after 1 restart, and is given up"
      ])
      // The next tick comes all the same, with a backoff that begins anew.
      yield* TestClock.adjust("1 second")
      assert.strictEqual(lines.length, 2)
      assert.include(yield* running.lines, "2000 Worker: poll failed, and is run again in 0ms (restart 2)")
      assert.strictEqual((yield* running.status).state._tag, "Running")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("gives the backoff the cause, and what it needs", () =>
    Effect.gen(function* () {
      const causes: Array<string> = []
      const backoff = Schedule.recurs(1).pipe(
        Schedule.tapInput((cause: Cause.Cause<string>) =>
          Effect.map(Journal.Journal, () => void causes.push(Cause.pretty(cause)))
        )
      )
      const running = yield* worker(
        Service.spawn(Effect.fail("no"), {
          onFailure: Failure.restart({ backoff, onExhausted: Failure.log })
        })
      )
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(causes, ["Error: no", "Error: no"])
      yield* running.stop
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )

  it.effect("fails the service when the backoff itself has a bug", () =>
    Effect.gen(function* () {
      const backoff = Schedule.recurs(9).pipe(Schedule.tapInput(() => Effect.die("bug")))
      const onFailure = Failure.restart({ backoff })
      for (const onStart of [
        Service.spawn(Effect.delay(Effect.fail("no"), 1), { name: "work", onFailure }),
        Service.timeout(Effect.fail("no"), 1, { name: "work", onFailure })
      ]) {
        const running = yield* worker(onStart)
        yield* TestClock.adjust(1)
        assert.deepStrictEqual((yield* running.status).state, {
          _tag: "Failed",
          reason: "Worker > work: bug"
        })
        yield* running.stop
      }
    }).pipe(leavesNothing)
  )

  it.effect("does not run again what interrupted itself: that is no failure", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      const running = yield* worker(
        Service.spawn(Effect.zipRight(stamp(runs), Effect.interrupt), { onFailure: Failure.restart() })
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(runs, [0])
      assert.deepStrictEqual(yield* running.lines, ["0 Worker: task was interrupted by its own code"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("ends with its service in the middle of a pause, and when cancelled", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
      const running = yield* worker(
        Effect.all([
          Service.spawn(Effect.zipRight(stamp(runs), Effect.fail("no")), { onFailure }),
          Service.interval(Effect.fail("no"), "1 second", { onFailure })
        ])
      )
      yield* TestClock.adjust("1 second")
      yield* running.value[0].cancel
      yield* running.stop
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(runs, [0])
    }).pipe(leavesNothing)
  )

  it("does not compile where a failure has no answer, or an answer does not fit the failure", () => {
    const fails = Effect.fail("no" as const)
    // @ts-expect-error it can fail, and nothing is said about that
    void Service.spawn(fails)
    // @ts-expect-error it can fail, and nothing is said about that
    void Service.spawn(fails, { until: "stop" })
    void Service.spawn(fails, { onFailure: Failure.restart() })
    void Service.spawn(Effect.never)
    const onNumbers = Failure.handle((cause: Cause.Cause<number>) => Effect.succeed(cause))
    // @ts-expect-error it fails with something else
    void Service.spawn(fails, { onFailure: onNumbers })
    // @ts-expect-error it fails with something else
    void Service.interval(fails, 1, { onFailure: Failure.restart({ onExhausted: onNumbers }) })
    const ping = ({ n }: { readonly n: number }) => (n > 1 ? Effect.fail("no" as const) : Effect.void)
    void Service.listen(Ping, ({ n }) => ping({ n }), { onFailure: Failure.restart() })
    void Service.listen(Ping, ({ n }) => ping({ n }), {
      onFailure: Failure.handle((cause) => Effect.log(cause))
    })
    void Service.listen(Ping, () => fails, {
      onFailure: Failure.handle((cause) => {
        expectTypeOf(cause).toEqualTypeOf<Cause.Cause<"no" | Cause.TimeoutException>>()
        return Effect.void
      })
    })
    // @ts-expect-error it fails with something else
    void Service.listen(Ping, ({ n }) => ping({ n }), { onFailure: onNumbers })
    void Service.interval(fails, 1, {
      onFailure: Failure.restart({
        onExhausted: Failure.handle((cause) => {
          expectTypeOf(cause).toEqualTypeOf<Cause.Cause<"no">>()
          return Effect.void
        })
      })
    })
    // @ts-expect-error not a second time
    void (() => Failure.restart({ onExhausted: Failure.restart() }))
  })

  it("refuses a policy that is not made by Failure", () => {
    for (const onExhausted of [{ _tag: "Handle" }, "log", null]) {
      assert.throws(() => Failure.restart({ onExhausted } as never), "`onExhausted` must be Failure.log")
    }
  })

  for (const [options, problem] of [
    [{ backoff: 5 }, "`backoff` must be a Schedule, but it is 5."],
    [{ budget: 5 }, '`budget` must be { restarts, within }, or "unlimited", but it is 5.'],
    [
      { budget: { restarts: 0, within: 1 } },
      "`budget.restarts` must be a whole number of at least 1, but it is 0."
    ],
    [
      { budget: { restarts: 1, within: Infinity } },
      '`budget.within` must be a duration above zero and below infinity, like "5 seconds", but it is Infinity.'
    ],
    [
      { healthyAfter: 0 },
      '`healthyAfter` must be a duration above zero and below infinity, like "5 seconds", but it is 0.'
    ],
    [
      { onExhausted: Failure.restart() },
      "`onExhausted` must be Failure.log, Failure.escalate or Failure.handle(f), but it is an object."
    ],
    [null, "`options` must be an object, or left out, but it is null."]
  ] as const) {
    it(`refuses what cannot be used: ${problem}`, () => {
      assert.throws(() => Failure.restart(options as never), `Failure.restart: ${problem}`)
    })
  }
})

describe("a task that is to run until its service stops", () => {
  it.effect("fails the service when it ends before", () =>
    Effect.gen(function* () {
      const running = yield* worker(Service.spawn(Effect.sleep("1 second"), { name: "feed", until: "stop" }))
      yield* TestClock.adjust("1 second")
      const { state } = yield* running.status
      assert.deepStrictEqual(state, {
        _tag: "Failed",
        reason:
          'Worker > feed: feed of service "Worker" has ended, but was spawned with `until: "stop"`. Leave that out if it may end.'
      })
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is run again, where that is the answer", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      const running = yield* worker(
        Service.spawn(Effect.delay(stamp(runs), "1 second"), {
          until: "stop",
          onFailure: Failure.restart({ backoff: everySecond })
        })
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(runs, [1_000, 3_000, 5_000])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("has not failed when its service stops, or it is cancelled", () =>
    Effect.gen(function* () {
      const running = yield* worker(
        Effect.all([
          Service.spawn(Effect.never, { until: "stop" }),
          Service.spawn(Effect.never, { until: "stop" })
        ])
      )
      yield* running.value[0].cancel
      yield* running.stop
      assert.deepStrictEqual(yield* running.lines, [])
    }).pipe(leavesNothing)
  )

  it.effect("has ended also when its own code interrupts it", () =>
    Effect.gen(function* () {
      const running = yield* worker(
        Service.spawn(Effect.delay(Effect.interrupt, "1 second"), { name: "feed", until: "stop" })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* running.status).state._tag, "Failed")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("may end when its service has told it that it stops", () =>
    Effect.gen(function* () {
      class Feed extends Service.make<Feed>()("Feed", {
        onStart: Effect.gen(function* () {
          const end = yield* Deferred.make<string>()
          const task = yield* Service.spawn(Deferred.await(end), { until: "stop" })
          return { end, task }
        }),
        onStop: ({ end, task }) => Effect.zipRight(Deferred.succeed(end, "bye"), task.await)
      }) {}
      const running = yield* build(Layer.merge(Feed.layer, Journal.layer))
      yield* running.stop
      const tags = (yield* Effect.provide(Journal.recent, running.context)).map(({ _tag }) => _tag)
      assert.deepStrictEqual(tags, ["ServiceStarting", "ServiceStarted", "ServiceStopping", "ServiceStopped"])
    }).pipe(leavesNothing)
  )

  it.effect("without that, a task may end", () =>
    Effect.gen(function* () {
      const running = yield* worker(Service.spawn(Effect.void))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* running.status).state._tag, "Running")
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
