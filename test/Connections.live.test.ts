/** What becomes of connections when a server stops, byte by byte. */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer as createHttpServer, type Server } from "node:http"
import * as Https from "node:https"
import { fileURLToPath } from "node:url"
import {
  Headers,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schedule, Stream } from "effect"
import { NodeHttp } from "effect-services/node"
import {
  connected,
  isClean,
  lines,
  received,
  receives,
  row,
  serving,
  servingLayer,
  slowProxy,
  upgradeHeaders
} from "./httpServing.ts"

const post = (path: string) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`
const answers = (text: string) => text.split("HTTP/1.1 ").length - 1

describe("after an answer has said close, no further request on its connection is processed", () => {
  it.live.each<readonly [string, ReadonlyArray<string>, number]>([
    ["two that answer at once, in one packet", [post("/0") + post("/0")], 0],
    ["five that answer at once, in one packet", [post("/0").repeat(5)], 0],
    ["two packets 1 ms apart", [post("/0"), post("/0")], 1],
    ["two that take 5 ms, 3 ms apart", [post("/5"), post("/5")], 3],
    ["a slow one and a fast one, in one packet", [post("/30") + post("/0")], 0],
    ["a fast one and a slow one, in one packet", [post("/0") + post("/30")], 0]
  ])("%s", ([, packets, gap]) =>
    Effect.gen(function* () {
      let handled = 0
      const at = (millis: number) =>
        Effect.suspend(() => {
          handled++
          return millis === 0 ? row : Effect.delay(row, millis)
        })
      const router = HttpRouter.empty.pipe(
        HttpRouter.post("/0", at(0)),
        HttpRouter.post("/5", at(5)),
        HttpRouter.post("/30", at(30))
      )
      const app = yield* servingLayer(HttpServer.serve(router, HttpMiddleware.logger))
      const one = yield* connected(app.port)
      one.socket.setNoDelay(true)
      const stopping = yield* Effect.fork(app.stop)
      yield* Effect.sleep("50 millis")
      for (const packet of packets) {
        one.socket.write(packet)
        if (gap > 0) yield* Effect.sleep(gap)
      }
      const text = yield* received(one)
      assert.isAtLeast(answers(text), 1)
      assert.strictEqual(handled, answers(text))
      assert.isTrue(isClean(yield* Fiber.join(stopping)))
    })
  )

  it.live("also when a handler says it, and the server goes on", () =>
    Effect.gen(function* () {
      let handled = 0
      const closing = HttpServerResponse.text("row", { headers: Headers.fromInput({ connection: "close" }) })
      const router = HttpRouter.empty.pipe(
        HttpRouter.post(
          "/",
          Effect.zipRight(
            Effect.sync(() => handled++),
            closing
          )
        )
      )
      const app = yield* serving(router)
      const one = yield* connected(app.port)
      one.socket.write(post("/").repeat(3))
      assert.strictEqual(answers(yield* received(one)), 1)
      assert.strictEqual(handled, 1)
      assert.isTrue(isClean(yield* app.stop))
    })
  )
})

describe("in the drain", () => {
  it.live("a handler's own `connection: keep-alive` does not win over close", () =>
    Effect.gen(function* () {
      const headers = Headers.fromInput({ connection: "keep-alive", "keep-alive": "timeout=60" })
      const router = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("row", { headers })))
      const app = yield* serving(router)
      const [one, old] = yield* Effect.all([connected(app.port), connected(app.port)])
      one.get("/")
      yield* receives(one, /connection: keep-alive[^]*row$/i)
      const stopping = yield* Effect.fork(app.stop)
      yield* Effect.sleep("50 millis")
      one.get("/")
      old.socket.write("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
      assert.match(yield* received(one), /row(?=[^]*connection: close)(?![^]*keep-alive)[^]*row$/i)
      assert.match(yield* received(old), /^(?=[^]*connection: close)(?![^]*keep-alive)[^]*row$/i)
      assert.isTrue(isClean(yield* Fiber.join(stopping)))
    })
  )

  it.live("an endless response that is marked ends like server-sent events", () =>
    Effect.gen(function* () {
      const lines = Stream.repeatEffectWithSchedule(
        Effect.succeed(new TextEncoder().encode("{}\n")),
        Schedule.spaced("20 millis")
      )
      const ndjson = HttpServerResponse.stream(lines, { contentType: "application/x-ndjson" })
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/response", NodeHttp.endless(ndjson)),
        HttpRouter.get("/route", NodeHttp.endless(Effect.zipRight(Effect.yieldNow(), ndjson))),
        HttpRouter.get("/late", NodeHttp.endless(Effect.delay(ndjson, "400 millis")))
      )
      const app = yield* serving(router, { drainTimeout: "10 seconds" })
      const [one, other, late] = yield* Effect.all([1, 2, 3].map(() => connected(app.port)))
      one!.get("/response")
      other!.get("/route")
      late!.get("/late")
      yield* receives(one!, /\{\}/)
      yield* receives(other!, /\{\}/)
      const [took, stopped] = yield* Effect.timed(app.stop)
      assert.match(yield* received(one!), /\r\n0\r\n\r\n$/)
      assert.match(yield* received(other!), /\r\n0\r\n\r\n$/)
      assert.match(yield* received(late!), /^HTTP\/1.1 503/)
      assert.isTrue(isClean(stopped))
      assert.isBelow(Duration.toMillis(took), 5_000)
    })
  )

  it.live.each(["raw", "channel", "writer"])("a WebSocket (%s) is closed with 1001", (path) =>
    Effect.gen(function* () {
      const open = Effect.flatMap(HttpServerRequest.upgrade, (socket) =>
        Effect.map(socket.writer, (write) => ({ socket, write }))
      )
      const done = HttpServerResponse.empty()
      const router = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/raw",
          Effect.scoped(Effect.flatMap(open, ({ socket, write }) => socket.runRaw(write))).pipe(
            Effect.as(done)
          )
        ),
        HttpRouter.get(
          "/channel",
          Stream.never.pipe(
            Stream.merge(Stream.make("row")),
            Stream.encodeText,
            Stream.pipeThroughChannel(HttpServerRequest.upgradeChannel()),
            Stream.runDrain,
            Effect.as(done)
          )
        ),
        HttpRouter.get(
          "/writer",
          Effect.scoped(
            Effect.flatMap(open, ({ socket, write }) =>
              Effect.zipRight(
                Effect.forkScoped(socket.runRaw(() => Effect.void)),
                Effect.forever(Effect.zipRight(write("row"), Effect.sleep("20 millis")))
              )
            )
          )
        )
      )
      const app = yield* serving(router)
      const one = yield* connected(app.port)
      one.get(`/${path}`, upgradeHeaders)
      yield* receives(one, /101 Switching Protocols/)
      yield* Effect.sleep("50 millis")
      const stopped = yield* app.stop
      // A close frame: its length, its code, its reason.
      assert.include(yield* received(one), "\u0088\u0018\u0003\u00e9the server is stopping")
      assert.isTrue(isClean(stopped))
      assert.deepStrictEqual(lines(yield* app.entries, ["RequestFailed"]), [])
    })
  )

  it.live.each([10, 60])("a TLS handshake that begins %d ms before is as an idle connection", (lead) =>
    Effect.gen(function* () {
      const pem = readFileSync(fileURLToPath(new URL("fixtures/localhost.pem", import.meta.url)), "utf8")
      const server = Https.createServer({ key: pem, cert: pem })
      const isAccepted = once(server, "connection")
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/", row)), {}, () => server as Server)
      const proxy = yield* Effect.promise(() => slowProxy(app.port, 25))
      const answer = yield* Effect.fork(
        Effect.async<string>((resume) => {
          Https.get(
            { port: proxy.port, host: "127.0.0.1", rejectUnauthorized: false, agent: false },
            (response) => {
              response.resume()
              response.on("end", () =>
                resume(Effect.succeed(`${response.statusCode} ${response.headers.connection}`))
              )
            }
          ).on("error", (error) => resume(Effect.succeed(error.message)))
        })
      )
      // The listener of a server that stops before resets it, however early it was asked for.
      yield* Effect.promise(() => isAccepted)
      yield* Effect.sleep(lead)
      const stopped = yield* app.stop
      assert.strictEqual(yield* Fiber.join(answer), "200 close")
      assert.isTrue(isClean(stopped))
      proxy.close()
    })
  )
})

it.live(
  "keeps a connection that was opened ahead as long as a used one, and gives a slow head 15 s from its first byte",
  () =>
    Effect.gen(function* () {
      // Node looks for connections that are late as often as this.
      const createServer = () => createHttpServer({ connectionsCheckingInterval: 500 })
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/", row)), {}, createServer)
      const [ahead, used, slow, second] = yield* Effect.all([1, 2, 3, 4].map(() => connected(app.port)))
      used!.get("/")
      second!.get("/")
      yield* receives(second!, /row$/)
      yield* Effect.sleep("4 seconds")
      const begun = performance.now()
      slow!.socket.write("GET / HTTP/1.1\r\n")
      second!.socket.write("GET / HTTP/1.1\r\n")
      const trickle = setInterval(() => slow!.socket.write("x: y\r\n"), 1_000)
      assert.match(yield* received(slow!), /^HTTP\/1.1 408 /)
      clearInterval(trickle)
      assert.match(yield* received(second!), /row(HTTP\/1.1 408 [^]*)$/)
      const took = performance.now() - begun
      assert.isAbove(took, 14_900)
      assert.isBelow(took, 18_500)
      ahead!.get("/")
      used!.get("/")
      yield* receives(ahead!, /200 OK[^]*row$/)
      yield* receives(used!, /row[^]*200 OK[^]*row$/)
      assert.isTrue(isClean(yield* app.stop))
    }),
  40_000
)
