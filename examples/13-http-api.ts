// The same with HttpApi: the API is data, from which servers, clients and documentation are made.
import { createServer } from "node:http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpMiddleware,
  HttpServerRequest
} from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { Health } from "effect-services"
import { NodeApp, NodeHttp } from "effect-services/node"
import { Figures, Metrics, UnknownShop } from "./dashboard/Metrics.ts"
import { Visitor } from "./dashboard/Visitor.ts"

// What the services fail with is part of the API, with its status: nothing is left to map.
const Api = HttpApi.make("Api").add(
  HttpApiGroup.make("dashboard")
    .add(
      HttpApiEndpoint.get("figures", "/dashboard/:shop")
        .setPath(Schema.Struct({ shop: Schema.String }))
        .addSuccess(Figures)
    )
    .addError(UnknownShop)
)

const DashboardController = HttpApiBuilder.group(Api, "dashboard", (handlers) =>
  handlers.handle(
    "figures",
    Effect.fn(function* ({ path }) {
      const metrics = yield* Metrics
      return yield* metrics.of(path.shop)
    })
  )
)

const named = HttpMiddleware.make((app) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
    Effect.annotateLogs(app, "request", `${method} ${url}`)
  )
)

const app = Visitor.layer("/dashboard/north", "/dashboard/west", "/ready").pipe(
  Layer.provide(HttpApiBuilder.serve(named)),
  Layer.provide(HttpApiBuilder.Router.use(Health.addTo)),
  Layer.provide(Layer.provide(HttpApiBuilder.api(Api), DashboardController)),
  Layer.provide(Metrics.layer),
  Layer.provide(NodeHttp.layer(() => createServer(), { port: 0, host: "127.0.0.1" }))
)
NodeApp.runMain(app, { name: "Example" })

// prints:
// INFO Example > HttpServer started in 1ms
// INFO Example > Metrics started in 1ms
// INFO Example > Visitor started in 1ms
// INFO Example started in 1ms, with 3 services
// INFO reading the figures (GET /dashboard/north)
// /dashboard/north: 200 {"orders":3,"revenue":64.9}
// INFO reading the figures (GET /dashboard/west)
// /dashboard/west: 404 {"shop":"west","_tag":"UnknownShop"}
// /ready: 200 ready
// INFO Example is stopping: Example > Visitor asked for it
// INFO Example > Visitor stopped in 1ms
// INFO Example > HttpServer stopped in 1ms
// INFO Example > Metrics stopped in 1ms
// INFO Example stopped in 1ms, clean
