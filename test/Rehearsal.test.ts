import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Schema } from "effect"
import { Event, type EventBus, Service } from "effect-services"
import * as Laws from "../src/testing/Laws.ts"
import * as Plan from "../src/testing/Plan.ts"
import * as Rehearsal from "../src/testing/Rehearsal.ts"

const Paid = Event.make("paid", { id: Schema.String })

const playOf = (
  layer: Layer.Layer<any, unknown, EventBus.EventBus>,
  during: Effect.Effect<unknown> = Effect.void
): Rehearsal.Play => ({
  where: "Rehearsal.test",
  // It is given a bus.
  layer: layer as Layer.Layer<any, unknown>,
  during,
  replace: [],
  startsAt: 0,
  moments: 3,
  patienceMillis: 50
})

/** A service that owns one of each kind, and what became of its events. */
const everything = () => {
  const heard: Array<string> = []
  class Child extends Service.make<Child>()("Child", { onStart: Service.addCleanup(Effect.void) }) {}
  class All extends Service.make<All>()("All", {
    onStart: Effect.gen(function* () {
      // As `acquireRelease`: nothing goes wrong before it is over.
      const cleanup = Service.addCleanup(Effect.void)
      yield* Effect.uninterruptible(Effect.zipRight(cleanup, cleanup))
      yield* Service.interval(Effect.withSpan(Effect.void, "work"), "1 second")
      yield* Service.spawn(Effect.never, { name: "waiting" })
      yield* Service.health(Effect.void)
      yield* Service.listen(Paid, ({ id }) => Effect.sync(() => void heard.push(id)))
      yield* Service.adopt(Child.layer)
    }),
    onStop: () => Effect.void
  }) {}
  return { layer: All.layer, heard }
}

describe("a rehearsal", () => {
  it.live("reaches each step of a service", () =>
    Effect.gen(function* () {
      const { heard, layer } = everything()
      const { reached } = yield* Rehearsal.run(playOf(layer), {})
      assert.deepStrictEqual(
        [...reached],
        [
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
        ]
      )
      // Once emitted and once published, the same each time.
      assert.strictEqual(heard.length, 2)
      assert.strictEqual(heard[0], heard[1])
    })
  )

  it.live("makes each step go wrong, in all its ways, once; and a service that is right keeps the laws", () =>
    Effect.gen(function* () {
      const { layer } = everything()
      const known = yield* Rehearsal.run(playOf(layer), {})
      const faulty = Plan.each(known).filter(({ faults }) => faults !== undefined)
      assert.strictEqual(faulty.length, 12 * 4 + 3 * 5 + 6 + 4 * 4)
      for (const scenario of faulty) {
        const seen = yield* Rehearsal.run(playOf(layer), scenario)
        assert.deepStrictEqual([...seen.injected.keys()], scenario.faults)
        assert.deepStrictEqual(Laws.judge(seen, []), [], JSON.stringify(scenario))
      }
    })
  )

  it.live("lets a task fail once, and go on", () =>
    Effect.gen(function* () {
      const faults = [{ at: "All: interval 1s", trouble: "fail" }] as const
      const { entries } = yield* Rehearsal.run(playOf(everything().layer), { faults })
      const tags = entries.map(({ _tag }) => _tag).filter((tag) => tag.startsWith("Task"))
      assert.deepStrictEqual(tags, ["TaskFailed", "TaskTicked", "TaskTicked"])
    })
  )

  it.live("counts the cleanups of each life of a child anew", () =>
    Effect.gen(function* () {
      const { reached, ...seen } = yield* Rehearsal.run(playOf(everything().layer), { isAdopted: true })
      assert.deepStrictEqual(
        [...reached.keys()].filter((step) => /: cleanup/.test(step)),
        ["All > Child: cleanup 1", "All: cleanup 1", "All: cleanup 2"]
      )
      assert.strictEqual(seen.entries.filter(({ _tag }) => _tag === "ServiceRestarting").length, 1)
      assert.deepStrictEqual(Laws.judge({ reached, ...seen }, []), [])
    })
  )

  it.live("asks what it is to ask, and tells what still waits for an answer", () =>
    Effect.gen(function* () {
      const { layer } = everything()
      const failed = yield* Rehearsal.run(playOf(layer, Effect.die("no")), {})
      assert.deepStrictEqual(Laws.judge(failed, []), [{ law: "works", what: "what it was asked failed: no" }])
      const waits = yield* Rehearsal.run(playOf(layer, Effect.never), {})
      assert.deepStrictEqual(waits.left, ["what it is asked, which still waits"])
      // Services that are adopted are not offered to who asks.
      const adopted = yield* Rehearsal.run(playOf(layer, Effect.die("no")), { isAdopted: true })
      assert.isUndefined(adopted.asked)
    })
  )

  it.live("compares nothing where a stop comes between a restart and its end", () =>
    Effect.gen(function* () {
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.zipRight(Service.interval(Effect.void, "1 hour"), Effect.sleep("1 second"))
      }) {}
      const play = playOf(Slow.layer)
      const { steps } = yield* Rehearsal.run(play, { isAdopted: true })
      for (let stopAfter = steps.boot + 1; stopAfter < steps.all; stopAfter += 3) {
        const { changed } = yield* Rehearsal.run(play, { isAdopted: true, stopAfter })
        assert.deepStrictEqual(changed, [], `after ${stopAfter} steps`)
      }
    })
  )

  it.live("stops when it is told to, or by two at once", () =>
    Effect.gen(function* () {
      const { layer } = everything()
      const early = yield* Rehearsal.run(playOf(layer), { stopAfter: 1 })
      assert.isFalse(early.isUp)
      const twice = yield* Rehearsal.run(playOf(layer), { stop: "twice" })
      const reasons = twice.entries.flatMap((entry) => (entry._tag === "AppStopping" ? [entry.reason] : []))
      assert.deepStrictEqual(reasons, ["it was interrupted"])
    })
  )
})
