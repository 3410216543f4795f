/**
 * Many workers under one parent, each with an interval, a listener and a
 * cleanup: as adopted services, and the same written by hand in plain Effect.
 *
 * Both are started, sent events and stopped in turns in one process, without a
 * logger. What is counted is checked: a handler call or cleanup that is missing
 * ends the run.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, PubSub, Schedule, Schema, Scope } from "effect"
import { App, Event, EventBus, Service } from "effect-services"

const emits = 5

export const lifecycle = async (quick: boolean): Promise<void> => {
  const sizes = quick
    ? [
        { n: 200, rounds: 3 },
        { n: 2_000, rounds: 2 }
      ]
    : [
        { n: 1_000, rounds: 15 },
        { n: 10_000, rounds: 7 }
      ]
  const [small, large] = sizes.map(({ n }) => n)
  // To warm up.
  await rounds(small!, 1)
  const results: Array<Rounds> = []
  for (const size of sizes) {
    // eslint-disable-next-line no-await-in-loop
    results.push(await rounds(size.n, size.rounds))
  }

  const growth = (figure: Figure, of: keyof Rounds) => {
    const [from, to] = results.map((result) => median(result[of].map((row) => row[figure])))
    return to! / from!
  }
  const table: Array<ReadonlyArray<string>> = []
  for (const figure of figures) {
    for (const [i, { ours, theirs }] of results.entries()) {
      table.push([
        figure,
        sizes[i]!.n.toLocaleString("en"),
        spread(ours.map((row) => row[figure])),
        spread(theirs.map((row) => row[figure])),
        spread(ours.map((row, round) => row[figure] / theirs[round]![figure]))
      ])
    }
    table.push([
      `growth of ${figure.split(",")[0]}`,
      `${large! / small!} x`,
      show(growth(figure, "ours")),
      show(growth(figure, "theirs")),
      show(growth(figure, "ours") / growth(figure, "theirs"))
    ])
  }
  print(["", "workers", "effect-services", "by hand", "ratio"], table)

  const workers = sizes.map(({ n, rounds }) => n * rounds * 2).reduce((sum, more) => sum + more)
  console.log(
    `\nMedian (and quartiles) of ${sizes.map(({ rounds }) => rounds).join(" and ")} rounds; ` +
      `a ratio is of the two runs of one round. No logger.\n` +
      `Counted and found right: ${workers.toLocaleString("en")} cleanups, ` +
      `${(workers * emits).toLocaleString("en")} handler calls.\n`
  )
}

interface Rounds {
  readonly ours: Array<Figures>
  readonly theirs: Array<Figures>
}

const rounds = async (n: number, count: number): Promise<Rounds> => {
  const result: Rounds = { ours: [], theirs: [] }
  for (let i = 0; i < count; i++) {
    // Turn about, so that neither always runs in the heap that the other left.
    for (const of of i % 2 === 0 ? (["ours", "theirs"] as const) : (["theirs", "ours"] as const)) {
      // eslint-disable-next-line no-await-in-loop
      result[of].push(await run(of === "ours" ? toolkit : byHand, n))
    }
  }
  return result
}

/** How workers are run: ready when `start` is done, told of an event when `emit` is, gone when `stop` is. */
type Workers = (
  n: number,
  count: Count
) => Effect.Effect<{
  readonly emit: (k: number) => Effect.Effect<unknown>
  readonly stop: Effect.Effect<unknown>
}>

interface Count {
  handled: number
  cleaned: number
}

const Ping = Event.make("ping", { k: Schema.Number })

const toolkit: Workers = (n, count) =>
  Effect.gen(function* () {
    class Worker extends Service.make<Worker>()("Worker", {
      onStart: Effect.gen(function* () {
        yield* Service.interval(Effect.void, "1 hour")
        yield* Service.listen(Ping, () => Effect.sync(() => count.handled++))
        yield* Service.addCleanup(Effect.sync(() => count.cleaned++))
      })
    }) {}
    class Parent extends Service.make<Parent>()("Parent", {
      onStart: Effect.forEach(range(n), (i) => Service.adopt(Worker, { name: String(i) }), { discard: true })
    }) {}

    const ready = yield* Deferred.make<EventBus.EventBus["Type"]>()
    const whenReady = Layer.effectDiscard(
      Effect.flatMap(EventBus.EventBus, (bus) => Deferred.succeed(ready, bus))
    )
    const layer = whenReady.pipe(Layer.provide(Parent.layer), Layer.provide(EventBus.layer))
    const app = yield* Effect.forkDaemon(App.launch(layer, { stopTimeout: "10 minutes" }))
    const bus = yield* Deferred.await(ready)
    return { emit: (k: number) => bus.emit(Ping, { k }), stop: Fiber.interrupt(app) }
  })

/** A scope for each worker under that of the parent, a fiber for each interval and each listener. */
const byHand: Workers = (n, count) =>
  Effect.gen(function* () {
    const parent = yield* Scope.make()
    const pings = yield* PubSub.unbounded<{ readonly k: number; readonly handled: () => void }>()
    const worker = Effect.gen(function* () {
      yield* Effect.forkScoped(Effect.schedule(Effect.void, Schedule.fixed("1 hour")))
      const mine = yield* PubSub.subscribe(pings)
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.flatMap(mine.take, ({ handled }) =>
            Effect.sync(() => {
              count.handled++
              handled()
            })
          )
        )
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => count.cleaned++))
    })
    yield* Effect.forEach(
      range(n),
      () => Effect.flatMap(Scope.fork(parent, parent.strategy), (scope) => Scope.extend(worker, scope)),
      { discard: true }
    )
    return {
      emit: (k: number) =>
        Effect.flatMap(Deferred.make<void>(), (all) => {
          let left = n
          const handled = () => {
            if (--left === 0) Deferred.unsafeDone(all, Effect.void)
          }
          return Effect.zipRight(PubSub.publish(pings, { k, handled }), Deferred.await(all))
        }),
      stop: Scope.close(parent, Exit.void)
    }
  })

const figures = ["start, ms", "emit to all, ms", "stop, ms", "heap per worker, kB"] as const
type Figure = (typeof figures)[number]
type Figures = Readonly<Record<Figure, number>>

const run = (workers: Workers, n: number): Promise<Figures> =>
  Effect.gen(function* () {
    const count: Count = { handled: 0, cleaned: 0 }
    const before = heap()
    const [start, { emit, stop }] = yield* timed(workers(n, count))
    const after = heap()
    const [emitted] = yield* timed(Effect.forEach(range(emits), emit))
    const [stopped] = yield* timed(stop)
    if (count.handled !== n * emits || count.cleaned !== n) {
      throw new Error(`${n} workers: ${count.handled} handler calls, ${count.cleaned} cleanups`)
    }
    return {
      "start, ms": start,
      "emit to all, ms": emitted / emits,
      "stop, ms": stopped,
      "heap per worker, kB": (after - before) / n / 1_024
    }
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)), Effect.runPromise)

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [ms: number, A], E, R> =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, (a) => [performance.now() - start, a] as const)
  })

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

const heap = (): number => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return below + (above - below) * (at % 1)
}
const median = (values: ReadonlyArray<number>) => quantile(values, 0.5)

const show = (value: number) => (value < 100 ? value.toPrecision(2) : Math.round(value).toLocaleString("en"))

const spread = (values: ReadonlyArray<number>) =>
  `${show(median(values))} (${show(quantile(values, 0.25))} to ${show(quantile(values, 0.75))})`

const print = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) => {
  for (const row of [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows]) {
    console.log(`| ${row.join(" | ")} |`)
  }
}
