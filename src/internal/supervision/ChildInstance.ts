/** One instance of an adopted layer: built below its parent, closed once. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import type * as Journal from "../journal/Journal.ts"
import * as Fork from "../Fork.ts"
import * as Latch from "../Latch.ts"
import * as Reason from "../Reason.ts"
import * as Deadline from "../lifecycle/Deadline.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import type * as Names from "../lifecycle/Names.ts"
import * as Owner from "../lifecycle/Owner.ts"
import * as Shutdown from "../lifecycle/Shutdown.ts"
import { rootOf, StartError } from "../lifecycle/StartError.ts"
import * as Startup from "../lifecycle/Startup.ts"

/** How to build an instance of a child, the first and each restart alike. */
export interface Plan {
  readonly parent: Lifetime.Lifetime
  /** `any`: `Service.adopt` has its requirements in its own type. */
  readonly layer: Layer.Layer<unknown, unknown, any>
  /** The label of a service of the layer, below the parent. */
  readonly label: (service: string) => string
  readonly claim: Names.Claim
  /** Whether its failure can end the app. */
  readonly isCritical: boolean
}

/** A failure of a child. */
export interface Failure {
  readonly cause: Cause.Cause<unknown>
  /** Path to the work that failed. */
  readonly origin: string
  /** The origin and its cause, as text. */
  readonly reason: string
  /** The journal entry still to append; undefined when the failed service has appended its own. */
  readonly entry: Omit<Journal.Of<"ServiceFailed">, "at"> | undefined
}

/** Callbacks to the supervisor. */
export interface Hooks {
  /** The build has ended or was cancelled. */
  readonly buildEnded: () => void
  /** A service failed after the build, and before the close. */
  readonly failed: (failure: Failure) => void
  /** A service asked for its stop after the build, and before the close. */
  readonly stopAsked: () => void
}

/** An instance, and the owner of the services in it. */
export class ChildInstance implements Owner.Owner {
  readonly shared: Owner.Shared
  readonly path: string
  readonly isCritical: boolean
  readonly parent: Owner.Owner
  readonly members = new Set<Owner.Member>()
  readonly offers = new Map<string, { readonly path: string; readonly shape: unknown }>()
  readonly labels: Names.Labels
  private readonly plan: Plan
  private readonly hooks: Hooks
  /** Opens when the build has ended or was cancelled. */
  private readonly buildDone = Latch.make()
  private scope: Scope.CloseableScope | undefined = undefined
  private buildFiber: Fiber.RuntimeFiber<Context.Context<unknown>, unknown> | undefined = undefined
  /** What the build fiber began with. */
  private buildRuntime: Runtime.Runtime<any> | undefined = undefined
  private buildExit: Exit.Exit<Context.Context<unknown>, unknown> | undefined = undefined
  private isCancelled = false
  private isClosing = false
  private isStopRequested = false
  /** The failure of a service that ended the build before all services were up. */
  private earlyFailure: Failure | undefined = undefined

  constructor(plan: Plan, hooks: Hooks) {
    const { claim, isCritical, parent } = plan
    this.shared = parent.owner.shared
    this.path = parent.path
    this.isCritical = isCritical
    this.parent = parent.owner
    this.labels = { taken: parent.childLabels, claim }
    this.plan = plan
    this.hooks = hooks
  }

  label(service: string): string {
    return this.plan.label(service)
  }

  isStopping(): boolean {
    return Lifetime.isStopping(this.plan.parent)
  }

  failed(member: Owner.Member, origin: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.sync(() => {
      // A failure during the close is part of the stop.
      if (this.isClosing) return
      if (this.buildExit !== undefined) return this.hooks.failed(recordedFailure(origin, cause))
      // A starting service would have failed the build with this error, had the build gone on.
      const isStarting = member.shown()._tag === "Starting"
      const error = new StartError({ service: member.path, step: "onStart", cause })
      this.earlyFailure ??= {
        ...recordedFailure(origin, cause),
        cause: isStarting ? Cause.die(error) : cause
      }
      this.cancelBuild()
    })
  }

  stopAsked(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.buildExit === undefined) this.isStopRequested = true
      else if (!this.isClosing) this.hooks.stopAsked()
    })
  }

  /** Forks the build of the layer, unless it was cancelled. Does not wait for it. */
  get build(): Effect.Effect<void, never, any> {
    // A fork of the parent's scope, so the child is closed with it at the latest.
    const fork = Scope.fork(this.plan.parent.resources, ExecutionStrategy.sequential)
    return Effect.flatMap(Effect.zip(fork, Layer.makeMemoMap), ([scope, memoMap]) =>
      Effect.map(Effect.runtime<any>(), (ambient) => {
        if (this.isCancelled) return
        this.scope = scope
        const context = new Map(ambient.context.unsafeMap)
        context.set(Owner.Owner.key, this)
        context.set(Scope.Scope.key, scope)
        context.set(Layer.CurrentMemoMap.key, memoMap)
        const build = Effect.interruptible(Startup.build(this.plan.layer, memoMap, scope))
        const runtime = Runtime.make({
          context: Context.unsafeMake<any>(context),
          fiberRefs: withTelemetryOf(this.plan.parent, ambient.fiberRefs),
          runtimeFlags: ambient.runtimeFlags
        })
        const fiber = Fork.unsafeNow(runtime, Fork.told(build))
        this.buildFiber = fiber
        this.buildRuntime = runtime
        // The synchronous part of the build may have cancelled it.
        if (this.isCancelled) fiber.unsafeInterruptAsFork(fiber.id())
        fiber.addObserver((exit) => {
          this.buildExit = exit
          this.endBuild()
        })
      })
    )
  }

  /** Waits for the exit of the build. */
  get awaitBuild(): Effect.Effect<Exit.Exit<Context.Context<unknown>, unknown>> {
    // The latch opens when there is an exit, so the default is never used.
    return Effect.map(this.buildDone.await, () => this.exit() ?? Exit.interrupt(FiberId.none))
  }

  /** Applies the FiberRef changes of the build to this fiber, as building in this fiber would, but for telemetry. */
  get inheritRefs(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { buildFiber, buildRuntime } = this
      this.buildFiber = undefined
      this.buildRuntime = undefined
      if (buildFiber === undefined || buildRuntime === undefined) return Effect.void
      return Fork.inherit(buildFiber, buildRuntime, ...telemetryRefs)
    })
  }

  /** The exit of the build; undefined while it runs. */
  exit(): Exit.Exit<Context.Context<unknown>, unknown> | undefined {
    const exit = this.buildExit ?? (this.isCancelled ? Exit.interrupt(FiberId.none) : undefined)
    if (exit === undefined || this.earlyFailure === undefined) return exit
    return Exit.failCause(causeOf(exit, this.earlyFailure.cause))
  }

  /** The context it has built; undefined until then. */
  context(): Context.Context<unknown> | undefined {
    return this.buildExit !== undefined && Exit.isSuccess(this.buildExit) ? this.buildExit.value : undefined
  }

  /** Whether one of its services asked to be stopped during the build. */
  wantsStop(): boolean {
    return this.isStopRequested
  }

  /** The labels of its services, comma-separated. */
  name(): string {
    return [...this.members].map((member) => member.label).join(", ") || this.label("a layer")
  }

  /** The failure of its build. `name` identifies the child where no service of it is known to have failed. */
  failure(name: string): Failure {
    if (this.earlyFailure !== undefined) return this.earlyFailure
    const itself = new Cause.InterruptedException("it interrupted itself")
    const failed =
      this.buildExit !== undefined && Exit.isFailure(this.buildExit) ? this.buildExit.cause : Cause.empty
    const cause = Cause.isInterruptedOnly(failed) ? Cause.die(itself) : failed
    const root = rootOf(cause)
    const service = root.at?.service ?? `${this.path} > ${name}`
    const work = root.at?.step ?? "its start"
    const origin = `${service} > ${work}`
    const entry = { _tag: "ServiceFailed", service, work, origin, cause: root.cause } as const
    return { cause, origin, reason: `${origin}: ${Reason.ofCause(root.cause)}`, entry }
  }

  /** Interrupts the build, if it still runs, and stops waiting for it. */
  cancelBuild(): void {
    if (this.buildExit !== undefined || this.isCancelled) return
    this.isCancelled = true
    this.buildFiber?.unsafeInterruptAsFork(this.buildFiber.id())
    this.endBuild()
  }

  /** How long `close` may take, in milliseconds: at least the parent's `stopTimeout`, for layers that are no services. */
  stopLimit(): number {
    const ofServices = [...this.members].reduce((sum, member) => sum + member.stopLimit(), 0)
    return Math.max(this.plan.parent.stopTimeout, ofServices)
  }

  /** Stops its services in order and closes its scope, within the deadlines. Run once. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosing = true
      const { parent } = this.plan
      const limitMillis = this.stopLimit()
      const alive = () => Owner.unfinished(this.members).map(Owner.describe)
      const { buildFiber, members, scope } = this
      const isBuilding = this.buildExit === undefined && buildFiber !== undefined
      const buildLimit = Math.min(Math.ceil(limitMillis / 3), maxBuildEndMillis)
      // First the interrupted build: a layer releases what it acquired only when its build has ended.
      const endBuild = !isBuilding
        ? Effect.void
        : Effect.zipRight(
            Shutdown.step(parent, `the start of child ${this.name()}`, Fiber.await(buildFiber), {
              limitMillis: buildLimit,
              alive
            }),
            Effect.suspend(() => this.reportHungStarts(buildLimit))
          )
      const release = Effect.suspend(() => {
        const stopReached = this.buildExit === undefined ? Owner.stopMembers(members) : Effect.void
        const closeScope = scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
        const all = Effect.uninterruptible(Effect.zipRight(stopReached, closeScope))
        return Shutdown.step(parent, `child ${this.name()}`, all, { limitMillis, alive })
      })
      // Services queued behind one that hung have not been asked to stop yet.
      const stopRemaining = Effect.suspend(() =>
        members.size === 0
          ? Effect.void
          : Deadline.within(Owner.stopMembers(members), Lifetime.lateStepMillis)
      )
      return Effect.zipRight(endBuild, Effect.zipRight(release, stopRemaining))
    })
  }

  /** A service whose start hung does not stop cleanly, however soon it then stops. */
  private reportHungStarts(millis: number): Effect.Effect<void> {
    const hung = [...this.members].filter((member) => member.shown()._tag === "Starting")
    return Effect.forEach(
      this.buildExit === undefined ? hung : [],
      ({ path }) =>
        this.shared.journal.append({
          _tag: "StopTimedOut",
          service: path,
          step: "onStart",
          after: Duration.millis(millis),
          alive: []
        }),
      { discard: true }
    )
  }

  private endBuild(): void {
    this.buildDone.unsafeOpen()
    this.hooks.buildEnded()
  }
}

/**
 * FiberRefs for a child of a service: those of the adopting fiber, which may
 * configure the child, with the telemetry of the service. A child adopted in a
 * request would otherwise log the request's annotations for life.
 */
export const withTelemetryOf = (
  parent: Lifetime.Lifetime,
  fiberRefs: FiberRefs.FiberRefs
): FiberRefs.FiberRefs =>
  telemetryRefs.reduce((refs, fiberRef) => {
    const value = FiberRefs.getOrDefault(parent.runtime.fiberRefs, fiberRef)
    return Equal.equals(value, FiberRefs.getOrDefault(refs, fiberRef))
      ? refs
      : FiberRefs.updateAs(refs, { fiberId: FiberId.none, fiberRef, value })
  }, fiberRefs)

/** What a fiber adds to logs, spans and metrics. */
const telemetryRefs: ReadonlyArray<FiberRef.FiberRef<any>> = [
  FiberRef.currentLogAnnotations,
  FiberRef.currentLogSpan,
  FiberRef.currentMetricLabels,
  FiberRef.currentTracerSpanAnnotations,
  FiberRef.currentTracerSpanLinks
]

/** How long `close` waits for an interrupted build, at most: as long as the app does for its boot. */
const maxBuildEndMillis = 10_000

/** A typed failure of the build wins; a service that failed on its own meanwhile is a defect of it. */
const causeOf = (exit: Exit.Exit<unknown, unknown>, early: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return exit.cause
  if (!Cause.isEmpty(early)) return Cause.die(Cause.squash(early))
  return Exit.isFailure(exit) ? exit.cause : Cause.empty
}

/** A failure that its service has already put into the journal. */
const recordedFailure = (origin: string, cause: Cause.Cause<unknown>): Failure => ({
  cause,
  origin,
  reason: `${origin}: ${Reason.ofCause(rootOf(cause).cause)}`,
  entry: undefined
})
