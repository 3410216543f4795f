import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schedule, TestClock } from "effect"
import { App, Failure, Journal, Service, ServiceRegistry } from "effect-services"
import { leavesNothing, launch, noServices, nothing } from "./support.ts"

/** What an app journals of its plan, and the plan that its registry gives when it has been up for a second. */
const planned = <A, E>(layer: Layer.Layer<A, E, App.Provided>, options: App.Options = {}) =>
  Effect.gen(function* () {
    let plan: App.StopPlan | undefined
    const look = Effect.delay(App.plan, "1 second").pipe(
      Effect.map((seen) => void (plan = seen)),
      Effect.forkScoped,
      Layer.scopedDiscard
    )
    const fiber = yield* launch(Layer.merge(layer, look), { name: "Shop", ...options })
    yield* TestClock.adjust("1 second")
    const warnings = (yield* Journal.recent).filter(({ _tag }) => _tag === "StopPlanTooLong")
    yield* Fiber.interrupt(fiber)
    return { plan: plan!, warnings: warnings.map((entry) => Journal.format(entry)) }
  }).pipe(Effect.provide(Journal.layer))

/** The plan of services that are only described, in the order of their start. */
const planOf = (
  services: ReadonlyArray<Partial<ServiceRegistry.ServiceStatus>>,
  app: Partial<ServiceRegistry.Snapshot> = {}
): App.StopPlan => {
  const name = "Shop"
  const stopTimeout = Duration.seconds(30)
  const all = services.map((service) => ({ ...nothing, ...service }))
  const snapshot = Effect.succeed({ ...noServices, name, stopTimeout, services: all, ...app })
  return Effect.runSync(
    Effect.provideService(App.plan, ServiceRegistry.ServiceRegistry, { snapshot, changes: undefined! })
  )
}
const set = (path: string, seconds: number, dependencies: ReadonlyArray<string> = []) => ({
  path,
  dependencies,
  stopTimeout: Duration.seconds(seconds),
  isStopTimeoutSet: true
})

class Db extends Service.make<Db>()("Db", { onStart: Effect.void, stopTimeout: "15 seconds" }) {}
class Mailer extends Service.make<Mailer>()("Mailer", { onStart: Db }) {}
class Orders extends Service.make<Orders>()("Orders", { onStart: Db }) {}
class Http extends Service.make<Http>()("Http", { onStart: Orders, stopTimeout: "20 seconds" }) {}
const shop = Layer.mergeAll(Mailer.layer, Layer.provide(Http.layer, Orders.layer)).pipe(
  Layer.provide(Db.layer)
)

describe("the plan of a stop", () => {
  it.effect(
    "tells what stops at the same time, for how long, and warns of what was set and does not fit",
    () =>
      Effect.gen(function* () {
        const { plan, warnings } = yield* planned(shop)
        assert.strictEqual(
          App.renderPlan(plan),
          `
Shop will stop in 3 steps within 30s
  1. Http (20s), Mailer (10s by default)
  2. Orders (10s by default)
  3. Db (15s)
  at the longest: Http 20s > Orders 10s > Db 15s = 45s, more than it has
  what was set: Http 20s > Db 15s = 35s, which does not fit`.trim()
        )
        assert.deepStrictEqual(warnings, [
          "Shop may be cut while it stops: what its services have set as stopTimeout adds up to 35s (Http 20s > Db 15s), but its own is 30s. " +
            "Raise that, and terminationGracePeriodSeconds above it, or lower theirs."
        ])
        const { levels, ...rest } = plan
        const budget = { budget: Duration.seconds(10), claim: Duration.zero }
        assert.deepStrictEqual(
          levels.map((level) => level.toSorted((a, b) => (a.service < b.service ? -1 : 1))),
          [
            [
              { service: "Shop > Http", budget: Duration.seconds(20), claim: Duration.seconds(20) },
              { service: "Shop > Mailer", ...budget }
            ],
            [{ service: "Shop > Orders", ...budget }],
            [{ service: "Shop > Db", budget: Duration.seconds(15), claim: Duration.seconds(15) }]
          ]
        )
        const http = { service: "Shop > Http", time: Duration.seconds(20) }
        const orders = { service: "Shop > Orders", time: Duration.seconds(10) }
        const db = { service: "Shop > Db", time: Duration.seconds(15) }
        assert.deepStrictEqual(rest, {
          app: "Shop",
          stopTimeout: Duration.seconds(30),
          longest: { steps: [http, orders, db], sum: Duration.seconds(45) },
          claimed: { steps: [http, db], sum: Duration.seconds(35) },
          fits: false
        })
      }).pipe(leavesNothing)
  )

  it.effect("fits when the app has time for what was set, to the second", () =>
    Effect.gen(function* () {
      const { plan, warnings } = yield* planned(shop, { stopTimeout: "35 seconds" })
      assert.deepStrictEqual([plan.fits, ...warnings], [true])
      assert.include(App.renderPlan(plan), "Http 20s > Db 15s = 35s, which fits")
    }).pipe(leavesNothing)
  )

  it.effect("is no reason to warn when services leave their deadlines to the default, however many", () =>
    Effect.gen(function* () {
      class One extends Service.make<One>()("One", { onStart: Effect.void }) {}
      class Two extends Service.make<Two>()("Two", { onStart: One }) {}
      class Three extends Service.make<Three>()("Three", { onStart: Two }) {}
      const app = Three.layer.pipe(Layer.provide(Two.layer), Layer.provide(One.layer))
      const { plan, warnings } = yield* planned(app, { stopTimeout: "5 seconds" })
      assert.deepStrictEqual([plan.fits, plan.claimed.steps, ...warnings], [true, []])
      assert.include(App.renderPlan(plan), "at the longest: Three 10s > Two 10s > One 10s = 30s")
    }).pipe(leavesNothing)
  )

  it.effect(
    "counts children with their parent, since they stop one after another, and none that is lost",
    () =>
      Effect.gen(function* () {
        class Import extends Service.make<Import>()("Import", {
          onStart: (breaks: boolean) =>
            Effect.when(
              Service.timeout(Effect.die("half a line"), "500 millis", { onFailure: Failure.escalate }),
              () => breaks
            ),
          stopTimeout: "12 seconds"
        }) {}
        class Inbox extends Service.make<Inbox>()("Inbox", {
          onStart: Effect.gen(function* () {
            yield* Service.adopt(Import.layer(false), { name: "a" })
            yield* Service.adopt(Import.layer(false), { name: "b" })
            yield* Service.adopt(Import.layer(true), { name: "lost", onFailure: Failure.log })
            // One that restarts will be there again; until then it counts with its parent's.
            const onFailure = Failure.restart({ backoff: Schedule.spaced("1 hour") })
            yield* Service.adopt(Import.layer(true), { name: "again", onFailure })
          })
        }) {}
        const { plan } = yield* planned(Inbox.layer)
        assert.deepStrictEqual(plan.levels, [
          [{ service: "Shop > Inbox", budget: Duration.seconds(44), claim: Duration.seconds(24) }]
        ])
      }).pipe(leavesNothing)
  )

  it("takes the longest way, not the way with most services", () => {
    const { claimed, longest } = planOf([
      set("Db", 1),
      set("Slow", 20),
      set("A", 1, ["Db"]),
      set("B", 1, ["A", "Db"]),
      { path: "C", dependencies: ["B", "Slow"], stopTimeout: Duration.seconds(3) }
    ])
    const steps = ({ steps, sum }: App.Way) => [
      ...steps.map(({ service }) => service),
      Duration.toSeconds(sum)
    ]
    assert.deepStrictEqual(
      [steps(longest), steps(claimed)],
      [
        ["C", "Slow", 23],
        ["Slow", 20]
      ]
    )
  })

  it("has only what has not stopped yet, and no deadline where there is no app", () => {
    const plan = planOf([set("Db", 40), { ...set("Web", 20, ["Db"]), state: { _tag: "Stopped" } }], {
      name: "",
      stopTimeout: undefined
    })
    assert.isTrue(plan.fits)
    assert.strictEqual(
      App.renderPlan(plan),
      `
The services will stop in 1 step
  1. Db (40s)
  at the longest: Db 40s
  what was set: Db 40s`.trim()
    )
    assert.strictEqual(App.renderPlan(planOf([])), "Shop will stop in 0 steps within 30s")
  })

  it("is there at once for a chain of a thousand, and where each depends on each before it", () => {
    const names = (length: number) => Array.from({ length }, (_, n) => `Shop > S${n}`)
    const chain = names(1_000).map((path, n, all) => set(path, 1, n === 0 ? [] : [all[n - 1]!]))
    const full = names(200).map((path, n, all) => set(path, 1, all.slice(0, n)))
    const begun = performance.now()
    const plans = [planOf(chain), planOf(full)]
    // Much more than it takes, and much less than to walk each way.
    assert.isBelow(performance.now() - begun, 1_000)
    assert.deepStrictEqual(
      plans.map(({ claimed, levels }) => [
        levels.length,
        claimed.steps.length,
        Duration.toSeconds(claimed.sum)
      ]),
      [
        [1_000, 1_000, 1_000],
        [200, 200, 200]
      ]
    )
    const lines = App.renderPlan(plans[0]!).split("\n")
    assert.strictEqual(lines.length, 30)
    assert.deepStrictEqual(lines.slice(-3), [
      "  and 974 more levels",
      "  at the longest: S999 1s > S998 1s > S997 1s > S996 1s > S995 1s > S994 1s (and 994 more) = 16m 40s, more than it has",
      "  what was set: S999 1s > S998 1s > S997 1s > S996 1s > S995 1s > S994 1s (and 994 more) = 16m 40s, which does not fit"
    ])
  })
})
