/**
 * Start and stop of services, each with an interval, a listener and a cleanup,
 * compared with the same in plain Effect: `Layer.scoped`, a repeating fiber, a
 * `Stream`, a finalizer.
 *
 * Intervals have a period of an hour, so that no tick falls into a measurement.
 * Between start and stop an event is sent to all. Each call of a handler and
 * each cleanup is counted.
 */
import { Context, Effect, Layer, PubSub, Runtime, Schedule, Schema, Scope, Stream } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch } from "./app.ts"
import { Counter, handled, makeCount, range, until } from "./count.ts"
import type { Suite } from "./main.ts"
import { collect, expectCount, figure, paired, ratios, timed } from "./rounds.ts"

const ours = "effect-services"
const hand = "by hand: Layer.scoped, a repeating fiber, a Stream"
const cheap = "by hand: a scope, a repeating fiber, a take loop"
/** A tenth of them, for the growth. */
const tenth = "effect-services, a tenth as many"

export const lifecycle: Suite = async (quick, report) => {
  for (const n of quick ? [100] : [100, 1_000]) {
    const [layers, plain] = [services(n), layersByHand(n)]
    const total = await measure("services as layers", n, quick ? 4 : n === 100 ? 15 : 7, {
      [ours]: () => run(n, () => appOf(Layer.mergeAll(...some(layers)))),
      [hand]: () => run(n, () => appByHand(Layer.mergeAll(...some(plain))))
    })
    limit("services as layers, start and stop", amount(n), hand, 0.5, ratios(total[ours]!, total[hand]!))
  }

  const many = quick ? 1_000 : 10_000
  const adopted = await measure("adopted services", many, quick ? 2 : 3, {
    [ours]: () => run(many, () => appOf(parentOf(many))),
    [hand]: () => run(many, () => appByHand(parentByHand(many))),
    [cheap]: () => run(many, () => appByHand(parentByHand(many, cheapWorker))),
    [tenth]: () => run(many / 10, () => appOf(parentOf(many / 10)))
  })
  const what = "adopted services, start and stop"
  limit(what, amount(many), hand, 0.25, ratios(adopted[ours]!, adopted[hand]!))
  limit(what, amount(many), "a tenth as many", 11, ratios(adopted[ours]!, adopted[tenth]!))

  const long = quick ? 200 : 1_000
  const [longChain, shortChain] = [services(long, "linked"), services(long / 10, "linked")]
  const chained = await measure("a chain of services", long, quick ? 2 : 5, {
    [ours]: () => run(long, () => appOf(chain(longChain))),
    [tenth]: () => run(long / 10, () => appOf(chain(shortChain)))
  })
  limit(
    "a chain of services, start and stop",
    amount(long),
    "a tenth as many",
    11,
    ratios(chained[ours]!, chained[tenth]!)
  )

  function limit(what: string, at: string, of: string, atMost: number, values: ReadonlyArray<number>) {
    report.limit({ what, at, of, atMost, values })
  }

  /** Reports start and stop, and returns the sums of both. */
  async function measure(
    what: string,
    n: number,
    rounds: number,
    variants: Readonly<Record<string, () => Promise<Cost>>>
  ) {
    const costs = await paired<string, Cost>(rounds, variants, 1)
    for (const step of ["start", "stop"] as const) {
      report.costs(
        what,
        `${amount(n)}: ${step}`,
        "ms",
        figure(costs, (cost) => cost[step])
      )
    }
    return figure(costs, ({ start, stop }) => start + stop)
  }
}

/** Milliseconds. */
interface Cost {
  readonly start: number
  readonly stop: number
}

/** A started app. */
interface Running {
  /** Sends an event and waits until all `n` listeners have handled it. */
  readonly send: (n: number) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

const count = makeCount()
let cleaned = 0

const run = async (n: number, start: () => Promise<Running>): Promise<Cost> => {
  count.handled = 0
  cleaned = 0
  let running!: Running
  collect()
  const started = await timed(async () => (running = await start()))
  await running.send(n)
  expectCount("handler calls", count.handled, n)
  const stopped = await timed(running.stop)
  expectCount("cleanups", cleaned, n)
  return { start: started, stop: stopped }
}

const amount = (n: number): string => n.toLocaleString("en")
/** A layer that is made in a loop, so that its types cannot be told apart. */
type AnyLayer = Layer.Layer<never, any, any>
const some = <A>(all: ReadonlyArray<A>) => all as readonly [A, ...Array<A>]

/** Each needs the one before it. */
const chain = (layers: ReadonlyArray<AnyLayer>): AnyLayer =>
  layers.reduce((before, layer) => Layer.provideMerge(layer, before))

const Ping = Event.make("ping", { n: Schema.Number })

const work = Effect.gen(function* () {
  yield* Service.interval(Effect.void, "1 hour")
  yield* Service.listen(Ping, () => Effect.map(Counter, handled))
  yield* Service.addCleanup(Effect.sync(() => cleaned++))
})

const services = (n: number, linked?: "linked") => {
  const tags: Array<Context.Tag<any, any>> = []
  return range(n).map((i) => {
    const before = linked && tags[i - 1]
    class Worker extends Service.make<Worker>()(`Worker${i}`, {
      onStart: before === undefined ? work : Effect.zipRight(before, work)
    }) {}
    tags.push(Worker)
    return Worker.layer as AnyLayer
  })
}

const parentOf = (n: number) => {
  class Worker extends Service.make<Worker>()("Worker", { onStart: work }) {}
  class Parent extends Service.make<Parent>()("Parent", {
    onStart: Effect.forEach(range(n), (i) => Service.adopt(Worker, { name: String(i) }), { discard: true })
  }) {}
  return Parent.layer
}

const appOf = async (layer: AnyLayer): Promise<Running> => {
  let runtime!: Runtime.Runtime<EventBus.EventBus>
  const capture = Layer.effectDiscard(Effect.map(Effect.runtime<EventBus.EventBus>(), (_) => (runtime = _)))
  const app = Layer.merge(layer, capture).pipe(
    Layer.provide(EventBus.layer),
    Layer.provide(Layer.succeed(Counter, count))
  )
  const { stop } = await launch(app as unknown as Layer.Layer<never>)
  return { send: () => Runtime.runPromise(runtime)(EventBus.emit(Ping, { n: 1 })), stop }
}

interface Sent {
  readonly _tag: string
  readonly n: number
}
class Bus extends Context.Tag("Bus")<Bus, PubSub.PubSub<Sent>>() {}

const workByHand = Effect.gen(function* () {
  yield* Effect.forkScoped(Effect.schedule(Effect.void, Schedule.fixed("1 hour")))
  const events = yield* Stream.fromPubSub(yield* Bus, { scoped: true })
  yield* events.pipe(
    Stream.filter((event) => event._tag === "ping"),
    Stream.runForEach(() => Effect.map(Counter, handled)),
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => cleaned++))
})

/** The least that one would write: a fiber that takes from the `PubSub` in place of the `Stream`. */
const cheapWorker = Effect.gen(function* () {
  yield* Effect.forkScoped(Effect.schedule(Effect.void, Schedule.fixed("1 hour")))
  const mine = yield* PubSub.subscribe(yield* Bus)
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(mine.take, () => Effect.map(Counter, handled))))
  yield* Effect.addFinalizer(() => Effect.sync(() => cleaned++))
})

const layersByHand = (n: number, linked?: "linked") => {
  const tags: Array<Context.Tag<any, any>> = []
  return range(n).map((i) => {
    const before = linked && tags[i - 1]
    const tag = Context.GenericTag<any>(`Worker${i}`)
    tags.push(tag)
    return Layer.scoped(
      tag,
      before === undefined ? workByHand : Effect.zipRight(before, workByHand)
    ) as AnyLayer
  })
}

/** Children of a running parent: a scope for each, and a layer that is built in it. */
const parentByHand = (n: number, worker?: typeof cheapWorker) => {
  const child = Layer.scopedDiscard(workByHand)
  const start = (scope: Scope.Scope) =>
    worker === undefined ? Layer.buildWithScope(child, scope) : Scope.extend(worker, scope)
  return Layer.scopedDiscard(
    Effect.flatMap(Effect.scope, (parent) =>
      Effect.forEach(
        range(n),
        () =>
          Effect.flatMap(Scope.fork(parent, parent.strategy), (scope): Effect.Effect<unknown, never, any> =>
            start(scope)
          ),
        { discard: true }
      )
    )
  )
}

const appByHand = async (layer: AnyLayer): Promise<Running> => {
  const bus = await Effect.runPromise(PubSub.unbounded<Sent>())
  const app = layer.pipe(Layer.provide(Layer.succeed(Bus, bus)), Layer.provide(Layer.succeed(Counter, count)))
  const { stop } = await launch(app as unknown as Layer.Layer<never>, Layer.launch)
  return {
    send: (n) => Effect.runPromise(until(count, n, PubSub.publish(bus, { _tag: "ping", n: 1 }))),
    stop
  }
}
