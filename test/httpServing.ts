/** Runs apps that serve HTTP in this process, for tests with real sockets. */
import { once } from "node:events"
import * as Http from "node:http"
import * as Net from "node:net"
import { type HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger } from "effect"
import { App, Journal, type Service, ServiceRegistry } from "effect-services"
import { NodeHttp } from "effect-services/node"
import { client } from "./client.ts"

export const upgradeHeaders =
  "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
export const local = { port: 0, host: "127.0.0.1" } as const
export const row = HttpServerResponse.text("row")
export const routes = HttpRouter.empty.pipe(HttpRouter.get("/", row))
export const port = HttpServer.addressWith((address) =>
  address._tag === "TcpAddress" ? Effect.succeed(address.port) : Effect.die("no port")
)

/** Runs an app that serves a router, in the background: its port, its journal, and its end. */
export const serving = <E, R>(
  app: HttpApp.Default<E, R>,
  options: Partial<NodeHttp.Options> = {},
  createServer: () => Http.Server = () => Http.createServer(),
  appOptions: App.Options = {}
) => servingLayer(HttpServer.serve(app), options, createServer, appOptions)

/** As `serving`, for whatever layer serves: the ways of @effect/platform differ. */
export const servingLayer = <E, R>(
  served: Layer.Layer<never, E, R>,
  options: Partial<NodeHttp.Options> = {},
  createServer: () => Http.Server = () => Http.createServer(),
  appOptions: App.Options = {}
) =>
  Effect.gen(function* () {
    const started = yield* Deferred.make<number>()
    const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
    const registry = yield* Deferred.make<ServiceRegistry.ServiceRegistry["Type"]>()
    const layer = served.pipe(
      Layer.merge(Layer.effectDiscard(Effect.flatMap(port, (_) => Deferred.succeed(started, _)))),
      Layer.merge(
        Layer.effectDiscard(
          Effect.flatMap(ServiceRegistry.ServiceRegistry, (_) => Deferred.succeed(registry, _))
        )
      ),
      Layer.provide(NodeHttp.layer(createServer, { ...local, ...options }))
    ) as Layer.Layer<never, Service.StartError<NodeHttp.ListenError>, App.Provided>
    const fiber = yield* App.launch(layer, appOptions).pipe(
      Effect.provideService(Journal.Journal, journal),
      Effect.provide(Logger.remove(Logger.defaultLogger)),
      Effect.forkDaemon
    )
    const open = yield* Effect.raceFirst(
      Deferred.await(started),
      Effect.zipRight(Fiber.join(fiber), Effect.never)
    )
    const status = Effect.flatMap(Deferred.await(registry), (_) =>
      Effect.provideService(ServiceRegistry.snapshot, ServiceRegistry.ServiceRegistry, _)
    )
    return { port: open, entries: journal.recent, status, stop: Fiber.interrupt(fiber), fiber }
  })

export const connected = (port: number) => Effect.promise(() => client(port))
export const received = ({ closed }: Effect.Effect.Success<ReturnType<typeof connected>>) =>
  Effect.promise(closed)
export const receives = (connection: Effect.Effect.Success<ReturnType<typeof connected>>, pattern: RegExp) =>
  Effect.promise(() => connection.receives(pattern))
export const isClean = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
export const lines = (entries: ReadonlyArray<Journal.Entry>, kinds: ReadonlyArray<Journal.Entry["_tag"]>) =>
  entries.filter(({ _tag }) => kinds.includes(_tag)).map((entry) => Journal.format(entry))

/** Sends a request, and gives its status and how its body ended: `end`, or the code of an error. */
export const asking = (port: number, path: string, isSlow = false) =>
  Effect.async<string>((resume) => {
    let status = ""
    const ended = (how: string) => resume(Effect.succeed(`${status}${how}`))
    const request = Http.get({ port, host: "127.0.0.1", path, agent: false }, (response) => {
      status = `${response.statusCode} `
      response.on("end", () => ended("end"))
      response.on("error", (error: NodeJS.ErrnoException) => ended(error.code ?? error.message))
      if (!isSlow) return void response.resume()
      // Reads so slowly that it has not come to the end when the server stops.
      response.pause()
      setTimeout(() => response.resume(), 1_000)
    })
    request.on("error", (error: NodeJS.ErrnoException) => ended(error.code ?? error.message))
  })

/** A way to a server that takes so long in each direction. */
export const slowProxy = async (port: number, millis: number) => {
  const proxy = Net.createServer((client) => {
    const upstream = Net.connect(port, "127.0.0.1")
    const pass = (from: Net.Socket, to: Net.Socket) => {
      from.on("data", (data) => setTimeout(() => to.writable && to.write(data), millis))
      from.on("error", () => to.destroy())
      // As long as for data: timers of different times overtake each other when the event loop is late.
      from.on("close", () => setTimeout(() => to.destroySoon(), millis))
    }
    pass(client, upstream)
    pass(upstream, client)
  })
  proxy.listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const address = proxy.address()
  return { port: typeof address === "object" ? address!.port : 0, close: () => void proxy.close() }
}
