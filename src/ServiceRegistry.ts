/**
 * The service tree as one value: what is running, since when, its recent
 * activity and its problems.
 *
 * `App.launch` provides a registry to the effect it runs, one per app. Elsewhere,
 * add `ServiceRegistry.layer` to the same composition as the services. A
 * snapshot is built on demand, so an unread registry costs nothing.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Owner from "./internal/lifecycle/Owner.ts"
import * as Registry from "./internal/status/Registry.ts"
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
export { ServiceRegistry } from "./internal/status/Registry.ts"
export { render } from "./internal/status/StatusText.ts"

/** The current state of all services. */
export const snapshot: Effect.Effect<Snapshot, never, Registry.ServiceRegistry> = Effect.flatMap(
  Registry.ServiceRegistry,
  (_) => _.snapshot
)

/**
 * The current snapshot, and a new one after each change of a state, run or
 * event. Changes within 100 milliseconds are combined, and a slow reader skips
 * snapshots, so it never slows the app. Never ends.
 */
export const changes: Stream.Stream<Snapshot, never, Registry.ServiceRegistry> = Stream.unwrap(
  Effect.map(Registry.ServiceRegistry, (_) => _.changes)
)

/** Provides the registry of the app, or else of the services in the same layer composition. */
export const layer: Layer.Layer<Registry.ServiceRegistry> = Layer.effect(
  Registry.ServiceRegistry,
  Effect.map(Owner.Owner, ({ shared }) => Registry.make(shared))
).pipe(Layer.provide(Owner.layer))
