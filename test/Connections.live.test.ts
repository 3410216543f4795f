/** What becomes of connections when a server stops, byte by byte. */
import { Headers, HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { connected, isClean, received, receives, row, serving, servingLayer } from "./httpServing.ts"

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
})
