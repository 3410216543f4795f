import { createServer, type Server } from "node:net"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Fiber, Layer, Schema, Scope } from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { ServiceLaws, TestApp } from "effect-services/testing"

const Paid = Event.make("paid", { id: Schema.String })

/** A service that does one thing. */
const doing = <A, E, R>(onStart: Effect.Effect<A, E, R>, onStop?: Effect.Effect<unknown, unknown>) => {
  class Doing extends Service.make<Doing>()("Doing", {
    onStart,
    onStop: onStop === undefined ? undefined : () => onStop
  }) {}
  return Doing.layer
}

/** Checks a service that is broken, and gives the error. */
const brokenBy = <A, E>(layer: Layer.Layer<A, E, EventBus.EventBus>, options?: ServiceLaws.Options<A>) =>
  Effect.flip(ServiceLaws.check(layer, options))

/** What does not end on its own, and not on the clock. */
const parked = Effect.async<never>(() => {})

/** What they have left open. */
const servers: Array<Server> = []
afterAll(() => servers.forEach((server) => server.close()))

/** Services that break a law, each with what is seen of it. */
const broken: ReadonlyArray<
  readonly [
    what: string,
    law: ServiceLaws.Law,
    layer: () => Layer.Layer<any, any, EventBus.EventBus>,
    seen: RegExp
  ]
> = [
  [
    "keeps a flag in its module, and starts only once",
    "starts",
    () => {
      let isStarted = false
      return doing(
        Effect.suspend(() => {
          if (isStarted) return Effect.fail("I have started already")
          isStarted = true
          return Effect.void
        })
      )
    },
    /does not start: .* I have started already/
  ],
  ["waits in its start for what does not come", "starts", () => doing(Effect.never), /The boot does not end/],
  [
    "has an interval that always fails",
    "works",
    () => doing(Service.interval(Effect.fail("no disk"), "1 minute")),
    /Doing: interval 1m failed/
  ],
  ["blocks in onStop", "stops in time", () => doing(Effect.void, Effect.never), /onStop/],
  [
    "swallows interruption",
    "stops in time",
    () => doing(Service.spawn(Effect.uninterruptible(parked))),
    /task/
  ],
  [
    "starts without letting itself be interrupted",
    "stops in time",
    () => doing(Effect.uninterruptible(Effect.sleep("1 hour"))),
    /start of Doing/
  ],
  [
    "handles an event for longer than its stop may take",
    "stops in time",
    () => doing(Service.listen(Paid, () => Effect.sleep("1 minute"))),
    /listeners/
  ],
  [
    "closes in onStop and in a cleanup",
    "closes what it opens",
    () => {
      let close: Effect.Effect<void> = Effect.void
      return doing(
        Effect.acquireRelease(ServiceLaws.open("pool"), (pool) => pool.close).pipe(
          Effect.map((pool) => void (close = pool.close))
        ),
        Effect.suspend(() => close)
      )
    },
    /pool, opened by Doing: onStart, was closed again/
  ],
  [
    "opens in a scope of its own, and forgets it",
    "closes what it opens",
    () =>
      doing(
        Effect.flatMap(Scope.make(), (scope) =>
          Scope.extend(
            Effect.acquireRelease(ServiceLaws.open("file"), (file) => file.close),
            scope
          )
        )
      ),
    /file, opened by Doing: onStart, was never closed/
  ],
  [
    "adds its cleanup too late",
    "closes what it opens",
    () =>
      doing(
        Effect.gen(function* () {
          const socket = yield* ServiceLaws.open("socket")
          yield* Effect.sleep("1 second")
          yield* Service.addCleanup(socket.close)
        })
      ),
    /socket, opened by Doing: onStart, was never closed/
  ],
  [
    "closes what it has opened first, first",
    "closes what it opens",
    () =>
      doing(
        Effect.gen(function* () {
          const pool = yield* ServiceLaws.open("pool")
          const statement = yield* ServiceLaws.open("statement")
          yield* Service.addCleanup(statement.close)
          yield* Service.addCleanup(pool.close)
        })
      ),
    /pool, opened by Doing: onStart, was closed before statement, opened by Doing: onStart, which/
  ],
  [
    "uses what its onStop has closed",
    "works",
    () => {
      let close: Effect.Effect<void> = Effect.void
      return doing(
        Effect.gen(function* () {
          const pool = yield* ServiceLaws.open("pool")
          close = pool.close
          yield* Service.addCleanup(pool.use)
        }),
        Effect.suspend(() => close)
      )
    },
    /was used after it had been closed/
  ],
  [
    "forks a daemon",
    "leaves nothing",
    () => doing(Effect.forkDaemon(Effect.forever(Effect.sleep("1 minute")))),
    /a fiber, forked by Doing: onStart/
  ],
  [
    "forks a daemon in each tick",
    "leaves nothing",
    () => doing(Service.interval(Effect.forkDaemon(Effect.never), "1 minute")),
    /a fiber, forked by Doing: interval 1m/
  ],
  [
    "forks a fiber that is no part of the app",
    "leaves nothing",
    () =>
      doing(
        Service.interval(
          Effect.sync(() => void Effect.runFork(Effect.never)),
          "1 minute"
        )
      ),
    /a fiber, forked by Doing: interval 1m/
  ],
  [
    "forks a daemon for each event",
    "leaves nothing",
    () => doing(Service.listen(Paid, () => Effect.forkDaemon(Effect.never))),
    /a fiber, forked by Doing: listener paid/
  ],
  [
    "sets a timer of JavaScript",
    "leaves nothing",
    () => doing(Effect.sync(() => void setInterval(() => {}, 60_000).unref())),
    /a setInterval by Doing: onStart, set at ServiceLaws.test.ts:\d+/
  ],
  [
    "sets one timer after the other",
    "leaves nothing",
    () =>
      doing(
        Effect.sync(() => {
          const again = () => void setTimeout(again, 5).unref()
          again()
        })
      ),
    /a setTimeout.*, set at ServiceLaws.test.ts:\d+/
  ],
  [
    "listens to signals, and never stops to",
    "leaves nothing",
    () => doing(Effect.sync(() => void process.on("SIGUSR2", () => {}))),
    /1 more listener of process for "SIGUSR2" than before/
  ],
  [
    "opens a socket, and does not close it",
    "leaves nothing",
    () => doing(Effect.sync(() => void servers.push(createServer().listen(0, "127.0.0.1")))),
    /1 more TCP\w+ than before/
  ],
  [
    "emits for a while when it has stopped",
    "goes quiet",
    () =>
      doing(
        Effect.forkDaemon(
          Effect.repeatN(Effect.delay(EventBus.emit(Paid, { id: "1" }), "1 second"), 24)
        ).pipe(Effect.zipRight(Service.listen(Paid, () => Effect.void)))
      ),
    /it had stopped, and then: paid was emitted to 0 listeners by App > Doing/
  ],
  [
    "lets a forked fiber die",
    "fails aloud",
    () => doing(Effect.forkScoped(Effect.delay(Effect.die("boom"), "1 minute"))),
    /a fiber, forked by Doing: onStart, failed, and nobody was told: boom/
  ],
  [
    "lets a daemon die",
    "fails aloud",
    () => doing(Service.interval(Effect.forkDaemon(Effect.fail("boom")), "1 minute")),
    /a fiber, forked by Doing: interval 1m, failed, and nobody was told: boom/
  ],
  [
    "logs that it is interrupted as an error",
    "is interrupted quietly",
    () =>
      doing(
        Service.spawn(
          Effect.onExit(Effect.never, (exit) =>
            exit._tag === "Failure" ? Effect.logError("lost", exit.cause) : Effect.void
          )
        )
      ),
    /logged as a warning or an error: lost/
  ],
  [
    "listens each second time that it starts",
    "restarts as it was",
    () => {
      let starts = 0
      return doing(
        Effect.suspend(() => (++starts % 2 === 0 ? Effect.void : Service.listen(Paid, () => Effect.void)))
      )
    },
    /Doing: listener paid is gone/
  ]
]

it.live("tells of a start that fails, at whatever moment of it the boot is interrupted", () =>
  Effect.gen(function* () {
    const layer = doing(Service.interval(Effect.void, "1 minute"))
    const faults = [{ at: "Doing: the end of onStart", trouble: "fail" }] as const
    for (let stopAfter = 1; stopAfter <= 20; stopAfter++) {
      for (const stop of ["once", "twice"] as const) {
        yield* ServiceLaws.check(layer, { only: { faults, stopAfter, stop } })
      }
    }
  })
)

it.live("tells of a start that fails in what it does when it is interrupted", () =>
  Effect.gen(function* () {
    const error = yield* brokenBy(doing(Effect.onInterrupt(Effect.never, () => Effect.die("boom"))))
    assert.include(error.message, "Doing did not start: onStart failed")
  })
)

describe("a service that", () => {
  for (const [what, law, layer, seen] of broken) {
    it.live(`${what} breaks the law: ${ServiceLaws.laws[law]}`, () =>
      Effect.gen(function* () {
        // What goes on has left something behind, too.
        const except = law === "goes quiet" ? (["leaves nothing"] as const) : []
        const error = yield* brokenBy(layer(), { except })
        assert.strictEqual(error.law, law, error.message)
        assert.match(error.message, seen, error.message)
      })
    )
  }
})

/** Services that are right, though they look as if they were not. */
const right: ReadonlyArray<readonly [what: string, layer: Layer.Layer<any, any, EventBus.EventBus>]> = [
  [
    "closes in its work what it opens, in any order",
    doing(
      Service.interval(
        Effect.gen(function* () {
          const one = yield* ServiceLaws.open("one")
          const other = yield* ServiceLaws.open("other")
          yield* one.close
          yield* other.close
        }),
        "1 minute"
      )
    )
  ],
  [
    "closes its own before another one does",
    (() => {
      const opening = (name: string, wait: Duration.DurationInput) =>
        Effect.flatMap(ServiceLaws.open(name), ({ close }) => Service.addCleanup(Effect.delay(close, wait)))
      class Late extends Service.make<Late>()("Late", { onStart: opening("late", "1 second") }) {}
      const early = doing(opening("early", 0))
      return Layer.merge(early, Late.layer)
    })()
  ],
  [
    "waits for what it has forked, and lets it fail",
    doing(Effect.flatMap(Effect.fork(Effect.delay(Effect.fail("no"), "1 second")), Fiber.await))
  ],
  [
    "stops longer than apps may by default",
    (() => {
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.void,
        onStop: () => Effect.sleep("45 seconds"),
        stopTimeout: "1 minute"
      }) {}
      return Slow.layer
    })()
  ],
  [
    "closes a socket that takes its time",
    doing(
      Effect.acquireRelease(
        Effect.sync(() => createServer().listen(0, "127.0.0.1")),
        (server) => Effect.sync(() => void setTimeout(() => server.close(), 20))
      )
    )
  ]
]

describe("a service keeps the laws that", () => {
  for (const [what, layer] of right) {
    it.live(what, () => ServiceLaws.check(layer, { only: {} }))
  }
})

/** Services that keep the laws, though it may not look so. */
const sound: ReadonlyArray<readonly [what: string, layer: () => Layer.Layer<any, any, EventBus.EventBus>]> = [
  [
    "adopts a child when an event comes",
    () => {
      class Child extends Service.make<Child>()("Child", { onStart: Effect.void }) {}
      return doing(Service.listen(Paid, () => Service.adopt(Child)))
    }
  ],
  [
    "handles what goes wrong in its start, and goes on",
    () =>
      doing(
        Effect.gen(function* () {
          yield* Effect.ignore(Effect.sandbox(Service.interval(Effect.void, "1 minute")))
          yield* Effect.sleep("1 second")
        })
      )
  ],
  [
    "waits in a task for a fiber that it has forked",
    () =>
      doing(
        Effect.gen(function* () {
          const fiber = yield* Effect.forkScoped(Effect.delay(Effect.fail("boom"), "10 seconds"))
          yield* Service.spawn(Effect.exit(Fiber.join(fiber)))
        })
      )
  ],
  ["is never healthy", () => doing(Service.health(Effect.fail("down")))],
  [
    "ends a fiber that is no part of the app, and waits for it",
    () =>
      doing(
        Effect.acquireRelease(
          Effect.sync(() => Effect.runFork(Effect.never)),
          (fiber) => Fiber.interrupt(fiber)
        )
      )
  ],
  [
    "needs longer than patience to close",
    () =>
      doing(
        Service.addCleanup(
          // A real one, as of a machine that is busy.
          Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 80)))
        )
      )
  ]
]

describe("a service that", () => {
  for (const [what, layer] of sound) {
    it.live(`${what} keeps the laws`, () =>
      ServiceLaws.check(layer(), { moments: 5, runs: 20, patience: 20 })
    )
  }
})

it.live("takes no fiber for forgotten that the work which forked it asks for after its failure", () => {
  const layer = doing(
    Effect.gen(function* () {
      const fiber = yield* Effect.forkScoped(Effect.fail("boom"))
      yield* Effect.sleep("1 minute")
      yield* Effect.exit(Fiber.join(fiber))
    })
  )
  return ServiceLaws.check(layer, { only: {} })
})

it.live("takes no fiber for forgotten whose failure another one has journaled", () => {
  const layer = doing(
    Effect.gen(function* () {
      const fiber = yield* Effect.forkScoped(Effect.fail("boom"))
      yield* Service.timeout(Fiber.join(fiber), "1 minute", { onFailure: Failure.log })
    })
  )
  return ServiceLaws.check(layer, { only: {}, except: ["works"] })
})

it.live("each service that stops has started, in whatever order the boot of many is broken off", () => {
  const services = Array.from({ length: 6 }, (_, index) => {
    class One extends Service.make<One>()(`One${index}`, {
      onStart: Service.interval(Effect.void, "1 minute")
    }) {}
    return One.layer
  })
  // There are six.
  const layer = Layer.mergeAll(services[0]!, ...services.slice(1))
  const faults = [{ at: "One3: onStart after interval 1m", trouble: "fail" }] as const
  return Effect.forEach(
    Array.from({ length: 60 }, (_, index) => index + 1),
    (seed) => ServiceLaws.check(layer, { only: { faults, seed } })
  )
})

it.live("names a listener whose event it cannot make up", () =>
  Effect.gen(function* () {
    const Rare = Event.make("rare", { id: Schema.String.pipe(Schema.filter((id) => id === "this one")) })
    const report = yield* ServiceLaws.check(doing(Service.listen(Rare, () => Effect.void)), { runs: 0 })
    assert.deepStrictEqual(report.missed, ["Doing: listener rare"])
  })
)

it.live("names the steps of a scenario that were not reached", () =>
  Effect.gen(function* () {
    const only = { faults: [{ at: "Doing: interval 2m", trouble: "fail" }] } as const
    const report = yield* ServiceLaws.check(doing(Effect.void), { only })
    assert.deepStrictEqual(report.missed, ["Doing: interval 2m"])
  })
)

/** A service that owns one of each kind, and what became of its events and ticks. */
const everything = () => {
  const heard: Array<string> = []
  let ticks = 0
  class Child extends Service.make<Child>()("Child", { onStart: Service.addCleanup(Effect.void) }) {}
  class All extends Service.make<All>()("All", {
    onStart: Effect.gen(function* () {
      // As in `acquireRelease`, nothing goes wrong before both are added.
      const cleanup = Service.addCleanup(Effect.void)
      yield* Effect.uninterruptible(Effect.zipRight(cleanup, cleanup))
      yield* Service.interval(
        Effect.withSpan(
          Effect.sync(() => void ticks++),
          "work"
        ),
        "1 second"
      )
      yield* Service.spawn(Effect.never, { name: "waiting" })
      yield* Service.health(Effect.void)
      yield* Service.listen(Paid, ({ id }) => Effect.sync(() => void heard.push(id)))
      yield* Service.adopt(Child.layer)
    }),
    onStop: () => Effect.void
  }) {}
  return { layer: All.layer, heard, ticks: () => ticks }
}

describe("ServiceLaws.check of one scenario", () => {
  const kinds = new Map([
    ["All: onStart", "start"],
    ["All: onStart after a cleanup", "start"],
    ["All: onStart after a cleanup (2)", "start"],
    ["All: onStart after interval 1s", "start"],
    ["All: onStart after waiting", "start"],
    ["All: onStart after health check", "start"],
    ["All: onStart after listener paid", "start"],
    ["All: onStart after a child", "start"],
    ["All > Child: onStart", "start"],
    ["All > Child: onStart after a cleanup", "start"],
    ["All > Child: the end of onStart", "start"],
    ["All: the end of onStart", "start"],
    ["All: waiting", "run"],
    ["All: health check", "run"],
    ["All: listener paid", "handler"],
    ["All: interval 1s", "run"],
    ["All: onStop", "stop"],
    ["All > Child: cleanup 1", "stop"],
    ["All: cleanup 1", "stop"],
    ["All: cleanup 2", "stop"]
  ] as const)
  const always = ["fail", "die", "interrupt", "hang"] as const
  const troubles = {
    start: always,
    run: [...always, "stop"],
    handler: [...always, "stop", "slow"],
    stop: always
  } as const

  it.live("reaches each step of a service", () =>
    Effect.gen(function* () {
      const { heard, layer } = everything()
      const { steps } = yield* ServiceLaws.check(layer, { only: {}, moments: 3 })
      assert.deepStrictEqual(steps, [...kinds.keys()])
      // Once emitted and once published, the same each time.
      assert.strictEqual(heard.length, 2)
      assert.strictEqual(heard[0], heard[1])
    })
  )

  it.live("makes each step go wrong in all its ways, and a sound service keeps the laws", () =>
    Effect.gen(function* () {
      for (const [at, kind] of kinds) {
        for (const trouble of troubles[kind]) {
          const only = { faults: [{ at, trouble }] }
          const { missed } = yield* ServiceLaws.check(everything().layer, { only, moments: 3 })
          assert.notInclude(missed, at, trouble)
        }
      }
    })
  )

  it.live("lets a task fail once, and go on", () =>
    Effect.gen(function* () {
      const { layer, ticks } = everything()
      const faults = [{ at: "All: interval 1s", trouble: "fail" }] as const
      yield* ServiceLaws.check(layer, { only: { faults }, moments: 3 })
      assert.strictEqual(ticks(), 2)
    })
  )

  it.live("counts the cleanups of each life of a child anew", () =>
    Effect.gen(function* () {
      const { steps } = yield* ServiceLaws.check(everything().layer, {
        only: { isAdopted: true },
        moments: 3
      })
      assert.deepStrictEqual(
        steps.filter((step) => /: cleanup/.test(step)),
        ["All > Child: cleanup 1", "All: cleanup 1", "All: cleanup 2"]
      )
    })
  )

  it.live("runs what services are asked, and reports what still waits for an answer", () =>
    Effect.gen(function* () {
      const { layer } = everything()
      const only = {}
      const failed = yield* brokenBy(layer, { only, during: Effect.die("no") })
      assert.deepStrictEqual([failed.law, ...failed.breaches], ["works", "what it was asked failed: no"])
      const waits = yield* brokenBy(layer, { only, during: Effect.never, moments: 3 })
      assert.deepStrictEqual(
        [waits.law, ...waits.breaches],
        ["leaves nothing", "what it is asked, which still waits"]
      )
      // Adopted services are not provided to who asks.
      yield* ServiceLaws.check(layer, { only: { isAdopted: true }, during: Effect.die("no"), moments: 3 })
    })
  )

  it.live("compares nothing where a stop comes between a restart and its end", () =>
    Effect.gen(function* () {
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.zipRight(Service.interval(Effect.void, "1 hour"), Effect.sleep("1 second"))
      }) {}
      for (let stopAfter = 1; stopAfter < 100; stopAfter += 3) {
        yield* ServiceLaws.check(Slow.layer, { only: { isAdopted: true, stopAfter }, moments: 3 })
      }
    })
  )

  it.live("stops when it is told to, or by two at once", () =>
    Effect.gen(function* () {
      const { layer } = everything()
      const early = yield* ServiceLaws.check(layer, { only: { stopAfter: 1 } })
      assert.notInclude(early.steps, "All: interval 1s")
      const twice = yield* ServiceLaws.check(layer, { only: { stop: "twice" }, moments: 3 })
      assert.include(twice.steps, "All: cleanup 2")
    })
  )
})

describe("ServiceLaws.check", () => {
  class Mail extends Service.make<Mail>()("Mail", {
    onStart: Effect.succeed({ send: (_to: string): Effect.Effect<void> => Effect.die("no mail in tests") })
  }) {}
  class Greeter extends Service.make<Greeter>()("Greeter", {
    onStart: Effect.gen(function* () {
      const mail = yield* Mail
      yield* Service.interval(mail.send("ada"), "1 hour")
      yield* Service.cron(Effect.void, "0 0 1 1 *")
      return { greet: mail.send("bob") }
    })
  }) {}
  const layer = Layer.provide(Greeter.layer, Mail.layer)

  it.live("tells what it has tried, what services were asked, and what never came due", () =>
    Effect.gen(function* () {
      const mails = new Set<string>()
      const report = yield* ServiceLaws.check(layer, {
        replace: [TestApp.stub(Mail, { send: (to) => Effect.sync(() => void mails.add(to)) })],
        during: Effect.flatMap(Greeter, (greeter) => greeter.greet),
        moments: 2,
        runs: 0
      })
      assert.deepStrictEqual([...mails], ["bob", "ada"])
      assert.deepStrictEqual(report.missed, ["Greeter: cron 0 0 1 1 *"])
      assert.includeMembers(
        [...report.steps],
        ["Mail: onStart", "Greeter: onStart after interval 1h", "Greeter: interval 1h"]
      )
      assert.isAbove(report.scenarios, 50)
    })
  )

  it.live("fails when what services are asked fails", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        ServiceLaws.check(layer, {
          replace: [TestApp.stub(Mail, {})],
          during: Effect.flatMap(Greeter, (greeter) => greeter.greet)
        })
      )
      assert.strictEqual(error.law, "starts")
      assert.match(error.message, /"send" of Mail was asked for, but the test's stub does not have it/)
    })
  )

  it.live("tells the first few things that it has seen, those of the broken law first", () =>
    Effect.gen(function* () {
      const opening = Effect.forEach(["a", "b", "c", "d", "e", "f"], ServiceLaws.open)
      const error = yield* brokenBy(doing(Effect.zipRight(Effect.forkDaemon(Effect.never), opening)))
      assert.strictEqual(error.law, "closes what it opens")
      assert.strictEqual(error.breaches.length, 7)
      assert.strictEqual(error.breaches[6], "a fiber, forked by Doing: onStart")
      assert.strictEqual(error.message.match(/was never closed\./g)?.length, 5)
      assert.notInclude(error.message, "a fiber, forked")
    })
  )

  it.live("makes up as many scenarios more as it is told to", () =>
    Effect.gen(function* () {
      const trying = (runs: number) => ServiceLaws.check(doing(Effect.void), { moments: 1, runs })
      assert.strictEqual((yield* trying(3)).scenarios - (yield* trying(0)).scenarios, 3)
    })
  )

  it.live("asks for no law that is left out", () =>
    Effect.gen(function* () {
      let starts = 0
      const changing = doing(
        Effect.suspend(() => (++starts % 2 === 0 ? Effect.void : Service.listen(Paid, () => Effect.void)))
      )
      const report = yield* ServiceLaws.check(changing, { except: ["restarts as it was"], runs: 0 })
      assert.isAbove(report.scenarios, 10)
    })
  )

  it.live("tries a scenario again", () =>
    Effect.gen(function* () {
      const forking = doing(Service.interval(Effect.forkDaemon(Effect.never), "1 minute"))
      const { scenario } = yield* brokenBy(forking)
      assert.strictEqual((yield* brokenBy(forking, { only: scenario })).law, "leaves nothing")
      const kept = yield* ServiceLaws.check(forking, { only: { stopAfter: 1 } })
      assert.strictEqual(kept.scenarios, 1)
    })
  )

  for (const [what, options, message] of [
    ["a law that is none", { except: ["tidies up"] }, /`except` must be .*"starts"/],
    ["no moments", { moments: 0 }, /`moments` must be/],
    ["less than no runs", { runs: -1 }, /`runs` must be/],
    ["a seed that is no number", { seed: "x" }, /`seed` must be/],
    ["no patience", { patience: 0 }, /`patience` must be/],
    ["a moment that is none", { startsAt: "noon" }, /ServiceLaws.check: `startsAt` must be/],
    [
      "two stand-ins for one",
      { replace: [TestApp.stub(Mail, {}), TestApp.stub(Mail, {})] },
      /ServiceLaws.check: `replace` must be/
    ],
    ["what is no effect", { during: () => Effect.void }, /`during` must be an Effect/],
    [
      "trouble that is none",
      { only: { faults: [{ at: "Doing: onStart", trouble: "explode" }] } },
      /`trouble` must/
    ],
    ["faults that are no list", { only: { faults: {} } }, /`faults` must be/],
    ["a stop before the first step", { only: { stopAfter: -1 } }, /`stopAfter` must be/],
    ["a third stop", { only: { stop: "thrice" } }, /`stop` must be "once" or "twice"/],
    ["a scenario that is none", { only: "x" }, /must be an object/]
  ] as const) {
    it.live(`refuses ${what}`, () =>
      Effect.gen(function* () {
        // What the types do not let pass.
        const refused = yield* Effect.flip(Effect.sandbox(ServiceLaws.check(layer, options as object)))
        assert.match(String(refused), message)
      })
    )
  }
})

it.live("refuses what is no layer", () =>
  Effect.gen(function* () {
    // A class is easily taken for its layer.
    const Mistaken = Service.make<unknown>()("Mistaken", {
      onStart: Effect.void
    }) as unknown as Layer.Layer<never>
    const refused = yield* Effect.flip(Effect.sandbox(ServiceLaws.check(Mistaken)))
    assert.match(String(refused), /`layer` must be a layer/)
  })
)
