/**
 * What runs, since when, what it did last, and why it is not well: the tree of
 * services, as one value.
 *
 * It is there without being asked for: `App.launch` provides it to what it
 * runs, one to each app. Elsewhere `ServiceRegistry.layer` in the same
 * composition knows the services there. It is put together when it is read, so
 * it costs nothing while nobody reads it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Owner from "./internal/lifecycle/Owner.ts"
import type { Snapshot } from "./internal/status/ServiceStatus.ts"

export type {
  CheckState,
  CheckStatus,
  LastFailure,
  ListenerStatus,
  ServiceStatus,
  Snapshot,
  State,
  TaskStatus
} from "./internal/status/ServiceStatus.ts"
export { render } from "./internal/status/StatusText.ts"

/** The registry of an app. */
export class ServiceRegistry extends Context.Tag("effect-services/ServiceRegistry")<
  ServiceRegistry,
  {
    readonly snapshot: Effect.Effect<Snapshot>
    readonly changes: Stream.Stream<Snapshot>
  }
>() {}

/** How all services are, now. */
export const snapshot: Effect.Effect<Snapshot, never, ServiceRegistry> = Effect.flatMap(
  ServiceRegistry,
  (_) => _.snapshot
)

/**
 * How all services are now, and again after each change: a state, a run, an
 * event. Changes within a tenth of a second are one, and a reader that is slow
 * misses some, so it never slows the app. Never ends.
 */
export const changes: Stream.Stream<Snapshot, never, ServiceRegistry> = Stream.unwrap(
  Effect.map(ServiceRegistry, (_) => _.changes)
)

/** The registry of the services that share this. */
export const make = ({
  changes,
  snapshot
}: Pick<Owner.Shared, "changes" | "snapshot">): ServiceRegistry["Type"] => ({
  snapshot,
  changes: changes.looks(snapshot, betweenChanges)
})

/** As often as a person can follow. */
const betweenChanges = "100 millis"

/** The registry of the app, or else of the services in the same composition of layers. */
export const layer: Layer.Layer<ServiceRegistry> = Layer.effect(
  ServiceRegistry,
  Effect.map(Owner.Owner, ({ shared }) => make(shared))
).pipe(Layer.provide(Owner.layer))
