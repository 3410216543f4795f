import { assert } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Layer, Schedule, Scope, Supervisor, TestClock } from "effect"
import { App, EventBus, Failure, Journal, Service, ServiceRegistry } from "effect-services"
import type * as VirtualTime from "../src/testing/VirtualTime.ts"

/** A list that effects write to, so that order can be compared as a whole. */
export const timeline = () => {
  const lines: Array<string> = []
  return { lines, say: (line: string) => Effect.sync(() => void lines.push(line)) }
}

/** Runs a test, and then asserts that no fiber it has forked is still alive. Fibers hold all timers. */
export const leavesNothing = <A, E, R>(test: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const supervisor = yield* Supervisor.track
    const result = yield* Effect.supervised(test, supervisor)
    // Fibers that were interrupted without being awaited end within a few turns.
    yield* Effect.repeatN(Effect.yieldNow(), 20)
    const alive = (yield* supervisor.value).filter((fiber) => fiber.unsafePoll() === null)
    assert.deepStrictEqual(
      alive.map((fiber) => fiber.id()),
      [],
      "fibers left behind"
    )
    return result
  })

/** Builds a layer as plain Effect would, and gives a `stop` that closes it. */
export const build = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Effect.onError(Layer.buildWithScope(layer, scope), () =>
      Scope.close(scope, Exit.void)
    )
    return { context, stop: Scope.close(scope, Exit.void) }
  })

/** A service that does one thing, under plain Effect and with a bus: what it returned, its journal, and how it is. */
export const doing = <A, E, R>(
  name: string,
  onStart: Effect.Effect<A, E, R>,
  onStop?: () => Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function* () {
    const started = yield* Deferred.make<A>()
    class Doing extends Service.make<Doing>()(name, {
      onStart: Effect.tap(onStart, (value) => Deferred.succeed(started, value)),
      onStop
    }) {}
    const layer = Layer.mergeAll(Doing.layer, Journal.layer, ServiceRegistry.layer)
    const running = yield* build(Layer.provideMerge(layer, EventBus.layer))
    return {
      ...running,
      value: yield* Deferred.await(started),
      entries: Effect.provide(Journal.recent, running.context),
      status: Effect.provide(
        Effect.map(ServiceRegistry.snapshot, ({ services }) => services[0]!),
        running.context
      )
    }
  })

/** A service to which nothing has happened. */
export const nothing: ServiceRegistry.ServiceStatus = {
  name: "",
  path: "",
  state: { _tag: "Running" },
  since: 0,
  restarts: 0,
  isCritical: true,
  lastFailure: undefined,
  startedAfter: undefined,
  startTook: undefined,
  stopTimeout: Duration.seconds(10),
  isStopTimeoutSet: false,
  dependencies: [],
  checks: [],
  tasks: [],
  listeners: [],
  children: []
}

/** A composition without services. */
export const noServices: ServiceRegistry.Snapshot = {
  name: "",
  state: { _tag: "Running" },
  since: 0,
  at: 0,
  stopTimeout: undefined,
  services: []
}

/** Launches an app in the background and waits until its boot has gone as far as it can without time. */
export const launch = <A, E, R>(layer: Layer.Layer<A, E, R>, options?: App.Options) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(App.launch(layer, options))
    yield* TestClock.adjust(0)
    return fiber
  })

/** The journal as lines without times: `ServiceStarted App > Metrics`. */
export const journalLines = Effect.map(Journal.recent, (entries) =>
  entries.map((entry) => {
    const { app, service } = entry as { readonly app?: string; readonly service?: string }
    return `${entry._tag} ${service ?? app}`
  })
)

/** What is to be done about failures, as cases at random choose it. */
export const policies = {
  log: Failure.log,
  escalate: Failure.escalate,
  restart: Failure.restart({
    backoff: Schedule.spaced("20 millis"),
    budget: { restarts: 2, within: "1 second" }
  })
}

/** Moves virtual time, through each moment at which something comes due. */
export const advance = (time: VirtualTime.VirtualTime, millis: number) => {
  const target = time.now() + millis
  assert.isTrue(time.settle(), "comes to rest")
  for (let next = time.next(); next !== undefined && next <= target; next = time.next()) {
    time.moveTo(next)
    assert.isTrue(time.settle(), "comes to rest")
  }
  time.moveTo(target)
}
