/**
 * What it costs to start and stop services, each with an interval, a listener
 * and a cleanup, against the same in plain Effect: `Layer.scoped`, a repeat
 * fiber, a `Stream` listener, a finalizer.
 *
 * Intervals have a period of an hour, so that no tick falls into a measurement.
 * Between start and stop an event is sent to all, and each call of a handler
 * and each cleanup is counted.
 */
import { Context, Effect, Layer, PubSub, Runtime, Schedule, Schema, Scope, Stream } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch } from "./app.ts"
import { Counter, handled, makeCount, range, until } from "./count.ts"
import type { Suite } from "./main.ts"
import { bytes, millis } from "./report.ts"
import { expectCount, figure, heap, paired, ratios, timed } from "./rounds.ts"

export const lifecycle: Suite = async (quick, report) => {
  for (const [n, rounds] of quick
    ? ([[100, 5]] as const)
    : ([
        [100, 25],
        [1_000, 9]
      ] as const)) {
    const [ours, theirs] = [services(n), layersByHand(n)]
    const costs = await paired(rounds + 1, {
      "effect-services": () => run(n, () => appOf(Layer.mergeAll(...some(ours)))),
      "by hand": () => run(n, () => appByHand(Layer.mergeAll(...some(theirs))))
    })
    const total = warm(figure(costs, ({ start, stop }) => start + stop))
    report.variants(`${amount(n)} services as Layers, merged: start and stop`, millis, total)
    report.goal({
      goal: "6",
      what: `${amount(n)} services as Layers, start and stop, of by hand`,
      atMost: 0.2,
      values: ratios(total["effect-services"], total["by hand"])
    })
  }

  const [small, large, rounds] = quick ? [50, 500, 2] : [1_000, 10_000, 5]
  const adopted = await paired(rounds, {
    large: () => run(large, () => appOf(parentOf(large))),
    largeByHand: () => run(large, () => appByHand(parentByHand(large))),
    largeCheap: () => run(large, () => appByHand(parentByHand(large, cheapWorker))),
    small: () => run(small, () => appOf(parentOf(small))),
    smallByHand: () => run(small, () => appByHand(parentByHand(small)))
  })
  for (const what of ["start", "stop"] as const) {
    const { large: ours, largeByHand, largeCheap } = figure(adopted, (cost) => cost[what])
    report.variants(`${amount(large)} adopted: ${what}`, millis, {
      "effect-services": ours,
      "by hand": largeByHand,
      "by hand, a take loop for the Stream and a Scope for the Layer": largeCheap
    })
  }
  const total = figure(adopted, ({ start, stop }) => start + stop)
  const heaps = figure(adopted, ({ heap }) => heap)
  report.variants(`heap for each of ${amount(large)} adopted`, bytes, {
    "effect-services": heaps.large,
    "by hand": heaps.largeByHand,
    "by hand, a take loop for the Stream and a Scope for the Layer": heaps.largeCheap
  })
  report.goal({
    goal: "6",
    what: `${amount(large)} adopted, start and stop, of by hand`,
    atMost: 0.05,
    values: ratios(total.large, total.largeByHand)
  })
  report.goal({
    goal: "6",
    what: `${amount(large)} adopted, start and stop, of ${amount(small)}`,
    atMost: (1.1 * large) / small,
    values: ratios(total.large, total.small)
  })
  report.goal({
    goal: "6",
    what: `heap for each of ${amount(large)} adopted, of each of ${amount(small)}`,
    atMost: 1.1,
    values: ratios(heaps.large, heaps.small)
  })

  const [short, long, chainRounds] = quick ? [50, 200, 2] : [100, 1_000, 5]
  const [shortOurs, longOurs] = [services(short, "linked"), services(long, "linked")]
  const [shortByHand, longByHand] = [layersByHand(short, "linked"), layersByHand(long, "linked")]
  const chains = warm(
    figure(
      await paired(chainRounds + 1, {
        "effect-services": () => run(long, () => appOf(chain(longOurs))),
        "by hand": () => run(long, () => appByHand(chain(longByHand))),
        short: () => run(short, () => appOf(chain(shortOurs))),
        shortByHand: () => run(short, () => appByHand(chain(shortByHand)))
      }),
      ({ start, stop }) => start + stop
    )
  )
  const { short: ofShort, shortByHand: ofShortByHand, ...ofLong } = chains
  report.variants(`a chain of ${amount(long)}: start and stop`, millis, ofLong)
  report.variants(`a chain of ${amount(short)}: start and stop`, millis, {
    "effect-services": ofShort,
    "by hand": ofShortByHand
  })
  report.goal({
    goal: "7",
    what: `a chain of ${amount(long)}, start and stop, of one of ${amount(short)}`,
    atMost: (1.1 * long) / short,
    values: ratios(ofLong["effect-services"], ofShort)
  })
}

interface Cost {
  /** Milliseconds. */
  readonly start: number
  readonly stop: number
  /** Bytes in use for each, while all run. */
  readonly heap: number
}

/** What is started, the event that is sent to all, and how it is stopped. */
interface Running {
  readonly tell: (n: number) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

const count = makeCount()
let cleaned = 0

const run = async (n: number, start: () => Promise<Running>): Promise<Cost> => {
  count.handled = 0
  cleaned = 0
  let running!: Running
  const before = heap()
  const started = await timed(async () => (running = await start()))
  const after = heap()
  await running.tell(n)
  expectCount("handler calls", count.handled, n)
  const stopped = await timed(running.stop)
  expectCount("cleanups", cleaned, n)
  return { start: started, stop: stopped, heap: (after - before) / n }
}

/** Without the first round, which was to warm up. */
const warm = <Name extends string>(costs: Readonly<Record<Name, ReadonlyArray<number>>>) =>
  Object.fromEntries(
    Object.entries<ReadonlyArray<number>>(costs).map(([name, all]) => [name, all.slice(1)])
  ) as unknown as Readonly<Record<Name, ReadonlyArray<number>>>

const amount = (n: number): string => n.toLocaleString("en")
/** What is made in a loop, and whose needs its caller knows. */
type AnyLayer = Layer.Layer<never, any, any>
const some = <A>(all: ReadonlyArray<A>) => all as readonly [A, ...Array<A>]

/** Each needs the one before: as a user would write it. */
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
  return { tell: () => Runtime.runPromise(runtime)(EventBus.emit(Ping, { n: 1 })), stop }
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

/** The least that one would write: a fiber that takes from the `PubSub`, for the `Stream`. */
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

/** Children that come while the parent runs: a scope for each, and a layer that is built in it. */
const parentByHand = (n: number, cheap?: typeof cheapWorker) => {
  const child = Layer.scopedDiscard(workByHand)
  const start = (scope: Scope.Scope) =>
    cheap === undefined ? Layer.buildWithScope(child, scope) : Scope.extend(cheap, scope)
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
    tell: (n) => Effect.runPromise(until(count, n, PubSub.publish(bus, { _tag: "ping", n: 1 }))),
    stop
  }
}
