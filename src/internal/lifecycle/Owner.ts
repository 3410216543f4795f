/**
 * Who a service answers to: the service that adopted it, or the app.
 *
 * `App.launch` and `Service.adopt` put an owner into the context in which they
 * build a layer, and each service looks for it there. Where there is none, as
 * under `Layer.launch`, the services of one composition share an owner that
 * tells their names apart and keeps their journal, and stops nothing.
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

/** The owner of the services that are built in this context. */
export interface Owner {
  readonly shared: Shared
  /** The path that the paths of its services begin with; empty when they stand alone. */
  readonly path: string
  /** Whether a failure of its services, if nothing else helps, fails a service of the app. */
  readonly isCritical: boolean
  /** The owner of the service that is this owner; none for an app. */
  readonly parent: Owner | undefined
  /** Its services that have begun to start and have not yet stopped. */
  readonly members: Set<Member>
  /** What its services have offered, by key; that of those that have stopped stays. */
  readonly offers: Map<string, { readonly path: string; readonly shape: unknown }>
  /** The labels that are taken, where a label must be unique: among the children of one service. */
  readonly labels: Labels | undefined
  /** What a service is called here. An adopted one bears the name it was adopted under. */
  readonly label: (name: string) => string
  /** Whether the app, or a service above, has begun to stop. */
  readonly isStopping: () => boolean
  /** Hears that a service failed. `origin` is the path down to the work that did. */
  readonly failed: (member: Member, origin: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Hears that a service asked to be stopped. Returns at once. */
  readonly stopAsked: (member: Member) => Effect.Effect<void>
}
export const Owner = Context.GenericTag<Owner>("effect-services/Owner")

/** What the services of one app share. */
export interface Shared {
  readonly journal: Journal.Journal["Type"]
  readonly boot: Boot
  readonly root: Root
  readonly changes: Notifier.Notifier
  /** How all services are, now. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** The timers of a clock. Mostly all go by one. */
  readonly timers: (clock: Clock.Clock) => Timers.Timers
  /** What is measured of a service class. */
  readonly metrics: (service: string) => Metrics.ServiceMetrics
  /** What a test puts around the work of services; nothing otherwise. */
  readonly around: TestHooks.DecorateWork
  readonly definitions: Definitions
  /** Pauses before work or a child is begun again. Each is called when something begins to stop. */
  readonly pauses: Set<() => void>
}

/** The app itself, or what stands for it where there is none. */
interface Root {
  readonly name: string
  /** When it began, in monotonic milliseconds. */
  readonly begunAt: number
  /** How long it may take to stop; none where there is no app. */
  readonly stopTimeout: number | undefined
  /** Its services, in the order in which they began to start. While the app stops, those that have stopped stay. */
  readonly services: Set<Member>
  state: State
  since: number
  /** When it began to stop, in monotonic milliseconds. */
  stoppingAt: number | undefined
}

/** Whether the app is still coming up; what waits for it to be up. */
export interface Boot {
  isOpen: boolean
  readonly onOpen: Array<() => void>
}

/** A service, as its owner sees it. */
export interface Member {
  /** The key of its tag. */
  readonly key: string
  /** What it is called below its owner. */
  readonly label: string
  readonly path: string
  /** The last failure of its work. */
  readonly lastFailure: LastFailure | undefined
  readonly stop: Effect.Effect<void>
  /** How long its stop may take at most, in milliseconds, with all that it owns. */
  readonly stopLimit: () => number
  /** What in it has not stopped: the service itself and its children. */
  readonly unfinished: () => ReadonlyArray<Unfinished>
  readonly shown: () => State
  readonly status: () => ServiceStatus
}

/** A service that has not stopped. */
export interface Unfinished {
  readonly path: string
  /** As its state is named. */
  readonly state: string
  /** Its state, with the step of a stop: `stopping: children`. */
  readonly doing: string
  /** Its own work that has not ended, by name. */
  readonly work: ReadonlyArray<string>
}

/** What has not stopped of several services, and of what they own. */
export const unfinished = (members: Iterable<Member>): ReadonlyArray<Unfinished> =>
  [...members].flatMap((member) => member.unfinished())

/** A service that has not stopped, as text. */
export const describe = ({ doing, path }: Unfinished): string => `${path} (${doing})`

/** Stops services one after another, where closing their scope does not reach them. */
export const stopMembers = (members: Iterable<Member>): Effect.Effect<void> =>
  // Dependents come after what they need, so they are stopped before.
  Effect.suspend(() => Effect.forEach([...members].toReversed(), (member) => member.stop, { discard: true }))

/** The state that the services of a new app share; of a composition without an app, with no name and no `stopTimeout`. */
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
      pauses: new Set()
    }
  })

/** Forgets the services that did not start, when the app is up all the same. */
export const forgetStopped = ({ root }: Shared, members: Set<Member>): void => {
  for (const service of root.services) {
    if (!members.has(service)) root.services.delete(service)
  }
}

/** The app comes into another state. */
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

/** The paths of the services in a context, of this owner and of those above it. */
export const pathsIn = (owner: Owner, context: Context.Context<never>): ReadonlyArray<string> => {
  const paths: Array<string> = []
  context.unsafeMap.forEach((shape, key) => {
    let above: Owner | undefined = owner
    while (above !== undefined && !above.offers.has(key)) above = above.parent
    const offer = above?.offers.get(key)
    // A key alone tells little: a mock may have been given in its place.
    if (offer !== undefined && offer.shape === shape) paths.push(offer.path)
  })
  return paths
}

/** Ends the boot: what waited for it goes on. */
export const openBoot = (boot: Boot): void => {
  boot.isOpen = true
  for (const open of boot.onOpen.splice(0)) open()
}

/** The owner that is already there, or else one for services that stand alone. */
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

/** As `layer` gives it to a layer that is being built: one for all of a composition. */
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
      // The journal has told of it already, and the scope belongs to somebody else.
      failed: () => Effect.void,
      stopAsked: ({ path }: Member) => journal.append({ _tag: "StopNotPossible", service: path })
    }
  })
