/**
 * What many intervals cost while they run, against bare `setInterval` and a
 * fiber that repeats for each, and what they cost a test that moves time.
 *
 * Starts are spread over one period, as otherwise all would tick in the same
 * millisecond. Ticks are counted over a window of real time, and held against
 * those that were due in it.
 */
import { Effect, Layer, Schedule, TestClock, TestContext } from "effect"
import { Service } from "effect-services"
import { launch, type Launched, quiet } from "./app.ts"
import { range } from "./count.ts"
import type { Suite } from "./main.ts"
import { millis, nanos, percent } from "./report.ts"
import { collect, expectCount, figure, paired, ratios } from "./rounds.ts"

export const timers: Suite = async (quick, report) => {
  const n = quick ? 2_000 : 10_000
  const rounds = quick ? 1 : 3
  for (const [period, window] of [
    [1_000, quick ? 3_000 : 10_000],
    [100, quick ? 1_000 : 5_000]
  ] as const) {
    const costs = await paired(rounds, {
      "effect-services": () => run(services(n, period), n, period, window),
      setInterval: () => run(bare(n, period), n, period, window),
      "a fiber that repeats": () => run(fibers(n, period), n, period, window)
    })
    const cpu = figure(costs, ({ cpu }) => cpu)
    const missed = figure(costs, ({ missed }) => missed)
    const what = `${n.toLocaleString("en")} intervals of ${period === 1_000 ? "1 s" : "100 ms"}`
    report.variants(`${what}: CPU time per tick`, nanos, cpu)
    report.variants(`${what}: ticks that were due and did not happen`, percent, missed)
    const ours = "effect-services"
    report.goal({ goal: "8", what: `${what}, share of ticks missed`, atMost: 0.01, values: missed[ours] })
    report.goal({
      goal: "8",
      what: `${what}, CPU per tick, of setInterval`,
      atMost: 4,
      values: ratios(cpu[ours], cpu.setInterval)
    })
    report.goal({
      goal: "8",
      what: `${what}, CPU per tick, of a fiber that repeats`,
      atMost: 0.06,
      values: ratios(cpu[ours], cpu["a fiber that repeats"])
    })
  }

  const adjusted = await paired(quick ? 3 : 15, {
    "effect-services": () => adjust(Many(30, 1_000).layer),
    "a fiber that repeats": () =>
      adjust(Layer.scopedDiscard(Effect.forEach(range(30), () => repeating(1_000), { discard: true })))
  })
  const what = "TestClock.adjust by 5 s over 30 intervals of 1 s"
  report.variants(`${what}, in real time`, millis, adjusted)
  report.goal({
    goal: "9",
    what: `${what}, of a fiber that repeats`,
    atMost: 0.1,
    values: ratios(adjusted["effect-services"], adjusted["a fiber that repeats"])
  })
}

let ticks = 0
/** Another closure with each call. */
const tick = () => Effect.sync(() => ticks++)

interface Cost {
  /** Nanoseconds for each tick. */
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
  await pause(period)
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

const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

/** Starts so many, spread over one period. */
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

/** Milliseconds of real time. */
const adjust = <A>(layer: Layer.Layer<A>): Promise<number> =>
  Effect.gen(function* () {
    yield* Layer.build(layer)
    const [start, before] = [performance.now(), ticks]
    yield* TestClock.adjust("5 seconds")
    const took = performance.now() - start
    expectCount("ticks in 5 seconds", ticks - before, 150)
    return took
  }).pipe(Effect.scoped, Effect.provide([TestContext.TestContext, quiet]), Effect.runPromise)
