/**
 * What a service owns, from the beginning of its start to the end of its stop.
 *
 * To own work is to be checked and noted in one synchronous step, so that a
 * stop which comes at the same time either refuses the work or ends it.
 */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Gate from "./Gate.ts"
import * as Finalizers from "./Finalizers.ts"
import type * as Listener from "./Listener.ts"
import * as Labels from "./Labels.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"
import { DuplicateChildError, ServiceStoppedError } from "./Refusal.ts"
import * as Spans from "./Spans.ts"
import type { ServiceMetrics } from "./ServiceMetrics.ts"
import {
  type CheckStatus,
  type LastFailure,
  type ServiceStatus,
  type State as ShownState,
  type Step,
  steps,
  type TaskStatus
} from "./ServiceStatus.ts"
import * as Work from "./Work.ts"

/** What owned work requires. Only `onStart`, and work that a service owns, has it. */
export class ServiceScope extends Context.Tag("effect-services/Service/Scope")<
  ServiceScope,
  {
    /** The service, with those it belongs to: `Shop > Inbox > CsvImport[orders.csv]`. */
    readonly path: string
  }
>() {}

/** All about the service that owns the work that asks. */
export const lifetime: Effect.Effect<Lifetime, never, ServiceScope> = Effect.map(
  ServiceScope,
  // Only `make` makes what is provided as `ServiceScope`.
  (scope) => scope as Lifetime
)

/** A service, and all that it owns. */
export interface Lifetime extends Owner.Member {
  readonly definition: Owner.Definition
  readonly owner: Owner.Owner
  /** The paths of the services that it was given. */
  readonly dependencies: Set<string>
  readonly stopTimeout: number
  readonly clock: Clock.Clock
  readonly metrics: ServiceMetrics
  /** As it was when the service began to start; its stop runs in it. */
  readonly runtime: Runtime.Runtime<never>
  readonly fibers: Set<OwnedFiber>
  readonly listeners: Set<Listener.Listener>
  readonly children: Set<OwnedChild>
  /** Services that its own work has provided to itself, as for one request. */
  readonly provided: Set<Owner.Member>
  /** The last of those children that failed for good: what is left of them to see. */
  readonly lostChildren: Array<ServiceStatus>
  /** What the services among its children are called. */
  readonly childLabels: Map<string, Labels.Claim>
  /** Where `onStart` adds its finalizers. */
  readonly scope: Scope.CloseableScope
  /** Ends `onStart`, when something has failed the service before its start is done. */
  interruptStart: () => void
  /** Done when the last step of stopping is. */
  readonly stopped: Deferred.Deferred<void>
  state: State
  /** When it came into its state. */
  since: number
  /** How long its start took, when it is up. */
  startTook: Duration.Duration | undefined
  lastFailure: LastFailure | undefined
}

/** Where a service is in its life. */
export type State = Data.TaggedEnum<{
  /** `pending` came up before the start was done, and happens then. */
  Starting: { readonly pending?: "stop" | Cause.Cause<unknown> | undefined }
  Running: { readonly onStop: Effect.Effect<unknown, unknown> | undefined }
  /** It failed, and its owner is about to stop it. */
  Failed: { readonly onStop: Effect.Effect<unknown, unknown> | undefined; readonly reason: string }
  /** With a failure, because of that. */
  Stopping: { readonly step: Step; readonly deadline: number; readonly failure: string | undefined }
  Stopped: { readonly failure: string | undefined }
}>

/** A fiber that a service owns. */
export interface OwnedFiber<A = unknown, E = unknown> {
  readonly name: string
  /** The source of its work. */
  readonly source: object
  readonly fiber: Fiber.RuntimeFiber<A, E>
  /** How it is, if it is a task, or a health check. */
  readonly shown: Shown
}

/** How work is, as the registry shows it. */
export interface Shown {
  readonly task?: () => TaskStatus
  readonly check?: () => CheckStatus
}

/** A layer that a service adopted. */
export interface OwnedChild extends Pick<Owner.Member, "stopLimit" | "unfinished"> {
  readonly stop: Effect.Effect<void>
  /** The services in it. */
  readonly status: () => ReadonlyArray<ServiceStatus>
}

/** How long a step that begins after the deadline may take: enough to close a socket, too little to matter. */
export const lateStepMillis = 1_000

/**
 * A service that is about to start, made known to its owner. Throws
 * `DuplicateServiceError` when another has its name, and `DuplicateChildError`
 * when a sibling has its label.
 */
export const make = (
  definition: Owner.Definition,
  owner: Owner.Owner,
  stopTimeout: number,
  stop: (service: Lifetime) => Effect.Effect<void>
): Effect.Effect<Lifetime> =>
  Effect.zipWith(Scope.make(), Effect.zip(Effect.runtime(), Effect.clock), (scope, [ambient, clock]) => {
    const label = owner.label(definition.name)
    const { changes, metrics, root } = owner.shared
    if (!Labels.take(owner, label)) throw new DuplicateChildError({ service: owner.path, child: label })
    Owner.define(owner.shared, definition)
    const path = owner.path === "" ? label : `${owner.path} > ${label}`
    // It runs for longer than what begins it, and is not part of it.
    const runtime = Runtime.make({ ...ambient, context: Spans.outside(Work.outside(ambient.context)) })
    const startedAfter = Duration.millis(Math.round(Monotonic.unsafeMillis(clock) - root.begunAt))
    const service: Lifetime = {
      key: definition.name,
      definition,
      label,
      path,
      owner,
      dependencies: new Set(Owner.pathsIn(owner, runtime.context)),
      stopTimeout,
      clock,
      metrics: metrics(definition.name),
      runtime,
      fibers: new Set(),
      listeners: new Set(),
      children: new Set(),
      provided: new Set(),
      lostChildren: [],
      childLabels: new Map(),
      scope,
      interruptStart: () => {},
      stopped: Deferred.unsafeMake(Gate.ours),
      state: { _tag: "Starting" },
      since: clock.unsafeCurrentTimeMillis(),
      startTook: undefined,
      lastFailure: undefined,
      stop: Effect.suspend(() => stop(service)),
      stopLimit: () =>
        stopTimeout +
        lateStepMillis * (steps.length + Finalizers.of(scope).size) +
        [...service.children, ...service.provided].reduce((sum, child) => sum + child.stopLimit(), 0),
      unfinished: () => {
        const { state } = service
        if (state._tag === "Stopped") return []
        const doing = state._tag === "Stopping" ? `stopping: ${state.step}` : state._tag.toLowerCase()
        const children = [...service.children, ...service.provided].flatMap((child) => child.unfinished())
        const work = Array.from(service.fibers, ({ name }) => name)
        return [{ path: service.path, state: state._tag, doing, work }, ...children]
      },
      shown: () => shown(service),
      status: () => ({
        name: label,
        path: service.path,
        state: shown(service),
        since: service.since,
        restarts: 0,
        isCritical: owner.isCritical,
        lastFailure: service.lastFailure,
        startedAfter,
        startTook: service.startTook,
        stopTimeout: Duration.millis(stopTimeout),
        isStopTimeoutSet: definition.isStopTimeoutSet,
        dependencies: [...service.dependencies],
        checks: checksOf(service),
        tasks: [...service.fibers].flatMap(({ shown }) => shown.task?.() ?? []),
        listeners: [...service.listeners].map((listener) => listener.status()),
        children: [
          ...[...service.children].flatMap((child) => child.status()),
          ...Array.from(service.provided, (member) => member.status()),
          ...service.lostChildren
        ]
      })
    }
    owner.members.add(service)
    if (owner.parent === undefined) root.services.add(service)
    service.metrics.moved(undefined, "starting")
    changes.note()
    return service
  })

/** Brings a service into a state. */
export const become = (service: Lifetime, state: State): void => {
  const before = service.state._tag
  service.state = state
  if (before !== state._tag) {
    service.since = service.clock.unsafeCurrentTimeMillis()
    const after = state._tag === "Stopped" ? undefined : state._tag.toLowerCase()
    service.metrics.moved(before.toLowerCase(), after)
  }
  service.owner.shared.changes.note()
}

/** Notes a failure of its work as its last. */
export const noteFailure = (service: Lifetime, work: string, cause: Cause.Cause<unknown>): void => {
  service.metrics.failed()
  service.lastFailure = { at: service.clock.unsafeCurrentTimeMillis(), work, reason: Reason.ofCause(cause) }
  service.owner.shared.changes.note()
}

/** Its health checks. */
export const checksOf = ({ fibers }: Lifetime): ReadonlyArray<CheckStatus> =>
  [...fibers].flatMap(({ shown }) => shown.check?.() ?? [])

const shown = ({ state }: Lifetime): ShownState => {
  switch (state._tag) {
    case "Starting":
    case "Running":
      return { _tag: state._tag }
    case "Failed":
      return { _tag: "Failed", reason: state.reason }
    case "Stopping":
      return { _tag: "Stopping", step: state.step }
    case "Stopped":
      return state.failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: state.failure }
  }
}

/** Throws `ServiceStoppedError` when the step that ends this kind of work has come. */
export const admit = (service: Lifetime, kind: Step, work: string): void => {
  if (!admits(service, kind)) throw new ServiceStoppedError({ service: service.path, work })
}

/** Whether the step that ends this kind of work is still to come. */
export const admits = ({ state }: Lifetime, kind: Step): boolean =>
  state._tag !== "Stopped" && (state._tag !== "Stopping" || steps.indexOf(state.step) < steps.indexOf(kind))

/** Forks work that the service owns: it is interrupted and awaited when the service stops. */
export const fork = <A, E, R>(
  service: Lifetime,
  name: string,
  effect: Effect.Effect<A, E, R>,
  shown: Shown = {}
): Effect.Effect<OwnedFiber<A, E>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => {
    admit(service, "work", name)
    const source = {}
    const work = { service: service.path, owner: service.owner, source, awaitedBy: undefined }
    const owned = Effect.interruptible(Effect.provideService(effect, Work.CurrentWork, work))
    const fiber = Runtime.runFork(Spans.runtimeOutside(runtime))(owned, { immediate: false })
    const entry = { name, source, fiber, shown }
    service.fibers.add(entry)
    service.owner.shared.changes.note()
    fiber.addObserver(() => {
      service.fibers.delete(entry)
      service.owner.shared.changes.note()
    })
    return entry
  })
