/** How response bodies end, as clients of real sockets see it. */
import { Readable } from "node:stream"
import { HttpBody, HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Stream } from "effect"
import { asking, connected, isClean, lines, receives, serving } from "./httpServing.ts"

const bytes = new TextEncoder().encode("row\n")
const rows = Stream.repeatEffectWithSchedule(Effect.succeed(bytes), Schedule.spaced("20 millis"))
const slowRows = async function* () {
  for (let n = 0; n < 500; n++) {
    // oxlint-disable-next-line no-await-in-loop -- row by row, as a slow source gives them
    await new Promise((resolve) => setTimeout(resolve, 20))
    yield "row\n"
  }
}
const form = () => {
  const data = new FormData()
  data.append("file", new Blob([new Uint8Array(64_000_000)]), "file")
  return HttpServerResponse.raw(null).pipe(HttpServerResponse.setBody(HttpBody.formData(data)))
}
const bodies = {
  stream: HttpServerResponse.stream(rows, { contentType: "text/csv" }),
  "stream of a known length": HttpServerResponse.stream(rows, { contentLength: 100_000 }),
  "stream with a slow finalizer": Effect.as(
    Effect.addFinalizer(() => Effect.sleep("100 millis")),
    HttpServerResponse.stream(rows)
  ),
  readable: Effect.sync(() => HttpServerResponse.raw(Readable.from(slowRows()))),
  "web response": Effect.sync(() =>
    HttpServerResponse.fromWeb(new Response(Readable.toWeb(Readable.from(slowRows())) as ReadableStream))
  ),
  form: Effect.sync(form)
}

describe("a body that is cut at the end of the drain never looks whole", () => {
  it.live.each(Object.keys(bodies) as ReadonlyArray<keyof typeof bodies>)("%s", (name) =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(HttpRouter.get("/", bodies[name]))
      const app = yield* serving(router, { drainTimeout: "300 millis" })
      const answer = yield* Effect.fork(asking(app.port, "/", name === "form"))
      yield* Effect.sleep("200 millis")
      yield* app.stop
      assert.strictEqual(yield* Fiber.join(answer), "200 ECONNRESET")
      assert.lengthOf(lines(yield* app.entries, ["RequestsCut"]), 1)
    })
  )
})

describe("a body", () => {
  it.live("that fails half-way never looks whole, also to a client of HTTP/1.0", () =>
    Effect.gen(function* () {
      const failing = HttpServerResponse.stream(
        Stream.concat(Stream.take(rows, 3), Stream.die(new Error("no")))
      )
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/", failing)))
      assert.strictEqual(yield* asking(app.port, "/"), "200 ECONNRESET")
      const old = yield* connected(app.port)
      const errors: Array<string> = []
      old.socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""))
      old.socket.write("GET / HTTP/1.0\r\n\r\n")
      yield* Effect.promise(old.closed)
      assert.deepStrictEqual(errors, ["ECONNRESET"])
      assert.isTrue(isClean(yield* app.stop))
    })
  )

  it.live("that ends is whole, and its connection is kept", () =>
    Effect.gen(function* () {
      const app = yield* serving(
        HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.stream(Stream.take(rows, 3))))
      )
      assert.strictEqual(yield* asking(app.port, "/"), "200 end")
      const one = yield* connected(app.port)
      one.get("/")
      yield* receives(one, /\r\n0\r\n\r\n$/)
      one.get("/")
      yield* receives(one, /\r\n0\r\n\r\n[^]*\r\n0\r\n\r\n$/)
      assert.isTrue(isClean(yield* app.stop))
    })
  )
})
