/**
 * The heap that idle things hold: what is in use after a collection with `n` of
 * them running, less what was in use before, for each. Each has closures of its
 * own, and listeners are called once, so that none is missing.
 *
 * A fiber is parked in `Effect.async(() => {})`, since `Effect.never` would hold
 * a timer too.
 */
import { Context, Effect, Layer, Runtime, Schema } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch, turn } from "./app.ts"
import { Counter, handler, makeCount, range } from "./count.ts"
import type { Suite } from "./main.ts"
import { atRest, expectCount, heap, paired, ratios } from "./rounds.ts"

const things = {
  listener: "an idle listener",
  interval: "an idle interval",
  fiber: "a parked fiber",
  adopted: "an idle adopted service: interval, listener, cleanup",
  layer: "a Layer.scoped with a finalizer"
} as const

export const memory: Suite = async (quick, report) => {
  const n = quick ? 2_000 : 10_000
  const merged = layers(n)
  // The first round pays for what is made only once.
  const costs = await paired(
    3,
    {
      [things.listener]: () => inService(n, listen, n),
      [things.interval]: () =>
        inService(
          n,
          () =>
            Service.interval(
              Effect.sync(() => count.handled++),
              "1 hour"
            ),
          0
        ),
      [things.fiber]: () => parked(n),
      [things.adopted]: () => inService(n, adopt, n),
      [things.layer]: () => built(n, merged)
    },
    1
  )
  for (const { atMost, of, what } of [
    { what: things.listener, of: things.fiber, atMost: 0.4 },
    { what: things.interval, of: things.fiber, atMost: 0.3 },
    { what: things.adopted, of: things.layer, atMost: 1.6 }
  ]) {
    report.costs(`heap of ${what}`, `one of ${n.toLocaleString("en")}`, "bytes", {
      [what]: costs[what],
      [of]: costs[of]
    })
    report.limit({ what: `heap of ${what}`, of, at: "", atMost, values: ratios(costs[what], costs[of]) })
  }
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

/** Bytes for each of `n` things that a service owns, of which `listeners` handle the event. */
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
