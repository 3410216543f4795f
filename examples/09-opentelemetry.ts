// OpenTelemetry: with one layer below the app, its services, ticks, handlers and requests are traced and measured.
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeSdk } from "@effect/opentelemetry"
import { HttpServer } from "@effect/platform"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { ConfigProvider, Console, Effect, Layer, Logger, LogLevel } from "effect"
import { Service } from "effect-services"
import { NodeApp } from "effect-services/node"
import { Shop } from "./shop/Shop.ts"

// The one layer. Here it keeps all in memory; in production, give it exporters that send it to a collector.
const spans = new InMemorySpanExporter()
const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const metricReader = new PeriodicExportingMetricReader({ exporter: metrics })
const Telemetry = NodeSdk.layer(() => ({
  resource: { serviceName: "shop" },
  spanProcessor: new SimpleSpanProcessor(spans),
  metricReader
}))

// A customer orders from the shop, and then we look at what has been exported.
class Customer extends Service.make<Customer>()("Customer", {
  onStart: Effect.gen(function* () {
    const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
    const body = JSON.stringify({ email: "ada@example.com", item: "Teapot", quantity: 1, total: 64.9 })
    yield* Effect.promise(() => fetch(`${url}/orders`, { method: "POST", body }))
    yield* Service.timeout(Effect.zipRight(show, Service.stop), "1 second")
  })
}) {}

const show = Effect.gen(function* () {
  const all = spans.getFinishedSpans()
  const nameOf = (id: string | undefined) => all.find((span) => span.spanContext().spanId === id)?.name
  const traced = all.map((span) => {
    const parent = nameOf(span.parentSpanContext?.spanId)
    const sender = nameOf(span.links[0]?.context.spanId)
    return [span.name, parent && `below ${parent}`, sender && `linked to ${sender}`]
      .filter(Boolean)
      .join(", ")
  })
  yield* Effect.forEach(traced.toSorted(), (line) => Console.log(line))

  yield* Effect.promise(() => metricReader.forceFlush())
  const measured = metrics
    .getMetrics()[0]!
    .scopeMetrics.flatMap((scope) =>
      scope.metrics.flatMap(({ dataPoints, descriptor }) =>
        dataPoints
          .filter(({ attributes, value }) => attributes["event"] === "order:completed" && value === 1)
          .map(({ attributes }) => `${descriptor.name} of ${attributes["service"]}: 1`)
      )
    )
  yield* Effect.forEach(measured.toSorted(), (line) => Console.log(line))
})

const settings = new Map([
  ["PORT", "0"],
  ["DATA_DIR", mkdtempSync(join(tmpdir(), "shop-"))]
])
const app = Customer.layer.pipe(
  Layer.provide(Shop),
  Layer.provide(Telemetry),
  Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(settings))),
  Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
)
NodeApp.runMain(app, { name: "Shop" })

// prints:
// Customer start
// Email order:completed, linked to Orders.place
// Email start
// HttpServer start
// Inbox scan
// Inbox start
// Metrics order:completed, linked to Orders.place
// Metrics start
// Orders start
// Orders.place, below http.server POST
// Spool start
// http.server POST
// effect_services_listener_handled of Email: 1
// effect_services_listener_handled of Metrics: 1
