/** Drains an HTTP server: keep serving, refuse new connections, answer what is in flight, abort the rest. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Deadline from "../internal/lifecycle/Deadline.ts"
import * as Monotonic from "../internal/Monotonic.ts"
import type { Lifetime } from "../internal/lifecycle/Lifetime.ts"
import * as Connections from "./Connections.ts"
import { routeOf } from "./RequestFailures.ts"

/** How a server drains. Times are in milliseconds. */
export interface Settings {
  readonly readinessDelay: number
  /** Undefined for two thirds of the time that the app has left to stop. */
  readonly drainTimeout: number | undefined
  readonly streams: "interrupt" | "drain"
}

/** How long each step after an abort may take: enough to run finalizers, too little to matter. */
const abortMillis = 1_000

/** How long idle connections stay open, since a request may be on its way. Longer than most round trips. */
const lingerMillis = 300

/** How long clients have to reconnect before the listener closes: some round trips, and a busy machine. */
const settleMillis = 200

/** Default limit of a drain: two thirds of the app's 30 seconds. */
const defaultDrainMillis = 20_000

/** How many routes an entry names. There may be as many paths as requests. */
const maxRoutes = 10

/**
 * The longest that `drain` takes: the drain itself, one second for aborted
 * handlers, one for handlers that wait for their clients, and one to spare.
 */
export const limit = ({ drainTimeout, readinessDelay }: Settings): number =>
  readinessDelay + (drainTimeout ?? defaultDrainMillis) + 3 * abortMillis

/** Drains the server of a service. Never fails, and always leaves the server closed. */
export const drain = (
  service: Lifetime,
  connections: Connections.Connections,
  settings: Settings
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { journal, root } = service.owner.shared
    const elapsed = root.stoppingAt === undefined ? 0 : (yield* Monotonic.millis) - root.stoppingAt
    const left = (root.stopTimeout ?? Number.POSITIVE_INFINITY) - elapsed
    // Always leaves time to answer and to abort, whatever the options ask for.
    const delay = clamp(settings.readinessDelay - elapsed, left - 4 * abortMillis)
    const wanted = settings.drainTimeout ?? Math.min(defaultDrainMillis, ((left - delay) * 2) / 3)
    const drainTimeout = clamp(wanted, Math.max(abortMillis, left - delay - 3 * abortMillis))
    yield* journal.append({
      _tag: "ServerDraining",
      service: service.path,
      requests: count(connections.inFlight(), false),
      streams: count(connections.inFlight(), true),
      readinessDelay: Duration.millis(delay)
    })
    // A client that asks during the delay opens its next connection elsewhere, so that none in use is closed
    // after it. Not one that asks all the time: it would only reconnect to this server, again and again.
    connections.closeAfterAnswers("unlessBusy")
    const tail = Math.min(settleMillis, Math.round(delay * 0.75))
    if (delay > 0) yield* Monotonic.sleep(delay - tail)
    // Connections that are being opened when the listener closes are reset, so nobody is sent to open one now.
    connections.closeAfterAnswers("never")
    if (delay > 0) yield* Monotonic.sleep(tail)

    connections.stopListening()
    connections.closeAfterAnswers("all")
    const ended = settings.streams === "interrupt"
    if (ended) connections.endStreams()
    const closed = pause(connections, lingerMillis).pipe(
      Effect.zipRight(Effect.sync(connections.closeWhenIdle)),
      Effect.zipRight(pause(connections, abortMillis)),
      // A client that does not read never sees the end of its stream.
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
    for (const exchange of late) Connections.abort(exchange)
    connections.closeWhenIdle()
    yield* Deadline.within(connections.closed, abortMillis)
    // Handlers that wait for their clients see them disconnect, and release what they hold.
    connections.destroy()
    yield* Deadline.within(connections.closed, abortMillis)
  }).pipe(Effect.ensuring(Effect.sync(connections.destroy)))

/** Whole milliseconds, between zero and `max`. */
const clamp = (millis: number, max: number): number => Math.max(0, Math.round(Math.min(millis, max)))

/** Waits, unless all connections close first. In real time: clients do not live in a test's virtual time. */
const pause = (connections: Connections.Connections, millis: number) =>
  Effect.withClock(Effect.timeoutOption(connections.closed, millis), Clock.make())

const count = (exchanges: ReadonlyArray<Connections.Exchange>, isStream: boolean): number =>
  exchanges.filter((exchange) => exchange.isStream === isStream).length

/** Counts by route, such as `GET /orders/:id`, most frequent first; the rest is one entry. */
const byRoute = (
  exchanges: ReadonlyArray<Connections.Exchange>
): ReadonlyArray<{ route: string; count: number }> => {
  const counts = new Map<string, number>()
  for (const exchange of exchanges) {
    const route = routeOf(exchange, exchange.handler)
    counts.set(route, (counts.get(route) ?? 0) + 1)
  }
  const all = Array.from(counts, ([route, count]) => ({ route, count })).toSorted((a, b) => b.count - a.count)
  const rest = all.slice(maxRoutes).reduce((sum, { count }) => sum + count, 0)
  return rest === 0 ? all : [...all.slice(0, maxRoutes), { route: "other routes", count: rest }]
}
