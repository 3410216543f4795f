import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, MetricState, Schedule, Schema, TestClock } from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { build, leavesNothing } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

/** All that is measured of one service class: `name label…: value`. Metrics are shared by all tests. */
const measured = (service: string) =>
  Effect.sync(() =>
    Metric.unsafeSnapshot()
      .map(({ metricKey: { name, tags }, metricState }) => ({
        name,
        labels: new Map(tags.map(({ key, value }) => [key, value])),
        value: MetricState.isHistogramState(metricState)
          ? `${metricState.count} in ${metricState.sum}`
          : MetricState.isCounterState(metricState)
            ? `${metricState.count}`
            : MetricState.isGaugeState(metricState)
              ? `${metricState.value}`
              : "?"
      }))
      .filter(({ labels }) => labels.get("service") === service)
      .map(({ labels, name, value }) => {
        const label = ["check", "state", "task", "event"].flatMap((key) => labels.get(key) ?? []).join(" ")
        return `${name.replace("effect_services_", "")} ${label}: ${value} ${labels.get("unit")}`
      })
      .toSorted()
  )

describe("metrics", () => {
  it.effect("count and time tasks, with what they skip and how they fail", () =>
    Effect.gen(function* () {
      let runs = 0
      class MeasuredTasks extends Service.make<MeasuredTasks>()("MeasuredTasks", {
        onStart: Service.interval(
          Effect.suspend(() =>
            ++runs === 1 ? Effect.delay(Effect.fail("no"), "2500 millis") : Effect.sleep("100 millis")
          ),
          "1 second",
          { name: "scan" }
        )
      }) {}
      const running = yield* build(MeasuredTasks.layer)
      yield* TestClock.adjust("5500 millis")
      assert.deepStrictEqual(yield* measured("MeasuredTasks"), [
        "failures : 1 {failure}",
        "restarts : 0 {restart}",
        "state running: 1 {service}",
        "state starting: 0 {service}",
        "task_duration scan: 3 in 2700 ms",
        "task_failures scan: 1 {run}",
        "task_runs scan: 3 {run}",
        "task_skipped scan: 2 {run}"
      ])
      yield* running.stop
      assert.include(yield* measured("MeasuredTasks"), "state running: 0 {service}")
      assert.include(yield* measured("MeasuredTasks"), "state stopping: 0 {service}")
    }).pipe(leavesNothing)
  )

  it.effect("count what listeners handle, miss and have waiting, and for how long it waits", () =>
    Effect.gen(function* () {
      class MeasuredListener extends Service.make<MeasuredListener>()("MeasuredListener", {
        onStart: Service.listen(
          Ping,
          ({ n }) => Effect.delay(n === 2 ? Effect.fail("no") : Effect.void, "1 second"),
          { capacity: 2, onFull: "dropNewest" }
        )
      }) {}
      const running = yield* build(Layer.provideMerge(MeasuredListener.layer, EventBus.layer))
      for (const n of [1, 2, 3, 4, 5]) {
        yield* Effect.provide(EventBus.publish(Ping, { n }), running.context)
        yield* TestClock.adjust(0)
      }
      const ofListener = Effect.map(measured("MeasuredListener"), (lines) =>
        lines.filter((line) => line.startsWith("listener"))
      )
      assert.deepStrictEqual(yield* ofListener, [
        "listener_dropped ping: 2 {event}",
        "listener_failed ping: 0 {event}",
        "listener_handled ping: 0 {event}",
        "listener_lag ping: 1 in 0 ms",
        "listener_queue_depth ping: 2 {event}"
      ])
      yield* TestClock.adjust("2 seconds")
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* ofListener, [
        "listener_dropped ping: 2 {event}",
        "listener_failed ping: 1 {event}",
        "listener_handled ping: 2 {event}",
        "listener_lag ping: 3 in 3000 ms",
        "listener_queue_depth ping: 0 {event}"
      ])
    }).pipe(leavesNothing)
  )

  it.effect(
    "forget a health check that was cancelled before its first run, or could not begin any more",
    () =>
      Effect.gen(function* () {
        class CancelledHealth extends Service.make<CancelledHealth>()("CancelledHealth", {
          onStart: Effect.gen(function* () {
            const check = yield* Service.health(Effect.void, { name: "gone" })
            yield* check.cancel
            yield* Service.addCleanup(Service.health(Effect.void, { name: "late" }))
          })
        }) {}
        const running = yield* build(CancelledHealth.layer)
        yield* running.stop
        const counted = (yield* measured("CancelledHealth")).filter((line) => /^health .*: [^0]/.test(line))
        assert.deepStrictEqual(counted, [])
      }).pipe(leavesNothing)
  )

  it.effect("count which health checks are healthy, until their service stops", () =>
    Effect.gen(function* () {
      let runs = 0
      class MeasuredHealth extends Service.make<MeasuredHealth>()("MeasuredHealth", {
        onStart: Effect.zipRight(
          Service.health(
            Effect.suspend(() => (++runs === 1 ? Effect.fail("no") : Effect.void)),
            { name: "database" }
          ),
          Service.health(Effect.never, { name: "disk" })
        )
      }) {}
      const running = yield* build(MeasuredHealth.layer)
      const health = Effect.map(measured("MeasuredHealth"), (lines) =>
        lines.filter((line) => /^health .*: [^0]/.test(line))
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* health, [
        "health database unhealthy: 1 {check}",
        "health disk pending: 1 {check}"
      ])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* health, [
        "health database healthy: 1 {check}",
        "health disk unhealthy: 1 {check}"
      ])
      yield* running.stop
      assert.deepStrictEqual(yield* health, [])
    }).pipe(leavesNothing)
  )

  it.effect("have an empty queue when a service stops that cannot empty it", () =>
    Effect.gen(function* () {
      class MeasuredHang extends Service.make<MeasuredHang>()("MeasuredHang", {
        onStart: Service.listen(Ping, () => Effect.never),
        stopTimeout: "1 second"
      }) {}
      const running = yield* build(Layer.provideMerge(MeasuredHang.layer, EventBus.layer))
      for (const n of [1, 2, 3]) yield* Effect.provide(EventBus.publish(Ping, { n }), running.context)
      yield* Effect.fork(running.stop)
      yield* TestClock.adjust("20 seconds")
      const lines = yield* measured("MeasuredHang")
      assert.include(lines, "listener_queue_depth ping: 0 {event}")
      assert.include(lines, "listener_dropped ping: 3 {event}")
    }).pipe(leavesNothing)
  )

  it.effect("count restarts and who restarts, by class and not by name", () =>
    Effect.gen(function* () {
      class MeasuredChild extends Service.make<MeasuredChild>()("MeasuredChild", {
        onStart: Service.timeout(Effect.die("no"), "1 second", { onFailure: Failure.escalate })
      }) {}
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 second") })
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Effect.forEach(["a", "b"], (name) => Service.adopt(MeasuredChild, { name, onFailure }))
      }) {}
      const running = yield* build(Parent.layer)
      const states = Effect.map(measured("MeasuredChild"), (lines) =>
        lines.filter((line) => /^(state|restarts).*: [^0]/.test(line))
      )
      assert.deepStrictEqual(yield* states, ["state running: 2 {service}"])
      yield* TestClock.adjust("1500 millis")
      assert.deepStrictEqual(yield* states, ["state restarting: 2 {service}"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* states, ["restarts : 2 {restart}", "state running: 2 {service}"])
      yield* TestClock.adjust("1 second")
      yield* running.stop
      assert.deepStrictEqual(yield* states, ["restarts : 2 {restart}"])
    }).pipe(leavesNothing)
  )

  it.effect("count a restart that fails to start, and every failure, of starts and stops too", () =>
    Effect.gen(function* () {
      let lives = 0
      class MeasuredStart extends Service.make<MeasuredStart>()("MeasuredStart", {
        onStart: Effect.suspend(() =>
          ++lives === 1
            ? Service.timeout(Effect.die("no"), "1 second", { onFailure: Failure.escalate })
            : lives === 4
              ? Effect.void
              : Effect.fail("no disk")
        ),
        onStop: () => Effect.fail("no")
      }) {}
      const onFailure = Failure.restart({ backoff: Schedule.spaced("1 second") })
      class Parent extends Service.make<Parent>()("Parent", {
        onStart: Service.adopt(MeasuredStart, { onFailure })
      }) {}
      const running = yield* build(Parent.layer)
      yield* TestClock.adjust("10 seconds")
      yield* running.stop
      const lines = yield* measured("MeasuredStart")
      assert.include(lines, "restarts : 3 {restart}")
      // One run, the stop after it, two starts, and the last stop.
      assert.include(lines, "failures : 5 {failure}")
    }).pipe(leavesNothing)
  )

  it.effect("call the fifty-first task of a class `other`, so that there are only so many", () =>
    Effect.gen(function* () {
      class MeasuredMany extends Service.make<MeasuredMany>()("MeasuredMany", {
        onStart: Effect.forEach(Array.from({ length: 60 }), (_, n) =>
          Service.spawn(Effect.void, { name: `import ${n}` })
        )
      }) {}
      const running = yield* build(MeasuredMany.layer)
      yield* TestClock.adjust(0)
      const runs = (yield* measured("MeasuredMany")).filter((line) => line.startsWith("task_runs"))
      assert.strictEqual(runs.length, 51)
      assert.include(runs, "task_runs other: 10 {run}")
      yield* running.stop
      // Also where each composition of layers has its own services, as one for each request.
      const again = yield* build(MeasuredMany.layer)
      yield* again.stop
      assert.strictEqual(
        (yield* measured("MeasuredMany")).filter((line) => line.startsWith("task_runs")).length,
        51
      )
    }).pipe(leavesNothing)
  )

  it.effect("bear the labels of what launches the services", () =>
    Effect.gen(function* () {
      class MeasuredLabels extends Service.make<MeasuredLabels>()("MeasuredLabels", {
        onStart: Effect.void
      }) {}
      const running = yield* Effect.tagMetrics(build(MeasuredLabels.layer), "zone", "eu")
      const found = Metric.unsafeSnapshot().find(({ metricKey: { tags } }) =>
        tags.some(({ value }) => value === "MeasuredLabels")
      )
      assert.include(String(found?.metricKey.tags.map(({ key, value }) => `${key}=${value}`)), "zone=eu")
      yield* running.stop
    }).pipe(leavesNothing)
  )
})
