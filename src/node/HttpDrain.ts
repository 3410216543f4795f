/** How an HTTP server stops: it serves on, takes no more, answers what is in flight, and cuts the rest. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Deadline from "../internal/lifecycle/Deadline.ts"
import * as Monotonic from "../internal/Monotonic.ts"
import type * as Lifetime from "../internal/lifecycle/Lifetime.ts"
import * as Connections from "./Connections.ts"

/** How a server is to stop; times are milliseconds. */
export interface Settings {
  readonly readinessDelay: number
  /** None for two thirds of what the app has left. */
  readonly drainTimeout: number | undefined
  readonly streams: "interrupt" | "drain"
}

/** How long what is cut may take to end, and to be told so. */
const cutMillis = 1_000

/** How long a connection on which nothing is in flight is kept: a request may be on its way. Longer than most ways. */
const lingerMillis = 300

/** Two thirds of the app's 30 seconds. */
const longestByDefault = 20_000

/** How many routes are named of those on which requests were cut: paths may be as many as requests. */
const mostRoutes = 10

/**
 * How long all of it may take: with the time for what was cut to end, for those
 * whose clients did not notice to be told, and one second to spare.
 */
export const limit = ({ drainTimeout, readinessDelay }: Settings): number =>
  readinessDelay + (drainTimeout ?? longestByDefault) + 3 * cutMillis

/** Stops a server, of which `service` is the service. */
export const drain = (
  service: Lifetime.Lifetime,
  connections: Connections.Connections,
  settings: Settings
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { journal, root } = service.owner.shared
    const elapsed = root.stoppingAt === undefined ? 0 : (yield* Monotonic.millis) - root.stoppingAt
    const left = (root.stopTimeout ?? Number.POSITIVE_INFINITY) - elapsed
    // So that there is time to answer, and to cut, whatever is asked for.
    const delay = within(settings.readinessDelay - elapsed, left - 4 * cutMillis)
    const wanted = settings.drainTimeout ?? Math.min(longestByDefault, ((left - delay) * 2) / 3)
    const drainTimeout = within(wanted, Math.max(cutMillis, left - delay - 3 * cutMillis))
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
    const ended = settings.streams === "interrupt"
    if (ended) connections.endStreams()
    const closed = pause(connections, lingerMillis).pipe(
      Effect.zipRight(Effect.sync(connections.closeWhenIdle)),
      Effect.zipRight(pause(connections, cutMillis)),
      // Whoever does not read cannot be told that it is over.
      Effect.zipRight(Effect.sync(() => connections.destroyWhere(({ isStream }) => ended && isStream))),
      Effect.zipRight(connections.closed)
    )
    if (Option.isSome(yield* Deadline.within(closed, drainTimeout))) return

    const late = connections.inFlight()
    const requests = byRoute(late.filter(({ isStream }) => !isStream))
    if (requests.length > 0) {
      const after = Duration.millis(drainTimeout)
      yield* journal.append({ _tag: "RequestsCut", service: service.path, after, requests })
    }
    for (const exchange of late) Connections.cut(exchange)
    connections.closeWhenIdle()
    yield* Deadline.within(connections.closed, cutMillis)
    // Handlers that wait for their clients are told that these are gone, and release what they hold.
    connections.destroy()
    yield* Deadline.within(connections.closed, cutMillis)
  }).pipe(Effect.ensuring(Effect.sync(connections.destroy)))

/** So many whole milliseconds, but not more than so many, and not less than none. */
const within = (millis: number, most: number): number => Math.max(0, Math.round(Math.min(millis, most)))

/** Gives clients time, unless all have gone. By their clock and not the app's: in virtual time they would never come. */
const pause = (connections: Connections.Connections, millis: number) =>
  Effect.withClock(Effect.timeoutOption(connections.closed, millis), Clock.make())

const count = (exchanges: ReadonlyArray<Connections.Exchange>, isStream: boolean): number =>
  exchanges.filter((exchange) => exchange.isStream === isStream).length

/** How many there are of each route, as `GET /orders/:id`, or path; those with most first, and the rest as one. */
const byRoute = (
  exchanges: ReadonlyArray<Connections.Exchange>
): ReadonlyArray<{ route: string; count: number }> => {
  const counts = new Map<string, number>()
  for (const exchange of exchanges) {
    const route = routeOf(exchange)
    counts.set(route, (counts.get(route) ?? 0) + 1)
  }
  const all = Array.from(counts, ([route, count]) => ({ route, count })).toSorted((a, b) => b.count - a.count)
  const rest = all.slice(mostRoutes).reduce((sum, { count }) => sum + count, 0)
  return rest === 0 ? all : [...all.slice(0, mostRoutes), { route: "other routes", count: rest }]
}

/** While it is being handled, its fiber knows the route that it took. */
const routeOf = ({ handler, request }: Connections.Exchange): string => {
  const taken = Option.flatMap(Option.fromNullable(handler), ({ currentContext }) =>
    Context.getOption(currentContext as Context.Context<HttpRouter.RouteContext>, HttpRouter.RouteContext)
  )
  const path = Option.match(taken, {
    onSome: ({ route }): string => route.path,
    // Its query may be personal.
    onNone: () => request.url?.split("?")[0] ?? ""
  })
  return `${request.method} ${path}`
}
