/**
 * Tasks that a service spawns, against `Effect.forkIn` a scope: many that are
 * parked, and short ones that come and go. Each interruption and each run is
 * counted.
 */
import { Effect, Exit, Runtime, Scope } from "effect"
import { Service } from "effect-services"
import { launch, times } from "./app.ts"
import { handled, makeCount, until } from "./count.ts"
import type { Suite } from "./main.ts"
import { millis, nanos } from "./report.ts"
import { collect, expectCount, figure, paired, perOperation, ratios, timed } from "./rounds.ts"

export const tasks: Suite = async (quick, report) => {
  const n = quick ? 5_000 : 100_000
  const parked = await paired(quick ? 3 : 5, {
    "effect-services": () => park(n, spawner),
    "Effect.forkIn": () => park(n, forker)
  })
  const what = `${n.toLocaleString("en")} parked tasks`
  report.variants(
    `${what}: start`,
    millis,
    figure(parked, ({ start }) => start)
  )
  const stop = figure(parked, ({ stop }) => stop)
  report.variants(`${what}: stop`, millis, stop)
  report.goal({
    goal: "10",
    what: `teardown of ${what}, of forkIn`,
    atMost: 0.75,
    values: ratios(stop["effect-services"], stop["Effect.forkIn"])
  })

  const [ours, theirs] = [await spawner(), await forker()]
  const short = await paired(quick ? 5 : 15, {
    "effect-services": perOperation(quick ? 10 : 50, (n) => ours.run(shortTasks(n, ours.fork))),
    "Effect.forkIn": perOperation(quick ? 10 : 50, (n) => theirs.run(shortTasks(n, theirs.fork)))
  })
  await ours.stop()
  await theirs.stop()
  report.variants("a short task, from start to end", nanos, short)
  report.goal({
    goal: "10",
    what: "short tasks, of forkIn",
    atMost: 1,
    values: ratios(short["effect-services"], short["Effect.forkIn"])
  })
}

/** Where tasks are forked. */
interface Owner {
  readonly fork: (task: Effect.Effect<unknown>) => Effect.Effect<unknown, never, any>
  readonly run: (effect: Effect.Effect<unknown, never, any>) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

const spawner = async (): Promise<Owner> => {
  let runtime!: Runtime.Runtime<Service.Scope>
  class Spawner extends Service.make<Spawner>()("Spawner", {
    onStart: Effect.map(Effect.runtime<Service.Scope>(), (_) => (runtime = _)),
    stopTimeout: "5 minutes"
  }) {}
  const { stop } = await launch(Spawner.layer)
  return { fork: (task) => Service.spawn(task), run: Runtime.runPromise(runtime), stop }
}

const forker = async (): Promise<Owner> => {
  const scope = await Effect.runPromise(Scope.make())
  return {
    fork: Effect.forkIn(scope),
    run: (effect) => Effect.runPromise(effect as Effect.Effect<unknown>),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Milliseconds to start and to stop tasks that never end by themselves. */
const park = async (n: number, make: () => Promise<Owner>) => {
  collect()
  let interrupted = 0
  const { fork, run, stop } = await make()
  const count = makeCount()
  const parked = () =>
    // With a parameter: without one, Effect makes an `AbortController` for each, half of what a stop then costs.
    Effect.async<never>((_resume) => {
      handled(count)
      return Effect.sync(() => interrupted++)
    })
  const start = await timed(() =>
    run(
      until(
        count,
        n,
        times(n, () => fork(parked()))
      )
    )
  )
  const stopped = await timed(stop)
  expectCount("interrupted tasks", interrupted, n)
  return { start, stop: stopped }
}

const shortTasks = (n: number, fork: Owner["fork"]) => {
  const count = makeCount()
  return until(
    count,
    n,
    times(n, () => fork(Effect.sync(() => handled(count))))
  ).pipe(Effect.map(() => expectCount("tasks", count.handled, n)))
}
