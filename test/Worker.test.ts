import { assert, describe, it } from "@effect/vitest"
import {
  Chunk,
  Context,
  Deferred,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  FiberRef,
  Layer,
  Logger,
  RuntimeFlags,
  RuntimeFlagsPatch,
  Scheduler,
  Schema,
  type Scope,
  Supervisor,
  TestClock,
  Tracer
} from "effect"
import { App, Event, EventBus, Failure, Journal, Service } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import * as Work from "../src/internal/lifecycle/Work.ts"
import { doing, leavesNothing, timeline } from "./support.ts"

/** What a handler does besides to note itself. */
const acts = [
  "nothing",
  "sleeps",
  "forks",
  "acquires",
  "sets a ref",
  "fails",
  "dies",
  "interrupts itself",
  "interrupts its fiber",
  "ends with that",
  "cannot be interrupted",
  "emits",
  "hangs"
] as const
type Act = (typeof acts)[number]

const Job = Event.make("job", { id: Schema.Number, act: Schema.Literal(...acts) })
const Inner = Event.make("inner", { id: Schema.Number, act: Schema.Literal(...acts) })
const ref = FiberRef.unsafeMake("fresh")

const sent = FastCheck.record({
  act: FastCheck.constantFrom(...acts),
  verb: FastCheck.constantFrom("emit" as const, "publish" as const),
  to: FastCheck.constantFrom("Jobs" as const, "Jobs" as const, "Inner" as const),
  after: FastCheck.nat({ max: 30 }),
  isCut: FastCheck.boolean()
})

describe("a handler cannot tell that its fiber has handled others", () => {
  it.effect.prop(
    "whatever they did, in any order of steps, and at any moment of a stop",
    {
      sends: FastCheck.array(sent, { maxLength: 14 }),
      concurrency: FastCheck.integer({ min: 1, max: 2 }),
      stopAt: FastCheck.nat({ max: 400 }),
      seed: FastCheck.option(FastCheck.nat({ max: 1_000_000 }), { nil: undefined })
    },
    ({ concurrency, seed, sends, stopAt }) =>
      Effect.gen(function* () {
        const problems: Array<string> = []
        const expect = (is: boolean, what: string) => void (is || problems.push(what))
        /** What handlings hold, by listener and event. */
        const holds = new Map<string, Array<string>>()
        const order = { Jobs: [] as Array<number>, Inner: [] as Array<number> }
        const receipts: Array<string> = []
        const handler =
          (listener: "Jobs" | "Inner") => (payload: { readonly id: number; readonly act: Act }) =>
            Effect.gen(function* () {
              const held: Array<string> = []
              holds.set(`${listener} ${payload.id}`, held)
              expect((yield* FiberRef.get(ref)) === "fresh", "a ref is as another left it")
              const work = yield* Work.current
              const isAwaited = listener === "Inner" && sends[payload.id]!.to === "Jobs"
              expect((work?.awaitedBy !== undefined) === isAwaited, `${listener} is awaited by another`)
              expect(work?.awaitedBy === undefined || work.awaitedBy.service.endsWith("Jobs"), "by whom else")
              expect(work?.service.endsWith(listener) === true, "of another service")
              // In order of acceptance at each listener.
              if (listener === sends[payload.id]!.to && sends[payload.id]!.verb === "publish")
                order[listener].push(payload.id)
              const hold = (what: string) =>
                Effect.acquireRelease(
                  Effect.sync(() => held.push(what)),
                  () => Effect.sync(() => held.splice(held.indexOf(what), 1))
                )
              const fiber = yield* Effect.withFiberRuntime<Fiber.RuntimeFiber<any, any>>((_) =>
                Effect.succeed(_)
              )
              switch (payload.act) {
                case "sleeps":
                  yield* Effect.sleep("20 millis")
                  break
                case "forks":
                  yield* Effect.fork(Effect.scoped(Effect.zipRight(hold("child"), Effect.sleep("1 hour"))))
                  yield* Effect.sleep("1 millis")
                  break
                case "acquires":
                  yield* hold("resource")
                  yield* Effect.sleep("5 millis")
                  expect(held.includes("resource"), "a resource is released before its end")
                  break
                case "sets a ref":
                  yield* FiberRef.set(ref, "stale")
                  break
                case "fails":
                  return yield* Effect.fail("no")
                case "dies":
                  return yield* Effect.die("bug")
                case "interrupts itself":
                  return yield* Effect.interrupt
                case "interrupts its fiber":
                  fiber.unsafeInterruptAsFork(fiber.id())
                  yield* Effect.sleep("1 hour")
                  break
                case "ends with that":
                  fiber.unsafeInterruptAsFork(fiber.id())
                  break
                case "cannot be interrupted":
                  yield* Effect.uninterruptible(Effect.sleep("30 millis"))
                  break
                case "emits":
                  if (listener === "Jobs") yield* EventBus.emit(Inner, { ...payload, act: "acquires" })
                  break
                case "hangs":
                  yield* Effect.sleep("1 hour")
                  break
                case "nothing":
                  break
              }
            })
        class Inner_ extends Service.make<Inner_>()("Inner", {
          onStart: Service.listen(Inner, handler("Inner"), { concurrency }),
          stopTimeout: "50 millis"
        }) {}
        class Jobs extends Service.make<Jobs>()("Jobs", {
          onStart: Service.listen(Job, handler("Jobs"), { concurrency }),
          stopTimeout: "50 millis"
        }) {}
        const sender = Layer.scopedDiscard(
          Effect.forEach(sends, ({ act, after, isCut, to, verb }, id) => {
            const send =
              verb === "publish"
                ? EventBus.publish(to === "Jobs" ? Job : Inner, { id, act })
                : Effect.map(EventBus.emit(to === "Jobs" ? Job : Inner, { id, act }), ({ outcomes }) => {
                    const outcome = outcomes.map(({ _tag }) => _tag).join()
                    receipts.push(`${id} ${outcome}`)
                    const held = [...(holds.get(`Jobs ${id}`) ?? []), ...(holds.get(`Inner ${id}`) ?? [])]
                    // Who is let go by a stop does not wait for what hangs.
                    if (outcome !== "Interrupted")
                      expect(held.length === 0, `${id} was told with ${held.join()} held`)
                  })
            return Effect.zipRight(
              Effect.sleep(after),
              Effect.forkScoped(isCut ? Effect.timeoutOption(send, "3 millis") : send)
            )
          }).pipe(Effect.forkScoped)
        )
        const time = VirtualTime.make(0, seed)
        const fiber = yield* time.fork(
          App.launch(
            sender.pipe(
              Layer.provide(Layer.merge(Jobs.layer.pipe(Layer.provide(Inner_.layer)), Inner_.layer)),
              Layer.provide(EventBus.layer)
            ),
            { stopTimeout: "1 minute" }
          )
        )
        const advance = (millis: number) => {
          const end = time.now() + millis
          time.settle()
          for (let next = time.next(); next !== undefined && next <= end; next = time.next()) {
            time.moveTo(next)
            time.settle()
          }
          time.moveTo(end)
          time.settle()
        }
        advance(stopAt)
        fiber.unsafeInterruptAsFork(fiber.id())
        advance(60_000)
        assert.isNotNull(fiber.unsafePoll(), "ends")
        assert.strictEqual(time.sleepers(), 0, "nobody is left")
        for (const [name, held] of holds) expect(held.length === 0, `${name} still holds ${held.join()}`)
        for (const ids of Object.values(order))
          if (concurrency === 1)
            assert.deepStrictEqual(
              ids,
              ids.toSorted((a, b) => a - b),
              "order"
            )
        assert.deepStrictEqual(problems, [])
        for (const line of receipts) {
          const [id, outcome] = line.split(" ") as [string, string]
          const { act } = sends[Number(id)]!
          const may: Partial<Record<Act, string>> = {
            fails: "Failed",
            dies: "Failed",
            "interrupts itself": "Interrupted",
            "interrupts its fiber": "Interrupted",
            "ends with that": "Interrupted",
            hangs: "Interrupted"
          }
          assert.include(["", "Interrupted", may[act] ?? "Handled"], outcome, line)
          if (stopAt > 300 && outcome === "Interrupted") assert.include(may[act] ?? "", "Interrupted", line)
        }
      }).pipe(Effect.provide(Layer.merge(Journal.layer, Logger.remove(Logger.defaultLogger)))),
    { fastCheck: { numRuns: Number(process.env["LAW_RUNS"] ?? 100) }, timeout: 120_000 }
  )

  it.effect("and one that was interrupted after its time is not used again", () =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const running = yield* doing(
        "L",
        Service.listen(Job, () =>
          Effect.withFiberRuntime<void>((fiber) => Effect.sync(() => void fibers.push(fiber)))
        )
      )
      const emit = Effect.map(EventBus.emit(Job, { id: 1, act: "nothing" }), ({ handled }) => handled)
      const emits = Effect.provide(emit, running.context)
      assert.deepStrictEqual(yield* Effect.all([emits, emits]), [1, 1])
      assert.isTrue(fibers[0] === fibers[1], "one fiber")
      yield* Fiber.interrupt(fibers[0]!)
      assert.strictEqual(yield* emits, 1)
      assert.isFalse(fibers[1] === fibers[2], "another fiber")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("and an app keeps 256 such fibers at most", () =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      const note = Effect.withFiberRuntime<void>((fiber) => Effect.sync(() => void fibers.push(fiber)))
      // Who waits leaves what follows to another fiber.
      const running = yield* doing(
        "L",
        Effect.replicateEffect(
          Service.listen(Job, () => Effect.zipRight(note, Effect.yieldNow())),
          300
        )
      )
      const emit = Effect.provide(EventBus.emit(Job, { id: 1, act: "nothing" }), running.context)
      for (const round of [1, 2]) {
        assert.strictEqual((yield* emit).handled, 300)
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        const kept = new Set(fibers.filter((fiber) => fiber.unsafePoll() === null))
        assert.strictEqual(kept.size, 256, `round ${round}`)
      }
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("an app that has too many fibers", () => {
  it.effect("ends none that is at work", () =>
    Effect.gen(function* () {
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          yield* Effect.replicateEffect(
            Service.listen(Job, () => Effect.yieldNow()),
            300
          )
          // Its fiber is the one that has been kept for longest.
          yield* Effect.flatMap(Service.spawn(Effect.void), (run) => run.await)
          yield* Effect.yieldNow()
          return yield* Service.spawn(Effect.sleep("1 second"))
        })
      )
      yield* TestClock.adjust(0)
      yield* Effect.provide(EventBus.emit(Job, { id: 1, act: "nothing" }), running.context)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* running.value.await, Exit.void)
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

describe("a run cannot tell that its fiber has had others", () => {
  class Name extends Context.Tag("Name")<Name, string>() {}

  it.effect("which had other values, services and flags", () =>
    Effect.gen(function* () {
      const fibers: Array<unknown> = []
      const seen = Effect.gen(function* () {
        yield* Effect.withFiberRuntime((fiber) => Effect.sync(() => fibers.push(fiber)))
        const flags = yield* Effect.getRuntimeFlags
        return [
          yield* Name,
          yield* FiberRef.get(ref),
          RuntimeFlags.isEnabled(flags, RuntimeFlags.OpSupervision)
        ]
      })
      const spawned = Effect.flatMap(Service.spawn(seen), (run) => run.await)
      const flagged = Effect.withRuntimeFlagsPatch(RuntimeFlagsPatch.enable(RuntimeFlags.OpSupervision))
      const running = yield* doing(
        "L",
        Effect.all([
          spawned.pipe(Effect.provideService(Name, "one"), Effect.locally(ref, "its")),
          spawned.pipe(Effect.provideService(Name, "two")),
          spawned.pipe(flagged, Effect.provideService(Name, "three"))
        ])
      )
      assert.deepStrictEqual(running.value, [
        Exit.succeed(["one", "its", false]),
        Exit.succeed(["two", "fresh", false]),
        Exit.succeed(["three", "fresh", true])
      ])
      assert.isTrue(fibers[0] === fibers[1], "one fiber")
      assert.isFalse(fibers[1] === fibers[2], "another fiber, as flags stay")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("and has a scope that is closed when it has ended, whoever asks for it later", () =>
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
      yield* Effect.provide(EventBus.emit(Job, { id: 1, act: "nothing" }), running.context)
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

  it.effect("and has released all when it has ended, though it is interrupted meanwhile", () =>
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

  it.effect("and fails when it fails to release", () =>
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
      const { failed } = yield* Effect.provide(EventBus.emit(Job, { id: 1, act: "nothing" }), running.context)
      assert.strictEqual(failed, 1)
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("nor who was asked to run it, who watched it, and whether it could be interrupted", () =>
    Effect.gen(function* () {
      const controlled = new Scheduler.ControlledScheduler()
      const disable = Effect.patchRuntimeFlags(RuntimeFlagsPatch.disable(RuntimeFlags.Interruption))
      const watcher = yield* Supervisor.track
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          const elsewhere = yield* Effect.withScheduler(Service.spawn(Effect.void), controlled)
          controlled.step()
          yield* Effect.yieldNow()
          controlled.step()
          const disabling = yield* Service.spawn(disable)
          yield* disabling.await
          const never = yield* Service.spawn(Effect.never)
          yield* Effect.yieldNow()
          yield* never.cancel
          // Leaves a fiber behind that nobody watches.
          yield* Effect.flatMap(Service.spawn(Effect.void), (run) => run.await)
          const watched = yield* Effect.supervised(Service.spawn(Effect.never), watcher)
          yield* TestClock.adjust(0)
          const count = Chunk.size(Chunk.fromIterable(yield* watcher.value))
          yield* watched.cancel
          return [yield* elsewhere.await, count]
        })
      )
      assert.deepStrictEqual(running.value, [Exit.void, 1])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("nor whether a tracer was shown the spans of another", () =>
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

  it.effect("nor that one of other flags began just before", () =>
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

  it.effect("nor, where a tracer is shown its spans, whose work it is", () =>
    Effect.gen(function* () {
      const sources: Array<unknown> = []
      const note = Effect.map(Work.current, (work) => void sources.push(work?.source))
      const own = yield* Effect.tracer
      const tracer = Tracer.make({ context: (f) => f(), span: own.span.bind(own) })
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          yield* Effect.flatMap(Service.spawn(note), (run) => run.await)
          yield* Service.interval(note, "1 second")
        }).pipe(Effect.withTracer(tracer))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(sources.length, 2)
      assert.notStrictEqual(sources[0], sources[1])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("nor is it cut for one that had its fiber before, and is to begin again", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const controlled = new Scheduler.ControlledScheduler()
      const running = yield* doing(
        "L",
        Effect.gen(function* () {
          yield* Effect.withScheduler(
            Service.listen(Job, () => Effect.void),
            controlled
          )
          yield* Service.interval(Effect.zipRight(Effect.sleep("1 second"), say("done")), "1500 millis")
          return yield* Service.interval(Effect.void, "1 second")
        })
      )
      yield* TestClock.adjust("1500 millis")
      // What waits for a scheduler of its own holds up what comes after it.
      yield* Effect.provide(EventBus.publish(Job, { id: 1, act: "nothing" }), running.context)
      yield* TestClock.adjust("500 millis")
      yield* running.value.cancel
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(lines, ["done"])
      controlled.step()
      yield* running.stop
      // The fiber that has handled the event ends by its scheduler.
      controlled.step()
    }).pipe(leavesNothing)
  )

  it.effect("nor does who prints its context or its handle print all services", () =>
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
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
