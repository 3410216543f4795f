/**
 * Tasks that a service spawns, compared with `Effect.forkIn` a scope: many that
 * are parked, and short ones. Each interruption and each run is counted.
 */
import { Effect, Exit, Runtime, Scope } from "effect"
import { Service } from "effect-services"
import { launch, times } from "./app.ts"
import { handled, makeCount, until } from "./count.ts"
import type { Suite } from "./main.ts"
import { collect, expectCount, figure, paired, perOperation, ratios, timed } from "./rounds.ts"

const [ours, theirs] = ["effect-services", "Effect.forkIn"] as const

export const tasks: Suite = async (quick, report) => {
  const [spawning, forking] = [await spawner(), await forker()]
  const millis = quick ? 40 : 50
  const short = await paired(quick ? 5 : 15, {
    [ours]: perOperation(millis, (n) => spawning.run(shortTasks(n, spawning.fork))),
    [theirs]: perOperation(millis, (n) => forking.run(shortTasks(n, forking.fork)))
  })
  await spawning.stop()
  await forking.stop()
  report.costs("a short task", "start to end", "ns", short)
  report.limit({
    what: "a short task",
    of: theirs,
    at: "",
    atMost: 1.15,
    values: ratios(short[ours], short[theirs])
  })

  const n = quick ? 10_000 : 100_000
  const parked = await paired(quick ? 3 : 5, {
    [ours]: () => park(n, spawner),
    [theirs]: () => park(n, forker)
  })
  const what = `${n.toLocaleString("en")} parked tasks`
  report.costs(
    what,
    "start",
    "ms",
    figure(parked, ({ start }) => start)
  )
  const stop = figure(parked, ({ stop }) => stop)
  report.costs(what, "stop", "ms", stop)
  report.limit({
    what: `stop of ${what}`,
    of: theirs,
    at: "",
    atMost: 0.8,
    values: ratios(stop[ours], stop[theirs])
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

/** Milliseconds to start and to stop tasks that never end on their own. */
const park = async (n: number, make: () => Promise<Owner>) => {
  collect()
  let interrupted = 0
  const { fork, run, stop } = await make()
  const count = makeCount()
  const parked = () =>
    // Without a parameter, Effect makes an `AbortController` for each, which is half of what a stop then costs.
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
