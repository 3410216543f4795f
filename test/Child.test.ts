import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  HashMap,
  Layer,
  Logger,
  Schedule,
  TestClock
} from "effect"
import { App, Event, EventBus, Failure, Service } from "effect-services"
import { build, doing, journalLines, leavesNothing, timeline } from "./support.ts"

const parent = <A, E, R>(onStart: Effect.Effect<A, E, R>) =>
  Effect.map(doing("Parent", onStart), (running) => ({
    ...running,
    journal: Effect.provide(journalLines, running.context)
  }))

const worker = (say: (line: string) => Effect.Effect<void>) => {
  class Worker extends Service.make<Worker>()("Worker", {
    onStart: (id: string) =>
      Effect.gen(function* () {
        yield* say(`+${id}`)
        yield* Service.interval(say(`tick ${id}`), "1 second")
        return {
          id,
          fail: Service.spawn(Effect.die(`${id} broke`), { name: "job" }),
          ...(yield* Effect.map(Service.Scope, (scope) => ({ scope })))
        }
      }),
    onStop: ({ id }) => say(`-${id}`)
  }) {}
  return Worker
}

describe("adopt", () => {
  it.effect("starts the child now, offers what it offers, and stops it alone when asked", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const Worker = worker(say)
      const {
        value: [a, b],
        ...running
      } = yield* parent(
        Effect.all([
          Service.adopt(Worker.layer("a"), { name: "a" }),
          Service.adopt(Worker.layer("b"), { name: "b" })
        ])
      )
      assert.deepStrictEqual([a.name, (yield* a.current).id], ["Worker[a]", "a"])
      assert.strictEqual((yield* { ...a }.current).id, "a")
      yield* TestClock.adjust("1 second")
      yield* a.stop
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["+a", "+b", "tick a", "tick b", "-a", "tick b"])

      const error = yield* Effect.flip(a.current)
      assert.instanceOf(error, Service.ChildStoppedError)
      assert.strictEqual(
        error.message,
        'Service "Parent" adopted "Worker[a]", which has stopped. Adopt it again to use it.'
      )
      assert.strictEqual((yield* b.current).id, "b")
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "may be called from work of the service, and a name is free again when its child has stopped",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Job extends Service.make<Job>()("Job", {
          onStart: Effect.zipRight(say("job"), Service.timeout(Service.stop, "400 millis"))
        }) {}
        const running = yield* parent(Service.interval(Service.adopt(Job, { name: "hourly" }), "1 second"))
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(lines, ["job", "job", "job"])
        yield* running.stop
      }).pipe(leavesNothing)
  )

  it.effect("fails with the child's error when it does not start, with all of it undone", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Grandchild extends Service.make<Grandchild>()("Grandchild", {
        onStart: Effect.void,
        onStop: () => say("-Grandchild")
      }) {}
      class Child extends Service.make<Child>()("Child", {
        onStart: Effect.zipRight(Service.adopt(Grandchild), Effect.fail("no disk"))
      }) {}
      const running = yield* parent(Effect.flip(Service.adopt(Child)))
      assert.strictEqual(
        running.value.message,
        'Service "Parent > Child" failed in onStart, so what it had begun was undone: no disk'
      )
      assert.deepStrictEqual(lines, ["-Grandchild"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("refuses a second child of the same name, and says what to do", () =>
    Effect.gen(function* () {
      const Worker = worker(() => Effect.void)
      const running = yield* parent(
        Effect.zipRight(Service.adopt(Worker.layer("a")), Effect.exit(Service.adopt(Worker.layer("b"))))
      )
      const error = Exit.isFailure(running.value) ? Cause.squash(running.value.cause) : undefined
      assert.instanceOf(error, Service.DuplicateChildError)
      assert.strictEqual(
        error.message,
        'Service "Parent" has a child "Worker" already. Give each child a name of its own: Service.adopt(Child, { name }), or { child, name } in Service.adoptAll.'
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("refuses what is no layer", () =>
    Effect.gen(function* () {
      const notALayer: Layer.Layer<never> = worker(() => Effect.void) as any
      const running = yield* parent(Effect.exit(Service.adopt(notALayer)))
      assert.strictEqual(
        Exit.isFailure(running.value) ? (Cause.squash(running.value.cause) as Error).message : "",
        "Service.adopt: `child` must be a service class without parameters, or a layer, like Child.layer(options), but it is a function."
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("takes any layer, and gives its context", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      class Pool extends Context.Tag("Pool")<Pool, number>() {}
      const pool = Layer.scoped(
        Pool,
        Effect.acquireRelease(Effect.succeed(5), () => say("released"))
      )
      const running = yield* parent(Service.adopt(pool, { name: "pool" }))
      assert.strictEqual(Context.get(yield* running.value.current, Pool), 5)
      yield* running.stop
      assert.deepStrictEqual(lines, ["released"])
    }).pipe(leavesNothing)
  )

  it.effect("gives the one service of a layer of several things", () =>
    Effect.gen(function* () {
      class Pool extends Context.Tag("Pool")<Pool, number>() {}
      class Child extends Service.make<Child>()("Child", {
        onStart: Effect.map(Pool, (size) => ({ size }))
      }) {}
      const layer = Child.layer.pipe(Layer.provideMerge(Layer.succeed(Pool, 5)))
      const running = yield* parent(Effect.flatMap(Service.adopt(layer), (child) => child.current))
      assert.deepStrictEqual(running.value, { size: 5 })
      yield* running.stop
    }).pipe(leavesNothing)
  )

  for (const [policy, parentSurvives] of [
    ["log", true],
    ["escalate", false],
    ["handle", true]
  ] as const) {
    it.effect(`stops a child that failed, and then does what Failure.${policy} says`, () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Child extends Service.make<Child>()("Child", {
          onStart: Service.timeout(Effect.die("broke"), "1 second", {
            name: "job",
            onFailure: Failure.escalate
          }),
          onStop: () => say("-Child")
        }) {}
        const onFailure = {
          log: Failure.log,
          escalate: Failure.escalate,
          handle: Failure.handle((cause, source) =>
            say(`${String(Cause.squash(cause))} in ${source.service}, ${source.work}`)
          )
        }[policy]
        const running = yield* parent(Service.adopt(Child, { onFailure }))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(lines, [
          "-Child",
          ...(policy === "handle" ? ["broke in Parent, child Child"] : [])
        ])
        const failed = (yield* running.journal).filter((line) => line.startsWith("ServiceFailed"))
        assert.deepStrictEqual(failed, [
          "ServiceFailed Parent > Child",
          ...(parentSurvives ? [] : ["ServiceFailed Parent"])
        ])
        yield* running.stop
      }).pipe(leavesNothing)
    )
  }

  it.effect("waits for a child no longer than the child's own deadlines, and then goes on", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const hangs = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never))
      const running = yield* parent(
        Effect.all([Service.addCleanup(say("cleanup")), Service.adopt(hangs, { name: "plain" })])
      )
      const stopping = yield* Effect.fork(running.stop)
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, ["cleanup"])
      assert.include(yield* running.journal, "StopTimedOut Parent")
      yield* Fiber.join(stopping)
    })
  )
})

describe("an adopted layer of several services", () => {
  const layerOf = (
    say: (line: string) => Effect.Effect<void>,
    trouble: Effect.Effect<unknown, never, Service.Scope>
  ) => {
    class A extends Service.make<A>()("A", {
      onStart: Effect.zipRight(say("+A"), trouble),
      onStop: () => say("-A")
    }) {}
    class B extends Service.make<B>()("B", {
      onStart: Effect.all([A, Effect.sleep("1 second"), say("+B")]),
      onStop: () => say("-B")
    }) {}
    return B.layer.pipe(Layer.provide(A.layer))
  }

  it.effect("fails adopt at once when one of them fails while another still starts", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const dies = Service.spawn(Effect.delay(Effect.die("broke"), 100), { name: "job" })
      const starting = yield* Effect.fork(parent(Effect.exit(Service.adopt(layerOf(say, dies)))))
      yield* TestClock.adjust(100)
      const running = yield* Fiber.join(starting)
      assert.strictEqual(Exit.isFailure(running.value) ? Cause.squash(running.value.cause) : "", "broke")
      assert.deepStrictEqual(lines, ["+A", "-A"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("stops when one of them asks for it, when all have started", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const starting = yield* Effect.fork(parent(Service.adopt(layerOf(say, Service.stop))))
      yield* TestClock.adjust("1 second")
      const running = yield* Fiber.join(starting)
      yield* running.value.await
      assert.deepStrictEqual(lines, ["+A", "+B", "-B", "-A"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect(
    "is stopped, what had started of it first of all, when the start of another cannot be interrupted",
    () =>
      Effect.gen(function* () {
        const { lines, say } = timeline()
        class Parent extends Service.make<Parent>()("Parent", {
          onStart: Effect.zipRight(
            Service.addCleanup(say("cleanup of the parent")),
            Service.adopt(
              layerOf(say, Effect.void).pipe(Layer.provideMerge(Layer.effectDiscard(say("+layer"))))
            )
          )
        }) {}
        class Stuck extends Service.make<Stuck>()("Stuck", {
          onStart: Effect.zipRight(
            Service.addCleanup(say("cleanup of the stuck")),
            Effect.uninterruptible(Effect.sleep("1 hour"))
          )
        }) {}
        class Adopting extends Service.make<Adopting>()("Adopting", {
          onStart: Effect.zipRight(
            Service.addCleanup(say("cleanup of the parent")),
            Service.adopt(Layer.merge(Parent.layer, Stuck.layer))
          )
        }) {}
        const fiber = yield* Effect.forkDaemon(App.launch(Adopting.layer))
        yield* TestClock.adjust("2 seconds")
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* TestClock.adjust("20 seconds")
        yield* Fiber.await(fiber)
        assert.isAtLeast(lines.indexOf("cleanup of the stuck"), 0)
        assert.isBelow(lines.indexOf("-A"), lines.lastIndexOf("cleanup of the parent"))
        yield* TestClock.adjust("1 hour")
      }).pipe(leavesNothing)
  )
})

describe("a child and its parent do not wait for each other", () => {
  it.effect("when the child emits, and the parent's listener stops the child", () =>
    Effect.gen(function* () {
      const { lines, say } = timeline()
      const Broken = Event.make("broken", {})
      class Child extends Service.make<Child>()("Child", {
        onStart: Service.timeout(Effect.zipRight(EventBus.emit(Broken, {}), say("emitted")), "1 second"),
        onStop: () => say("-Child")
      }) {}
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Effect.gen(function* () {
          const child = yield* Service.adopt(Child)
          // In a fiber of its own, which is still part of the handler.
          yield* Service.listen(Broken, () => Effect.flatMap(Effect.fork(child.stop), Fiber.join))
        })
      }) {}
      const running = yield* build(Parent.layer.pipe(Layer.provide(EventBus.layer)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines.toSorted(), ["-Child", "emitted"])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("when onStart waits for a task that dies", () =>
    Effect.gen(function* () {
      class Child extends Service.make<Child>()("Child", {
        onStart: Effect.gen(function* () {
          const ready = yield* Deferred.make<void>()
          yield* Service.spawn(Effect.zipRight(Effect.die("no port"), Deferred.succeed(ready, undefined)), {
            name: "server"
          })
          yield* Deferred.await(ready)
        })
      }) {}
      const running = yield* parent(Effect.exit(Service.adopt(Child)))
      assert.include(
        Exit.isFailure(running.value) ? String(Cause.squash(running.value.cause)) : "",
        "no port"
      )
      yield* running.stop
    }).pipe(leavesNothing)
  )
})

it.effect("the failure policy of a child is work of its parent, and ends with it", () =>
  Effect.gen(function* () {
    const { lines, say } = timeline()
    class Child extends Service.make<Child>()("Child", {
      onStart: Service.timeout(Effect.die("broke"), "1 second", { onFailure: Failure.escalate })
    }) {}
    const policy = Effect.onInterrupt(Effect.never, () => say("policy interrupted"))
    const running = yield* parent(
      Effect.zipRight(
        Service.addCleanup(say("cleanup")),
        Service.adopt(Child, { onFailure: Failure.handle(() => policy) })
      )
    )
    yield* TestClock.adjust("1 second")
    yield* running.stop
    assert.deepStrictEqual(lines, ["policy interrupted", "cleanup"])
  }).pipe(leavesNothing)
)

it.effect("a class made in a function can be adopted again when its child has stopped", () =>
  Effect.gen(function* () {
    const made = () => class Made extends Service.make<Made>()("Made", { onStart: Effect.void }) {}
    const running = yield* parent(
      Effect.gen(function* () {
        const first = yield* Service.adopt(made())
        yield* first.stop
        yield* Service.adopt(made())
        return yield* Effect.exit(Service.adopt(made(), { name: "third" }))
      })
    )
    assert.instanceOf(
      Exit.isFailure(running.value) ? Cause.squash(running.value.cause) : undefined,
      Service.DuplicateServiceError
    )
    yield* running.stop
  }).pipe(leavesNothing)
)

it.effect("logs as its own service, whatever the work that adopted it logs", () =>
  Effect.gen(function* () {
    const logged: Array<unknown> = []
    const logger = Logger.make(({ annotations, message, spans }) => {
      const labels = Array.from(spans, ({ label }) => label)
      const line = { ...Object.fromEntries(HashMap.entries(annotations)), spans: labels.join() }
      logged.push([String(message), line])
    })
    const Requested = Event.make("requested", {})
    const handled = Failure.handle(() => Effect.log("policy"))
    class Child extends Service.make<Child>()("Child", {
      onStart: Effect.gen(function* () {
        yield* Effect.log("start")
        yield* Service.interval(Effect.log("tick"), "1 second")
        yield* Service.timeout(Effect.die("broke"), "1500 millis", { onFailure: Failure.escalate })
      }),
      onStop: () => Effect.log("stop")
    }) {}
    const restarting = Failure.restart({
      backoff: Schedule.spaced("10 millis"),
      budget: { restarts: 1, within: "1 hour" },
      onExhausted: handled
    })
    const adopt = (name: string) =>
      Effect.log("request").pipe(
        Effect.zipRight(Service.adopt(Child, { name, onFailure: restarting })),
        Effect.annotateLogs({ request: name }),
        Effect.withLogSpan(name)
      )
    const running = yield* parent(
      Effect.gen(function* () {
        yield* Service.timeout(adopt("a"), "1 second")
        yield* Service.listen(Requested, () => adopt("b"))
      })
    ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    yield* TestClock.adjust("10 seconds")
    yield* Effect.provide(EventBus.emit(Requested, {}), running.context)
    yield* TestClock.adjust("10 seconds")
    const of = (name: string) => {
      const own = { service: `Parent > Child[${name}]`, spans: "" }
      const life = [
        ["start", own],
        ["tick", own],
        ["stop", own]
      ]
      const request = ["request", { service: "Parent", request: name, spans: name }]
      return [request, ...life, ...life, ["policy", { service: "Parent", spans: "" }]]
    }
    const isOwn = ([message]: any) => /^(start|tick|stop|request|policy)$/.test(message)
    assert.deepStrictEqual(logged.filter(isOwn), [...of("a"), ...of("b")])
    yield* running.stop
  }).pipe(leavesNothing)
)
