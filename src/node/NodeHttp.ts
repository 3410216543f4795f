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
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Http from "node:http"
import type * as Net from "node:net"
import * as Names from "../internal/lifecycle/Names.ts"
import * as Input from "../internal/Input.ts"
import * as Owner from "../internal/lifecycle/Owner.ts"
import * as Lifetime from "../internal/lifecycle/Lifetime.ts"
import type { StartError } from "../internal/lifecycle/StartError.ts"
import * as Startup from "../internal/lifecycle/Startup.ts"
import * as Connections from "./Connections.ts"
import * as HttpDrain from "./HttpDrain.ts"
import * as ListenError from "./ListenError.ts"

export { ListenError } from "./ListenError.ts"

/** Where to listen, as Node's `server.listen` takes it, and how to stop. */
export interface Options extends Omit<Net.ListenOptions, "signal"> {
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
   * to two thirds of the time that the app has left to stop, which is `20 seconds`
   * of its 30: the rest is for the services. Never longer than the app has left.
   * What is cut may take up to 3 seconds more to end.
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

/**
 * As `NodeHttpServer.layer` of @effect/platform-node, with the drain built in.
 *
 * When what is served on it is released, as on SIGTERM:
 *
 * 1. For `readinessDelay`, counted from when the app became not ready, all goes
 *    on as before.
 * 2. New connections are refused. Requests that come over open ones are answered,
 *    and answers say `Connection: close`. Streams are ended, unless they are to drain.
 * 3. Requests in flight have `drainTimeout`; those that are left are answered
 *    with 503 if they have had no answer, interrupted, cut, and journaled as
 *    `RequestsCut`, which makes the stop unclean. Nothing that a client does, or
 *    does not do, makes it longer.
 *
 * A handler that waits until what it is served by has stopped waits for itself,
 * until it is cut: let it fork that, and answer.
 *
 * Before something is served, requests are answered with 503. Where the server
 * has Node's defaults, it gets others: connections without a request are kept
 * for 65 seconds, since balancers keep theirs for 60 and who closes first loses
 * a request; the head of a request may take 15, against clients that trickle
 * (Node looks every 30). Node's 5 minutes for a whole request stay.
 *
 * One app is served on it, once. A request that offers another protocol than
 * WebSocket (`Upgrade: h2c`) is answered, but Node does not give its body to anybody.
 *
 * Fails with `StartError<ListenError>`. Throws `InputError` on useless options.
 */
export const layer = (
  evaluate: () => Http.Server,
  options: Options
): Layer.Layer<
  HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext | HttpServer.HttpServer,
  StartError<ListenError.ListenError>
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

const where = "NodeHttp.layer"

const defaults = { headersTimeout: 15_000, keepAliveTimeout: 65_000 } as const

interface Settings extends HttpDrain.Settings {
  readonly name: string
  readonly listen: Net.ListenOptions
}

const check = (options: Options): Settings => {
  const refuse = (input: string, expected: string, actual: unknown) => {
    throw new Input.InputError({ where, input, expected, actual })
  }
  if (typeof options !== "object" || options === null)
    return refuse("options", "an object with a port or path", options)
  const { drainTimeout, name, port, readinessDelay, streams, ...elsewhere } = options
  if ("signal" in elsewhere) refuse("signal", "left out: a server ends with its layer", elsewhere.signal)
  // For Node, a port that is there and undefined is any port.
  const isElsewhere = elsewhere.path !== undefined || "fd" in elsewhere || "handle" in elsewhere
  const isPort = Number.isInteger(port) && Number(port) >= 0 && Number(port) <= 65_535
  if (port === undefined ? !isElsewhere : !isPort) refuse("port", "a port, 0 to 65535", port)
  return {
    name: Input.name(where, "name", name ?? "HttpServer"),
    listen: port === undefined ? elsewhere : { ...elsewhere, port },
    readinessDelay: Input.millisOrZero(where, "readinessDelay", readinessDelay ?? 0),
    drainTimeout:
      drainTimeout === undefined ? undefined : Input.positiveMillis(where, "drainTimeout", drainTimeout),
    streams: Input.oneOf(where, "streams", ["interrupt", "drain"], streams ?? "interrupt")
  }
}

/** A server that listens. */
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
    for (const key of ["headersTimeout", "keepAliveTimeout"] as const) {
      if (server[key] === untouched[key]) server[key] = defaults[key]
    }
    const connections = Connections.of(server, `${app} is starting`)
    // A start that is interrupted may leave a server that is about to listen.
    const end = Effect.sync(() => {
      server.once("listening", () => server.close())
      server.close()
    })
    return Effect.onInterrupt(
      NodeHttpServer.make(() => server, listen),
      () => end
    ).pipe(
      Effect.map((http): Listening => ({ http, connections })),
      Effect.mapError(({ cause }) => ListenError.of(cause, listen))
    )
  })

/** What is in the context as the server; with it, how it stops. */
interface Server extends HttpServer.HttpServer {
  readonly drain: Effect.Effect<void>
}

const serving = (
  service: Lifetime.Lifetime,
  { connections, http }: Listening,
  settings: Settings
): Server => {
  let isServing = false

  /** Notes who handles a request. */
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
          type.toLowerCase().startsWith(eventStream)
        )
        if (exchange === undefined || !isStream) return Effect.void
        return connections.mayStream(exchange) ? Effect.void : Effect.interrupt
      })
    )

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
      // Around the middleware, or else around the app: without one, what fails is logged by the platform.
      yield* middleware === undefined
        ? http.serve(handled(told(app)) as HttpApp.Default<unknown>)
        : http.serve(told(app) as HttpApp.Default<unknown>, (inner) => handled(middleware(inner)))
      // After what `http.serve` has added, and so before it.
      yield* Effect.addFinalizer(() => service.stop)
    })

  const drain = HttpDrain.drain(service, connections, settings)
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
