/**
 * What idle things hold in memory: what is in use after a collection with `n`
 * of them running, less what was before, for each. Every one has closures of
 * its own, and listeners are called once, so that none is missing.
 *
 * A fiber is parked in `Effect.async(() => {})`, as `Effect.never` would hold a
 * timer besides.
 */
import { Context, Effect, Layer, Runtime, Schema } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch, turn } from "./app.ts"
import { Counter, handler, makeCount, range } from "./count.ts"
import type { Suite } from "./main.ts"
import { bytes } from "./report.ts"
import { atRest, expectCount, heap, paired, ratios } from "./rounds.ts"

export const memory: Suite = async (quick, report) => {
  const n = quick ? 2_000 : 10_000
  const merged = layers(n)
  const variants = {
    listener: () => inService(n, listen, n),
    interval: () =>
      inService(
        n,
        () =>
          Service.interval(
            Effect.sync(() => count.handled++),
            "1 hour"
          ),
        0
      ),
    // Growth of these is goal 6.
    few: () => inService(n / 10, adopt, n / 10),
    adopted: () => inService(n, adopt, n),
    parked: () => parked(n),
    scoped: () => built(n, merged)
  }
  // What is made once for all is not theirs: the first round bears that.
  const costs = await paired(3, variants, 1)
  for (const thing of ["listener", "interval"] as const) {
    report.variants(`heap of one of ${n.toLocaleString("en")}`, bytes, {
      [`an idle ${thing}`]: costs[thing],
      "a parked fiber": costs.parked
    })
    report.goal({
      goal: "memory",
      what: `an idle ${thing}, of a parked fiber`,
      atMost: 0.15,
      values: ratios(costs[thing], costs.parked)
    })
  }
  report.variants(`heap of one of ${n.toLocaleString("en")}`, bytes, {
    "an idle adopted service: interval, listener, cleanup": costs.adopted,
    [`one of ${(n / 10).toLocaleString("en")}`]: costs.few,
    "Layer.scoped with a finalizer": costs.scoped
  })
  report.goal({
    goal: "6",
    what: `heap for each of ${n.toLocaleString("en")} adopted, of each of ${(n / 10).toLocaleString("en")}`,
    atMost: 1.1,
    values: ratios(costs.adopted, costs.few)
  })
  report.goal({
    goal: "memory",
    what: "an idle adopted service, of a Layer.scoped",
    atMost: 0.6,
    values: ratios(costs.adopted, costs.scoped)
  })
}

const count = makeCount()
let cleaned = 0
const cleanup = () => Effect.sync(() => cleaned++)

const Ping = Event.make("ping", { n: Schema.Number })
const listen = () => Service.listen(Ping, handler())

class Worker extends Service.make<Worker>()("Worker", {
  onStart: Effect.gen(function* () {
    yield* Service.interval(
      Effect.sync(() => count.handled++),
      "1 hour"
    )
    yield* listen()
    yield* Service.addCleanup(cleanup())
  })
}) {}

const adopt = (i: number) => Service.adopt(Worker, { name: String(i) })

type Needs = Service.Scope | EventBus.EventBus | Counter

/** Bytes for each of `n` things that a service owns; `listeners` of them hear of an event. */
const inService = async (
  n: number,
  one: (i: number) => Effect.Effect<unknown, never, Needs>,
  listeners: number
): Promise<number> => {
  let runtime!: Runtime.Runtime<Needs>
  class Owner extends Service.make<Owner>()("Owner", {
    onStart: Effect.map(Effect.runtime<Needs>(), (_) => (runtime = _)),
    stopTimeout: "5 minutes"
  }) {}
  const { stop } = await launch(
    Owner.layer.pipe(Layer.provide(EventBus.layer), Layer.provide(Layer.succeed(Counter, count)))
  )
  const run = Runtime.runPromise(runtime)
  const before = await atRest()
  await run(Effect.forEach(range(n), one, { discard: true }))
  await turn()
  const each = (heap() - before) / n
  count.handled = 0
  await run(EventBus.emit(Ping, { n: 1 }))
  expectCount("handler calls", count.handled, listeners)
  await stop()
  return each
}

const parked = async (n: number): Promise<number> => {
  let begun = 0
  const one = () => Effect.forkScoped(Effect.async<never>(() => void begun++))
  const before = await atRest()
  const { stop } = await launch(
    Layer.scopedDiscard(Effect.forEach(range(n), one, { discard: true })),
    Layer.launch
  )
  const each = (heap() - before) / n
  expectCount("parked fibers", begun, n)
  await stop()
  return each
}

const layers = (n: number) =>
  range(n).map((i) => {
    const tag = Context.GenericTag<object, object>(`Layer${i}`)
    return Layer.scoped(
      tag,
      Effect.map(
        Effect.addFinalizer(() => cleanup()),
        () => ({})
      )
    )
  })

const built = async (n: number, all: ReturnType<typeof layers>): Promise<number> => {
  cleaned = 0
  const before = await atRest()
  const { stop } = await launch(Layer.mergeAll(all[0]!, ...all.slice(1)), Layer.launch)
  const each = (heap() - before) / n
  await stop()
  expectCount("finalizers", cleaned, n)
  return each
}
