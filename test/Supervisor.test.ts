import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Ref,
  Schedule,
  TestClock
} from "effect"
import { App, Failure, Journal, Service } from "effect-services"
import { expectTypeOf } from "vitest"
import { doing, launch, leavesNothing, timeline } from "./support.ts"

const parent = <A, E, R>(onStart: Effect.Effect<A, E, R>) =>
  Effect.map(doing("Parent", onStart), (running) => ({
    ...running,
    journal: Effect.map(running.entries, (entries) =>
      entries.map((entry) => `${entry.at} ${Journal.format(entry).replaceAll("Parent > ", "")}`)
    )
  }))

/** A worker with a name, which tells when it starts and stops, and can be made to fail. */
const workers = () => {
  const { lines, say } = timeline()
  const started: Record<string, number> = {}
  class Worker extends Service.make<Worker>()("Worker", {
    onStart: (name: string, fails: (life: number) => Effect.Effect<unknown, unknown> = () => Effect.void) =>
      Effect.gen(function* () {
        const life = (started[name] = (started[name] ?? 0) + 1)
        yield* say(`+${name}`)
        yield* fails(life)
        const broken = yield* Deferred.make<never>()
        yield* Service.spawn(Effect.orDie(Deferred.await(broken)), { name: "job" })
        yield* Service.addCleanup(say(`-${name}`))
        return { life, fail: Deferred.die(broken, `${name} broke`) }
      })
  }) {}
  return { Worker, lines, say }
}
type Worker = Service.Child<{ readonly fail: Effect.Effect<unknown>; readonly life: number }>

const fail = (child: Worker) => Effect.flatMap(child.current, (_) => _.fail)
/** Until whatever needs no time has happened. */
const settle = TestClock.adjust(0)
const everySecond = Schedule.spaced("1 second")
const restart = Failure.restart({ backoff: everySecond })

describe("adopt with Failure.restart", () => {
  it.effect("stops a child that failed in order, and starts it anew after the pause", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const { value: child, ...running } = yield* parent(
        Service.adopt(Worker.layer("a"), { onFailure: restart })
      )
      yield* fail(child)
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(lines, ["+a", "-a"])
      assert.deepStrictEqual(yield* child.status, {
        _tag: "Restarting",
        reason: "Parent > Worker > job: a broke",
        nextStart: 1_000
      })
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, ["+a", "-a", "+a"])
      assert.strictEqual((yield* child.current).life, 2)
      assert.deepStrictEqual(yield* child.status, { _tag: "Running" })
      assert.deepInclude((yield* running.status).children[0], { name: "Worker", restarts: 1, since: 1_000 })
      yield* running.stop
      assert.deepStrictEqual(lines, ["+a", "-a", "+a", "-a"])
      assert.deepStrictEqual(yield* running.journal, [
        "0 Parent is starting",
        "0 Worker is starting",
        "0 Worker started in 0ms",
        "0 Parent adopted Worker",
        "0 Parent started in 0ms",
        "0 Worker: job failed",
        "0 Worker failed, because job failed",
        "0 Worker is stopping",
        "0 Worker stopped in 0ms",
        "0 Worker restarts in 1s (restart 1), because Worker > job failed",
        "1000 Worker is starting",
        "1000 Worker started in 0ms",
        "1000 Parent is stopping",
        "1000 Worker is stopping",
        "1000 Worker stopped in 0ms",
        "1000 Parent stopped in 0ms"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("takes a start that fails for another failure, and gives up when the budget is used up", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const layer = Worker.layer("a", (life) => (life > 1 ? Effect.fail("no disk") : Effect.void))
      const onFailure = Failure.restart({
        backoff: everySecond,
        budget: { restarts: 2, within: "1 minute" }
      })
      const { value: child, ...running } = yield* parent(Service.adopt(layer, { onFailure }))
      yield* fail(child)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, ["+a", "-a", "+a", "+a"])
      assert.deepStrictEqual((yield* running.journal).slice(9), [
        "0 Worker restarts in 1s (restart 1), because Worker > job failed",
        "1000 Worker is starting",
        "1000 Worker is stopping",
        "1000 Worker stopped in 0ms",
        "1000 Worker did not start: onStart failed",
        "1000 Worker failed, because onStart failed",
        "1000 Worker restarts in 1s (restart 2), because Worker > onStart failed",
        "2000 Worker is starting",
        "2000 Worker is stopping",
        "2000 Worker stopped in 0ms",
        "2000 Worker did not start: onStart failed",
        "2000 Worker failed, because onStart failed",
        "2000 Parent: child Worker failed again after 2 restarts, and is given up",
        "2000 Parent failed, because child Worker failed"
      ])
      const { children, state } = yield* running.status
      const reason = "Parent > Worker > onStart: no disk"
      assert.deepStrictEqual(state, { _tag: "Failed", reason })
      assert.deepStrictEqual(
        children.map(({ name, state }) => [name, state]),
        [["Worker", { _tag: "Failed", reason }]]
      )
      assert.strictEqual((yield* Effect.flip(child.current))._tag, "ChildStoppedError")
      yield* child.await
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "gives a child up and lives on, where that is the answer, and shows it until it is adopted again",
    () =>
      Effect.gen(function* () {
        const { Worker } = workers()
        const onFailure = Failure.restart({ backoff: Schedule.recurs(0), onExhausted: Failure.log })
        const adopt = Service.adopt(Worker.layer("a"), { onFailure, name: "a" })
        const again = yield* Deferred.make<void>()
        const running = yield* parent(
          Effect.tap(adopt, () => Service.timeout(Effect.zipRight(Deferred.await(again), adopt), 1))
        )
        yield* fail(running.value)
        yield* settle
        const shown = Effect.map(running.status, ({ children, state }) => [
          state._tag,
          ...children.map((child) => `${child.name} ${child.state._tag}`)
        ])
        assert.deepStrictEqual(yield* shown, ["Running", "Worker[a] Failed"])
        yield* Deferred.succeed(again, undefined)
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* shown, ["Running", "Worker[a] Running"])
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("does not restart a child that asked to stop, or was stopped", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Job extends Service.make<Job>()("Job", {
        onStart: Effect.zipRight(say("job"), Service.timeout(Service.stop, "1 second"))
      }) {}
      const running = yield* parent(
        Effect.all([
          Service.adopt(Job, { onFailure: restart, name: "stops" }),
          Service.adopt(Job, { onFailure: restart, name: "is stopped" })
        ])
      )
      yield* running.value[1].stop
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["job", "job"])
      assert.deepStrictEqual(yield* running.value[0].status, { _tag: "Stopped" })
      assert.deepStrictEqual((yield* running.status).children, [])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("holds the name of a child over its restart", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const tries = yield* Ref.make<ReadonlyArray<string>>([])
      const running = yield* parent(
        Effect.tap(Service.adopt(Worker.layer("a"), { onFailure: restart }), () =>
          Service.interval(
            Effect.flatMap(Effect.exit(Service.adopt(Worker.layer("b"))), (exit) =>
              Ref.update(tries, (all) => [...all, exit._tag])
            ),
            "500 millis"
          )
        )
      )
      yield* fail(running.value)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Ref.get(tries), ["Failure", "Failure"])
      assert.strictEqual((yield* running.value.current).life, 2)
      yield* running.value.stop
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual((yield* Ref.get(tries)).at(-1), "Success")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("builds any layer anew, and gives what is current", () =>
    Effect.gen(function* () {
      class Pool extends Context.Tag("Pool")<Pool, number>() {}
      let built = 0
      const pool = Layer.effect(
        Pool,
        Effect.sync(() => ++built)
      )
      const { value: child, ...running } = yield* parent(
        Service.adopt(pool, { name: "pool", onFailure: restart })
      )
      yield* child.restart
      assert.strictEqual(Context.get(yield* child.current, Pool), 2)
      assert.deepInclude((yield* running.status).children[0], { name: "a layer[pool]", restarts: 1 })
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("current", () => {
  it.effect("is awaited by many while the child restarts, and is the new one for all", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const { value: child, ...running } = yield* parent(
        Service.adopt(Worker.layer("a"), { onFailure: restart })
      )
      yield* fail(child)
      const waiting = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 100 }, () => child.current),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("999 millis")
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(new Set((yield* waiting).map(({ life }) => life)), new Set([2]))
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("waits 5 seconds, and then says why there is none", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
      const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a"), { onFailure }))
      yield* fail(child)
      // Where nothing can be interrupted, too.
      const waiting = yield* Effect.fork(Effect.uninterruptible(Effect.flip(child.current)))
      yield* TestClock.adjust("4999 millis")
      assert.isNull(waiting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const error = yield* waiting
      assert.strictEqual(error._tag, "ChildRestartingError")
      assert.strictEqual(
        error.message,
        'Service "Parent" adopted "Worker", which restarts and was not up after 5s. ' +
          "Try again later. Why it restarts: Parent > Worker > job: a broke"
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("fails at once when the child is given up while it is awaited", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const { value: child, ...running } = yield* parent(
        Service.adopt(Worker.layer("a"), { onFailure: restart, currentTimeout: "1 hour" })
      )
      yield* fail(child)
      const waiting = yield* Effect.fork(Effect.flip(child.current))
      yield* settle
      yield* child.stop
      assert.strictEqual((yield* waiting)._tag, "ChildStoppedError")
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("restart", () => {
  it.effect("stops and starts a child, whatever its policy, and waits until it is up", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const slow = Worker.layer("a", () => Effect.sleep("1 second"))
      const starting = yield* Effect.fork(parent(Service.adopt(slow)))
      yield* TestClock.adjust("1 second")
      const { value: child, ...running } = yield* starting
      const restarting = yield* Effect.fork(child.restart)
      yield* TestClock.adjust("999 millis")
      assert.isNull(restarting.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* restarting
      assert.deepStrictEqual(lines, ["+a", "-a", "+a"])
      assert.include(yield* running.journal, "1000 Worker restarts, as asked")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("ends the pause of a restart that is under way", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
      const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a"), { onFailure }))
      yield* fail(child)
      yield* settle
      yield* child.restart
      assert.strictEqual((yield* child.current).life, 2)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("fails when the child has stopped", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a")))
      yield* child.stop
      assert.strictEqual((yield* Effect.flip(child.restart))._tag, "ChildStoppedError")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("may be asked for by the child itself", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      let restart: Effect.Effect<void, unknown> = Effect.void
      class Self extends Service.make<Self>()("Self", {
        onStart: Effect.zipRight(
          say("+"),
          Service.timeout(
            Effect.suspend(() => restart),
            "1 second"
          )
        )
      }) {}
      const running = yield* parent(
        Effect.tap(Service.adopt(Self), (child) => Effect.sync(() => (restart = child.restart)))
      )
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, ["+", "+", "+", "+"])
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("adoptAll", () => {
  const three = (
    options: Service.AdoptAllOptions,
    ...layers: ReadonlyArray<(life: number) => Effect.Effect<unknown, unknown>>
  ) => {
    const { Worker, lines } = workers()
    const member = (name: string, index: number) => ({ child: Worker.layer(name, layers[index]), name })
    return Effect.map(
      parent(Service.adoptAll([member("a", 0), member("b", 1), member("c", 2)], options)),
      (running) => ({ ...running, lines })
    )
  }
  const up = ["+a", "+b", "+c"]

  for (const [strategy, then] of [
    ["oneForOne", ["-b", "+b"]],
    ["oneForAll", ["-c", "-b", "-a", "+a", "+b", "+c"]],
    ["restForOne", ["-c", "-b", "+b", "+c"]]
  ] as const) {
    it.effect(`${strategy}: ${then.join(" ")} when b fails`, () =>
      Effect.gen(function* () {
        const { lines, value, ...running } = yield* three({ strategy, onFailure: restart })
        yield* fail(value[1])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(lines, [...up, ...then])
        assert.deepStrictEqual(
          yield* Effect.forEach(value, (child) => child.status),
          value.map(() => ({ _tag: "Running" }))
        )
        yield* running.stop
        assert.deepStrictEqual(lines.slice(-3), ["-c", "-b", "-a"])
      }).pipe(leavesNothing)
    )
  }

  it.effect("has one budget for all", () =>
    Effect.gen(function* () {
      const onFailure = Failure.restart({ backoff: everySecond, budget: { restarts: 2, within: "1 hour" } })
      const { value, ...running } = yield* three({ onFailure })
      for (const child of value) {
        yield* fail(child)
        yield* TestClock.adjust("1 second")
      }
      assert.include(
        yield* running.journal,
        "2000 Parent: child Worker[c] failed with no restart left, and is given up"
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "takes down with a failed one, and leaves down, what its strategy says, under another policy",
    () =>
      Effect.gen(function* () {
        const { lines, value, ...running } = yield* three({ strategy: "restForOne", onFailure: Failure.log })
        yield* fail(value[1])
        yield* settle
        assert.deepStrictEqual(lines, [...up, "-c", "-b"])
        const tags = yield* Effect.forEach(value, (child) => Effect.map(child.status, (state) => state._tag))
        assert.deepStrictEqual(tags, ["Running", "Failed", "Stopped"])
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("leaves alone who was stopped before, and takes one failure of several for one", () =>
    Effect.gen(function* () {
      const { lines, value, ...running } = yield* three({ strategy: "oneForAll", onFailure: restart })
      yield* value[1].stop
      yield* Effect.all([fail(value[0]), fail(value[2])])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, [...up, "-b", "-c", "-a", "+a", "+c"])
      const restarts = (yield* running.journal).filter((line) => line.includes("restarts"))
      assert.deepStrictEqual(restarts, [
        "0 Worker[a] restarts in 1s (restart 1), because Worker[a] > job failed",
        "0 Worker[c] restarts in 1s (restart 1), because Worker[a] > job failed"
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("takes down also who fails while others restart", () =>
    Effect.gen(function* () {
      const { lines, value, ...running } = yield* three({ strategy: "restForOne", onFailure: restart })
      yield* fail(value[2])
      yield* TestClock.adjust("500 millis")
      yield* fail(value[0])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(lines, [...up, "-c", "-b", "-a"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, [...up, "-c", "-b", "-a", ...up])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  for (const strategy of ["oneForOne", "oneForAll"] as const) {
    it.effect(
      `${strategy}: when one does not start, nothing of any is left, and it fails as that one did`,
      () =>
        Effect.gen(function* () {
          const { lines, Worker } = workers()
          const broken = { child: Worker.layer("b", () => Effect.fail("no disk")), name: "b" }
          const running = yield* parent(
            Effect.flip(Service.adoptAll([Worker.layer("a"), broken], { strategy, onFailure: restart }))
          )
          assert.strictEqual(
            running.value.message,
            'Service "Parent > Worker[b]" failed in onStart, so what it had begun was undone: no disk'
          )
          assert.deepStrictEqual(lines, ["+a", "+b", "-a"])
          assert.deepStrictEqual((yield* running.status).children, [])
          yield* TestClock.adjust("1 minute")
          yield* running.stop
        }).pipe(leavesNothing)
    )
  }

  it("knows the type of each, and all errors and requirements", () => {
    class Db extends Context.Tag("Db")<Db, number>() {}
    class Child extends Service.make<Child>()("Child", {
      onStart: Effect.zipRight(Db, Effect.fail("no" as const))
    }) {}
    class Other extends Service.make<Other>()("Other", { onStart: Effect.succeed({ n: 1 }) }) {}
    const pool = Layer.succeed(Db, 1)
    const all = Service.adoptAll([Other, { child: Child.layer, name: "x" }, pool])
    expectTypeOf(all).toEqualTypeOf<
      Effect.Effect<
        readonly [Service.Child<{ n: number }>, Service.Child<never>, Service.Child<Context.Context<Db>>],
        Service.StartError<"no">,
        Db | Service.Scope
      >
    >()
  })

  it.effect("refuses what cannot be used", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      for (const [members, options, problem] of [
        [5, {}, "`members` must be an array, but it is 5."],
        [
          [Worker],
          {},
          "`child` must be a service class without parameters, or a layer, like Child.layer(options), but it is a function."
        ],
        [
          [],
          { strategy: "all" },
          '`strategy` must be "oneForOne" or "oneForAll" or "restForOne", but it is "all".'
        ],
        [
          [],
          { currentTimeout: 0 },
          '`currentTimeout` must be a duration above zero and below infinity, like "5 seconds", but it is 0.'
        ]
      ] as ReadonlyArray<[any, any, string]>) {
        const adopting = Service.adoptAll(members, options) as Effect.Effect<unknown, unknown, Service.Scope>
        const running = yield* parent(Effect.exit(adopting))
        const error = Exit.isFailure(running.value) ? Cause.squash(running.value.cause) : undefined
        assert.strictEqual((error as Error).message.replace(/^Service\.adoptAll: /, ""), problem)
        yield* running.stop
      }
    }).pipe(leavesNothing)
  )
})

describe("what happens at the same time", () => {
  it.effect("a parent that stops while a child restarts: it does not start any more", () =>
    Effect.gen(function* () {
      for (const at of [0, 1_000, 1_500]) {
        const { lines, Worker } = workers()
        const layer = Worker.layer("a", (life) => (life > 1 ? Effect.sleep("1 second") : Effect.void))
        const { value: child, ...running } = yield* parent(Service.adopt(layer, { onFailure: restart }))
        yield* fail(child)
        yield* TestClock.adjust(at)
        yield* running.stop
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(lines, at < 1_000 ? ["+a", "-a"] : ["+a", "-a", "+a"])
        assert.strictEqual((yield* Effect.flip(child.current))._tag, "ChildStoppedError")
      }
    }).pipe(leavesNothing)
  )

  it.effect("a child that fails while its parent stops is not restarted, and its failure is journaled", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const slow = Service.addCleanup(Effect.sleep("5 seconds"))
      class Slow extends Service.make<Slow>()("Slow", { onStart: slow }) {}
      const { value: child, ...running } = yield* parent(
        Effect.zipLeft(Service.adopt(Worker.layer("a"), { onFailure: restart }), Service.adopt(Slow))
      )
      const broken = yield* child.current
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("1 second")
      yield* broken.fail
      yield* TestClock.adjust("4 seconds")
      yield* stopping
      assert.deepStrictEqual(lines, ["+a", "-a"])
      assert.include(yield* running.journal, "1000 Worker failed, because job failed")
    }).pipe(leavesNothing)
  )

  it.effect("a child that fails while it stops is not restarted", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Child extends Service.make<Child>()("Child", {
        onStart: Effect.map(
          Effect.zipRight(say("+"), Service.spawn(Effect.delay(Effect.die("late"), "1 second"))),
          () => ({})
        ),
        onStop: () => Effect.sleep("5 seconds")
      }) {}
      const { value: child, ...running } = yield* parent(Service.adopt(Child, { onFailure: restart }))
      const stopping = yield* Effect.fork(child.stop)
      yield* TestClock.adjust("1 minute")
      yield* stopping
      assert.deepStrictEqual(lines, ["+"])
      assert.include(yield* running.journal, "1000 Child failed, because task failed")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "a child that hangs while it is stopped for a restart is left after its deadline, and named",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Stuck extends Service.make<Stuck>()("Stuck", {
          onStart: Effect.gen(function* () {
            yield* say("+")
            yield* Service.addCleanup(Effect.never)
            return { fail: Service.spawn(Effect.die("no")), scope: yield* Service.Scope }
          }),
          stopTimeout: "2 seconds"
        }) {}
        const { value: child, ...running } = yield* parent(Service.adopt(Stuck, { onFailure: restart }))
        const { fail, scope } = yield* child.current
        yield* Effect.provideService(fail, Service.Scope, scope)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(lines.length, 2)
        assert.include(
          (yield* running.journal).join("\n"),
          "Stuck hung in a cleanup while stopping; it was left after 2s"
        )
        assert.strictEqual((yield* child.status)._tag, "Running")
        const stopping = yield* Effect.fork(running.stop)
        yield* TestClock.adjust("1 minute")
        yield* stopping
      })
  )

  it.effect("a child restarts while the app boots: it is up when it is up, and the boot goes on", () =>
    Effect.gen(function* () {
      const { lines, Worker, say } = workers()
      const layer = Worker.layer("a", (life) => (life === 2 ? Effect.fail("not yet") : Effect.void))
      class Boots extends Service.make<Boots>()("Boots", {
        onStart: Effect.gen(function* () {
          const child = yield* Service.adopt(layer, { onFailure: restart })
          yield* fail(child)
          yield* Effect.sleep(1)
          yield* say(`life ${(yield* child.current).life}`)
          yield* Effect.sleep("10 seconds")
        })
      }) {}
      const app = yield* launch(Layer.merge(Boots.layer, Layer.empty))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, ["+a", "-a", "+a", "+a", "life 3"])
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(app)
      const tags = (yield* Journal.recent).map(({ _tag }) => _tag)
      assert.include(tags, "AppStarted")
      // The start that failed was the child's, and the boot does not wait for anything.
      assert.notInclude(tags, "BootWaiting")
      const exit = yield* Fiber.await(app)
      assert.isTrue(Exit.isInterrupted(exit))
    }).pipe(leavesNothing, Effect.provide(Journal.layer))
  )

  it.effect("adopting that is interrupted leaves nothing", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const slow = { child: Worker.layer("b", () => Effect.never), name: "b" }
      const running = yield* parent(
        Effect.timeoutOption(
          Service.adoptAll([Worker.layer("a"), slow], { strategy: "oneForAll", onFailure: restart }),
          1
        ).pipe(
          Effect.fork,
          Effect.flatMap((fiber) => Effect.zipRight(TestClock.adjust(1), Fiber.join(fiber)))
        )
      )
      assert.deepStrictEqual(lines, ["+a", "+b", "-a"])
      assert.deepStrictEqual((yield* running.status).children, [])
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("nothing hangs, and nothing is taken for something else", () => {
  for (const [what, backoff] of [
    ["dies", Schedule.tapInput(everySecond, () => Effect.die("bug"))],
    [
      "throws",
      Schedule.whileInput(everySecond, (): boolean => {
        throw new Error("bug")
      })
    ]
  ] as const) {
    it.effect(`a backoff that ${what} fails the service that adopted, and what waits is told`, () =>
      Effect.gen(function* () {
        const { lines, Worker } = workers()
        const onFailure = Failure.restart({ backoff })
        const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a"), { onFailure }))
        yield* fail(child)
        const waiting = yield* Effect.fork(Effect.flip(child.current))
        yield* settle
        assert.strictEqual((yield* waiting)._tag, "ChildStoppedError")
        const { state } = yield* running.status
        assert.deepStrictEqual(state, { _tag: "Failed", reason: "Parent > child Worker: bug" })
        yield* running.stop
        assert.deepStrictEqual(lines, ["+a", "-a"])
      }).pipe(leavesNothing)
    )
  }

  it.effect("a backoff that never answers does not keep its service from stopping", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({ backoff: Schedule.tapInput(everySecond, () => Effect.never) })
      const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a"), { onFailure }))
      yield* fail(child)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* child.status)._tag, "Restarting")
      yield* running.stop
      assert.strictEqual((yield* child.status)._tag, "Failed")
    }).pipe(leavesNothing)
  )

  for (const strategy of ["oneForAll", "restForOne"] as const) {
    it.effect(`${strategy}: a start that hangs at a restart does not keep its siblings from stopping`, () =>
      Effect.gen(function* () {
        const { lines, Worker } = workers()
        const a = { child: Worker.layer("a", (life) => (life > 1 ? Effect.never : Effect.void)), name: "a" }
        const b = { child: Worker.layer("b"), name: "b" }
        const { value, ...running } = yield* parent(
          Service.adoptAll([a, b], { strategy, onFailure: restart })
        )
        yield* fail(value[0])
        yield* TestClock.adjust("2 seconds")
        yield* value[1].stop
        yield* running.stop
        assert.deepStrictEqual(lines, ["+a", "+b", "-b", "-a", "+a"])
      }).pipe(leavesNothing)
    )
  }

  it.effect("a restart asked for in the middle of a start is no failure of that start", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      const layer = Worker.layer("a", () => Effect.sleep("1 second"))
      const starting = yield* Effect.fork(parent(Service.adopt(layer)))
      yield* TestClock.adjust("1 second")
      const { value: child, ...running } = yield* starting
      yield* Effect.fork(child.restart)
      yield* TestClock.adjust("500 millis")
      yield* Effect.fork(child.restart)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["+a", "-a", "+a", "+a"])
      assert.strictEqual((yield* child.current).life, 3)
      assert.notInclude((yield* running.journal).join(), "failed")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a child may wait in its start for the restart of a later sibling, until they are stopped", () =>
    Effect.gen(function* () {
      let sibling: Effect.Effect<unknown, unknown> = Effect.void
      class A extends Service.make<A>()("A", { onStart: Effect.suspend(() => sibling) }) {}
      class B extends Service.make<B>()("B", { onStart: Effect.void }) {}
      const { value, ...running } = yield* parent(
        Service.adoptAll([A, B], { strategy: "restForOne", onFailure: restart })
      )
      sibling = value[1].restart
      yield* Effect.fork(value[0].restart)
      yield* TestClock.adjust("1 hour")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "what a start is in the middle of is undone before anything else, and before the next start",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        let lives = 0
        class Slow extends Service.make<Slow>()("Slow", {
          onStart: Effect.suspend(() => {
            const life = ++lives
            const acquire = Effect.delay(say(`+${life}`), life === 1 ? 0 : "2 seconds")
            return Effect.acquireRelease(acquire, () => say(`-${life}`))
          })
        }) {}
        const { value: child, ...running } = yield* parent(
          Effect.zipRight(Service.addCleanup(say("parent")), Service.adopt(Slow))
        )
        for (const _ of [2, 3]) {
          yield* Effect.fork(child.restart)
          yield* TestClock.adjust("1 second")
        }
        const stopping = yield* Effect.fork(running.stop)
        yield* TestClock.adjust("10 seconds")
        yield* stopping
        assert.deepStrictEqual(lines, ["+1", "-1", "+2", "-2", "+3", "-3", "parent"])
        assert.notInclude((yield* running.journal).join(), "hung")
      }).pipe(leavesNothing)
  )

  it.effect("an old life that hung is stopped all the same, and does nothing to the new one", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const lives: Array<{ readonly fail: Effect.Effect<unknown>; readonly scope: unknown }> = []
      class A extends Service.make<A>()("A", {
        onStart: Effect.gen(function* () {
          const life = lives.length + 1
          yield* Service.interval(say(`tick ${life}`), "10 seconds")
          yield* Service.addCleanup(say(`-${life}`))
          const broken = yield* Deferred.make<never>()
          yield* Service.spawn(Effect.uninterruptible(Deferred.await(broken)), { name: "job" })
          lives.push({ fail: Deferred.die(broken, "late"), scope: yield* Service.Scope })
        })
      }) {}
      const hangs = Layer.scopedDiscard(
        Effect.zipRight(
          A,
          Effect.addFinalizer(() => Effect.never)
        )
      )
      const { value: child, ...running } = yield* parent(
        Service.adopt(Layer.provideMerge(hangs, A.layer), { onFailure: restart })
      )
      const restarting = yield* Effect.fork(child.restart)
      yield* TestClock.adjust("40 seconds")
      yield* restarting
      assert.include(lines, "-1")
      const before = lines.length
      yield* lives[0]!.fail
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(lines.slice(before), ["tick 2"])
      assert.strictEqual((yield* child.status)._tag, "Running")
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("2 minutes")
    })
  )

  it.effect(
    "current waits no longer than it says, though the child comes up and breaks again and again",
    () =>
      Effect.gen(function* () {
        let lives = 0
        class Flaps extends Service.make<Flaps>()("Flaps", {
          onStart: Effect.suspend(() =>
            ++lives === 1 ? Effect.void : Service.spawn(Effect.zipRight(Effect.yieldNow(), Effect.die("x")))
          )
        }) {}
        const onFailure = Failure.restart({ backoff: Schedule.spaced("4 seconds"), budget: "unlimited" })
        const { value: child, ...running } = yield* parent(Service.adopt(Flaps, { onFailure }))
        yield* Effect.fork(child.restart)
        yield* settle
        const waiting = yield* Effect.fork(Effect.exit(child.current))
        yield* TestClock.adjust("5 seconds")
        assert.isNotNull(waiting.unsafePoll())
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("current that is interrupted leaves nothing, though the child does not come up", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
      const { value: child, ...running } = yield* parent(
        Service.adopt(Worker.layer("a"), { onFailure, currentTimeout: "1 day" })
      )
      yield* fail(child)
      yield* settle
      yield* Effect.gen(function* () {
        const waiting = yield* Effect.fork(child.current)
        yield* settle
        yield* Fiber.interrupt(waiting)
      }).pipe(leavesNothing)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a restart that is asked for is that of one child, and no matter of its siblings' failures", () =>
    Effect.gen(function* () {
      const { lines, say, Worker } = workers()
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: say("+slow"),
        onStop: () => Effect.zipRight(Effect.sleep("1 second"), say("-slow"))
      }) {}
      const pausing = Failure.restart({ backoff: Schedule.spaced("1 hour") })
      const givingUp = Failure.restart({ backoff: Schedule.recurs(0), onExhausted: Failure.log })
      for (const [onFailure, then] of [
        [pausing, "Restarting"],
        [givingUp, "Failed"]
      ] as const) {
        const { value, ...running } = yield* parent(
          Service.adoptAll([Slow, Worker.layer("b")], { strategy: "restForOne", onFailure })
        )
        const restarting = yield* Effect.fork(value[0].restart)
        yield* TestClock.adjust("500 millis")
        yield* fail(value[1])
        yield* TestClock.adjust("500 millis")
        yield* restarting
        assert.deepStrictEqual(lines.splice(0), ["+slow", "+b", "-slow", "-b", "+slow"])
        assert.deepStrictEqual(yield* value[0].status, { _tag: "Running" })
        assert.strictEqual((yield* value[1].status)._tag, then)
        yield* Effect.fork(running.stop)
        yield* TestClock.adjust("1 second")
        lines.length = 0
      }
    }).pipe(leavesNothing)
  )

  it.effect("a restart asked for while a failed child stops is at once, whatever the budget", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.gen(function* () {
          yield* say("+")
          const broken = yield* Deferred.make<never>()
          yield* Service.spawn(Deferred.await(broken))
          yield* Service.addCleanup(Effect.delay(say("-"), "5 seconds"))
          return { fail: Deferred.die(broken, "broke") }
        })
      }) {}
      const onFailure = Failure.restart({ backoff: Schedule.recurs(0), onExhausted: Failure.log })
      const { value: child, ...running } = yield* parent(Service.adopt(Slow, { onFailure }))
      yield* Effect.flatMap(child.current, (_) => _.fail)
      yield* TestClock.adjust("1 second")
      const restarting = yield* Effect.fork(child.restart)
      yield* TestClock.adjust("4 seconds")
      yield* restarting
      assert.deepStrictEqual(lines, ["+", "-", "+"])
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("10 seconds")
    }).pipe(leavesNothing)
  )

  it.effect("a restart is given what the child was adopted with, but not the span that adopted it", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      class Looks extends Service.make<Looks>()("Looks", {
        onStart: Effect.gen(function* () {
          const span = yield* Effect.option(Effect.currentSpan)
          seen.push([yield* Effect.orDie(Config.string("WHO")), Option.map(span, ({ name }) => name)])
        })
      }) {}
      let child: Service.Child<unknown> | undefined
      const adopting = Effect.map(Service.adopt(Looks), (_) => void (child = _)).pipe(
        Effect.uninterruptible,
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["WHO", "me"]]))),
        Effect.withSpan("tick")
      )
      const running = yield* parent(Service.timeout(adopting, "1 second"))
      yield* TestClock.adjust("1 second")
      yield* child!.restart
      assert.deepStrictEqual(seen, [
        ["me", Option.some("tick")],
        ["me", Option.none()]
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a child that fails while it waits for its turn to go down is no second failure", () =>
    Effect.gen(function* () {
      const { lines, say, Worker } = workers()
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Service.timeout(Effect.die("broke"), "1 hour", { onFailure: Failure.escalate }),
        onStop: () => Effect.zipRight(Effect.sleep("2 seconds"), say("-slow"))
      }) {}
      const onFailure = Failure.restart({ backoff: everySecond, budget: { restarts: 1, within: "1 day" } })
      const { value, ...running } = yield* parent(
        Service.adoptAll([Worker.layer("a"), Slow], { strategy: "oneForAll", onFailure })
      )
      const a = yield* value[0].current
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("1 second")
      yield* a.fail
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(lines, ["+a", "-slow", "-a", "+a"])
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("10 seconds")
    }).pipe(leavesNothing)
  )

  it.effect("a child whose pause ends while others stop before it does not come up any more", () =>
    Effect.gen(function* () {
      const { lines, Worker } = workers()
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Service.addCleanup(Effect.sleep("5 seconds"))
      }) {}
      const { value: child, ...running } = yield* parent(
        Effect.zipLeft(Service.adopt(Worker.layer("a"), { onFailure: restart }), Service.adopt(Slow))
      )
      yield* fail(child)
      yield* settle
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("5 seconds")
      yield* stopping
      assert.deepStrictEqual(lines, ["+a", "-a"])
    }).pipe(leavesNothing)
  )

  it.effect("what a service of a layer does while the layer is closed for a restart changes nothing", () =>
    Effect.gen(function* () {
      for (const last of [Effect.die("broke"), Service.stop] as const) {
        const { lines, say } = timeline()
        class Base extends Service.make<Base>()("Base", {
          onStart: Effect.gen(function* () {
            yield* say("+")
            yield* Service.timeout(last, "1 second", { onFailure: Failure.escalate })
          }),
          onStop: () => say("-")
        }) {}
        class Slow extends Service.make<Slow>()("Slow", {
          onStart: Base,
          onStop: () => Effect.sleep("2 seconds")
        }) {}
        const { value: child, ...running } = yield* parent(
          Service.adopt(Layer.provideMerge(Slow.layer, Base.layer))
        )
        const restarting = yield* Effect.fork(child.restart)
        yield* TestClock.adjust("2500 millis")
        yield* restarting
        assert.deepStrictEqual(lines, ["+", "-", "+"])
        assert.strictEqual((yield* running.status).state._tag, "Running")
        assert.strictEqual((yield* child.status)._tag, "Running")
        const stopping = yield* Effect.fork(running.stop)
        yield* TestClock.adjust("10 seconds")
        yield* stopping
      }
    }).pipe(leavesNothing)
  )

  it.effect("a pause that was cut short counts no longer than it lasted", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({
        backoff: Schedule.spaced("1 hour"),
        budget: { restarts: 1, within: "1 minute" }
      })
      const { value: child, ...running } = yield* parent(Service.adopt(Worker.layer("a"), { onFailure }))
      yield* fail(child)
      yield* settle
      yield* child.restart
      yield* TestClock.adjust("30 minutes")
      yield* fail(child)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* child.status)._tag, "Running")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  for (const strategy of ["oneForAll", "restForOne"] as const) {
    it.effect(`${strategy}: a restart waits neither for the pause nor for the start of a sibling`, () =>
      Effect.gen(function* () {
        const { lines, Worker } = workers()
        const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
        const hangs = (life: number) => (life > 1 ? Effect.never : Effect.void)
        const { value, ...running } = yield* parent(
          Service.adoptAll(
            [
              { child: Worker.layer("a"), name: "a" },
              { child: Worker.layer("b", hangs), name: "b" },
              { child: Worker.layer("c"), name: "c" }
            ],
            { strategy, onFailure }
          )
        )
        yield* fail(value[1])
        yield* settle
        yield* value[2].restart
        yield* Effect.fork(value[1].restart)
        yield* settle
        yield* value[0].restart
        assert.deepStrictEqual(
          lines.slice(-3),
          strategy === "oneForAll" ? ["+c", "+b", "+a"] : ["+b", "-a", "+a"]
        )
        yield* running.stop
      }).pipe(leavesNothing)
    )

    it.effect(`${strategy}: a group that does not start goes down last first`, () =>
      Effect.gen(function* () {
        const { lines, Worker } = workers()
        const member = (name: string, start: Effect.Effect<unknown, unknown> = Effect.void) => ({
          child: Worker.layer(name, () => start),
          name
        })
        const running = yield* parent(
          Effect.exit(
            Service.adoptAll([member("a"), member("b"), member("c", Effect.fail("no"))], { strategy })
          )
        )
        assert.deepStrictEqual(lines, ["+a", "+b", "+c", "-b", "-a"])
        yield* running.stop
      }).pipe(leavesNothing)
    )
  }

  it.effect("what hung work has provided to itself ends with its service", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Inner extends Service.make<Inner>()("Inner", {
        onStart: Service.interval(say("tick"), "10 seconds")
      }) {}
      class Outer extends Service.make<Outer>()("Outer", {
        onStart: Service.spawn(Effect.provide(Effect.uninterruptible(Effect.never), Inner.layer)),
        stopTimeout: "1 second"
      }) {}
      const running = yield* parent(Service.adopt(Outer))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["tick"])
    })
  )

  it.effect(
    "a service that work provides to itself fails that work when it does not start, and no more",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Inner extends Service.make<Inner>()("Inner", {
          onStart: Effect.zipRight(Service.spawn(Effect.die("no port")), Effect.sleep("1 second"))
        }) {}
        const tick = Effect.catchAllCause(Effect.provide(Effect.void, Inner.layer), () => say("caught"))
        const running = yield* parent(Service.timeout(tick, "5 seconds"))
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(lines, ["caught"])
        assert.strictEqual((yield* running.status).state._tag, "Running")
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("a child that comes up is up, though a sibling stops slowly", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Service.addCleanup(Effect.sleep("8 seconds"))
      }) {}
      const slowStart = Worker.layer("a", (life) => (life > 1 ? Effect.sleep("1 second") : Effect.void))
      const { value, ...running } = yield* parent(
        Service.adoptAll([slowStart, Slow], { strategy: "oneForAll", onFailure: restart })
      )
      const restarting = yield* Effect.fork(value[0].restart)
      yield* settle
      yield* Effect.fork(value[1].stop)
      yield* TestClock.adjust("1 second")
      assert.isNotNull(restarting.unsafePoll())
      assert.strictEqual((yield* value[0].status)._tag, "Running")
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("10 seconds")
      yield* stopping
    }).pipe(leavesNothing)
  )

  it.effect("a failure is answered, though the rest of the start cannot be interrupted", () =>
    Effect.gen(function* () {
      let lives = 0
      class Breaks extends Service.make<Breaks>()("Breaks", {
        onStart: Effect.suspend(() =>
          ++lives === 2
            ? Effect.zipRight(
                Service.spawn(Effect.die("no port")),
                Effect.uninterruptible(Effect.sleep("1 day"))
              )
            : Effect.void
        ),
        stopTimeout: "3 seconds"
      }) {}
      const { value: child, ...running } = yield* parent(Service.adopt(Breaks, { onFailure: restart }))
      yield* Effect.fork(child.restart)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(lives, 3)
      assert.strictEqual((yield* child.status)._tag, "Running")
      yield* running.stop
    })
  )

  it.effect("a restart that a parent cannot grant any more fails at once", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      let sibling: Effect.Effect<unknown, unknown> = Effect.void
      const asked: Array<string> = []
      class Last extends Service.make<Last>()("Last", {
        onStart: Service.addCleanup(
          Effect.suspend(() => Effect.map(Effect.exit(sibling), ({ _tag }) => void asked.push(_tag)))
        )
      }) {}
      const { value: child, ...running } = yield* parent(
        Effect.zipLeft(Service.adopt(Worker.layer("a")), Service.adopt(Last))
      )
      sibling = child.restart
      yield* running.stop
      assert.deepStrictEqual(asked, ["Failure"])
    }).pipe(leavesNothing)
  )

  it.effect("limits that are no whole milliseconds are kept all the same", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Cut extends Service.make<Cut>()("Cut", {
        onStart: Effect.uninterruptible(Effect.sleep("1 hour"))
      }) {}
      yield* TestClock.adjust(2_859)
      const adopting = yield* Effect.fork(
        parent(Effect.zipRight(Service.addCleanup(say("cleanup")), Service.timeout(Service.adopt(Cut), 1)))
      )
      const running = yield* adopting
      yield* TestClock.adjust(1)
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["cleanup"])
      yield* TestClock.adjust("1 hour")
    }).pipe(leavesNothing)
  )

  it.effect("who dies while it is adopted, and why, is in the error", () =>
    Effect.gen(function* () {
      class Connection extends Service.make<Connection>()("Connection", {
        onStart: Effect.zipRight(
          Service.spawn(Effect.die("refused"), { name: "socket" }),
          Effect.sleep("1 second")
        )
      }) {}
      const running = yield* parent(Effect.exit(Service.adopt(Connection)))
      const error = Exit.isFailure(running.value) ? Cause.squash(running.value.cause) : undefined
      assert.strictEqual(
        (error as Error).message,
        'Service "Parent > Connection" failed in onStart, so what it had begun was undone: refused'
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a child that interrupts its own start has not started, and that is told of", () =>
    Effect.gen(function* () {
      class Itself extends Service.make<Itself>()("Itself", { onStart: Effect.interrupt }) {}
      const running = yield* parent(Effect.exit(Service.adopt(Itself)))
      assert.include(String(running.value), "it interrupted itself")
      assert.include(yield* running.journal, "0 Itself did not start: onStart failed")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a name from outside stays on its line", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const { value: child, ...running } = yield* parent(
        Service.adopt(Worker.layer("a"), { name: 'a.csv]\nlevel=ERROR message="' })
      )
      assert.strictEqual(child.name, 'Worker[a.csv] level=ERROR message="]')
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("many that fail at once are one failure, and take no time", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const members = Array.from({ length: 300 }, (_, n) => ({ child: Worker.layer(`${n}`), name: `${n}` }))
      const { value, ...running } = yield* parent(
        Service.adoptAll(members, { strategy: "oneForAll", onFailure: restart })
      )
      yield* Effect.forEach(value, fail)
      yield* TestClock.adjust("1 second")
      const entries = (yield* running.journal).filter((line) => line.includes("restarts in"))
      assert.strictEqual(entries.length, 300)
      assert.strictEqual((yield* value[299]!.current).life, 2)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("a healthy life begins the backoff anew, and one a millisecond shorter does not", () =>
    Effect.gen(function* () {
      const starts: Array<number> = []
      const lengths = [1, 9_999, 10_000, 1]
      class Breaks extends Service.make<Breaks>()("Breaks", {
        onStart: Effect.gen(function* () {
          starts.push(yield* Clock.currentTimeMillis)
          yield* Service.timeout(Effect.die("no"), lengths[starts.length - 1] ?? "1 day", {
            onFailure: Failure.escalate
          })
        })
      }) {}
      const onFailure = Failure.restart({
        backoff: Schedule.exponential("1 second"),
        healthyAfter: "10 seconds"
      })
      const running = yield* parent(Service.adopt(Breaks, { onFailure }))
      yield* TestClock.adjust("1 hour")
      const pauses = starts.slice(1).map((start, n) => start - starts[n]! - lengths[n]!)
      assert.deepStrictEqual(pauses, [1_000, 2_000, 1_000, 2_000])
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("at the top", () => {
  it.effect("a child that is given up fails the app, with the path down to what failed", () =>
    Effect.gen(function* () {
      const { Worker } = workers()
      const onFailure = Failure.restart({ backoff: Schedule.recurs(1) })
      class Inbox extends Service.make<Inbox>()("Inbox", {
        onStart: Effect.gen(function* () {
          const child = yield* Service.adopt(Worker.layer("orders.csv"), { name: "orders.csv", onFailure })
          yield* Service.interval(fail(child), "1 second")
        })
      }) {}
      const app = yield* launch(Inbox.layer, { name: "Shop" })
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(Fiber.join(app))
      assert.instanceOf(error, App.ServiceFailedError)
      assert.strictEqual(error.origin, "Shop > Inbox > Worker[orders.csv] > job")
    }).pipe(leavesNothing)
  )
})
