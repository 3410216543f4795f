/**
 * A service and what it owns, from the beginning of its start to the end of its stop.
 *
 * Owning something is one synchronous step: it is checked against the state and
 * registered together, so a stop at the same time either refuses it or ends it.
 */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Fork from "../Fork.ts"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type * as Timers from "../Timers.ts"
import {
  type CheckStatus,
  type LastFailure,
  type ListenerStatus,
  type ServiceStatus,
  type State as ShownState,
  type Step,
  steps,
  type TaskStatus
} from "../status/ServiceStatus.ts"
import type { ServiceMetrics } from "../telemetry/Metrics.ts"
import * as Spans from "../telemetry/Spans.ts"
import { DuplicateChildError, ServiceStoppedError } from "./Errors.ts"
import * as Names from "./Names.ts"
import * as Owner from "./Owner.ts"
import * as Work from "./Work.ts"

/** What owned work requires. Only `onStart`, and work that a service owns, has it. */
export class ServiceScope extends Context.Tag("effect-services/Service/Scope")<
  ServiceScope,
  {
    /** The service, with those it belongs to: `Shop > Inbox > CsvImport[orders.csv]`. */
    readonly path: string
  }
>() {}

/** The service that owns the work that runs this. */
export const lifetime: Effect.Effect<Lifetime, never, ServiceScope> = Effect.map(
  ServiceScope,
  // Only a `Lifetime` is ever provided as `ServiceScope`.
  (scope) => scope as Lifetime
)

/** The state of a service. */
export type State = Data.TaggedEnum<{
  /** `pending` is a stop request or a failure of work during the start, which takes effect at its end. */
  Starting: { readonly pending?: "stop" | Cause.Cause<unknown> | undefined }
  Running: { readonly onStop: Effect.Effect<unknown, unknown> | undefined }
  /** It failed, and its owner is about to stop it. */
  Failed: { readonly onStop: Effect.Effect<unknown, unknown> | undefined; readonly reason: string }
  /** `failure` is the reason of the stop, if the service failed. */
  Stopping: { readonly step: Step; readonly deadline: number; readonly failure: string | undefined }
  Stopped: { readonly failure: string | undefined }
}>

/** A task or health check of a service: the step `work` ends it. */
export interface OwnedWork {
  readonly name: string
  /** The source of the work that its runs are. */
  readonly source: object
  readonly taskStatus?: () => TaskStatus | undefined
  readonly checkStatus?: () => CheckStatus | undefined
  readonly isRunning: boolean
  /** Starts no more runs; interrupts the one in progress, or lets it complete. Does not wait. */
  readonly end: (interrupts: boolean) => void
  /** Waits for its end. */
  readonly await: Effect.Effect<unknown>
}

/** A listener of a service: the step `listeners` drains it. */
export interface OwnedListener {
  /** The source of the work that its deliveries are. */
  readonly source: object
  /** Accepts no more events. */
  readonly close: () => void
  /** Accepts no more events, and waits until those it has accepted are handled. */
  readonly drain: Effect.Effect<void>
  /** Interrupts the handlers that still run, unless one of them is the caller, and drops the queue. */
  readonly abandon: (caller?: Work.Work) => Effect.Effect<void>
  /** What it has not finished, by name. */
  readonly unfinished: () => ReadonlyArray<string>
  readonly status: () => ListenerStatus
}

/** A child of a service: the step `children` stops it. */
export interface OwnedChild extends Pick<Owner.Member, "stopLimit" | "unfinished"> {
  readonly stop: Effect.Effect<void>
  /** The services in it. */
  readonly status: () => ReadonlyArray<ServiceStatus>
}

/** A cleanup of a service. */
export interface Cleanup {
  isRunning: boolean
  /** How long it has taken, in milliseconds, when it has ended. */
  took: number
  /** Runs it, unless it has begun. */
  readonly run: Effect.Effect<void>
}

/** How long a step that begins after the deadline may take: enough to close a socket, too little to matter. */
export const lateStepMillis = 1_000

/**
 * Registers a service that is about to start with its owner. Its scope is the
 * layer's own. Throws `DuplicateServiceError` when another class has its name,
 * and `DuplicateChildError` when a sibling has its label.
 */
export const make = (
  definition: Names.Definition,
  owner: Owner.Owner,
  scope: Scope.Scope,
  stopTimeout: number,
  stop: (service: Lifetime) => Effect.Effect<void>
): Effect.Effect<Lifetime> =>
  Effect.flatMap(Effect.zip(Effect.runtime(), Effect.clock), ([ambient, clock]) => {
    const label = owner.label(definition.name)
    const { changes, root } = owner.shared
    if (!Names.claim(owner, label)) throw new DuplicateChildError({ service: owner.path, child: label })
    Names.define(owner.shared.definitions, definition)
    const path = owner.path === "" ? label : `${owner.path} > ${label}`
    // The service outlives the span and the work in which it starts, so it belongs to neither.
    const runtime = Runtime.make({
      context: Spans.outside(Work.outside(ambient.context)),
      fiberRefs: named(ambient.fiberRefs, path),
      runtimeFlags: ambient.runtimeFlags
    })
    return Effect.map(Scope.fork(scope, ExecutionStrategy.sequential), (resources) => {
      const service = new Lifetime(
        { definition, owner, label, path, stopTimeout, clock, runtime, scope, resources },
        stop
      )
      owner.members.add(service)
      if (owner.parent === undefined) root.services.add(service)
      service.metrics.moved(undefined, "starting")
      changes.note()
      return service
    })
  })

/** FiberRefs in which each log line is annotated with the service. */
const named = (fiberRefs: FiberRefs.FiberRefs, path: string): FiberRefs.FiberRefs => {
  const annotations = FiberRefs.getOrDefault(fiberRefs, FiberRef.currentLogAnnotations)
  return annotated(fiberRefs, HashMap.set(annotations, "service", path))
}

/** The FiberRefs for `onStart`. Usually those of the registration, which are then shared to save memory. */
export const fiberRefsOf = ({ runtime }: Lifetime, now: FiberRefs.FiberRefs): FiberRefs.FiberRefs => {
  const annotations = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentLogAnnotations)
  const own = annotated(now, annotations)
  return Fork.haveSameValues(runtime.fiberRefs, own) ? runtime.fiberRefs : own
}

const annotated = (
  fiberRefs: FiberRefs.FiberRefs,
  annotations: HashMap.HashMap<string, unknown>
): FiberRefs.FiberRefs => {
  const locals = new Map(fiberRefs.locals)
  locals.set(FiberRef.currentLogAnnotations, [[FiberId.none, annotations]])
  // Each fiber is given a context of its own: this one would only take memory.
  locals.delete(FiberRef.currentContext)
  return FiberRefs.unsafeMake(locals)
}

/** A service, and all that it owns. */
export class Lifetime implements Owner.Member {
  readonly definition: Names.Definition
  readonly owner: Owner.Owner
  readonly key: string
  readonly label: string
  readonly path: string
  /** The paths of the services that it was given. */
  readonly dependencies = new Set<string>()
  readonly stopTimeout: number
  readonly clock: Clock.Clock
  readonly metrics: ServiceMetrics
  readonly timers: Timers.Timers
  /** The runtime of the fiber that started it, with the service's name in its logs. Its stop runs in it. */
  readonly runtime: Runtime.Runtime<never>
  /** The scope of the layer. Spawned fibers end with it at the latest. */
  readonly scope: Scope.Scope
  /** A fork of it, for what `onStart` acquires. The scopes of children are forks of this one. */
  readonly resources: Scope.CloseableScope
  readonly work = new Set<OwnedWork>()
  readonly listeners = new Set<OwnedListener>()
  readonly children = new Set<OwnedChild>()
  /** Cleanups added with `addCleanup` that have not ended, in the order in which they were added. */
  readonly cleanups = new Set<Cleanup>()
  /** Services that its work builds for itself, for one request for example. */
  readonly provided = new Set<Owner.Member>()
  /** The last status of each child that failed for good. */
  readonly lostChildren: Array<ServiceStatus> = []
  /** Open when the stop is complete. */
  readonly stopped = Latch.make()
  /** Interrupts `onStart`, when the service fails before its start is done. */
  interruptStart: (() => void) | undefined = undefined
  state: State = { _tag: "Starting" }
  /** When it entered its state, in milliseconds since the epoch. */
  since: number
  /** How long its start took. Undefined until it is up. */
  startTook: Duration.Duration | undefined = undefined
  lastFailure: LastFailure | undefined = undefined
  private readonly startedAfter: number
  private labelsOfChildren: Names.Labels["taken"] | undefined = undefined
  private readonly stopOf: (service: Lifetime) => Effect.Effect<void>

  constructor(
    made: Pick<
      Lifetime,
      "definition" | "owner" | "label" | "path" | "stopTimeout" | "clock" | "runtime" | "scope" | "resources"
    >,
    stopOf: (service: Lifetime) => Effect.Effect<void>
  ) {
    const { clock, definition, label, owner, runtime } = made
    const { metrics, root, timers } = owner.shared
    this.definition = definition
    this.owner = owner
    this.key = definition.name
    this.label = label
    this.path = made.path
    for (const path of Owner.pathsIn(owner, runtime.context)) this.dependencies.add(path)
    this.stopTimeout = made.stopTimeout
    this.clock = clock
    this.metrics = metrics(definition.name)
    this.timers = timers(clock)
    this.runtime = runtime
    this.scope = made.scope
    this.resources = made.resources
    this.since = clock.unsafeCurrentTimeMillis()
    this.startedAfter = Math.round(Monotonic.unsafeMillis(clock) - root.begunAt)
    this.stopOf = stopOf
  }

  get stop(): Effect.Effect<void> {
    return this.stopOf(this)
  }

  /** The labels of its children. */
  get childLabels(): Names.Labels["taken"] {
    return (this.labelsOfChildren ??= new Map())
  }

  /** Forks bookkeeping of the service, such as a journal entry. Does not wait. */
  run(effect: Effect.Effect<unknown>): void {
    Runtime.runFork(this.runtime, effect)
  }

  /** Keeps the services of the app out of a printed context. */
  toJSON(): unknown {
    return { path: this.path, state: this.state._tag }
  }

  stopLimit(): number {
    const late = lateStepMillis * (steps.length + this.cleanups.size)
    const owned = [...this.children, ...this.provided]
    return this.stopTimeout + late + owned.reduce((sum, each) => sum + each.stopLimit(), 0)
  }

  unfinished(): ReadonlyArray<Owner.Unfinished> {
    const { path, state } = this
    if (state._tag === "Stopped") return []
    const doing = state._tag === "Stopping" ? `stopping: ${state.step}` : state._tag.toLowerCase()
    const owned = [...this.children, ...this.provided].flatMap((each) => each.unfinished())
    const work = Array.from(this.work, ({ name }) => name)
    return [{ path, state: state._tag, doing, work }, ...owned]
  }

  shown(): ShownState {
    const { state } = this
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

  readonly status = (): ServiceStatus => {
    return {
      name: this.label,
      path: this.path,
      state: this.shown(),
      since: this.since,
      restarts: 0,
      isCritical: this.owner.isCritical,
      lastFailure: this.lastFailure,
      startedAfter: Duration.millis(this.startedAfter),
      startTook: this.startTook,
      stopTimeout: Duration.millis(this.stopTimeout),
      isStopTimeoutSet: this.definition.isStopTimeoutSet,
      dependencies: [...this.dependencies],
      checks: checksOf(this),
      tasks: [...this.work].flatMap((work) => work.taskStatus?.() ?? []),
      listeners: [...this.listeners].map((listener) => listener.status()),
      children: [
        ...[...this.children].flatMap((child) => child.status()),
        ...Array.from(this.provided, (member) => member.status()),
        ...this.lostChildren
      ]
    }
  }
}

/** Changes the state of a service. */
export const become = (service: Lifetime, state: State): void => {
  const before = service.state._tag
  service.state = state
  if (before !== state._tag) {
    service.since = service.clock.unsafeCurrentTimeMillis()
    const after = state._tag === "Stopped" ? undefined : state._tag.toLowerCase()
    service.metrics.moved(before.toLowerCase(), after)
    if (state._tag === "Stopping") for (const wake of service.owner.shared.pauses) wake()
  }
  service.owner.shared.changes.note()
}

/** Records a failure as the service's last. */
export const noteFailure = (service: Lifetime, work: string, cause: Cause.Cause<unknown>): void => {
  service.metrics.failed()
  service.lastFailure = { at: service.clock.unsafeCurrentTimeMillis(), work, reason: Reason.ofCause(cause) }
  service.owner.shared.changes.note()
}

/** The health checks of a service. */
export const checksOf = ({ work }: Lifetime): ReadonlyArray<CheckStatus> =>
  [...work].flatMap((each) => each.checkStatus?.() ?? [])

/** Throws `ServiceStoppedError` when the step that ends this kind of work has begun. */
export const admit = (service: Lifetime, kind: Step, work: string): void => {
  if (!admits(service, kind)) throw new ServiceStoppedError({ service: service.path, work })
}

/** Whether the step that ends this kind of work has not begun. */
const admits = ({ state }: Lifetime, kind: Step): boolean =>
  state._tag !== "Stopped" && (state._tag !== "Stopping" || steps.indexOf(state.step) < steps.indexOf(kind))

/** Whether its stop, or that of what it belongs to, has begun. */
export const isStopping = ({ owner, state }: Lifetime): boolean =>
  state._tag === "Stopping" || state._tag === "Stopped" || owner.isStopping()

/** Throws `ServiceStoppedError` when a stop has begun: a child that starts then would only be stopped. */
export const admitChildren = (service: Lifetime, children: () => string): void => {
  if (isStopping(service)) throw new ServiceStoppedError({ service: service.path, work: children() })
}

/** Waits before something is begun again, until a stop begins. Gives whether the time has passed. */
export const pause = (service: Lifetime, millis: number): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    if (isStopping(service)) return Effect.succeed(false)
    const woken = Latch.make()
    const wake = () => {
      if (isStopping(service)) woken.unsafeOpen()
    }
    const { pauses } = service.owner.shared
    pauses.add(wake)
    return Effect.raceFirst(Effect.as(Monotonic.sleep(millis), true), Effect.as(woken.await, false)).pipe(
      Effect.ensuring(Effect.sync(() => pauses.delete(wake)))
    )
  })

/** Registers work of a service. Throws `ServiceStoppedError` when it takes none any more. */
export const own = (service: Lifetime, work: OwnedWork): void => {
  admit(service, "work", work.name)
  service.work.add(work)
  service.owner.shared.changes.note()
}

/** Removes work that has ended. */
export const disown = (service: Lifetime, work: OwnedWork): void => {
  service.work.delete(work)
  service.owner.shared.changes.note()
}
