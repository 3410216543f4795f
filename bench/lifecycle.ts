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
import { millis } from "./report.ts"
import { collect, expectCount, figure, paired, ratios, timed } from "./rounds.ts"

export const lifecycle: Suite = async (quick, report) => {
  for (const n of quick ? [100] : [100, 1_000]) {
    const [layers, plain] = [services(n), layersByHand(n)]
    await compare(`${amount(n)} services as Layers`, quick ? 4 : n === 100 ? 15 : 7, 0.2, {
      ours: () => run(n, () => appOf(Layer.mergeAll(...some(layers)))),
      theirs: () => run(n, () => appByHand(Layer.mergeAll(...some(plain))))
    })
  }

  const [few, many] = quick ? [30, 300] : [1_000, 10_000]
  const adopted = await compare(`${amount(many)} adopted`, quick ? 2 : 3, 0.05, {
    ours: () => run(many, () => appOf(parentOf(many))),
    theirs: () => run(many, () => appByHand(parentByHand(many))),
    cheap: () => run(many, () => appByHand(parentByHand(many, cheapWorker))),
    few: () => run(few, () => appOf(parentOf(few)))
  })
  report.goal({
    goal: "6",
    what: `${amount(many)} adopted, start and stop, of ${amount(few)}`,
    atMost: (1.1 * many) / few,
    values: ratios(adopted.ours, adopted.few!)
  })

  const [short, long] = quick ? [50, 200] : [100, 1_000]
  const [shortChain, longChain] = [services(short, "linked"), services(long, "linked")]
  const plainChain = layersByHand(long, "linked")
  const chains = await compare(`a chain of ${amount(long)}`, quick ? 2 : 5, undefined, {
    ours: () => run(long, () => appOf(chain(longChain))),
    theirs: () => run(long, () => appByHand(chain(plainChain))),
    few: () => run(short, () => appOf(chain(shortChain)))
  })
  report.goal({
    goal: "7",
    what: `a chain of ${amount(long)}, start and stop, of one of ${amount(short)}`,
    atMost: (1.1 * long) / short,
    values: ratios(chains.ours, chains.few!)
  })

  /** Prints start and stop, and gives both together. */
  async function compare(
    what: string,
    rounds: number,
    atMost: number | undefined,
    variants: Readonly<Record<"ours" | "theirs", () => Promise<Cost>>> &
      Readonly<Partial<Record<"cheap" | "few", () => Promise<Cost>>>>
  ) {
    const costs = await paired<string, Cost>(rounds, variants, 1)
    for (const step of ["start", "stop"] as const) {
      const { cheap, few, ours, theirs } = figure(costs, (cost) => cost[step])
      report.variants(`${what}: ${step}`, millis, {
        "effect-services": ours!,
        "by hand": theirs!,
        ...(cheap && { "by hand, a take loop for the Stream and a Scope for the Layer": cheap }),
        ...(few && { "effect-services, fewer": few })
      })
    }
    const { few, ours = [], theirs = [] } = figure(costs, ({ start, stop }) => start + stop)
    if (atMost !== undefined) {
      const values = ratios(ours, theirs)
      report.goal({ goal: "6", what: `${what}, start and stop, of by hand`, atMost, values })
    }
    return { ours, few }
  }
}

/** Milliseconds. */
interface Cost {
  readonly start: number
  readonly stop: number
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
  collect()
  const started = await timed(async () => (running = await start()))
  await running.tell(n)
  expectCount("handler calls", count.handled, n)
  const stopped = await timed(running.stop)
  expectCount("cleanups", cleaned, n)
  return { start: started, stop: stopped }
}

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
