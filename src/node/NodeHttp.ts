/**
 * An HTTP server for @effect/platform on Node that stops without losing a
 * request: not ready, keep serving, stop accepting, answer what is in flight,
 * and only then let go of the services that the handlers use.
 *
 * The server is a service, `HttpServer`. What is served on it is released
 * before all that the handlers need, however layers are nested; so that is when
 * the service stops, and its stop is the drain.
 */
import type * as Etag from "@effect/platform/Etag"
import * as Headers from "@effect/platform/Headers"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type { ServeError } from "@effect/platform/HttpServerError"
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Http from "node:http"
import type * as Net from "node:net"
import * as Deadline from "../Deadline.ts"
import * as Input from "../Input.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Owner from "../Owner.ts"
import * as ServiceScope from "../ServiceScope.ts"
import type { StartError } from "../StartError.ts"
import * as Startup from "../Startup.ts"
import * as Connections from "./Connections.ts"

/** Where to listen, as Node's `server.listen` takes it, and how to stop. */
export interface Options extends Net.ListenOptions {
  /** What the service is called. Defaults to `HttpServer`; of two servers in one app, name one. */
  readonly name?: string | undefined
  /**
   * How long the server goes on as before when it has been asked to stop and is
   * not ready any more. Defaults to none. Under Kubernetes, `5 seconds`: it
   * takes about that long until nobody sends requests to a pod that ends.
   */
  readonly readinessDelay?: Duration.DurationInput | undefined
  /**
   * How long requests in flight may take when the server takes no new ones.
   * Then their handlers are interrupted and their connections closed. Defaults
   * to `20 seconds`, two thirds of the app's 30: the rest is for the services.
   */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /**
   * What becomes of WebSockets and server-sent events, which have no end of
   * their own. `"interrupt"`, the default, ends them when the drain begins:
   * their clients connect again, elsewhere. `"drain"` gives them the drain's
   * time, for handlers that end by themselves.
   */
  readonly streams?: "interrupt" | "drain" | undefined
}

/** A server cannot listen where it was told to. */
export class ListenError extends Data.TaggedError("ListenError")<{
  /** `127.0.0.1:3000`, or a path. */
  readonly address: string
  /** Of Node, as `EADDRINUSE`. */
  readonly code: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `cannot listen on ${this.address}: ${advice[this.code] ?? String(this.cause)}`
  }
}

const advice: Record<string, string> = {
  EADDRINUSE: "it is in use. End what listens there, or choose another port.",
  EACCES: "that is not permitted. Choose a port above 1023, or give the process the right to.",
  EADDRNOTAVAIL: "this machine has no such address. Choose one that it has, or leave `host` out.",
  ENOTFOUND: "there is no such host. Choose an address of this machine, or leave `host` out."
}

/**
 * As `NodeHttpServer.layer` of @effect/platform-node, with the drain built in.
 *
 * When what is served on it is released, as on SIGTERM:
 *
 * 1. Answers say `Connection: close` from now on, so clients leave. For
 *    `readinessDelay`, counted from when the app became not ready, all else goes on.
 * 2. New connections are refused. Requests that come over open ones are answered.
 * 3. Requests in flight have `drainTimeout`; those that are left are interrupted,
 *    answered with 503 if they have had no answer, cut, and journaled as
 *    `RequestsCut`, which makes the stop unclean. Nothing that a client does, or
 *    does not do, makes it longer.
 *
 * Before something is served, requests are answered with 503. Idle connections
 * are kept for 65 seconds and heads of requests may take 15, unless the server
 * comes with settings of its own: `keepAliveTimeout` because balancers keep theirs for
 * 60, and who closes first loses a request; `headersTimeout` against clients that trickle.
 *
 * Fails with `StartError<ListenError>`. Throws `InputError` on useless options.
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
        location: stack?.split("\n")[2]?.trim() ?? "an unknown place",
        isStopTimeoutSet: options.drainTimeout !== undefined || settings.readinessDelay > 0
      },
      onStop: (started: Server) => started.drain,
      startTimeout: undefined,
      stopTimeout: settings.readinessDelay + settings.drainTimeout + 3 * cutMillis
    },
    Effect.map(Effect.all([ServiceScope.lifetime, listen(evaluate, settings)]), ([service, listening]) =>
      serving(service, listening, settings)
    )
  )
  return Layer.merge(server, NodeHttpServer.layerContext)
}

const where = "NodeHttp.layer"

/** How long what is cut may take to end, and to be told so. */
const cutMillis = 1_000

/** How long a connection on which nothing is in flight is kept: a request may be on its way. Longer than most ways. */
const lingerMillis = 300

const defaults = { headersTimeout: 15_000, keepAliveTimeout: 65_000 } as const

interface Settings {
  readonly name: string
  readonly listen: Net.ListenOptions
  readonly readinessDelay: number
  readonly drainTimeout: number
  readonly streams: "interrupt" | "drain"
}

const check = (options: Options): Settings => {
  if (options === undefined) {
    throw new Input.InputError({
      where,
      input: "options",
      expected: "an object with a port",
      actual: options
    })
  }
  const { drainTimeout, name, readinessDelay, streams, ...listen } = Input.options(where, options)
  const { port } = listen
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw new Input.InputError({ where, input: "port", expected: "a port, 0 to 65535", actual: port })
  }
  return {
    name: Input.name(where, "name", name ?? "HttpServer"),
    listen,
    readinessDelay: Input.millisOrZero(where, "readinessDelay", readinessDelay ?? 0),
    drainTimeout: Input.positiveMillis(where, "drainTimeout", drainTimeout ?? "20 seconds"),
    streams: Input.oneOf(where, "streams", ["interrupt", "drain"], streams ?? "interrupt")
  }
}

/** A server that listens. */
interface Listening {
  readonly http: HttpServer.HttpServer
  readonly connections: Connections.Connections
}

const listen = (evaluate: () => Http.Server, { listen }: Settings) =>
  Effect.suspend(() => {
    const server = evaluate()
    if (typeof server?.listen !== "function" || typeof server.closeAllConnections !== "function") {
      const expected = "a function that returns a server of node:http or node:https"
      throw new Input.InputError({ where, input: "evaluate", expected, actual: server })
    }
    const untouched = new Http.Server()
    for (const key of ["headersTimeout", "keepAliveTimeout"] as const) {
      if (server[key] === untouched[key]) server[key] = defaults[key]
    }
    const connections = Connections.of(server)
    return NodeHttpServer.make(() => server, listen).pipe(
      Effect.map((http): Listening => ({ http, connections })),
      Effect.mapError((error) => listenError(error, listen))
    )
  })

const listenError = ({ cause }: ServeError, { host, path, port }: Net.ListenOptions): ListenError => {
  const { code = "UNKNOWN" } = cause as NodeJS.ErrnoException
  return new ListenError({
    address: path ?? `${host ?? "port "}${host === undefined ? "" : ":"}${port}`,
    code,
    cause
  })
}

/** What is in the context as the server; with it, how it stops. */
interface Server extends HttpServer.HttpServer {
  readonly drain: Effect.Effect<void>
}

const serving = (
  service: ServiceScope.Lifetime,
  { connections, http }: Listening,
  settings: Settings
): Server => {
  const ends = (exchange: Connections.Exchange) => exchange.isStream && settings.streams === "interrupt"
  let isDraining = false

  /** Notes what handles a request, with the sending of the answer. */
  const handled = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const exchange = exchangeOf(connections, fiber.currentContext)
      if (exchange !== undefined) connections.handledBy(exchange, fiber)
      return app
    })
  /** Notes which answers have no end, before they are sent. */
  const told = <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.tap(app, ({ headers }) =>
      Effect.withFiberRuntime<void>((fiber) => {
        const exchange = exchangeOf(connections, fiber.currentContext)
        const isStream = Option.exists(Headers.get(headers, "content-type"), (type) =>
          type.startsWith(eventStream)
        )
        if (exchange === undefined || !isStream) return Effect.void
        exchange.isStream = true
        return isDraining && ends(exchange) ? Effect.interrupt : Effect.void
      })
    )

  const serve = <E, R>(app: HttpApp.Default<E, R>, middleware?: HttpMiddleware.HttpMiddleware) =>
    Effect.gen(function* () {
      if (service.state._tag === "Stopping" || service.state._tag === "Stopped") {
        throw new Error(
          `${service.path} has stopped, because what was served on it has. ` +
            "Give each layer that is built anew a server of its own: provide NodeHttp.layer within it."
        )
      }
      const context = yield* Effect.context<never>()
      for (const path of Owner.pathsIn(service.owner, context)) {
        if (path !== service.path) service.dependencies.add(path)
      }
      const all: HttpMiddleware.HttpMiddleware =
        middleware === undefined ? handled : (inner) => handled(middleware(inner))
      yield* http.serve(told(app) as HttpApp.Default<unknown>, all)
      // After what `http.serve` has added, and so before it.
      yield* Effect.addFinalizer(() => service.stop)
    })

  const drain = Effect.gen(function* () {
    const { journal, root } = service.owner.shared
    const now = yield* Clock.currentTimeMillis
    const since = root.state._tag === "Stopping" ? root.since : now
    const delay = Math.max(0, settings.readinessDelay - (now - since))
    yield* journal.append({
      _tag: "ServerDraining",
      service: service.path,
      requests: count(connections.inFlight(), false),
      streams: count(connections.inFlight(), true),
      readinessDelay: Duration.millis(delay)
    })
    if (delay > 0) yield* Monotonic.sleep(delay)

    connections.stopListening()
    connections.closeAfterAnswers()
    isDraining = true
    for (const exchange of connections.inFlight()) if (ends(exchange)) Connections.interrupt(exchange)
    const closed = Effect.timeoutOption(connections.closed, lingerMillis).pipe(
      Effect.zipRight(Effect.sync(connections.closeWhenIdle)),
      Effect.zipRight(connections.closed)
    )
    const inTime = yield* Deadline.within(closed, settings.drainTimeout)
    if (Option.isNone(inTime)) {
      const late = connections.inFlight()
      const requests = byRoute(late.filter(({ isStream }) => !isStream))
      if (requests.length > 0) {
        const after = Duration.millis(settings.drainTimeout)
        yield* journal.append({ _tag: "RequestsCut", service: service.path, after, requests })
      }
      for (const exchange of late) Connections.cut(exchange)
      connections.closeWhenIdle()
      yield* Deadline.within(connections.closed, cutMillis)
      // Handlers that wait for their clients are told that these are gone, and release what they hold.
      connections.destroy()
      yield* Deadline.within(connections.closed, cutMillis)
    }
  }).pipe(Effect.ensuring(Effect.sync(connections.destroy)))

  return Object.assign(HttpServer.make({ address: http.address, serve }), { drain })
}

const eventStream = "text/event-stream"

const exchangeOf = (connections: Connections.Connections, context: Context.Context<never>) =>
  Option.getOrUndefined(
    Option.map(
      Context.getOption(
        context as Context.Context<HttpServerRequest.HttpServerRequest>,
        HttpServerRequest.HttpServerRequest
      ),
      (request) => connections.exchangeOf(NodeHttpServerRequest.toIncomingMessage(request))
    )
  )

const count = (exchanges: ReadonlyArray<Connections.Exchange>, isStream: boolean): number =>
  exchanges.filter((exchange) => exchange.isStream === isStream).length

/** How many there are of each route, as `GET /orders/:id`; without one, by path. */
const byRoute = (
  exchanges: ReadonlyArray<Connections.Exchange>
): ReadonlyArray<{ route: string; count: number }> => {
  const counts = new Map<string, number>()
  for (const exchange of exchanges) {
    const route = routeOf(exchange)
    counts.set(route, (counts.get(route) ?? 0) + 1)
  }
  return Array.from(counts, ([route, count]) => ({ route, count }))
}

/** While it is being handled, its fiber knows the route that it took. */
const routeOf = ({ handler, request }: Connections.Exchange): string => {
  const context = handler?.getFiberRef(FiberRef.currentContext) as
    | Context.Context<HttpRouter.RouteContext>
    | undefined
  const taken = context === undefined ? Option.none() : Context.getOption(context, HttpRouter.RouteContext)
  const path = Option.match(taken, {
    onSome: ({ route }): string => route.path,
    // Its query may be personal.
    onNone: () => request.url?.split("?")[0] ?? ""
  })
  return `${request.method} ${path}`
}
