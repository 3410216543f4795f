/** One instance of an adopted layer: it is built under a service, and closed once. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Latch from "../Latch.ts"
import * as Fork from "../Fork.ts"
import type * as Journal from "../journal/Journal.ts"
import type * as Names from "../lifecycle/Names.ts"
import * as Deadline from "../lifecycle/Deadline.ts"
import * as Owner from "../lifecycle/Owner.ts"
import * as Reason from "../Reason.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as Shutdown from "../lifecycle/Shutdown.ts"
import { rootOf, StartError } from "../lifecycle/StartError.ts"
import * as Startup from "../lifecycle/Startup.ts"

/** What is brought to instance, as often as it takes. */
export interface Plan {
  readonly parent: Lifetime.Lifetime
  /** What it needs, the types of `Service.adopt` tell. */
  readonly layer: Layer.Layer<unknown, unknown, any>
  /** What a service of the layer is called below its parent. */
  readonly label: (service: string) => string
  readonly claim: Names.Claim
  /** Whether the app cannot do without it. */
  readonly isCritical: boolean
}

/** What went wrong, and the path down to it. */
export interface Failure {
  readonly cause: Cause.Cause<unknown>
  readonly origin: string
  /** The origin, and what went wrong there, in words. */
  readonly reason: string
  /** The entry that tells of it, where the service that failed has not journaled it. */
  readonly entry: Omit<Journal.Of<"ServiceFailed">, "at"> | undefined
}

/** What a instance tells: that its build has ended, and then what happens to it until it is closed. */
export interface Hooks {
  readonly settled: () => void
  readonly failed: (failure: Failure) => void
  readonly stopAsked: () => void
}

/** One instance. It is the owner of the services in it. */
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
  private readonly isSettled = Latch.make()
  private scope: Scope.CloseableScope | undefined = undefined
  /** Until it has ended. */
  private building: Fiber.RuntimeFiber<Context.Context<unknown>, unknown> | undefined = undefined
  /** What that began with. */
  private begun: Runtime.Runtime<any> | undefined = undefined
  private ended: Exit.Exit<Context.Context<unknown>, unknown> | undefined = undefined
  private isClosing = false
  private isGivenUp = false
  private asksStop = false
  /** One service of the layer may fail while others still start: then they need not go on. */
  private early: Failure | undefined = undefined

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

  failed(member: Owner.Member, origin: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.sync(() => {
      // One that dies while it is closed is being dealt with.
      if (this.isClosing) return
      if (this.ended !== undefined) return this.hooks.failed(told(origin, cause))
      // One that starts would fail the build with this, had it been waited for.
      const isStarting = member.shown()._tag === "Starting"
      const error = new StartError({ service: member.path, step: "onStart", cause })
      this.early ??= { ...told(origin, cause), cause: isStarting ? Cause.die(error) : cause }
      this.giveUp()
    })
  }

  stopAsked(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.ended === undefined) this.asksStop = true
      else if (!this.isClosing) this.hooks.stopAsked()
    })
  }

  /** Begins to build the layer, unless it has been given up. */
  get begin(): Effect.Effect<void, never, any> {
    // A fork of the parent's scope. The parent closes it in its turn, or with its own at the latest.
    const fork = Scope.fork(this.plan.parent.resources, ExecutionStrategy.sequential)
    return Effect.flatMap(Effect.zip(fork, Layer.makeMemoMap), ([scope, memoMap]) =>
      Effect.map(Effect.runtime<any>(), (ambient) => {
        if (this.isGivenUp) return
        this.scope = scope
        const context = new Map(ambient.context.unsafeMap)
        context.set(Owner.Owner.key, this)
        context.set(Scope.Scope.key, scope)
        context.set(Layer.CurrentMemoMap.key, memoMap)
        const built = Effect.interruptible(Startup.build(this.plan.layer, memoMap, scope))
        const runtime = Runtime.make({ ...ambient, context: Context.unsafeMake<any>(context) })
        const fiber = Fork.unsafeNow(runtime, Fork.told(built))
        this.building = fiber
        this.begun = runtime
        // It may have been given up before it first waited.
        if (this.isGivenUp) fiber.unsafeInterruptAsFork(fiber.id())
        fiber.addObserver((exit) => {
          this.ended = exit
          this.settle()
        })
      })
    )
  }

  /** Waits for the exit of its build. */
  get built(): Effect.Effect<Exit.Exit<Context.Context<unknown>, unknown>> {
    // It is there when that is open.
    return Effect.map(this.isSettled.await, () => this.settled() ?? Exit.interrupt(FiberId.none))
  }

  /** Takes over what the build has changed in its fiber, as a build in this fiber would. */
  get inherit(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { building, begun } = this
      this.building = undefined
      this.begun = undefined
      if (building === undefined || begun === undefined) return Effect.void
      return Fork.inherit(building, begun)
    })
  }

  /** The exit of its build, when that has ended or been given up. */
  settled(): Exit.Exit<Context.Context<unknown>, unknown> | undefined {
    const built = this.ended ?? (this.isGivenUp ? Exit.interrupt(FiberId.none) : undefined)
    if (built === undefined || this.early === undefined) return built
    return Exit.failCause(causeOf(built, this.early.cause))
  }

  /** What it has built; undefined until then. */
  context(): Context.Context<unknown> | undefined {
    return this.ended !== undefined && Exit.isSuccess(this.ended) ? this.ended.value : undefined
  }

  /** Whether a service of it asked to be stopped before all was built. */
  wantsStop(): boolean {
    return this.asksStop
  }

  /** Its services, as they are called below the parent. */
  name(): string {
    return [...this.members].map((member) => member.label).join(", ") || this.label("a layer")
  }

  /** Why it was not built, when it was not. It is told of by a name, where no service of it tells its own. */
  failure(name: string): Failure {
    if (this.early !== undefined) return this.early
    const itself = new Cause.InterruptedException("it interrupted itself")
    const failed = this.ended !== undefined && Exit.isFailure(this.ended) ? this.ended.cause : Cause.empty
    const cause = Cause.isInterruptedOnly(failed) ? Cause.die(itself) : failed
    const root = rootOf(cause)
    const service = root.at?.service ?? `${this.path} > ${name}`
    const work = root.at?.step ?? "its start"
    const origin = `${service} > ${work}`
    const entry = { _tag: "ServiceFailed", service, work, origin, cause: root.cause } as const
    return { cause, origin, reason: `${origin}: ${Reason.ofCause(root.cause)}`, entry }
  }

  /** Ends the build, if it still goes on, and the waiting for it. */
  giveUp(): void {
    if (this.ended !== undefined || this.isGivenUp) return
    this.isGivenUp = true
    this.building?.unsafeInterruptAsFork(this.building.id())
    this.settle()
  }

  /** How long `close` may take, in milliseconds. A layer that is no service has no deadline of its own, and gets its parent's. */
  stopLimit(): number {
    const ofServices = [...this.members].reduce((sum, member) => sum + member.stopLimit(), 0)
    return Math.max(this.plan.parent.stopTimeout, ofServices)
  }

  /** Stops all of it, in order and within its deadlines, and waits for that. To be run once. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosing = true
      const { parent } = this.plan
      const limitMillis = this.stopLimit()
      const alive = () => Owner.unfinished(this.members).map(Owner.describe)
      const { building, members, scope } = this
      const isBuilding = this.ended === undefined && building !== undefined
      // What a build is in the middle of is undone first, since a layer releases what it has built only then.
      const undone = !isBuilding
        ? Effect.void
        : Shutdown.step(parent, `the start of child ${this.name()}`, Fiber.await(building), {
            limitMillis: Math.min(Math.ceil(limitMillis / 3), longestBuildEnd),
            alive
          })
      const released = Effect.suspend(() => {
        const reached = this.ended === undefined ? Owner.stopMembers(members) : Effect.void
        const closed = scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
        const all = Effect.uninterruptible(Effect.zipRight(reached, closed))
        return Shutdown.step(parent, `child ${this.name()}`, all, { limitMillis, alive })
      })
      // Where something hung, those behind it have not even been asked.
      const asked = Effect.suspend(() =>
        members.size === 0
          ? Effect.void
          : Deadline.within(Owner.stopMembers(members), Lifetime.lateStepMillis)
      )
      return Effect.zipRight(undone, Effect.zipRight(released, asked))
    })
  }

  private settle(): void {
    this.isSettled.unsafeOpen()
    this.hooks.settled()
  }
}

/** How long the end of an interrupted build is waited for, at most, as that of an app. */
const longestBuildEnd = 10_000

/** What the layer's type tells of comes first; a service that fails on its own in the middle is a defect to it. */
const causeOf = (exit: Exit.Exit<unknown, unknown>, early: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return exit.cause
  if (!Cause.isEmpty(early)) return Cause.die(Cause.squash(early))
  return Exit.isFailure(exit) ? exit.cause : Cause.empty
}

/** A failure that its service has journaled. */
const told = (origin: string, cause: Cause.Cause<unknown>): Failure => ({
  cause,
  origin,
  reason: `${origin}: ${Reason.ofCause(rootOf(cause).cause)}`,
  entry: undefined
})
