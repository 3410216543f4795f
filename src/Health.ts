/**
 * What an orchestrator asks of an app: is it alive, can it take work, and if
 * not, why not.
 *
 * All answers are made of how the services are and of the last results of their
 * checks, `Service.health`. To ask runs nothing and waits for nothing.
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
 * Whether the app is alive: it has neither failed nor stopped. While it starts
 * and stops, it is: to be killed would help neither. Checks are not asked, since
 * a database that is down does not come up because its clients are restarted.
 */
export const live: Effect.Effect<boolean, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  ({ state }) => state._tag !== "Failed" && state._tag !== "Stopped"
)

/**
 * Whether the app can take work, and all that is not well. It is not ready
 * while it starts, and from the moment it is asked to stop; while a service of
 * it starts or stops; while a critical service, or a child of one that could
 * not do without, has failed or restarts; while a critical check is unhealthy,
 * or has not been run yet.
 */
export const ready: Effect.Effect<Readiness.Readiness, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  Readiness.of
)

/** How all services are, now: what `Health.Status` is the schema of. */
export const status: Effect.Effect<ServiceRegistry.Snapshot, never, ServiceRegistry.ServiceRegistry> =
  ServiceRegistry.snapshot

/** Proxies and browsers must not answer with what was. */
const headers = { "cache-control": "no-store" }

const answer = (isGood: boolean, text: string) =>
  HttpServerResponse.text(`${text}\n`, { status: isGood ? 200 : 503, headers })

/** What is asked for, by path. */
const answers = [
  ["/live", Effect.map(live, (isLive) => answer(isLive, isLive ? "live" : "not live"))],
  [
    "/ready",
    Effect.map(ready, (readiness) => {
      const problems = Readiness.render(readiness)
      const lines = readiness.isReady ? ["ready", ...(problems === "" ? [] : [problems])] : [problems]
      return answer(readiness.isReady, lines.join("\n"))
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
 * `GET /live` answers 200 or 503; `GET /ready` 200, or 503 with what is not well,
 * a line for each, as `Orders > database: connection refused, for 12 seconds`;
 * `GET /status` the tree of services as JSON, by the schema `Health.Status`. No
 * answer has payloads in it, and none has credentials.
 *
 * To be put into a router by `HttpRouter.concat` or `HttpRouter.mount`. `/status`
 * tells of the inside of the app, so it is for a port that is not open to all.
 */
export const routes: HttpRouter.HttpRouter<never, ServiceRegistry.ServiceRegistry> = HttpRouter.fromIterable(
  answers.map(([path, handler]) => HttpRouter.makeRoute("GET", path, handler))
)

/**
 * Adds the routes to a router that is a service: that of `HttpLayerRouter`, of
 * `HttpApiBuilder`, or of `HttpRouter.Tag`.
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
      answers,
      ([path, answered]): Effect.Effect<void> => {
        const handler = Effect.provideService(answered, ServiceRegistry.ServiceRegistry, registry)
        return "add" in router ? router.add("GET", path, handler) : router.get(path, handler)
      },
      { discard: true }
    )
  )
