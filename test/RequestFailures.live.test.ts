/** Requests that fail unexpectedly, over real sockets, in each way of serving of @effect/platform. */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpLayerRouter,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Duration, Effect, Layer, Metric, type MetricPair, MetricState, Stream } from "effect"
import { Journal } from "effect-services"
import { connected, received, row, serving, servingLayer } from "./httpServing.ts"

class Unmapped extends Data.TaggedError("Unmapped")<{ readonly detail: string }> {}
class Busy extends Data.TaggedError("Busy")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.empty({ status: 503 })
  }
}

const boom = new Error("boom")
const handlers = {
  dies: Effect.die(boom),
  fails: Effect.fail(new Unmapped({ detail: "x" })),
  throws: Effect.suspend((): typeof row => {
    throw boom
  }),
  rejects: Effect.promise(() => Promise.reject(boom)),
  body: HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array(10)), Stream.die(boom)))
}
const bad = Object.keys(handlers) as ReadonlyArray<keyof typeof handlers>

const httpRouter = HttpServer.serve(
  bad.reduce(
    (router, name) => HttpRouter.get(router, `/${name}/:id`, handlers[name]),
    HttpRouter.empty as HttpRouter.HttpRouter<unknown>
  )
)
const layerRouter = HttpLayerRouter.serve(
  // The types of HttpLayerRouter ask for failures to be handled, which a cast can hide as well as a bug can.
  Layer.mergeAll(
    ...(bad.map((name) =>
      HttpLayerRouter.add("GET", `/${name}/:id`, handlers[name] as Effect.Effect<typeof row>)
    ) as [Layer.Layer<never, never, HttpLayerRouter.HttpRouter>])
  ),
  { disableLogger: true }
)
const group = HttpApiGroup.make("all")
  .add(HttpApiEndpoint.get("dies", "/dies/:id"))
  .add(HttpApiEndpoint.get("fails", "/fails/:id"))
  .add(HttpApiEndpoint.get("throws", "/throws/:id"))
  .add(HttpApiEndpoint.get("rejects", "/rejects/:id"))
  .add(HttpApiEndpoint.get("body", "/body/:id"))
const api = HttpApi.make("Api").add(group)
const httpApi = HttpApiBuilder.serve().pipe(
  Layer.provide(
    Layer.provide(
      HttpApiBuilder.api(api),
      HttpApiBuilder.group(api, "all", (_) =>
        _.handleRaw("dies", () => handlers.dies)
          .handleRaw("fails", () => handlers.fails as Effect.Effect<never>)
          .handleRaw("throws", () => handlers.throws)
          .handleRaw("rejects", () => handlers.rejects)
          .handleRaw("body", () => handlers.body)
      )
    )
  )
)

const failuresOf = (entries: ReadonlyArray<Journal.Entry>) =>
  entries.flatMap((entry) => (entry._tag === "RequestFailed" ? [entry] : []))

const countOf = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>) =>
  pairs.reduce((sum, { metricKey, metricState }) => {
    const isIt =
      metricKey.name === "effect_services_failures" &&
      metricKey.tags.some(({ key, value }) => key === "service" && value === "HttpServer")
    return isIt && MetricState.isCounterState(metricState) ? sum + Number(metricState.count) : sum
  }, 0)

/** Sends a request, and gives all that comes back until the connection ends. */
const ask = (port: number, path: string) =>
  Effect.gen(function* () {
    const one = yield* connected(port)
    one.get(path, "connection: close\r\n")
    return yield* received(one)
  })

const ways: ReadonlyArray<readonly [string, Layer.Layer<never, never, Layer.Layer.Context<typeof httpApi>>]> =
  [
    ["HttpRouter", httpRouter],
    ["HttpLayerRouter", layerRouter],
    ["HttpApi", httpApi]
  ]

describe.each(ways)("with %s", (_, served) => {
  it.live.each(bad)("a handler that fails (%s) is journaled, counted and seen in the registry", (name) =>
    Effect.gen(function* () {
      const app = yield* servingLayer(served)
      const before = countOf(yield* Metric.snapshot)
      const answer = yield* ask(app.port, `/${name}/17?token=secret`)
      if (name !== "body") assert.match(answer, /^HTTP\/1.1 500 /)
      const [failure, ...more] = failuresOf(yield* app.entries)
      assert.lengthOf(more, 0)
      assert.strictEqual(failure?.service, "App > HttpServer")
      assert.strictEqual(failure?.route, `GET /${name}/:id`)
      assert.isAtLeast(Duration.toMillis(failure!.took), 0)
      assert.include(Cause.pretty(failure!.cause), name === "fails" ? "Unmapped" : "boom")
      assert.match(
        Journal.format(failure!),
        new RegExp(`^App > HttpServer: GET /${name}/:id failed after \\d+ms$`)
      )
      assert.strictEqual(countOf(yield* Metric.snapshot) - before, 1)
      const { services } = yield* app.status
      const last = services[0]?.lastFailure
      assert.strictEqual(last?.work, `GET /${name}/:id`)
      yield* app.stop
    })
  )
})

describe("a request", () => {
  it.live("that is answered by its error, or by nobody, is no failure", () =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/busy", Effect.fail(new Busy())),
        HttpRouter.get("/dies-busy", Effect.die(new Busy())),
        HttpRouter.get("/none", Effect.fail(new Cause.NoSuchElementException())),
        HttpRouter.get("/dies-with-a-response", Effect.die(HttpServerResponse.empty({ status: 418 }))),
        HttpRouter.get("/interrupts", Effect.interrupt)
      )
      const app = yield* serving(router)
      assert.match(yield* ask(app.port, "/busy"), /^HTTP\/1.1 503 /)
      assert.match(yield* ask(app.port, "/dies-busy"), /^HTTP\/1.1 503 /)
      assert.match(yield* ask(app.port, "/none"), /^HTTP\/1.1 404 /)
      assert.match(yield* ask(app.port, "/dies-with-a-response"), /^HTTP\/1.1 418 /)
      assert.match(yield* ask(app.port, "/nowhere"), /^HTTP\/1.1 404 /)
      assert.match(yield* ask(app.port, "/interrupts"), /^HTTP\/1.1 503 /)
      yield* app.stop
      assert.deepStrictEqual(failuresOf(yield* app.entries), [])
    })
  )

  it.live("that fails in a middleware, or under one that hides the failure, is journaled", () =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/dies", Effect.die(boom)),
        HttpRouter.get("/", row)
      )
      const dying = yield* servingLayer(
        HttpServer.serve(
          router,
          HttpMiddleware.make(() => Effect.die(boom))
        )
      )
      assert.match(yield* ask(dying.port, "/?q=1"), /^HTTP\/1.1 500 /)
      yield* dying.stop
      assert.deepStrictEqual(
        failuresOf(yield* dying.entries).map(({ route }) => route),
        ["GET /"]
      )
      const hiding = HttpMiddleware.make(
        Effect.catchAllCause(() => HttpServerResponse.empty({ status: 500 }))
      )
      const hidden = yield* servingLayer(HttpServer.serve(router, hiding))
      assert.match(yield* ask(hidden.port, "/dies"), /^HTTP\/1.1 500 /)
      yield* hidden.stop
      assert.deepStrictEqual(
        failuresOf(yield* hidden.entries).map(({ route }) => route),
        ["GET /dies"]
      )
    })
  )

  it.live("that fails while its response is encoded is journaled", () =>
    Effect.gen(function* () {
      const raw = HttpServerResponse.raw(new ReadableStream())
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/raw", raw)))
      yield* Effect.race(ask(app.port, "/raw"), Effect.sleep("300 millis"))
      assert.deepStrictEqual(
        failuresOf(yield* app.entries).map(({ route }) => route),
        ["GET /raw"]
      )
      // Its connection is reset, so that nothing waits for the rest of it.
      const [took] = yield* Effect.timed(app.stop)
      assert.isBelow(Duration.toMillis(took), 5_000)
    })
  )
})
