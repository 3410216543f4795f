// The same with HttpLayerRouter: each controller is a layer, and so is the middleware.
import { createServer } from "node:http"
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer } from "effect"
import { Health } from "effect-services"
import { NodeApp, NodeHttp } from "effect-services/node"
import { Metrics, type UnknownShop } from "./dashboard/Metrics.ts"
import { Visitor } from "./dashboard/Visitor.ts"

// What services fail with, answered in one place.
const errors = HttpLayerRouter.middleware<{ handles: UnknownShop }>()(
  Effect.succeed((handler) =>
    Effect.catchTag(handler, "UnknownShop", ({ shop }) =>
      Effect.orDie(HttpServerResponse.json({ error: `there is no shop "${shop}"` }, { status: 404 }))
    )
  )
)

const named = HttpLayerRouter.middleware(
  (handler) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) =>
      Effect.annotateLogs(handler, "request", `${method} ${url}`)
    ),
  { global: true }
)

const DashboardController = HttpLayerRouter.use((router) =>
  router.add(
    "GET",
    "/dashboard/:shop",
    Effect.gen(function* () {
      const { shop = "" } = yield* HttpLayerRouter.params
      const metrics = yield* Metrics
      return yield* HttpServerResponse.json(yield* metrics.of(shop))
    })
  )
).pipe(Layer.provide(errors.layer))

const app = Visitor.layer("/dashboard/north", "/dashboard/west", "/ready").pipe(
  Layer.provide(
    HttpLayerRouter.serve(Layer.mergeAll(DashboardController, HttpLayerRouter.use(Health.addTo), named), {
      disableLogger: true,
      disableListenLog: true
    })
  ),
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
// /dashboard/west: 404 {"error":"there is no shop \"west\""}
// /ready: 200 ready
// INFO Example is stopping: Example > Visitor asked for it
// INFO Example > Visitor stopped in 1ms
// INFO Example > HttpServer stopped in 1ms
// INFO Example > Metrics stopped in 1ms
// INFO Example stopped in 1ms, clean
