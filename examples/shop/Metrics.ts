/** How the process and the business are doing. */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Clock, Effect, Ref } from "effect"
import { EventBus, Service } from "effect-services"
import { MetricsUpdated, OrderCompleted } from "./events.ts"
import { Settings } from "./Settings.ts"

/** How often Node looks at the event loop. What it measures contains this. */
const resolutionMs = 10

export class Metrics extends Service.make<Metrics>()("Metrics", {
  onStart: Effect.gen(function* () {
    const { metricsEvery } = yield* Settings
    // Money is added up in cents, because 0.1 + 0.2 is not 0.3.
    const orders = yield* Ref.make({ count: 0, cents: 0 })
    const delay = yield* Effect.acquireRelease(
      Effect.sync(() => monitorEventLoopDelay({ resolution: resolutionMs })),
      (histogram) => Effect.sync(() => histogram.disable())
    )
    delay.enable()
    let since = { cpu: process.cpuUsage(), at: yield* Clock.currentTimeMillis }

    const current = Effect.gen(function* () {
      const { count, cents } = yield* Ref.get(orders)
      const used = process.cpuUsage(since.cpu)
      const elapsedMs = Math.max((yield* Clock.currentTimeMillis) - since.at, 1)
      return {
        eventLoopDelayMs: rounded(Math.max(delay.percentile(99) / 1e6 - resolutionMs, 0)),
        heapMb: rounded(process.memoryUsage().heapUsed / 1e6),
        cpuPercent: rounded((used.user + used.system) / 10 / elapsedMs),
        ordersSinceStart: count,
        revenueSinceStart: cents / 100
      }
    })
    const update = Effect.gen(function* () {
      yield* EventBus.emit(MetricsUpdated, yield* current)
      since = { cpu: process.cpuUsage(), at: yield* Clock.currentTimeMillis }
      delay.reset()
    })

    yield* Service.interval(update, metricsEvery)
    yield* Service.listen(OrderCompleted, ({ total }) =>
      Ref.update(orders, ({ count, cents }) => ({ count: count + 1, cents: cents + Math.round(total * 100) }))
    )
    // A cleanup and not `onStop`: it runs when the queued orders have been counted, so these figures are final.
    yield* Service.addCleanup(
      Effect.flatMap(current, ({ ordersSinceStart, revenueSinceStart }) =>
        Effect.log(
          `final figures: ${ordersSinceStart} orders since start, worth ${revenueSinceStart.toFixed(2)}`
        )
      )
    )
    return { current }
  })
}) {}

const rounded = (n: number) => Math.round(n * 10) / 10
