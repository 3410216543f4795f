import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Fiber, Layer, TestClock } from "effect"
import { EventBus, Failure, Journal, Service, ServiceRegistry } from "effect-services"
import { build, doing, leavesNothing, timeline } from "./support.ts"

/** A check that answers as it is told. */
const answering = () => {
  let answer: Effect.Effect<unknown, unknown> = Effect.void
  let runs = 0
  return {
    check: Effect.suspend(() => {
      runs++
      return answer
    }),
    answer: (next: Effect.Effect<unknown, unknown>) => Effect.sync(() => void (answer = next)),
    runs: () => runs
  }
}

/** A service that does this, with what probes see of its checks, and what is told of them. */
const checking = <A, E>(onStart: Effect.Effect<A, E, Service.Scope>) =>
  Effect.map(doing("Orders", onStart), (service) => ({
    ...service,
    checks: Effect.map(service.status, ({ checks }) =>
      checks.map(({ name, since, state }) => {
        const reason = state._tag === "Unhealthy" ? `: ${state.reason}` : ""
        return `${name} ${state._tag}${reason} since ${since}`
      })
    ),
    told: Effect.map(service.entries, (entries) =>
      entries.filter(({ _tag }) => _tag === "HealthChanged").map((entry) => Journal.format(entry))
    )
  }))

/** What a start is refused with. */
const refusal = (onStart: Effect.Effect<unknown, never, Service.Scope>) =>
  Effect.gen(function* () {
    class Refused extends Service.make<Refused>()("Refused", { onStart }) {}
    const died = yield* Effect.flip(Effect.sandbox(build(Refused.layer)))
    const { cause } = Cause.squash(died) as Service.StartError<never>
    return (Cause.squash(cause) as Service.InputError).message
  })

describe("Service.health", () => {
  it.effect("runs at once and then every 10 seconds, and shows the last result", () =>
    Effect.gen(function* () {
      const database = answering()
      const slow = Effect.delay(database.check, "1 second")
      const service = yield* checking(Service.health(slow, { name: "database" }))
      assert.deepStrictEqual((yield* service.status).checks, [
        {
          name: "database",
          isCritical: true,
          state: { _tag: "Pending" },
          since: 0,
          lastStart: 0,
          lastDuration: undefined
        }
      ])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* service.status).checks, [
        {
          name: "database",
          isCritical: true,
          state: { _tag: "Healthy" },
          since: 1_000,
          lastStart: 0,
          lastDuration: Duration.seconds(1)
        }
      ])
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(database.runs(), 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(database.runs(), 2)
      // It is no task: nobody is to wait for its next run, nor count its failures.
      assert.deepStrictEqual((yield* service.status).tasks, [])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("journals that a check became unhealthy and healthy again, and no more", () =>
    Effect.gen(function* () {
      const database = answering()
      const disk = answering()
      yield* disk.answer(Effect.die(new Error("1% left")))
      const service = yield* checking(
        Effect.zipRight(
          Service.health(database.check, { name: "database" }),
          Service.health(disk.check, { name: "disk", critical: false })
        )
      )
      yield* TestClock.adjust(0)
      yield* database.answer(Effect.fail("connection refused"))
      yield* TestClock.adjust("10 seconds")
      yield* database.answer(Effect.fail("too many clients"))
      yield* disk.answer(Effect.void)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* service.checks, [
        "database Unhealthy: too many clients since 10000",
        "disk Healthy since 20000"
      ])
      yield* database.answer(Effect.void)
      yield* TestClock.adjust("1 minute")
      yield* service.stop
      assert.deepStrictEqual(yield* service.told, [
        "Orders > disk is unhealthy, which is not critical: 1% left",
        "Orders > database is unhealthy: connection refused",
        "Orders > disk is healthy again",
        "Orders > database is healthy again"
      ])
      // What to do about it is up to who asks: it is no failure of the service.
      assert.deepStrictEqual(
        (yield* service.entries).map(({ _tag }) => _tag).filter((tag) => /Fail/.test(tag)),
        []
      )
    }).pipe(leavesNothing)
  )

  it.effect(
    "is unhealthy when it takes longer than its timeout, which is 5 seconds, and interrupts the run",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        const hangs = Effect.onInterrupt(Effect.never, () => say("interrupted"))
        const service = yield* checking(Service.health(hangs))
        yield* TestClock.adjust("4999 millis")
        assert.deepStrictEqual(yield* service.checks, ["undefined Pending since 0"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* service.checks, ["undefined Unhealthy: no answer within 5s since 5000"])
        assert.deepStrictEqual(lines, ["interrupted"])
        assert.deepStrictEqual(yield* service.told, ["Orders is unhealthy: no answer within 5s"])
        yield* service.stop
      }).pipe(leavesNothing)
  )

  it.effect("may take half of `every`, where that is less, or what `timeout` says", () =>
    Effect.gen(function* () {
      const service = yield* checking(
        Effect.all([
          Service.health(Effect.never, { name: "a", every: "1 second" }),
          Service.health(Effect.never, { name: "b", every: "1 second", timeout: "900 millis" })
        ])
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* service.checks, [
        "a Unhealthy: no answer within 500ms since 500",
        "b Unhealthy: no answer within 900ms since 900"
      ])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("may take 5 seconds, however seldom it runs", () =>
    Effect.gen(function* () {
      const service = yield* checking(Service.health(Effect.never, { name: "slow", every: "1 minute" }))
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(yield* service.checks, ["slow Pending since 0"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* service.checks, ["slow Unhealthy: no answer within 5s since 5000"])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("is as critical as its service, in the journal too", () =>
    Effect.gen(function* () {
      class Rows extends Service.make<Rows>()("Rows", { onStart: Service.health(Effect.fail("no rows")) }) {}
      const service = yield* checking(Service.adopt(Rows, { onFailure: Failure.log }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* service.told, [
        "Orders > Rows is unhealthy, which is not critical: no rows"
      ])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("is never run twice at once: the next run waits for one that cannot be interrupted", () =>
    Effect.gen(function* () {
      const database = answering()
      yield* database.answer(Effect.uninterruptible(Effect.sleep("25 seconds")))
      const service = yield* checking(Service.health(database.check, { name: "database" }))
      yield* TestClock.adjust("5 seconds")
      yield* database.answer(Effect.void)
      yield* TestClock.adjust("24999 millis")
      assert.strictEqual(database.runs(), 1)
      assert.deepStrictEqual(yield* service.checks, ["database Unhealthy: no answer within 5s since 5000"])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(database.runs(), 2)
      assert.deepStrictEqual(yield* service.checks, ["database Healthy since 30000"])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("releases after each run what the run has acquired", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const connection = Effect.acquireRelease(say("connected"), () => say("closed"))
      const service = yield* checking(Service.health(Effect.zipRight(connection, say("asked"))))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(lines, ["connected", "asked", "closed", "connected", "asked", "closed"])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("is taken off by `cancel`, from within its own run too", () =>
    Effect.gen(function* () {
      let cancel: Effect.Effect<void> = Effect.void
      const self = Effect.suspend(() => cancel)
      const service = yield* checking(
        Effect.gen(function* () {
          const database = yield* Service.health(Effect.never, { name: "database" })
          cancel = (yield* Service.health(self, { name: "self" })).cancel
          return database
        })
      )
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* service.checks, ["database Pending since 0"])
      yield* service.value.cancel
      assert.deepStrictEqual(yield* service.checks, [])
      yield* service.stop
    }).pipe(leavesNothing)
  )

  it.effect("ends with its service, which waits for a run that ends slowly, and names it when it hangs", () =>
    Effect.gen(function* () {
      const service = yield* checking(
        Service.health(Effect.uninterruptible(Effect.delay(Effect.fail("late"), "1 minute")), {
          name: "database"
        })
      )
      yield* TestClock.adjust("1 second")
      const stopping = yield* Effect.fork(service.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      const timedOut = (yield* service.entries).filter(({ _tag }) => _tag === "StopTimedOut")
      assert.deepStrictEqual(
        timedOut.map((entry) => Journal.format(entry)),
        [
          "Orders hung in work while stopping; it was left after 10s, with health check database still running"
        ]
      )
      // It has ended some time, and what it told then interests nobody.
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* service.told, [])
    }).pipe(leavesNothing)
  )

  it.effect("takes one check without a name, or several with names of their own", () =>
    Effect.gen(function* () {
      const both = (first?: Service.HealthOptions, second?: Service.HealthOptions) =>
        Effect.zipRight(Service.health(Effect.void, first), Service.health(Effect.void, second))
      const several =
        'Service.health: `name` must be a name that no other check of service "Refused" has, as it has several, but it is'
      const service = yield* checking(both({ name: "a" }, { name: "b" }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* service.checks, ["a Healthy since 0", "b Healthy since 0"])
      yield* service.stop
      assert.deepStrictEqual(
        yield* Effect.forEach(
          [both({ name: "a" }, { name: "a" }), both({}, { name: "a" }), both({ name: "a" }), both()],
          refusal
        ),
        [`${several} "a".`, `${several} "a".`, `${several} undefined.`, `${several} undefined.`]
      )
    }).pipe(leavesNothing)
  )

  it.effect("refuses what cannot be used", () =>
    Effect.gen(function* () {
      const duration = 'a duration above zero and below infinity, like "5 seconds", but it is'
      assert.deepStrictEqual(
        yield* Effect.forEach(
          [
            Service.health(1 as never as Effect.Effect<void>),
            Service.health(Effect.void, 1 as never),
            Service.health(Effect.void, { name: " " }),
            Service.health(Effect.void, { every: 0 }),
            Service.health(Effect.void, { timeout: "soon" as never }),
            Service.health(Effect.void, { critical: "yes" as never })
          ],
          refusal
        ),
        [
          "Service.health: `check` must be an Effect, but it is 1.",
          "Service.health: `options` must be an object, or left out, but it is 1.",
          'Service.health: `name` must be a name that is not empty, but it is " ".',
          `Service.health: \`every\` must be ${duration} 0.`,
          `Service.health: \`timeout\` must be ${duration} "soon".`,
          'Service.health: `critical` must be true or false, but it is "yes".'
        ]
      )
    }).pipe(leavesNothing)
  )
})

describe("ServiceRegistry.render", () => {
  it.effect("shows the checks that are unhealthy, and counts them as trouble", () =>
    Effect.gen(function* () {
      const worker = (n: number) => {
        class Worker extends Service.make<Worker>()(`Worker${n}`, {
          onStart: Effect.zipRight(
            Service.health(n === 20 ? Effect.fail("connection refused") : Effect.void, { name: "database" }),
            Service.health(n === 20 ? Effect.fail("1% left") : Effect.void, { name: "disk", critical: false })
          )
        }) {}
        return Service.adopt(Worker)
      }
      class Pool extends Service.make<Pool>()("Pool", {
        onStart: Effect.forEach(
          Array.from({ length: 20 }, (_, n) => n + 1),
          worker
        )
      }) {}
      const running = yield* build(
        Layer.mergeAll(Pool.layer, ServiceRegistry.layer).pipe(Layer.provideMerge(EventBus.layer))
      )
      yield* TestClock.adjust("12 seconds")
      const text = ServiceRegistry.render(yield* Effect.provide(ServiceRegistry.snapshot, running.context))
      assert.deepStrictEqual(text.split("\n").slice(0, 6), [
        "Services: running for 12s",
        "└─ Pool: running for 12s",
        "   ├─ Worker20: running for 12s",
        "   │     health of database: unhealthy for 12s (connection refused)",
        "   │     health of disk: unhealthy for 12s (1% left), not critical",
        "   ├─ Worker1: running for 12s"
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
