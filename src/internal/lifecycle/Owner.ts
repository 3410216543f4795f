/**
 * Owner of services: the app, or the service that adopted them. It receives
 * their failures and stop requests.
 *
 * `App.launch` and `Service.adopt` provide an owner to the layers they build.
 * Without one, as under `Layer.launch`, the services of a composition share a
 * standalone owner: it keeps names unique and has a journal, but stops nothing.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Notifier from "../status/Notifier.ts"
import * as Journal from "../journal/Journal.ts"
import type { Definitions, Labels } from "./Names.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Metrics from "../telemetry/Metrics.ts"
import * as Timers from "../Timers.ts"
import type { LastFailure, ServiceStatus, Snapshot, State } from "../status/ServiceStatus.ts"
import * as TestHooks from "../TestHooks.ts"

/** The owner of the services built in this context. */
export interface Owner {
  readonly shared: Shared
  /** Prefix of the paths of its services; empty for a standalone owner. */
  readonly path: string
  /** Whether a failure of its services can end the app. */
  readonly isCritical: boolean
  /** The owner above it; undefined for an app. */
  readonly parent: Owner | undefined
  /** Its services, from the beginning of their start to the end of their stop. */
  readonly members: Set<Member>
  /** The shapes its services have offered, by key. Kept after their stop. */
  readonly offers: Map<string, { readonly path: string; readonly shape: unknown }>
  /** Labels in use, among the children of a service. Undefined where labels need not be unique. */
  readonly labels: Labels | undefined
  /** The label of a service: its name, with the name it was adopted under. */
  readonly label: (name: string) => string
  /** Whether the app, or a service above, has begun to stop. */
  readonly isStopping: () => boolean
  /** Receives the failure of a service. `origin` is the path to the work that failed. */
  readonly failed: (member: Member, origin: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Receives the stop request of a service. Does not wait for the stop. */
  readonly stopAsked: (member: Member) => Effect.Effect<void>
}
export const Owner = Context.GenericTag<Owner>("effect-services/Owner")

/** State shared by all services of an app. */
export interface Shared {
  readonly journal: Journal.Journal["Type"]
  readonly boot: Boot
  readonly root: Root
  readonly changes: Notifier.Notifier
  /** The current status of all services. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** The timers of a clock. Usually, all services have the same clock. */
  readonly timers: (clock: Clock.Clock) => Timers.Timers
  /** The metrics of a service class. */
  readonly metrics: (service: string) => Metrics.ServiceMetrics
  /** Decorates the work of services in tests; the identity in production. */
  readonly around: TestHooks.DecorateWork
  readonly definitions: Definitions
  /** The event buses of the app. More than one is mostly a mistake. */
  readonly buses: Set<Bus>
  /** Pauses before work or a child is begun again. Each is called when something begins to stop. */
  readonly pauses: Set<() => void>
}

/** An event bus, as the other buses of the app see it. */
export interface Bus {
  /** The services that listen to an event on it. */
  readonly listenersOf: (event: object) => ReadonlyArray<string>
}

/** The app, or its stand-in for standalone services. */
interface Root {
  readonly name: string
  /** When the boot began, in monotonic milliseconds. */
  readonly begunAt: number
  /** In milliseconds; undefined without an app. */
  readonly stopTimeout: number | undefined
  /** Its services, in start order. A stopped service stays listed while the app stops. */
  readonly services: Set<Member>
  state: State
  since: number
  /** When the stop began, in monotonic milliseconds. */
  stoppingAt: number | undefined
}

/** The boot of an app. */
export interface Boot {
  /** Whether the boot is over. */
  isOpen: boolean
  /** Callbacks for the end of the boot. */
  readonly onOpen: Array<() => void>
}

/** A service from its owner's point of view. */
export interface Member {
  /** The key of its tag. */
  readonly key: string
  /** Its name below the owner. */
  readonly label: string
  readonly path: string
  /** The last failure of its work. */
  readonly lastFailure: LastFailure | undefined
  readonly stop: Effect.Effect<void>
  /** Upper bound of its stop, with all it owns, in milliseconds. */
  readonly stopLimit: () => number
  /** The service and its children, as far as they have not stopped. */
  readonly unfinished: () => ReadonlyArray<Unfinished>
  readonly shown: () => State
  readonly status: () => ServiceStatus
}

/** A service that has not stopped. */
export interface Unfinished {
  readonly path: string
  /** Tag of its state. */
  readonly state: string
  /** Its state as text, with the step of a stop: `stopping: children`. */
  readonly doing: string
  /** Names of its own work that has not ended. */
  readonly work: ReadonlyArray<string>
}

/** The services that have not stopped, with their children. */
export const unfinished = (members: Iterable<Member>): ReadonlyArray<Unfinished> =>
  [...members].flatMap((member) => member.unfinished())

/** One line: path and what it is doing. */
export const describe = ({ doing, path }: Unfinished): string => `${path} (${doing})`

/** Stops services in reverse start order, where closing their scope does not reach them. */
export const stopMembers = (members: Iterable<Member>): Effect.Effect<void> =>
  // Dependents start after their dependencies, so they stop first.
  Effect.suspend(() => Effect.forEach([...members].toReversed(), (member) => member.stop, { discard: true }))

/** Makes the shared state of an app. Standalone services have an empty name and no `stopTimeout`. */
export const makeShared = (
  name: string,
  journal: Journal.Journal["Type"],
  stopTimeout: number | undefined
): Effect.Effect<Shared> =>
  Effect.zipWith(Effect.clock, Effect.runtime(), (clock, runtime) => {
    const labels = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentMetricLabels)
    const decorate = Context.getOption(runtime.context, TestHooks.WorkDecorator)
    const timers = new Map<Clock.Clock, Timers.Timers>()
    const root: Root = {
      name,
      begunAt: Monotonic.unsafeMillis(clock),
      stopTimeout,
      services: new Set(),
      state: { _tag: "Starting" },
      since: clock.unsafeCurrentTimeMillis(),
      stoppingAt: undefined
    }
    return {
      journal,
      boot: { isOpen: false, onOpen: [] },
      root,
      changes: Notifier.make(),
      snapshot: Effect.map(Clock.currentTimeMillis, (at) => ({
        name,
        state: root.state,
        since: root.since,
        at,
        stopTimeout: stopTimeout === undefined ? undefined : Duration.millis(stopTimeout),
        services: Array.from(root.services, (service) => service.status())
      })),
      timers: (clock) => {
        const known = timers.get(clock) ?? new Timers.Timers(clock, runtime)
        timers.set(clock, known)
        return known
      },
      metrics: Metrics.of(labels),
      around: Option.getOrElse(
        decorate,
        (): TestHooks.DecorateWork => (_service, _kind, _work, effect) => effect
      ),
      definitions: new Map(),
      buses: new Set(),
      pauses: new Set()
    }
  })

/** Removes services that failed to start from an app that is up without them. */
export const forgetStopped = ({ root }: Shared, members: Set<Member>): void => {
  for (const service of root.services) {
    if (!members.has(service)) root.services.delete(service)
  }
}

/** Changes the state of the app. */
export const become = ({ changes, pauses, root }: Shared, state: State): Effect.Effect<void> =>
  Effect.map(Effect.zip(Clock.currentTimeMillis, Monotonic.millis), ([now, monotonic]) => {
    root.state = state
    root.since = now
    if (state._tag === "Stopping") {
      root.stoppingAt = monotonic
      for (const wake of pauses) wake()
    }
    changes.note()
  })

/** Paths of the services in a context that belong to this owner or one above it. */
export const pathsIn = (owner: Owner, context: Context.Context<never>): ReadonlyArray<string> => {
  const paths: Array<string> = []
  context.unsafeMap.forEach((shape, key) => {
    let above: Owner | undefined = owner
    while (above !== undefined && !above.offers.has(key)) above = above.parent
    const offer = above?.offers.get(key)
    // Compare the shape as well: the context may hold a mock under the same key.
    if (offer !== undefined && offer.shape === shape) paths.push(offer.path)
  })
  return paths
}

/** Ends the boot and runs its callbacks. */
export const openBoot = (boot: Boot): void => {
  boot.isOpen = true
  for (const open of boot.onOpen.splice(0)) open()
}

/** The owner of the context, or else a standalone one. */
export const layer: Layer.Layer<Owner> = Layer.effect(
  Owner,
  Effect.flatMap(
    Effect.serviceOption(Owner),
    Option.match({
      onSome: Effect.succeed,
      onNone: () => Effect.flatMap(Journal.Journal, standalone)
    })
  )
).pipe(Layer.provide(Journal.layer))

/** The owner that `layer` builds, memoized: one per composition. */
export const ofComposition: Effect.Effect<Owner, never, Scope.Scope> = Effect.flatMap(
  Effect.zip(Layer.CurrentMemoMap, Effect.scope),
  ([memoMap, scope]) => Effect.map(Layer.buildWithMemoMap(layer, memoMap, scope), Context.get(Owner))
)

const standalone = (journal: Journal.Journal["Type"]): Effect.Effect<Owner> =>
  Effect.gen(function* () {
    const shared = yield* makeShared("", journal, undefined)
    openBoot(shared.boot)
    yield* become(shared, { _tag: "Running" })
    return {
      shared,
      path: "",
      isCritical: true,
      parent: undefined,
      members: new Set(),
      offers: new Map(),
      labels: undefined,
      label: (name: string) => name,
      isStopping: () => false,
      // Already in the journal. The scope is not this owner's to close.
      failed: () => Effect.void,
      stopAsked: ({ path }: Member) => journal.append({ _tag: "StopNotPossible", service: path })
    }
  })
