/** The shop over HTTP. */
import { createServer } from "node:http"
import {
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { Effect, Layer, ParseResult, Schema, Stream } from "effect"
import { EventBus, Health } from "effect-services"
import { NodeHttp } from "effect-services/node"
import { Figures, ImportProgress, MetricsUpdated, Progress } from "./events.ts"
import { Inbox } from "./Inbox.ts"
import { Metrics } from "./Metrics.ts"
import { NewOrder, Order } from "./Order.ts"
import { Orders } from "./Orders.ts"
import { Settings } from "./Settings.ts"

/** What is logged while a request is answered says which. */
const named = HttpMiddleware.make((app) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
    Effect.annotateLogs(app, "request", `${method} ${url}`)
  )
)

const badRequest = (error: string, issues: ReadonlyArray<ParseResult.ArrayFormatterIssue>) =>
  HttpServerResponse.json(
    { error, issues: issues.map(({ message, path }) => ({ path: path.join("."), message })) },
    { status: 400 }
  )

const OrdersController = HttpRouter.empty.pipe(
  HttpRouter.post(
    "/",
    Effect.gen(function* () {
      const newOrder = yield* HttpServerRequest.schemaBodyJson(NewOrder, { errors: "all" })
      const orders = yield* Orders
      const { isNew, order } = yield* orders.place(newOrder)
      return yield* HttpServerResponse.schemaJson(Order)(order, { status: isNew ? 201 : 200 })
    })
  ),
  HttpRouter.get(
    "/",
    Effect.gen(function* () {
      const { limit } = yield* HttpServerRequest.schemaSearchParams(Page)
      const orders = yield* Orders
      return yield* HttpServerResponse.schemaJson(Schema.Array(Order))(yield* orders.latest(limit))
    })
  )
)

const Page = Schema.Struct({
  limit: Schema.optionalWith(
    Schema.NumberFromString.pipe(
      Schema.int(),
      Schema.between(1, 1_000, { message: () => "must be from 1 to 1,000" })
    ),
    { exact: true, default: () => 50 }
  )
})

const DashboardController = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const orders = yield* Orders
      const inbox = yield* Inbox
      return yield* HttpServerResponse.json({
        ...(yield* metrics.current),
        ordersInAll: yield* orders.count,
        imports: yield* inbox.running
      })
    })
  ),
  HttpRouter.get(
    "/live",
    Effect.gen(function* () {
      const figures = yield* EventBus.stream(MetricsUpdated)
      const imports = yield* EventBus.stream(ImportProgress)
      const lines = Stream.merge(
        Stream.map(figures, serverSentEvent(MetricsUpdated.name, Figures)),
        Stream.map(imports, serverSentEvent(ImportProgress.name, Progress))
      )
      return HttpServerResponse.stream(Stream.encodeText(lines), { contentType: "text/event-stream" })
    })
  )
)

const serverSentEvent =
  <A, I>(name: string, schema: Schema.Schema<A, I>) =>
  (payload: A) =>
    `event: ${name}\ndata: ${Schema.encodeSync(Schema.parseJson(schema))(payload)}\n\n`

const routes = HttpRouter.empty.pipe(
  HttpRouter.mount("/orders", OrdersController),
  HttpRouter.mount("/dashboard", DashboardController),
  HttpRouter.mount("/health", Health.routes),
  // What the services fail with becomes an answer here, for all routes.
  HttpRouter.catchTags({
    ParseError: (error) => badRequest("this is not valid", ParseResult.ArrayFormatter.formatErrorSync(error)),
    RequestError: () => badRequest("the body is not JSON", []),
    OrderStoreError: (error) =>
      Effect.zipRight(
        Effect.logError(error.message),
        HttpServerResponse.json({ error: "orders cannot be taken now" }, { status: 503 })
      )
  })
)

export const Http = HttpServer.serve(routes, named).pipe(HttpServer.withLogAddress)

/** The server that the shop is served on, for this machine only. */
export const Server = Layer.unwrapEffect(
  Effect.map(Settings, ({ port, readinessDelay }) =>
    NodeHttp.layer(() => createServer(), {
      port,
      host: "127.0.0.1",
      readinessDelay,
      // No request to the shop takes long, and mails need the time more.
      drainTimeout: "5 seconds"
    })
  )
)
