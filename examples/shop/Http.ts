/** The shop over HTTP, for this machine only. */
import { createServer, type Server } from "node:http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Deferred, Effect, Layer, ParseResult, Schema, Stream } from "effect"
import { EventBus, Service } from "effect-services"
import { Figures, ImportProgress, MetricsUpdated, Progress } from "./events.ts"
import { Inbox } from "./Inbox.ts"
import { Metrics } from "./Metrics.ts"
import { NewOrder, Order } from "./Order.ts"
import { Orders } from "./Orders.ts"
import { Settings } from "./Settings.ts"

export class Http extends Service.make<Http>()("Http", {
  onStart: Effect.gen(function* () {
    const { port } = yield* Settings
    const closing = yield* Deferred.make<void>()
    const router = HttpRouter.empty.pipe(
      HttpRouter.mount("/orders", OrdersController),
      HttpRouter.mount("/dashboard", DashboardController(closing)),
      HttpRouter.catchTags({
        ParseError: (error) =>
          badRequest("this is not valid", ParseResult.ArrayFormatter.formatErrorSync(error)),
        RequestError: () => badRequest("the body is not JSON", []),
        OrderStoreError: (error) =>
          Effect.zipRight(
            Effect.logError(error.message),
            HttpServerResponse.json({ error: "orders cannot be taken now" }, { status: 503 })
          )
      })
    )
    // Built in the scope of this service, and so gone before the services that its handlers use.
    const server = createServer()
    const context = yield* Layer.build(
      Layer.provideMerge(
        HttpServer.serve(router),
        NodeHttpServer.layer(() => server, { port, host: "127.0.0.1" })
      )
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    yield* Effect.log(`listening on ${HttpServer.formatAddress(address)}/dashboard`)
    return { closing, server }
  }),
  // A live dashboard has no end of its own, so it is told.
  onStop: ({ closing, server }) => Effect.zipRight(Deferred.succeed(closing, undefined), drain(server))
}) {}

/**
 * Takes no new connections, answers what is in flight, and closes each
 * connection after its answer. Done in `onStop`, while there still is somebody
 * to answer: left to its own finalizer, the server would first stop answering
 * and then wait for the requests that come over connections kept alive.
 */
const drain = (server: Server) =>
  Effect.async<void>((resume) => {
    server.prependListener("request", (_, response) => response.setHeader("connection", "close"))
    const sweep = setInterval(() => server.closeIdleConnections(), 20)
    server.close(() => {
      clearInterval(sweep)
      resume(Effect.void)
    })
    return Effect.sync(() => clearInterval(sweep))
  })

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

const DashboardController = (closing: Deferred.Deferred<void>) =>
  HttpRouter.empty.pipe(
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
        return HttpServerResponse.stream(
          lines.pipe(Stream.interruptWhenDeferred(closing), Stream.encodeText),
          { contentType: "text/event-stream" }
        )
      })
    )
  )

const serverSentEvent =
  <A, I>(name: string, schema: Schema.Schema<A, I>) =>
  (payload: A) =>
    `event: ${name}\ndata: ${Schema.encodeSync(Schema.parseJson(schema))(payload)}\n\n`
