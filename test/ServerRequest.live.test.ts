/** Limits of request bodies, over real sockets, in each way of serving of @effect/platform. */
import * as Http from "node:http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpLayerRouter,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, Stream } from "effect"
import type { NodeHttp } from "effect-services/node"
import { connected, isClean, lines, received, receives, servingLayer } from "./httpServing.ts"

const mebibyte = 1_048_576
const request = HttpServerRequest.HttpServerRequest
const answer = (length: number) => HttpServerResponse.text(`${length} bytes`)

const handlers = {
  text: Effect.flatMap(request, (_) => Effect.map(_.text, (text) => answer(text.length))),
  json: Effect.flatMap(request, (_) => Effect.map(_.json, (json) => answer(String(json).length))),
  buffer: Effect.flatMap(request, (_) => Effect.map(_.arrayBuffer, (all) => answer(all.byteLength))),
  params: Effect.flatMap(request, (_) => Effect.map(_.urlParamsBody, (params) => answer(params.length))),
  schema: Effect.map(HttpServerRequest.schemaBodyJson(Schema.String), (json) => answer(json.length)),
  dies: Effect.orDie(Effect.flatMap(request, (_) => Effect.map(_.text, (text) => answer(text.length))))
}
const unlimited = {
  stream: Effect.flatMap(request, (_) =>
    Effect.map(
      Stream.runFold(_.stream, 0, (sum, chunk) => sum + chunk.length),
      answer
    )
  ),
  multipart: Effect.flatMap(request, (_) =>
    Effect.map(
      Stream.runFold(
        Stream.flatMap(_.multipartStream, (part) => (part._tag === "File" ? part.content : Stream.empty)),
        0,
        (sum, chunk) => sum + chunk.length
      ),
      answer
    )
  ),
  anySize: HttpServerRequest.withMaxBodySize(handlers.text, Option.none())
}
const all: Record<
  string,
  Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, HttpServerRequest.HttpServerRequest>
> = {
  ...handlers,
  ...unlimited,
  small: HttpServerRequest.withMaxBodySize(handlers.text, Option.some(10)),
  mapped: Effect.catchAll(handlers.text, () => HttpServerResponse.empty({ status: 400 }))
}
const routes = Object.entries(all)

const router = routes.reduce(
  (built, [name, handler]) => HttpRouter.post(built, `/${name}`, handler),
  HttpRouter.empty as HttpRouter.HttpRouter<unknown>
)
// Mounted, so that handlers get a request that the router has modified.
const httpRouter = HttpServer.serve(HttpRouter.mount(HttpRouter.empty, "/api", router), HttpMiddleware.logger)
const layerRouter = HttpLayerRouter.serve(
  Layer.mergeAll(
    ...(routes.map(([name, handler]) =>
      HttpLayerRouter.add("POST", `/api/${name}`, Effect.orDie(handler))
    ) as [Layer.Layer<never, never, HttpLayerRouter.HttpRouter>])
  ),
  { disableLogger: true }
)
const api = HttpApi.make("Api").add(
  HttpApiGroup.make("all").add(
    HttpApiEndpoint.post("text", "/api/text")
      .setPayload(Schema.Struct({ a: Schema.String }))
      .addSuccess(Schema.String)
  )
)
const httpApi = HttpApiBuilder.serve().pipe(
  Layer.provide(
    Layer.provide(
      HttpApiBuilder.api(api),
      HttpApiBuilder.group(api, "all", (_) => _.handle("text", ({ payload }) => Effect.succeed(payload.a)))
    )
  )
)
const ways: ReadonlyArray<readonly [string, Layer.Layer<never, never, Layer.Layer.Context<typeof httpApi>>]> =
  [
    ["HttpRouter", httpRouter],
    ["HttpLayerRouter", layerRouter],
    ["HttpApi", httpApi]
  ]

interface Sent {
  readonly path: string
  readonly mebibytes: number
  readonly headers?: Http.OutgoingHttpHeaders
  readonly head?: string
  readonly tail?: string
}

/** Sends a body in chunks of a mebibyte, without a length, until it is refused. */
const sends = (port: number, { head = "", headers = {}, mebibytes, path, tail = "" }: Sent) =>
  Effect.async<string>((resume) => {
    const sent = Http.request(
      { port, host: "127.0.0.1", path, method: "POST", agent: false, headers },
      (response) => {
        let text = ""
        response.on("data", (data) => (text += String(data)))
        response.on("end", () => resume(Effect.succeed(`${response.statusCode} ${text.trim()}`)))
      }
    )
    sent.on("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    const chunk = Buffer.alloc(mebibyte, "x")
    let left = mebibytes
    const write = () => {
      while (left-- > 0) if (!sent.write(chunk)) return void sent.once("drain", write)
      sent.end(tail)
    }
    if (head !== "") sent.write(head)
    write()
  })

const start = (served: (typeof ways)[number][1], options: Partial<NodeHttp.Options> = {}) =>
  servingLayer(served, options)

describe.each(ways)("with %s", (way, served) => {
  it.live("a body above 10 MiB is answered with 413, however it is sent, and the server lives on", () =>
    Effect.gen(function* () {
      const app = yield* start(served)
      const headers = { "content-type": "application/json" }
      assert.strictEqual(
        yield* sends(app.port, { path: "/api/text", mebibytes: 40, headers }),
        "413 the body exceeds 10 MiB"
      )
      const known = { ...headers, "content-length": 40 * mebibyte }
      assert.strictEqual(
        yield* sends(app.port, { path: "/api/text", mebibytes: 40, headers: known }),
        "413 the body exceeds 10 MiB"
      )
      const one = yield* connected(app.port)
      const body = '{"a":"row"}'
      const head = `content-type: application/json\r\ncontent-length: ${body.length}\r\n`
      one.socket.write(`POST /api/text HTTP/1.1\r\nhost: x\r\n${head}connection: close\r\n\r\n${body}`)
      assert.match(yield* received(one), way === "HttpApi" ? /200 OK[^]*"row"/ : /200 OK[^]*11 bytes/)
      assert.isTrue(isClean(yield* app.stop))
      assert.deepStrictEqual(lines(yield* app.entries, ["RequestFailed"]), [])
    })
  )
})

describe("with HttpRouter", () => {
  it.live("each way to read a body whole is limited", () =>
    Effect.gen(function* () {
      const app = yield* start(httpRouter, { maxBodySize: mebibyte })
      const headers = { "content-type": "application/x-www-form-urlencoded" }
      for (const name of Object.keys(handlers))
        assert.strictEqual(
          yield* sends(app.port, { path: `/api/${name}`, mebibytes: 3, headers }),
          "413 the body exceeds 1 MiB",
          name
        )
      yield* app.stop
    })
  )

  it.live("streams, multipart bodies, and routes with a limit of their own are not", () =>
    Effect.gen(function* () {
      const app = yield* start(httpRouter, { maxBodySize: mebibyte })
      assert.strictEqual(
        yield* sends(app.port, { path: "/api/stream", mebibytes: 30 }),
        `200 ${30 * mebibyte} bytes`
      )
      assert.strictEqual(
        yield* sends(app.port, { path: "/api/anySize", mebibytes: 30 }),
        `200 ${30 * mebibyte} bytes`
      )
      assert.strictEqual(
        yield* sends(app.port, {
          path: "/api/multipart",
          mebibytes: 30,
          headers: { "content-type": "multipart/form-data; boundary=b" },
          head: '--b\r\ncontent-disposition: form-data; name="f"; filename="f"\r\ncontent-type: application/octet-stream\r\n\r\n',
          tail: "\r\n--b--\r\n"
        }),
        `200 ${30 * mebibyte} bytes`
      )
      assert.strictEqual(
        yield* sends(app.port, { path: "/api/small", mebibytes: 1 }),
        "413 the body exceeds 10 bytes"
      )
      assert.match(yield* sends(app.port, { path: "/api/mapped", mebibytes: 2 }), /^400|^EPIPE|^ECONNRESET/)
      yield* app.stop
    })
  )

  it.live("a client that leaves in the middle of its body is no failure of the server", () =>
    Effect.gen(function* () {
      const app = yield* start(httpRouter)
      const one = yield* connected(app.port)
      one.socket.write(
        "POST /api/text HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\nx"
      )
      yield* receives(one, /100 Continue/)
      one.socket.resetAndDestroy()
      yield* Effect.sleep("50 millis")
      assert.isTrue(isClean(yield* app.stop))
      assert.deepStrictEqual(lines(yield* app.entries, ["RequestFailed"]), [])
    })
  )
})
