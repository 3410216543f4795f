/** The service registry behind the public module: its tag, and how it is made. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Notifier } from "./Notifier.ts"
import type { Snapshot } from "./ServiceStatus.ts"

/** The registry of an app. */
export class ServiceRegistry extends Context.Tag("effect-services/ServiceRegistry")<
  ServiceRegistry,
  {
    readonly snapshot: Effect.Effect<Snapshot>
    readonly changes: Stream.Stream<Snapshot>
  }
>() {}

/** About as fast as a person can follow. */
const refreshInterval = "100 millis"

/** Creates a registry that takes snapshots, and takes one after each change. */
export const make = (source: {
  readonly snapshot: Effect.Effect<Snapshot>
  readonly changes: Notifier
}): ServiceRegistry["Type"] => ({
  snapshot: source.snapshot,
  changes: source.changes.changes(source.snapshot, refreshInterval)
})
