/**
 * An HTTP server for @effect/platform on Node with a graceful stop: report not
 * ready, keep serving, stop accepting, answer what is in flight, and only then
 * release the services that the handlers use.
 *
 * The server is a service named `HttpServer`. It stops when the app served on it
 * is released, which happens before anything the handlers need is released,
 * however layers are nested. Its stop is the drain.
 */
import type * as Etag from "@effect/platform/Etag"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Names from "../internal/lifecycle/Names.ts"
import * as Input from "../internal/Input.ts"
import * as Owner from "../internal/lifecycle/Owner.ts"
import * as Lifetime from "../internal/lifecycle/Lifetime.ts"
import type { StartError } from "../internal/lifecycle/StartError.ts"
import * as Startup from "../internal/lifecycle/Startup.ts"
import * as Connections from "./Connections.ts"
import * as HttpDrain from "./HttpDrain.ts"
import * as RequestFailures from "./RequestFailures.ts"
import * as ResponseBodies from "./ResponseBodies.ts"
import * as ServerRequest from "./ServerRequest.ts"

/** Where to listen, as for Node's `server.listen`, and how to drain. */
export interface Options extends Omit<Net.ListenOptions, "signal"> {
  /** The name of the service. Defaults to `HttpServer`; two servers in one app need different names. */
  readonly name?: string | undefined
  /**
   * How long to keep accepting connections after the app has become not ready.
   * Defaults to none. Use `5 seconds` under Kubernetes: endpoints take about that
   * long to stop sending requests to a terminating pod.
   */
  readonly readinessDelay?: Duration.DurationInput | undefined
  /**
   * How long requests in flight may take once new connections are refused. Then
   * their handlers are interrupted and their connections closed, which may take
   * 3 seconds more. Defaults to two thirds of the time that the app has left to
   * stop, `20 seconds` of its 30; the rest is for the other services. Never
   * longer than the app has left.
   */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /**
   * What the drain does with WebSockets and server-sent events, which have no end
   * of their own. `"interrupt"`, the default, ends them when the drain begins, so
   * that clients reconnect elsewhere. `"drain"` gives them `drainTimeout`, for
   * handlers that end by themselves.
   */
  readonly streams?: "interrupt" | "drain" | undefined
  /**
   * The largest request body, in bytes, that is read whole: as text, JSON, URL
   * parameters or array buffer. A larger one is answered with 413. Defaults to 10
   * MiB, far below what a string can hold. `Infinity` is no limit. A route sets
   * its own with `HttpServerRequest.withMaxBodySize`. Streams and multipart bodies
   * are not held in memory, so this does not apply to them.
   */
  readonly maxBodySize?: number | undefined
}

/**
 * Like `NodeHttpServer.layer` of @effect/platform-node, with a graceful drain.
 *
 * When the app served on it is released, for instance on SIGTERM:
 *
 * 1. Answers say `Connection: close`, except to clients that ask again within 200
 *    milliseconds, who are told in the drain. The server accepts connections
 *    for `readinessDelay`, counted from when the app became not ready; a client
 *    that sends a request in that time loses none.
 * 2. New connections are refused. Open ones are closed after their next answer, or
 *    when they stay idle for 300 milliseconds. Streams are ended, unless `streams` is `"drain"`.
 * 3. Requests in flight have `drainTimeout`. The rest are answered with 503 if no
 *    response has begun, interrupted, and recorded as `RequestsCut`, which makes
 *    the stop unclean. No client can make the stop take longer.
 *
 * A handler must not wait for its own server to stop: it would wait until it is
 * aborted. Fork such work, and answer.
 *
 * Until an app is served, requests are answered with 503. Node's default timeouts
 * are replaced: idle connections, also those opened ahead and never used, are kept
 * for 65 seconds, since load balancers keep theirs for 60 and whoever closes first
 * may lose a request; a request head may take 15 seconds from its first byte,
 * against slow clients. Node's limit of 5 minutes for a whole request stays.
 *
 * Serves one app, once. A request that offers a protocol other than WebSocket
 * (`Upgrade: h2c`) is answered, but Node does not deliver its body.
 *
 * Fails with `StartError<ListenError>`. Throws `InputError` for invalid options.
 */
export const layer = (
  evaluate: () => Http.Server,
  options: Options
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  StartError<ListenError>
> => {
  Input.callable(where, "evaluate", evaluate)
  const settings = check(options)
  const { stack } = new Error()
  const server = Startup.layer(
    HttpServer.HttpServer,
    {
      definition: {
        name: settings.name,
        location: Names.madeAt(stack),
        isStopTimeoutSet: options.drainTimeout !== undefined || settings.readinessDelay > 0
      },
      onStop: (started: Server) => started.drain,
      startTimeout: undefined,
      stopTimeout: HttpDrain.limit(settings)
    },
    Effect.map(Effect.all([Lifetime.lifetime, listen(evaluate, settings)]), ([service, listening]) =>
      serving(service, listening, settings)
    )
  )
  return Layer.merge(server, NodeHttpServer.layerContext)
}

/** The server cannot listen on its address. */
export class ListenError extends Data.TaggedError("ListenError")<{
  /** Host and port, such as `127.0.0.1:3000`, or a path. */
  readonly address: string
  /** The error code of Node, such as `EADDRINUSE`. */
  readonly code: string
  readonly cause: unknown
  /** What is wrong and what to do, where that is known. */
  readonly advice?: string | undefined
}> {
  override get message(): string {
    return `cannot listen on ${this.address}: ${this.advice ?? String(this.cause)}`
  }
}

/**
 * Marks the response of a handler as a stream, which has no end of its own, like
 * server-sent events: the option `streams` says what a drain does with it. For
 * endless NDJSON, long polls and the like. Applies to a handler, or to a single
 * response. Has no effect on other servers.
 *
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Schedule, Stream } from "effect"
 * import { NodeHttp } from "effect-services/node"
 *
 * const ticks = Stream.as(Stream.fromSchedule(Schedule.spaced("1 second")), "{}\n")
 * const response = HttpServerResponse.stream(Stream.encodeText(ticks), { contentType: "application/x-ndjson" })
 * const routes = HttpRouter.empty.pipe(HttpRouter.get("/ticks", NodeHttp.endless(response)))
 * ```
 */
export const endless = <A, E, R>(
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.zipLeft(
    handler,
    Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
      Connections.markStream(NodeHttpServerRequest.toIncomingMessage(request))
    )
  )

const where = "NodeHttp.layer"

/** 10 MiB, as @effect/platform has it elsewhere. */
const defaultMaxBodySize = 10 * 1_048_576

/** How long idle connections are kept, used or not. Load balancers keep theirs for 60 seconds. */
const keepAliveMillis = 65_000
/** How long the head of a request may take from its first byte. */
const headMillis = 15_000

interface Settings extends HttpDrain.Settings {
  readonly name: string
  readonly maxBodySize: number
  readonly listen: Net.ListenOptions
}

const check = (options: Options): Settings => {
  const refuse = (input: string, expected: string, actual: unknown) => {
    throw new Input.InputError({ where, input, expected, actual })
  }
  if (typeof options !== "object" || options === null)
    return refuse("options", "an object with a port or path", options)
  const { drainTimeout, maxBodySize, name, port, readinessDelay, streams, ...elsewhere } = options
  if ("signal" in elsewhere) refuse("signal", "left out: a server ends with its layer", elsewhere.signal)
  // Node takes a `port` key that is undefined for any free port.
  const isElsewhere = elsewhere.path !== undefined || "fd" in elsewhere || "handle" in elsewhere
  const isPort = Number.isInteger(port) && Number(port) >= 0 && Number(port) <= 65_535
  if (port === undefined ? !isElsewhere : !isPort) refuse("port", "a port, 0 to 65535", port)
  return {
    name: Input.name(where, "name", name ?? "HttpServer"),
    maxBodySize:
      maxBodySize === undefined || maxBodySize === Number.POSITIVE_INFINITY
        ? (maxBodySize ?? defaultMaxBodySize)
        : Input.positiveInteger(where, "maxBodySize", maxBodySize),
    listen: port === undefined ? elsewhere : { ...elsewhere, port },
    readinessDelay: Input.millisOrZero(where, "readinessDelay", readinessDelay ?? 0),
    drainTimeout:
      drainTimeout === undefined ? undefined : Input.positiveMillis(where, "drainTimeout", drainTimeout),
    streams: Input.oneOf(where, "streams", ["interrupt", "drain"], streams ?? "interrupt")
  }
}

/** A listening server. */
interface Listening {
  readonly http: HttpServer.HttpServer
  readonly connections: Connections.Connections
}

const listen = (evaluate: () => Http.Server, { listen, name }: Settings) =>
  Effect.flatMap(Lifetime.lifetime, ({ owner }) => {
    const app = owner.shared.root.name === "" ? name : owner.shared.root.name
    const server = evaluate()
    if (typeof server?.listen !== "function" || typeof server.closeAllConnections !== "function") {
      const expected = "a function that returns a server of node:http or node:https"
      throw new Input.InputError({ where, input: "evaluate", expected, actual: server })
    }
    const untouched = new Http.Server()
    if (server.keepAliveTimeout === untouched.keepAliveTimeout) server.keepAliveTimeout = keepAliveMillis
    // Node counts `headersTimeout` from the opening of a connection, and so closes one that was opened ahead.
    const ownsHeads = server.headersTimeout === untouched.headersTimeout
    if (ownsHeads) server.headersTimeout = 0
    const timeouts = ownsHeads ? { head: headMillis, unused: keepAliveMillis } : undefined
    const connections = Connections.make(server, `${app} is starting`, timeouts)
    // An interrupted start may leave a server that is about to listen.
    const end = Effect.sync(() => {
      server.once("listening", () => server.close())
      server.close()
    })
    return Effect.onInterrupt(
      NodeHttpServer.make(() => server, listen),
      () => end
    ).pipe(
      Effect.map((http): Listening => ({ http, connections })),
      Effect.catchAll(({ cause }) => Effect.flatMap(listenError(cause, listen), Effect.fail))
    )
  })

/** The `HttpServer` in the context, and its drain. */
interface Server extends HttpServer.HttpServer {
  readonly drain: Effect.Effect<void>
}

const serving = (
  service: Lifetime.Lifetime,
  { connections, http }: Listening,
  settings: Settings
): Server => {
  let isServing = false

  /** Follows an exchange: records the fiber that handles it, and its failure. */
  const tracked = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const exchange = exchangeOf(connections, fiber.currentContext)
      if (exchange === undefined) return app
      connections.handledBy(exchange, fiber)
      // Its client sends it again over another connection.
      if (exchange.isRefused) return HttpServerResponse.empty({ status: 503 })
      return app.pipe(
        Effect.updateService(HttpServerRequest.HttpServerRequest, (request) =>
          ServerRequest.view(request, exchange, settings.maxBodySize)
        ),
        // What fails after the head has been sent leaves a response that nobody completes.
        Effect.tapErrorCause(() => Effect.sync(() => exchange.isStream || Connections.truncate(exchange))),
        RequestFailures.recorded(service, exchange)
      )
    })
  /** Prepares responses, and records failures before a middleware may hide them by answering. */
  const prepared = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const exchange = exchangeOf(connections, fiber.currentContext)
      if (exchange === undefined) return app
      const prepare = HttpApp.appendPreResponseHandler((_, response) =>
        ResponseBodies.prepare(connections, exchange, response)
      )
      return Effect.zipRight(prepare, RequestFailures.recorded(service, exchange)(app))
    })

  const serve = <E, R>(app: HttpApp.Default<E, R>, middleware?: HttpMiddleware.HttpMiddleware) =>
    Effect.gen(function* () {
      if (isServing) {
        const isOver = service.state._tag === "Stopping" || service.state._tag === "Stopped"
        const why = isOver ? "has stopped, because what was served on it has" : "serves something already"
        throw new Error(
          `${service.path} ${why}. Give each app that is served, also when it is built anew, ` +
            "a server of its own: provide NodeHttp.layer within it."
        )
      }
      isServing = true
      const context = yield* Effect.context<never>()
      for (const path of Owner.pathsIn(service.owner, context)) {
        if (path !== service.path) service.dependencies.add(path)
      }
      // The cast: what the app requires is in the context of whoever calls `serve`, but not in its type.
      // The outer wrapper also sees what fails in the middleware, or while the response is sent.
      yield* http.serve(prepared(app) as HttpApp.Default<unknown>, (inner) =>
        tracked(middleware === undefined ? inner : middleware(inner))
      )
      // Added after the finalizers of `http.serve`, so it runs before them.
      yield* Effect.addFinalizer(() => service.stop)
    })

  const drain = HttpDrain.drain(service, connections, settings)
  return Object.assign(HttpServer.make({ address: http.address, serve }), { drain })
}

/** The exchange that a fiber with this context handles. */
const exchangeOf = (connections: Connections.Connections, context: Context.Context<never>) =>
  Option.getOrUndefined(
    Option.map(
      Context.getOption(
        // The request may be absent from any context; the cast only allows asking for it.
        context as Context.Context<HttpServerRequest.HttpServerRequest>,
        HttpServerRequest.HttpServerRequest
      ),
      (request) => connections.exchangeOf(NodeHttpServerRequest.toIncomingMessage(request))
    )
  )

const advice: Record<string, string> = {
  EADDRINUSE: "it is in use. End what listens there, or choose another.",
  stale:
    "it is a socket that a server has left behind, and nothing listens there any more. Remove the file, and start again.",
  "no socket": "there is a file that is no socket. Choose another path, or remove the file.",
  EACCES: "that is not permitted. Choose a port above 1023, or give the process the right to.",
  EADDRNOTAVAIL: "this machine has no such address. Choose one that it has, or leave `host` out.",
  ENOTFOUND: "there is no such host. Choose an address of this machine, or leave `host` out.",
  ENOENT: "there is no such folder. Make it, or choose another path."
}

/** The error for a failed `listen`. */
const listenError = (cause: unknown, { host, path, port }: Net.ListenOptions): Effect.Effect<ListenError> => {
  // Node passes an `ErrnoException` to `error` listeners of a server.
  const { code = "UNKNOWN" } = cause as NodeJS.ErrnoException
  const name = host?.includes(":") === true ? `[${host}]` : host
  const there = name === undefined ? `port ${port}` : `${name}:${port}`
  const address = path ?? (port === undefined ? "what it was given" : there)
  const advised = (code: string) => new ListenError({ address, code, cause, advice: advice[code] })
  if (code !== "EADDRINUSE" || path === undefined) return Effect.succeed(advised(code))
  return Effect.map(
    stateOf(path),
    (state) => new ListenError({ address, code, cause, advice: advice[state] })
  )
}

/** Why a path cannot be listened on: a server does, one has left its socket, or it is something else. */
const stateOf = (path: string): Effect.Effect<"EADDRINUSE" | "stale" | "no socket"> =>
  Effect.async((resume) => {
    const socket = Net.connect(path)
    const settle = (state: "EADDRINUSE" | "stale" | "no socket") => {
      socket.destroy()
      resume(Effect.succeed(state))
    }
    socket.on("connect", () => settle("EADDRINUSE"))
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOTSOCK") return settle("no socket")
      if (error.code !== "ECONNREFUSED") return settle("EADDRINUSE")
      // Linux also refuses connections to files that are no sockets.
      settle(Fs.lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false ? "no socket" : "stale")
    })
    return Effect.sync(() => socket.destroy())
  })
