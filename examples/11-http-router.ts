// Controllers with HttpRouter: handlers yield services, and what those fail with is answered in one place.
import { createServer } from "node:http"
import {
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { Effect, Layer } from "effect"
import { Health } from "effect-services"
import { NodeApp, NodeHttp } from "effect-services/node"
import { Metrics } from "./dashboard/Metrics.ts"
import { Visitor } from "./dashboard/Visitor.ts"

const DashboardController = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/:shop",
    Effect.gen(function* () {
      const { shop = "" } = yield* HttpRouter.params
      const metrics = yield* Metrics
      return yield* HttpServerResponse.json(yield* metrics.of(shop))
    })
  )
)

// Each line that is logged while a request is answered, in services too, says which request.
const named = HttpMiddleware.make((app) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
    Effect.annotateLogs(app, "request", `${method} ${url}`)
  )
)

const routes = HttpRouter.empty.pipe(
  HttpRouter.mount("/dashboard", DashboardController),
  HttpRouter.concat(Health.routes),
  HttpRouter.catchTag("UnknownShop", ({ shop }) =>
    HttpServerResponse.json({ error: `there is no shop "${shop}"` }, { status: 404 })
  )
)

const app = Visitor.layer("/dashboard/north", "/dashboard/west", "/ready").pipe(
  Layer.provide(HttpServer.serve(routes, named)),
  Layer.provide(Metrics.layer),
  // With it, a stop answers every request that it has accepted, however the layers are nested.
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
// /dashboard/west: 404 {"error":"there is no shop \"west\""}
// /ready: 200 ready
// INFO Example is stopping: Example > Visitor asked for it
// INFO Example > Visitor stopped in 1ms
// INFO Example > HttpServer stopped in 1ms
// INFO Example > Metrics stopped in 1ms
// INFO Example stopped in 1ms, clean
