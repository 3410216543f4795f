/**
 * What many intervals cost while they run, compared with bare `setInterval` and
 * with a repeating fiber for each, and what they cost a test that moves time.
 *
 * Starts are spread over one period, or all would tick in the same millisecond.
 * Ticks are counted over a window of real time, and compared with those that
 * were due in it.
 */
import { Effect, Layer, Runtime, Schedule, TestClock, TestContext } from "effect"
import { Service } from "effect-services"
import { launch, type Launched, quiet } from "./app.ts"
import { range } from "./count.ts"
import type { Suite } from "./main.ts"
import { collect, expectCount, figure, paired, pause, ratios, timed } from "./rounds.ts"

const ours = "effect-services"
const repeat = "a repeating fiber each"

export const timers: Suite = async (quick, report) => {
  const n = 10_000
  const periods = [
    { at: "1 s", period: 1_000, seconds: quick ? 2 : 10, atMost: 0.15 },
    { at: "100 ms", period: 100, seconds: 5, atMost: 0.12 }
  ]
  // A repeating fiber each for 100 ms takes more than a core: on a loaded machine, that is no smoke test.
  for (const { at, atMost, period, seconds } of quick ? periods.slice(0, 1) : periods) {
    const window = seconds * 1_000
    const costs = await paired(quick ? 1 : 3, {
      [ours]: () => run(services(n, period), n, period, window),
      [repeat]: () => run(fibers(n, period), n, period, window),
      "setInterval, plain functions": () => run(bare(n, period), n, period, window)
    })
    const cpu = figure(costs, ({ cpu }) => cpu)
    const missed = figure(costs, ({ missed }) => missed)
    report.costs("10,000 intervals, CPU time of a tick", at, "ns", cpu)
    report.costs("10,000 intervals, due ticks that were missed", at, "share", missed)
    const what = "10,000 intervals"
    report.limit({
      what: `${what}, CPU time of a tick`,
      of: repeat,
      at,
      atMost,
      values: ratios(cpu[ours], cpu[repeat])
    })
    report.limit({ what: `${what}, missed ticks`, of: "due ticks", at, atMost: 0.01, values: missed[ours] })
  }

  const adjusted = await paired(
    quick ? 7 : 15,
    {
      [ours]: () => adjust(Many(30, 1_000).layer),
      [repeat]: () =>
        adjust(Layer.scopedDiscard(Effect.forEach(range(30), () => repeating(1_000), { discard: true })))
    },
    5
  )
  const what = "TestClock.adjust by 5 s over 30 intervals of 1 s"
  report.costs(what, "CPU time", "ms", adjusted)
  report.limit({ what, of: repeat, at: "", atMost: 0.06, values: ratios(adjusted[ours], adjusted[repeat]) })
}

let ticks = 0
/** Returns a new closure with each call. */
const tick = () => Effect.sync(() => ticks++)

interface Cost {
  /** Nanoseconds per tick that happened. */
  readonly cpu: number
  /** The share of the due ticks that did not happen. */
  readonly missed: number
}

const run = async (
  start: () => Promise<Launched>,
  n: number,
  period: number,
  window: number
): Promise<Cost> => {
  collect()
  const { stop } = await start()
  // By then each has ticked.
  await pause(1_500)
  const [from, before, cpuBefore] = [performance.now(), ticks, process.cpuUsage()]
  await pause(window)
  const { system, user } = process.cpuUsage(cpuBefore)
  const [passed, happened] = [performance.now() - from, ticks - before]
  await stop()
  const after = ticks
  await pause(period)
  expectCount("ticks after the stop", ticks - after, 0)
  return {
    cpu: ((user + system) * 1e3) / happened,
    missed: Math.max(0, 1 - happened / ((n * passed) / period))
  }
}

/** Starts `n` of them, spread over one period. */
const spread = <R>(n: number, period: number, one: () => Effect.Effect<unknown, never, R>) => {
  const batches = 50
  const batch = Effect.forEach(range(n / batches), one, { discard: true })
  return Effect.forEach(range(batches), () => Effect.zipRight(batch, Effect.sleep(period / batches)), {
    discard: true
  })
}

const Many = (n: number, period: number) => {
  const one = () => Service.interval(tick(), period)
  class Ticking extends Service.make<Ticking>()("Ticking", {
    onStart: n > 1_000 ? spread(n, period, one) : Effect.forEach(range(n), one, { discard: true })
  }) {}
  return Ticking
}

const services = (n: number, period: number) => () => launch(Many(n, period).layer)

const bare = (n: number, period: number) => async (): Promise<Launched> => {
  const timers: Array<NodeJS.Timeout> = []
  const one = () => Effect.sync(() => timers.push(setInterval(() => ticks++, period)))
  await Effect.runPromise(spread(n, period, one))
  return { stop: async () => timers.forEach(clearInterval) }
}

const repeating = (period: number) => Effect.forkScoped(Effect.schedule(tick(), Schedule.fixed(period)))

const fibers = (n: number, period: number) => () =>
  launch(Layer.scopedDiscard(spread(n, period, () => repeating(period))), Layer.launch)

/** Milliseconds of CPU time. The adjustment runs inside the test's scope, with its clock. */
const adjust = <A>(layer: Layer.Layer<A>): Promise<number> =>
  Effect.gen(function* () {
    yield* Layer.build(layer)
    const runtime = yield* Effect.runtime()
    const before = ticks
    const took = yield* Effect.promise(() =>
      timed(() => Runtime.runPromise(runtime)(TestClock.adjust("5 seconds")))
    )
    expectCount("ticks in 5 seconds", ticks - before, 150)
    return took
  }).pipe(Effect.scoped, Effect.provide([TestContext.TestContext, quiet]), Effect.runPromise)
