/**
 * Liveness, readiness and status for an orchestrator.
 *
 * Answers are derived from the states of the services and the latest results of
 * their checks (`Service.health`). A query runs no check and never waits.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Readiness from "./internal/status/Readiness.ts"
import * as ServiceRegistry from "./ServiceRegistry.ts"
import * as StatusJson from "./internal/status/StatusJson.ts"

export { render } from "./internal/status/Readiness.ts"
export { Snapshot as Status } from "./internal/status/StatusJson.ts"
export type { Problem, Readiness } from "./internal/status/Readiness.ts"
export type { SnapshotJson as StatusJson } from "./internal/status/StatusJson.ts"

/**
 * Whether the app is alive: neither failed nor stopped. An app that is starting
 * or stopping is alive, since killing it would not help. Checks do not count:
 * restarting the clients of a database does not repair the database.
 */
export const live: Effect.Effect<boolean, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  ({ state }) => state._tag !== "Failed" && state._tag !== "Stopped"
)

/**
 * Whether the app can take work, and its current problems. It is not ready:
 * while it starts, and from the moment it is asked to stop; while one of its
 * services starts or stops; while a critical service or child has failed or
 * restarts; while a critical check is unhealthy or has not run yet.
 */
export const ready: Effect.Effect<Readiness.Readiness, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  Readiness.of
)

/** The current state of all services. `Health.Status` is its schema. */
export const status: Effect.Effect<ServiceRegistry.Snapshot, never, ServiceRegistry.ServiceRegistry> =
  ServiceRegistry.snapshot

/** Proxies and browsers must not serve stale answers. */
const headers = { "cache-control": "no-store" }

const respond = (isOk: boolean, text: string) =>
  HttpServerResponse.text(`${text}\n`, { status: isOk ? 200 : 503, headers })

/** The response to each path. */
const responses = [
  ["/live", Effect.map(live, (isLive) => respond(isLive, isLive ? "live" : "not live"))],
  [
    "/ready",
    Effect.map(ready, (readiness) => {
      const problems = Readiness.render(readiness)
      const lines = readiness.isReady ? ["ready", ...(problems === "" ? [] : [problems])] : [problems]
      return respond(readiness.isReady, lines.join("\n"))
    })
  ],
  [
    "/status",
    Effect.map(status, (snapshot) =>
      HttpServerResponse.unsafeJson(Schema.encodeSync(StatusJson.Snapshot)(snapshot), { headers })
    )
  ]
] as const

/**
 * `GET /live` responds with 200 or 503. `GET /ready` responds with 200, or with
 * 503 and a line per problem, such as `Orders > database: connection refused,
 * for 12 seconds`. `GET /status` responds with the service tree as JSON; its
 * schema is `Health.Status`. No response contains payloads or credentials.
 *
 * Add them with `HttpRouter.concat` or `HttpRouter.mount`. `/status` reveals
 * internals of the app, so serve it on a port that is not public.
 */
export const routes: HttpRouter.HttpRouter<never, ServiceRegistry.ServiceRegistry> = HttpRouter.fromIterable(
  responses.map(([path, handler]) => HttpRouter.makeRoute("GET", path, handler))
)

/**
 * Adds the routes to a router that is a service: `HttpLayerRouter`,
 * `HttpApiBuilder.Router` or an `HttpRouter.Tag`.
 *
 * ```ts
 * import { HttpApiBuilder, HttpLayerRouter } from "@effect/platform"
 * import { Health } from "effect-services"
 *
 * const forLayerRouter = HttpLayerRouter.use(Health.addTo)
 * const forHttpApi = HttpApiBuilder.Router.use(Health.addTo)
 * ```
 */
export const addTo = (
  router: HttpLayerRouter.HttpRouter | Pick<HttpRouter.HttpRouter.Service<unknown, never>, "get">
): Effect.Effect<void, never, ServiceRegistry.ServiceRegistry> =>
  Effect.flatMap(ServiceRegistry.ServiceRegistry, (registry) =>
    Effect.forEach(
      responses,
      ([path, response]): Effect.Effect<void> => {
        const handler = Effect.provideService(response, ServiceRegistry.ServiceRegistry, registry)
        return "add" in router ? router.add("GET", path, handler) : router.get(path, handler)
      },
      { discard: true }
    )
  )
