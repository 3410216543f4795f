/** A server for @effect/platform without a port: what is served on it answers the requests of a test, in the test's time. */
import { HttpApp, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer } from "effect"

/** Status, and what the body says. */
type Answer = readonly [status: number, body: any]

/** A server on which nothing is served yet. */
export const make = () => {
  let answer: ((request: Request) => Effect.Effect<Answer>) | undefined
  const server = HttpServer.make({
    address: { _tag: "TcpAddress", hostname: "test", port: 80 },
    serve: (app, middleware) =>
      Effect.acquireRelease(
        Effect.map(Effect.context<never>(), (context) => {
          answer = (request) =>
            Effect.gen(function* () {
              let response = HttpServerResponse.empty()
              const note = (_: unknown, sent: HttpServerResponse.HttpServerResponse) =>
                Effect.sync(() => void (response = sent))
              yield* HttpApp.toHandled(app as HttpApp.Default, note, middleware).pipe(
                Effect.provideService(
                  HttpServerRequest.HttpServerRequest,
                  HttpServerRequest.fromWeb(request)
                ),
                Effect.provide(context)
              )
              const web = HttpServerResponse.toWeb(response)
              const text = yield* Effect.promise(() => web.text())
              const isJson = web.headers.get("content-type")?.includes("json") === true
              return [web.status, isJson ? JSON.parse(text) : text]
            })
        }),
        () => Effect.sync(() => (answer = undefined))
      )
  })
  /** Posts a body, if there is one, and gets otherwise. */
  const ask = (path: string, body?: unknown) =>
    Effect.suspend(() => {
      if (answer === undefined) return Effect.die(new Error("nothing is served"))
      const posted = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }
      return answer(new Request(`http://test${path}`, posted))
    })
  return { ask, layer: Layer.succeed(HttpServer.HttpServer, server) }
}
