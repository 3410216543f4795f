import { assert, describe, it } from "@effect/vitest"
import {
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberMap,
  FiberRef,
  Option,
  RuntimeFlags,
  RuntimeFlagsPatch,
  Schema,
  type Scope,
  Supervisor,
  TestClock,
  TReentrantLock,
  Tracer
} from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { AsyncLocalStorage } from "node:async_hooks"
import { doing, leavesNothing, timeline } from "./support.ts"

const Job = Event.make("job", { n: Schema.Number })
const self = Effect.map(
  Effect.sync(() => Fiber.getCurrentFiber()),
  Option.getOrThrow
)

/** A service that has each kind of work run the same effect, and how to have each run once more. */
const everyKind = (run: Effect.Effect<unknown>) =>
  doing(
    "L",
    Effect.gen(function* () {
      yield* Service.listen(Job, () => run)
      yield* Service.interval(run, "1 second")
      yield* Service.cron(run, "* * * * * *")
      yield* Service.timeout(run, "1 second")
      yield* Service.health(run, { every: "1 second" })
      yield* Service.spawn(run)
    })
  )

describe("each run of owned work", () => {
  it.effect("is a fiber of its own, which ends with the run", () =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const running = yield* everyKind(Effect.map(self, (fiber) => void fibers.push(fiber)))
      const send = (verb: typeof EventBus.emit | typeof EventBus.publish, n: number) =>
        Effect.provide(verb(Job, { n }) as Effect.Effect<unknown, never, EventBus.EventBus>, running.context)
      yield* send(EventBus.emit, 1)
      yield* send(EventBus.emit, 2)
      yield* send(EventBus.publish, 3)
      yield* TestClock.adjust("2 seconds")
      // 3 events, 2 ticks, 2 slots, 1 timeout, 3 checks, 1 task.
      assert.strictEqual(fibers.length, 12)
      assert.strictEqual(new Set(fibers.map((fiber) => fiber.id().id)).size, 12)
      for (const fiber of fibers) assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("cannot be hit by what was meant for an earlier one", () =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const running = yield* doing(
        "L",
        Service.listen(Job, ({ n }) =>
          Effect.zipRight(
            Effect.map(self, (fiber) => void fibers.push(fiber)),
            n === 1 ? Effect.void : Effect.sleep("1 second")
          )
        )
      )
      const emit = (n: number) => Effect.provide(EventBus.emit(Job, { n }), running.context)
      yield* emit(1)
      const second = yield* Effect.fork(emit(2))
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(fibers[0]!)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(second)).outcomes[0]?._tag, "Handled")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("holds a lock of its own, as any fiber does", () =>
    Effect.gen(function* () {
      const lock = yield* TReentrantLock.make
      const held: Array<number> = []
      const running = yield* doing(
        "L",
        Service.listen(Job, () =>
          Effect.map(TReentrantLock.acquireWrite(lock), (times) => void held.push(times))
        )
      )
      const emit = Effect.provide(EventBus.emit(Job, { n: 1 }), running.context)
      yield* emit
      const second = yield* Effect.fork(emit)
      yield* TestClock.adjust("1 second")
      // The first has taken it and not given it back.
      assert.deepStrictEqual(held, [1])
      assert.isNull(second.unsafePoll())
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      yield* Fiber.join(second)
    }).pipe(leavesNothing)
  )

  it.effect("can be kept in a FiberMap, and is told of as interrupted when that removes it", () =>
    Effect.gen(function* () {
      const map = yield* FiberMap.make<number>()
      const { lines, say } = timeline()
      const running = yield* doing(
        "L",
        Service.listen(Job, ({ n }) =>
          Effect.zipRight(
            Effect.flatMap(self, (fiber) => FiberMap.set(map, n, fiber)),
            Effect.onInterrupt(Effect.sleep("1 minute"), () => say(`${n} interrupted`))
          )
        )
      )
      const emit = (n: number) => Effect.fork(Effect.provide(EventBus.emit(Job, { n }), running.context))
      const [first, second] = [yield* emit(1), yield* emit(2)]
      yield* TestClock.adjust("1 second")
      yield* FiberMap.remove(map, 1)
      assert.strictEqual((yield* Fiber.join(first)).outcomes[0]?._tag, "Interrupted")
      assert.deepStrictEqual(lines, ["1 interrupted"])
      assert.include(
        (yield* running.entries).map((entry) => entry._tag),
        "WorkInterrupted"
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(second)).outcomes[0]?._tag, "Handled")
      yield* running.stop
    }).pipe(Effect.scoped, leavesNothing)
  )

  it.effect("ends with the fibers that it forked", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const running = yield* everyKind(
        Effect.zipRight(
          Effect.fork(Effect.onInterrupt(Effect.never, () => say("child interrupted"))),
          Effect.yieldNow()
        )
      )
      yield* Effect.provide(EventBus.emit(Job, { n: 1 }), running.context)
      yield* TestClock.adjust("1 second")
      // 1 event, 1 tick, 1 slot, 1 timeout, 2 checks, 1 task.
      assert.strictEqual(lines.length, 7)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("begins with the FiberRefs of the fiber that set it up, and leaves none to the next", () =>
    Effect.gen(function* () {
      const ref = FiberRef.unsafeMake("default")
      const seen: Array<string> = []
      const look = Effect.zipRight(
        Effect.map(FiberRef.get(ref), (value) => void seen.push(value)),
        FiberRef.set(ref, "changed by a run")
      )
      const running = yield* doing(
        "L",
        Effect.zipRight(
          Effect.locally(Service.interval(look, "1 second"), ref, "set up"),
          Service.listen(Job, () => look)
        )
      )
      const emit = Effect.provide(EventBus.emit(Job, { n: 1 }), running.context)
      yield* Effect.locally(Effect.zipRight(emit, emit), ref, "the emitter's")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(seen, ["default", "default", "set up", "set up"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is seen by a Supervisor, from its begin to its end", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.track
      const ticks: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const tick = Effect.zipRight(
        Effect.map(self, (fiber) => void ticks.push(fiber)),
        Effect.sleep("500 millis")
      )
      const running = yield* Effect.supervised(doing("L", Service.interval(tick, "1 second")), supervisor)
      yield* TestClock.adjust("1200 millis")
      assert.include(yield* supervisor.value, ticks[0])
      yield* TestClock.adjust("500 millis")
      assert.notInclude(yield* supervisor.value, ticks[0])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "sees the AsyncLocalStorage of its service, and a handler that of the emitter who waits for it",
    () =>
      Effect.gen(function* () {
        const storage = new AsyncLocalStorage<string>()
        const seen: Array<string> = []
        const look = (what: string) =>
          Effect.sync(() => void seen.push(`${what}: ${storage.getStore() ?? "none"}`))
        const running = yield* doing(
          "L",
          Effect.gen(function* () {
            yield* Service.listen(Job, ({ n }) =>
              Effect.zipRight(look(`event ${n}`), Service.timeout(look("timeout"), "1 second"))
            )
            yield* Service.interval(look("tick"), "1 second")
          })
        )
        const inRequest = (effect: Effect.Effect<unknown, never, EventBus.EventBus>) =>
          Effect.promise(() =>
            storage.run("request", () => Effect.runPromise(Effect.provide(effect, running.context)))
          )
        yield* inRequest(EventBus.emit(Job, { n: 1 }))
        yield* inRequest(EventBus.publish(Job, { n: 2 }))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(seen, [
          "event 1: request",
          "event 2: none",
          "tick: none",
          "timeout: none",
          "timeout: none"
        ])
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("has a scope that is closed when it has ended, whoever asks for it later", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const late = yield* Deferred.make<void>()
      const leaving = (name: string) =>
        Effect.flatMap(Effect.context<Scope.Scope>(), (context) =>
          Effect.acquireRelease(say(`${name} opened`), () => say(`${name} closed`)).pipe(
            Effect.provide(context),
            (opened) => Effect.forkDaemon(Effect.zipRight(Deferred.await(late), opened))
          )
        )
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          yield* Service.listen(Job, () => leaving("event"))
          yield* Service.interval(leaving("tick"), "1 second")
          yield* Effect.flatMap(Service.spawn(leaving("task")), (run) => run.await)
        })
      )
      yield* Effect.provide(EventBus.emit(Job, { n: 1 }), running.context)
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(late, undefined)
      yield* TestClock.adjust("1 milli")
      assert.deepStrictEqual(
        lines.toSorted(),
        ["event", "task", "tick"].flatMap((name) => [`${name} closed`, `${name} opened`])
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("has released all when it has ended, though it is interrupted meanwhile", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const first = Effect.acquireRelease(say("acquired"), () => say("released"))
      // What is released last first is interrupted between the two, if it can be.
      const held = Effect.zipRight(
        first,
        Effect.acquireRelease(Effect.void, () => Effect.sleep("1 second"))
      )
      for (const run of [held, Effect.zipRight(held, Effect.never)]) {
        const running = yield* doing("L", Effect.interruptible(Service.spawn(run)))
        yield* TestClock.adjust("500 millis")
        const cancelling = yield* Effect.fork(running.value.cancel)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(cancelling)
        assert.deepStrictEqual(lines.splice(0), ["acquired", "released"])
        yield* running.stop
      }
    }).pipe(leavesNothing)
  )

  it.effect("fails when it fails to release", () =>
    Effect.gen(function* () {
      const held = Effect.acquireRelease(Effect.void, () => Effect.die("stuck"))
      const running = yield* doing(
        "L",
        Effect.zipRight(
          Service.listen(Job, () => held),
          Effect.flatMap(Service.spawn(held, { onFailure: Failure.log }), (run) => run.await)
        )
      )
      assert.deepStrictEqual(running.value, Exit.die("stuck"))
      const { failed } = yield* Effect.provide(EventBus.emit(Job, { n: 1 }), running.context)
      assert.strictEqual(failed, 1)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is traced where a tracer is installed, and not elsewhere", () =>
    Effect.gen(function* () {
      const own = yield* Effect.tracer
      const spans: Array<string> = []
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, ...rest) => {
          spans.push(name)
          return own.span(name, ...rest)
        }
      })
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          yield* Effect.flatMap(Service.spawn(Effect.void), (run) => run.await)
          yield* Effect.withTracer(Service.interval(Effect.void, "1 second"), tracer)
        })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(spans, ["L interval 1s"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("has the flags of the fiber that set it up", () =>
    Effect.gen(function* () {
      const isEnabled = Effect.map(Effect.getRuntimeFlags, (flags) =>
        RuntimeFlags.isEnabled(flags, RuntimeFlags.OpSupervision)
      )
      const flagged = Effect.withRuntimeFlagsPatch(RuntimeFlagsPatch.enable(RuntimeFlags.OpSupervision))
      const running = yield* doing(
        "L",
        Effect.all([Service.spawn(isEnabled), flagged(Service.spawn(isEnabled)), Service.spawn(isEnabled)])
      )
      assert.deepStrictEqual(
        yield* Effect.forEach(running.value, (run) => run.await),
        [false, true, false].map((is) => Exit.succeed(is))
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("is not printed with all services of the app, nor is its handle", () =>
    Effect.gen(function* () {
      const print = Effect.map(Effect.context<never>(), (context) => JSON.stringify(context))
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          const run = yield* Service.spawn(print)
          const tick = yield* Service.interval(Effect.void, "1 hour")
          return [Object.keys(run), Object.keys(tick), JSON.stringify({ ...run }).length, yield* run.await]
        })
      )
      const [run, tick, size, printed] = running.value
      assert.deepStrictEqual(run, ["name", "cancel", "await"])
      assert.deepStrictEqual(tick, ["name", "cancel"])
      assert.isBelow(Number(size), 1_000)
      assert.isTrue(Exit.isExit(printed) && Exit.isSuccess(printed))
      assert.notInclude(JSON.stringify(printed), "journal")
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
