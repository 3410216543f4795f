/** What is begun no more once a stop has begun: children, restarts, and work in its backoff. */
import { assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Exit, Fiber, Layer, Option, Schedule, TestClock } from "effect"
import { App, Failure, Journal, Service } from "effect-services"
import { leavesNothing } from "./support.ts"

const running = <A, E>(layer: Layer.Layer<A, E, App.Provided>) =>
  Effect.gen(function* () {
    const app = App.make({ name: "Shop" })
    const fiber = yield* Effect.forkDaemon(app.launch(layer))
    yield* TestClock.adjust("1 second")
    return {
      ...app,
      ended: Effect.zipRight(
        TestClock.adjust("1 minute"),
        Effect.zipRight(Fiber.await(fiber), Effect.map(app.report, Option.getOrThrow))
      )
    }
  })

/** What the journal says from the beginning of the stop on, of these kinds. */
const since = (...kinds: ReadonlyArray<Journal.Entry["_tag"]>) =>
  Effect.map(Journal.recent, (entries) =>
    entries
      .slice(entries.findIndex(({ _tag }) => _tag === "AppStopping"))
      .filter(({ _tag }) => kinds.includes(_tag))
      .map((entry) => `${entry._tag} ${"service" in entry ? entry.service : ""}`)
  )

/** Takes three seconds to stop, before what it needs. */
class Slow extends Service.make<Slow>()("Slow", {
  onStart: Effect.void,
  onStop: () => Effect.sleep("3 seconds")
}) {}
const behindSlow = <A, E>(layer: Layer.Layer<A, E, App.Provided>) => Layer.provide(Slow.layer, layer)

const restart = (pause: Duration.DurationInput) =>
  Failure.restart({ backoff: Schedule.spaced(pause), budget: "unlimited" })

describe("once a stop has begun", () => {
  it.effect("no child is restarted: neither one that fails then, nor one in its backoff", () =>
    Effect.gen(function* () {
      class Kid extends Service.make<Kid>()("Kid", {
        onStart: (after: Duration.DurationInput) =>
          Service.timeout(Effect.die("bug"), after, { onFailure: Failure.escalate })
      }) {}
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Effect.gen(function* () {
          yield* Service.adopt(Kid.layer("500 millis"), { name: "paused", onFailure: restart("2 seconds") })
          yield* Service.adopt(Kid.layer("2 seconds"), { name: "fails", onFailure: restart("10 millis") })
        })
      }) {}
      const app = yield* running(behindSlow(Parent.layer))
      app.stop("SIGTERM")
      yield* app.ended
      assert.deepStrictEqual(yield* since("ServiceStarting", "ServiceRestarting", "ServiceFailed"), [
        "ServiceFailed Shop > Parent > Kid[fails]"
      ])
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )

  it.effect("no child is restarted while its parent stops", () =>
    Effect.gen(function* () {
      class Kid extends Service.make<Kid>()("Kid", {
        onStart: Service.timeout(Effect.die("bug"), "2 seconds", { onFailure: Failure.escalate })
      }) {}
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Service.adopt(Kid, { onFailure: restart("10 millis") }),
        onStop: () => Effect.sleep("3 seconds")
      }) {}
      const app = yield* running(Parent.layer)
      app.stop("SIGTERM")
      yield* app.ended
      assert.deepStrictEqual(yield* since("ServiceStarting", "ServiceRestarting"), [])
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )

  it.effect("no child is started, and work that asks for one ends without a failure of its service", () =>
    Effect.gen(function* () {
      class Kid extends Service.make<Kid>()("Kid", { onStart: Effect.void }) {}
      const asked: Array<unknown> = []
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Service.spawn(Effect.delay(Service.adopt(Kid), "2 seconds"), { name: "asks" }),
        onStop: () => Effect.void
      }) {}
      class Asks extends Service.make<Asks>()("Asks", {
        onStart: Effect.context<Service.Scope>(),
        onStop: (context) =>
          Effect.map(
            Effect.exit(Effect.provide(Service.adopt(Kid), context)),
            (exit) => void asked.push(Exit.isFailure(exit))
          )
      }) {}
      const app = yield* running(Layer.merge(behindSlow(Parent.layer), Asks.layer))
      app.stop("SIGTERM")
      const report = yield* app.ended
      assert.deepStrictEqual(yield* since("ServiceStarting", "ServiceFailed"), [])
      assert.deepStrictEqual(asked, [true])
      assert.strictEqual(report.exitCode, 0)
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )

  it.effect("work in its backoff ends at once, and work that fails is not run again", () =>
    Effect.gen(function* () {
      const runs: Array<string> = []
      class Worker extends Service.make<Worker>()("Worker", {
        onStart: Effect.gen(function* () {
          const fails = (name: string) =>
            Effect.zipRight(
              Effect.sync(() => runs.push(name)),
              Effect.fail("busy")
            )
          yield* Service.spawn(fails("restart"), { name: "restart", onFailure: restart("2 seconds") })
          yield* Service.spawn(fails("retry"), {
            name: "retry",
            onFailure: Failure.retry(Schedule.spaced("2 seconds"))
          })
          yield* Service.timeout(fails("late"), "2 seconds", {
            name: "late",
            onFailure: restart("10 millis")
          })
        })
      }) {}
      const app = yield* running(behindSlow(Worker.layer))
      app.stop("SIGTERM")
      yield* TestClock.adjust(0)
      const snapshot = Option.getOrThrow(yield* app.snapshot)
      const tasks = snapshot.services.find(({ name }) => name === "Worker")?.tasks ?? []
      assert.deepStrictEqual(
        tasks.map(({ name }) => name),
        ["late"]
      )
      const report = yield* app.ended
      assert.deepStrictEqual(runs, ["restart", "retry", "late"])
      assert.strictEqual(report.exitCode, 0)
    }).pipe(Effect.provide(Journal.layer), leavesNothing)
  )
})
