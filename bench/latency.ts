/**
 * How long a published event is on its way to its handler, at a steady rate: a
 * fiber publishes whenever the next event is due, and the handler notes the
 * time. The one `PubSub` has no other listeners at first, as each would cost as
 * much as the one that is measured; ours has 1,000.
 */
import { Effect } from "effect"
import { turn } from "./app.ts"
import { pubSub, toolkit } from "./buses.ts"
import { type Count, makeCount } from "./count.ts"
import type { Suite } from "./main.ts"
import { millis } from "./report.ts"
import { expectCount, figure, paired, quantile, ratios } from "./rounds.ts"

const perSecond = 5_000

export const latency: Suite = async (quick, report) => {
  const compare = async (others: number, seconds: number, rounds: number, setting: string) => {
    const events = perSecond * seconds
    const count = makeCount()
    const ours = await toolkit({ count, listeners: 1, others: 1_000 })
    const stream = await pubSub({ count, listeners: 1, others })
    const costs = await paired(
      rounds,
      {
        "effect-services": () => measure(count, events, ours),
        "one PubSub, a Stream": () => measure(count, events, stream)
      },
      1
    )
    await ours.stop()
    await stream.stop()
    for (const [name, atMost] of [
      ["p50", 0.2],
      ["p99", 0.25]
    ] as const) {
      const of = figure(costs, (cost) => cost[name])
      const what = `${name} from publish to handler, ${perSecond.toLocaleString("en")} events per second${setting}`
      report.variants(what, millis, of)
      const values = ratios(of["effect-services"], of["one PubSub, a Stream"])
      report.goal({ goal: "4", what: `${what}, of PubSub and Stream`, atMost, values })
    }
  }

  await compare(0, quick ? 0.5 : 3, quick ? 3 : 15, "")
  // As the goal has it. At that rate the one `PubSub` cannot keep up, so a tenth of a second says enough.
  await compare(1_000, 0.1, quick ? 1 : 5, ", both with 1,000 others")
}

interface Sender<R> {
  readonly publish: (n: number) => Effect.Effect<unknown, never, R>
  readonly run: (effect: Effect.Effect<void, never, R>) => Promise<void>
}

const measure = async <R>(count: Count, events: number, { publish, run }: Sender<R>) => {
  const sent: Array<number> = []
  const latencies: Array<number> = []
  count.left = 1
  count.done = () => {
    count.left = 1
    // Events are handled in the order in which they were published.
    latencies.push(performance.now() - sent[latencies.length]!)
  }
  await run(
    Effect.suspend(() => {
      const start = performance.now()
      const next = Effect.suspend(() => {
        const now = performance.now()
        if (now < start + (sent.length * 1_000) / perSecond) return aTurn
        sent.push(now)
        return publish(sent.length)
      })
      return Effect.whileLoop({ while: () => sent.length < events, body: () => next, step: () => {} })
    })
  )
  const deadline = performance.now() + 10_000
  while (latencies.length < events && performance.now() < deadline) await turn()
  expectCount("handler calls", latencies.length, events)
  return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

const aTurn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
