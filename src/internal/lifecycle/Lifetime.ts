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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Captured from "../Captured.ts"
import { Crew } from "./Crew.ts"
import * as Definition from "./Definition.ts"
import { Few } from "../Few.ts"
import * as Finalizers from "../Finalizers.ts"
import * as Latch from "../Latch.ts"
import type * as Listener from "../events/Listener.ts"
import * as Labels from "./Labels.ts"
import * as Monotonic from "../Monotonic.ts"
import type { OwnedWork } from "./OwnedWork.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "../Reason.ts"
import { DuplicateChildError, ServiceStoppedError } from "./Refusal.ts"
import * as Spans from "../telemetry/Spans.ts"
import type { ServiceMetrics } from "../telemetry/Metrics.ts"
import {
  type CheckStatus,
  type LastFailure,
  type ServiceStatus,
  type State as ShownState,
  type Step,
  steps
} from "../status/ServiceStatus.ts"
import type * as Timers from "../Timers.ts"
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
  definition: Definition.Definition,
  owner: Owner.Owner,
  stopTimeout: number,
  stop: (service: Lifetime) => Effect.Effect<void>
): Effect.Effect<Lifetime> =>
  Effect.zipWith(Scope.make(), Effect.zip(Effect.runtime(), Effect.clock), (scope, [ambient, clock]) => {
    const label = owner.label(definition.name)
    const { changes, root } = owner.shared
    if (!Labels.take(owner, label)) throw new DuplicateChildError({ service: owner.path, child: label })
    Definition.define(owner.shared.definitions, definition)
    const path = owner.path === "" ? label : `${owner.path} > ${label}`
    // It runs for longer than what begins it, and is not part of it.
    const runtime = Runtime.make({
      context: Spans.outside(Work.outside(ambient.context)),
      fiberRefs: Captured.named(ambient.fiberRefs, path),
      runtimeFlags: ambient.runtimeFlags
    })
    const service = new Lifetime({ definition, owner, label, path, stopTimeout, clock, runtime, scope }, stop)
    owner.members.add(service)
    if (owner.parent === undefined) root.services.add(service)
    service.metrics.moved(undefined, "starting")
    changes.note()
    return service
  })

/**
 * A service, and all that it owns. There may be very many, so what is done with
 * each is written down once, and not made for each.
 */
export class Lifetime implements Owner.Member {
  readonly definition: Definition.Definition
  readonly owner: Owner.Owner
  readonly key: string
  readonly label: string
  readonly path: string
  /** The paths of the services that it was given. */
  readonly dependencies = new Few<string>()
  readonly stopTimeout: number
  readonly clock: Clock.Clock
  readonly metrics: ServiceMetrics
  readonly timers: Timers.Timers
  /** As it was when the service began to start, with its name in the logs; its stop runs in it. */
  readonly runtime: Runtime.Runtime<never>
  /** Where `onStart` adds its finalizers. */
  readonly scope: Scope.CloseableScope
  readonly work = new Few<OwnedWork>()
  readonly crew: Crew
  readonly listeners = new Few<Listener.Listener>()
  readonly children = new Few<OwnedChild>()
  /** Services that its own work has provided to itself, as for one request. */
  readonly provided = new Few<Owner.Member>()
  /** The last of those children that failed for good: what is left of them to see. */
  readonly lostChildren: Array<ServiceStatus> = []
  /** Open when the last step of stopping is done. */
  readonly stopped = Latch.make()
  /** Ends `onStart`, when something has failed the service before its start is done. */
  interruptStart: (() => void) | undefined = undefined
  state: State = { _tag: "Starting" }
  /** When it came into its state. */
  since: number
  /** How long its start took, when it is up. */
  startTook: Duration.Duration | undefined = undefined
  lastFailure: LastFailure | undefined = undefined
  private readonly startedAfter: number
  private labelsOfChildren: Labels.Labels["taken"] | undefined = undefined
  private readonly stopOf: (service: Lifetime) => Effect.Effect<void>

  constructor(
    made: Pick<
      Lifetime,
      "definition" | "owner" | "label" | "path" | "stopTimeout" | "clock" | "runtime" | "scope"
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
    this.crew = new Crew(owner.shared)
    this.runtime = runtime
    this.scope = made.scope
    this.since = clock.unsafeCurrentTimeMillis()
    this.startedAfter = Math.round(Monotonic.unsafeMillis(clock) - root.begunAt)
    this.stopOf = stopOf
  }

  get stop(): Effect.Effect<void> {
    return this.stopOf(this)
  }

  /** What the services among its children are called. Most have none. */
  get childLabels(): Labels.Labels["taken"] {
    return (this.labelsOfChildren ??= new Map())
  }

  /** Who prints a context does not print all services. */
  toJSON(): unknown {
    return { path: this.path, state: this.state._tag }
  }

  stopLimit(): number {
    const late = lateStepMillis * (steps.length + Finalizers.of(this.scope).size)
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
      tasks: [...this.work].flatMap(({ shown }) => shown.task?.() ?? []),
      listeners: [...this.listeners].map((listener) => listener.status()),
      children: [
        ...[...this.children].flatMap((child) => child.status()),
        ...Array.from(this.provided, (member) => member.status()),
        ...this.lostChildren
      ]
    }
  }
}

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
export const checksOf = ({ work }: Lifetime): ReadonlyArray<CheckStatus> =>
  [...work].flatMap(({ shown }) => shown.check?.() ?? [])

/** Throws `ServiceStoppedError` when the step that ends this kind of work has come. */
export const admit = (service: Lifetime, kind: Step, work: string): void => {
  if (!admits(service, kind)) throw new ServiceStoppedError({ service: service.path, work })
}

/** Whether the step that ends this kind of work is still to come. */
export const admits = ({ state }: Lifetime, kind: Step): boolean =>
  state._tag !== "Stopped" && (state._tag !== "Stopping" || steps.indexOf(state.step) < steps.indexOf(kind))

/** Notes work of a service, which begins in the same step. Throws `ServiceStoppedError` when it takes none any more. */
export const own = (service: Lifetime, work: OwnedWork): void => {
  admit(service, "work", work.name)
  service.work.add(work)
  service.owner.shared.changes.note()
}

/** Notes that work has ended. */
export const disown = (service: Lifetime, work: OwnedWork): void => {
  service.work.delete(work)
  service.owner.shared.changes.note()
}
