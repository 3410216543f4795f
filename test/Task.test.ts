import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Layer, Ref, TestClock } from "effect"
import { Failure, Journal, Service } from "effect-services"
import { build, journalLines, leavesNothing, timeline } from "./support.ts"

/** A service that does one thing, under plain Effect, with a journal to read. */
const running = <E, R>(onStart: Effect.Effect<unknown, E, R>) => {
  class Worker extends Service.make<Worker>()("Worker", { onStart }) {}
  return build(Layer.merge(Worker.layer, Journal.layer))
}

const during = <A, E, R>(onStart: Effect.Effect<A, E, R>, test: (started: A) => Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const started = yield* Deferred.make<A>()
    const worker = yield* running(Effect.tap(onStart, (value) => Deferred.succeed(started, value)))
    yield* test(yield* Deferred.await(started))
    yield* worker.stop
  }).pipe(leavesNothing)

const stamp = (times: Array<number>) => Effect.map(Clock.currentTimeMillis, (now) => void times.push(now))

/** A clock whose sleeps are seen, and whose wall time may be set. */
const watchedClock = Effect.map(Effect.clock, (clock) => {
  const sleeps: Array<number> = []
  const watched: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
    sleep: (duration: Duration.Duration) => {
      sleeps.push(Duration.toMillis(duration))
      return clock.sleep(duration)
    },
    currentTimeMillis: Effect.sync(() => watched.unsafeCurrentTimeMillis()),
    unsafeCurrentTimeMillis: () => watch.wallMillis ?? clock.unsafeCurrentTimeMillis(),
    // Of `TestClock`, this is else what the former says.
    unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos()
  })
  const watch: { readonly clock: Clock.Clock; readonly sleeps: Array<number>; wallMillis?: number } = {
    clock: watched,
    sleeps
  }
  return watch
})

describe("interval", () => {
  it.effect("ticks at once when told to, and then on the grid", () => {
    const times: Array<number> = []
    return during(Service.interval(stamp(times), "1 second", { first: "atOnce" }), () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("2500 millis")
        assert.deepStrictEqual(times, [0, 1000, 2000])
      })
    )
  })

  it.effect("ticks before those that were made after it, when both are due", () => {
    const { lines, say } = timeline()
    const intervals = Effect.all([
      Service.interval(say("a"), "2 seconds"),
      Service.interval(say("b"), "1 second"),
      Service.interval(say("c"), "2 seconds")
    ])
    return during(intervals, () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(lines, ["b", "a", "b", "c"])
      })
    )
  })

  it.effect("ends when cancelled, in the middle of a run too", () => {
    const { lines, say } = timeline()
    const tick = Effect.onInterrupt(Effect.zipRight(say("begin"), Effect.never), () => say("interrupted"))
    return during(Service.interval(tick, "1 second"), (interval) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("1 second")
        yield* interval.cancel
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(lines, ["begin", "interrupted"])
      })
    )
  })

  it.effect("can be cancelled from within its own run", () => {
    const { lines, say } = timeline()
    let cancel: Effect.Effect<void> = Effect.void
    return during(
      Effect.tap(
        Service.interval(
          Effect.suspend(() => Effect.zipRight(say("tick"), cancel)),
          "1 second"
        ),
        (interval) => Effect.sync(() => (cancel = interval.cancel))
      ),
      () =>
        Effect.gen(function* () {
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual(lines, ["tick"])
        })
    )
  })

  it.effect("interrupts a run that cancels it, and goes on, before it has waited for anything", () => {
    const { lines, say } = timeline()
    let cancel: Effect.Effect<void> = Effect.void
    const tick = Effect.onInterrupt(
      Effect.zipRight(
        Effect.suspend(() => cancel),
        Effect.never
      ),
      () => say("interrupted")
    )
    return during(
      Effect.tap(Service.interval(tick, "1 second"), (interval) =>
        Effect.sync(() => (cancel = interval.cancel))
      ),
      () =>
        Effect.gen(function* () {
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual(lines, ["interrupted"])
        })
    )
  })

  it.effect("is not waited for by a run that cancels it and cannot be interrupted", () => {
    const { lines, say } = timeline()
    let cancel: Effect.Effect<void> = Effect.void
    const tick = Effect.uninterruptible(
      Effect.zipRight(
        Effect.suspend(() => cancel),
        say("cancelled")
      )
    )
    return during(
      Effect.tap(Service.interval(tick, "1 second"), (interval) =>
        Effect.sync(() => (cancel = interval.cancel))
      ),
      () =>
        Effect.gen(function* () {
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual(lines, ["cancelled"])
        })
    )
  })

  it.effect("goes on after a run that interrupts itself, and does not call that a failure", () => {
    const times: Array<number> = []
    return Effect.gen(function* () {
      const worker = yield* running(
        Service.interval(Effect.zipRight(stamp(times), Effect.interrupt), "1 second")
      )
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(times, [1000, 2000, 3000])
      assert.notInclude(yield* Effect.provide(journalLines, worker.context), "TaskFailed Worker")
      yield* worker.stop
    }).pipe(leavesNothing)
  })

  it.effect("releases what a run acquires when the run ends", () => {
    const { lines, say } = timeline()
    const tick = Effect.zipRight(
      Effect.acquireRelease(say("acquire"), () => say("release")),
      say("use")
    )
    return during(Service.interval(tick, "1 second"), () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(lines, ["acquire", "use", "release", "acquire", "use", "release"])
      })
    )
  })

  it.effect("releases what the answer to a failure acquires when the service stops", () => {
    const { lines, say } = timeline()
    const onFailure = Failure.handle(() => Effect.acquireRelease(say("acquire"), () => say("release")))
    const tick = Effect.suspend(() =>
      Effect.zipRight(say("run"), lines.length > 1 ? Effect.void : Effect.fail("no"))
    )
    return Effect.gen(function* () {
      yield* during(Service.interval(tick, "1 second", { onFailure }), () =>
        Effect.zipRight(TestClock.adjust("3 seconds"), say("stop"))
      )
      assert.deepStrictEqual(lines, ["run", "acquire", "run", "run", "stop", "release"])
    })
  })

  it.effect("may own more work", () => {
    const times: Array<number> = []
    return during(Service.interval(Service.timeout(stamp(times), "100 millis"), "1 second"), () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("2500 millis")
        assert.deepStrictEqual(times, [1100, 2100])
      })
    )
  })

  it.effect("may be longer than a timer of JavaScript, of 24.8 days", () =>
    Effect.gen(function* () {
      const ticks: Array<number> = []
      const { clock, sleeps } = yield* watchedClock
      const interval = Service.interval(
        Effect.sync(() => ticks.push(0)),
        "30 days"
      )
      yield* Effect.withClock(
        during(interval, () => TestClock.adjust("61 days")),
        clock
      )
      assert.strictEqual(ticks.length, 2)
      assert.isAtMost(Math.max(...sleeps), 2 ** 31 - 1)
    })
  )

  it.effect("does not notice when the wall clock is set", () =>
    Effect.gen(function* () {
      const ticks: Array<number> = []
      const watch = yield* watchedClock
      const interval = Service.interval(
        Effect.sync(() => ticks.push(0)),
        "1 second"
      )
      const test = Effect.gen(function* () {
        for (const wallMillis of [1e12, 0, 1e9]) {
          watch.wallMillis = wallMillis
          yield* TestClock.adjust("1 second")
        }
      })
      yield* Effect.withClock(
        during(interval, () => test),
        watch.clock
      )
      assert.strictEqual(ticks.length, 3)
    })
  )

  it.effect("handles a failure as told", () => {
    const handled = Ref.unsafeMake<ReadonlyArray<unknown>>([])
    const onFailure = Failure.handle((cause: Cause.Cause<string>, source) =>
      Ref.update(handled, (all) => [...all, [cause, source]])
    )
    return during(Service.interval(Effect.fail("no"), "1 second", { onFailure, name: "poll" }), () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* handled, [[Cause.fail("no"), { service: "Worker", work: "poll" }]])
      })
    )
  })

  it.effect("journals a failure handler that fails itself", () =>
    Effect.gen(function* () {
      const worker = yield* running(
        Service.interval(Effect.fail("no"), "1 second", {
          onFailure: Failure.handle(() => Effect.die("worse"))
        })
      )
      yield* TestClock.adjust("1 second")
      const entries = yield* Effect.provide(Journal.recent, worker.context)
      assert.deepStrictEqual(
        entries.slice(-2).map((entry) => Journal.format(entry)),
        ["Worker: interval 1s failed", "Worker: the failure handler of interval 1s failed"]
      )
      yield* worker.stop
    }).pipe(leavesNothing)
  )
})

describe("cron", () => {
  it.effect("runs when the expression matches, in its time zone", () => {
    const times: Array<string> = []
    const tick = Effect.map(Clock.currentTimeMillis, (now) => void times.push(new Date(now).toISOString()))
    return Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-03-28T12:00:00Z"))
      yield* during(Service.cron(tick, "30 3 * * *", { timeZone: "Europe/Berlin" }), () =>
        Effect.gen(function* () {
          yield* TestClock.adjust("2 days")
          // Summer time begins on the 29th: 3:30 is an hour earlier in UTC.
          assert.deepStrictEqual(times, ["2026-03-29T01:30:00.000Z", "2026-03-30T01:30:00.000Z"])
        })
      )
    })
  })

  it.effect("waits again when the wall clock is set back before a slot", () =>
    Effect.gen(function* () {
      const ticks: Array<number> = []
      const watch = yield* watchedClock
      watch.wallMillis = 30_000
      const cron = Service.cron(
        Effect.sync(() => ticks.push(watch.wallMillis ?? 0)),
        "* * * * *"
      )
      const test = Effect.gen(function* () {
        watch.wallMillis = 0
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(ticks, [])
        watch.wallMillis = 60_000
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(ticks, [60_000])
      })
      yield* Effect.withClock(
        during(cron, () => test),
        watch.clock
      )
    })
  )

  it.effect("skips and counts what comes due during a run, and runs what is due as one ends", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const takes = [150_000, 60_000, 0]
      let run = 0
      const worker = yield* running(
        Service.cron(
          Effect.zipRight(
            stamp(times),
            Effect.suspend(() => Effect.sleep(takes[run++] ?? 0))
          ),
          "* * * * *"
        )
      )
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(times, [60_000, 240_000, 300_000])
      const entries = yield* Effect.provide(Journal.recent, worker.context)
      assert.deepStrictEqual(
        entries.flatMap((entry) => (entry._tag === "TicksSkipped" ? [Journal.format(entry)] : [])),
        ["Worker: cron * * * * * skipped 2 runs, because it ran long or late"]
      )
      yield* worker.stop
    }).pipe(leavesNothing)
  )
})

describe("timeout", () => {
  it.effect("runs once, after a while", () => {
    const times: Array<number> = []
    return during(Service.timeout(stamp(times), "1 second"), () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("999 millis")
        assert.deepStrictEqual(times, [])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(times, [1000])
      })
    )
  })

  it.effect("does not run when cancelled or when the service stops before", () => {
    const times: Array<number> = []
    return Effect.gen(function* () {
      yield* during(Service.timeout(stamp(times), "1 second"), (timeout) => timeout.cancel)
      yield* during(Service.timeout(stamp(times), "1 second"), () => Effect.void)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [])
    })
  })
})

describe("spawn", () => {
  it.effect("tells how it ended", () =>
    during(
      Effect.all([
        Service.spawn(Effect.succeed(1)),
        Service.spawn(Effect.fail("no"), { onFailure: Failure.log }),
        Service.spawn(Effect.never)
      ]),
      ([one, no, never]) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* one.await, Exit.succeed(1))
          assert.deepStrictEqual(yield* no.await, Exit.fail("no"))
          yield* never.cancel
          assert.isTrue(Exit.isInterrupted(yield* never.await))
        })
    )
  )

  it.effect("is left alone by who cancels another that has ended", () =>
    during(
      Effect.all([Service.spawn(Effect.succeed(1)), Service.spawn(Effect.as(Effect.sleep("1 second"), 2))]),
      ([one, two]) =>
        Effect.gen(function* () {
          yield* one.await
          yield* one.cancel
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual([yield* one.await, yield* two.await], [Exit.succeed(1), Exit.succeed(2)])
        })
    )
  )

  it.effect("is interruptible even when spawned where nothing can be interrupted", () => {
    const { lines, say } = timeline()
    const spawn = Service.spawn(Effect.onInterrupt(Effect.never, () => say("interrupted")))
    return Effect.gen(function* () {
      yield* during(
        Effect.acquireRelease(spawn, () => Effect.void),
        () => TestClock.adjust(0)
      )
      assert.deepStrictEqual(lines, ["interrupted"])
    })
  })

  it.effect("is refused by a service that has stopped", () =>
    Effect.gen(function* () {
      let late: Effect.Effect<unknown> = Effect.void
      const worker = yield* running(
        Effect.map(Service.Scope, (scope) => {
          late = Effect.provideService(
            Service.spawn(Effect.void, { name: "late task" }),
            Service.Scope,
            scope
          )
        })
      )
      yield* worker.stop
      const exit = yield* Effect.exit(late)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Service.ServiceStoppedError)
      assert.strictEqual(error.message, 'Service "Worker" is stopping, so it cannot own late task any more.')
    }).pipe(leavesNothing)
  )
})

describe("what cannot be used is refused where it is given", () => {
  const bad: ReadonlyArray<readonly [Effect.Effect<unknown, never, Service.Scope>, string]> = [
    [
      Service.interval(Effect.void, 0),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is 0.'
    ],
    [
      Service.interval(Effect.void, "-5 seconds"),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is "-5 seconds".'
    ],
    [
      Service.interval(Effect.void, Number.NaN),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is NaN.'
    ],
    [
      Service.interval(Effect.void, Infinity),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is Infinity.'
    ],
    [
      Service.interval(Effect.void, "soon" as any),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is "soon".'
    ],
    [
      Service.interval(Effect.void, undefined as any),
      'Service.interval: `every` must be a duration above zero and below infinity, like "5 seconds", but it is undefined.'
    ],
    [
      Service.interval("no effect" as any, "1 second"),
      'Service.interval: `effect` must be an Effect, but it is "no effect".'
    ],
    [
      Service.interval(Effect.void, 1, { name: " " }),
      'Service.interval: `name` must be a name that is not empty, but it is " ".'
    ],
    [
      Service.timeout(Effect.void, "0 seconds"),
      'Service.timeout: `after` must be a duration above zero and below infinity, like "5 seconds", but it is "0 seconds".'
    ],
    [
      Service.cron(Effect.void, "every day"),
      'Service.cron: `expression` must be a cron expression, like "0 3 * * *" (Invalid number of segments in cron expression), but it is "every day".'
    ],
    [
      Service.cron(Effect.void, "0 0 31 2 *"),
      'Service.cron: `expression` must be a cron expression that matches some day, but it is "0 0 31 2 *".'
    ],
    [
      Service.cron(Effect.void, "0 3 * * *", { timeZone: "Mars/Base" }),
      'Service.cron: `timeZone` must be an IANA time zone, like "Europe/Berlin", but it is "Mars/Base".'
    ],
    [
      Service.cron(Effect.void, "0 3 * * *", { timeZone: "" }),
      'Service.cron: `timeZone` must be an IANA time zone, like "Europe/Berlin", but it is "".'
    ],
    [
      Service.cron(Effect.void, "0 3 * * *", { timeZone: 1 as any }),
      'Service.cron: `timeZone` must be an IANA time zone, like "Europe/Berlin", but it is 1.'
    ],
    [Service.spawn(undefined as any), "Service.spawn: `effect` must be an Effect, but it is undefined."],
    [
      Service.interval(Effect.void, 1, { onFailure: "log" as any }),
      'Service.interval: `onFailure` must be Failure.log, Failure.restart(options), Failure.escalate or Failure.handle(f), but it is "log".'
    ],
    [
      Service.interval(Effect.void, 1, null as any),
      "Service.interval: `options` must be an object, or left out, but it is null."
    ],
    [
      Service.addCleanup((() => {}) as any),
      "Service.addCleanup: `cleanup` must be an Effect, but it is a function."
    ]
  ]
  for (const [work, message] of bad) {
    it.effect(message, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(running(work))
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, Service.StartError)
        assert.strictEqual(
          error.message,
          `Service "Worker" failed in onStart, so what it had begun was undone: ${message}`
        )
      }).pipe(leavesNothing)
    )
  }
})
