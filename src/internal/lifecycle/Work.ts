/**
 * The work of services, and its runs. Each handling, tick, task and check is a
 * fiber of its own, with its own id, interruption, children, FiberRefs and scope.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scope from "effect/Scope"
import * as Fork from "../Fork.ts"
import * as Spans from "../telemetry/Spans.ts"
import type * as Owner from "./Owner.ts"

/** Work of a service: its start, a task, a check, or the handling of an event. */
export class Work {
  /** The path of the service. */
  readonly service: string
  /** The owner of the service. */
  readonly owner: Owner.Owner
  /** What the work belongs to: the service that starts, the task, or the listener. */
  readonly source: object
  /** The work that waits for this: it emitted the event, or adopts the child. */
  readonly awaitedBy: Work | undefined

  constructor(service: string, owner: Owner.Owner, source: object, awaitedBy: Work | undefined) {
    this.service = service
    this.owner = owner
    this.source = source
    this.awaitedBy = awaitedBy
  }

  /** Keeps the services of the app out of a printed context. */
  toJSON(): unknown {
    return { service: this.service }
  }
}

/** The work that runs in this context. Undefined for an effect that outlives the work that started it. */
export class CurrentWork extends Context.Tag("effect-services/CurrentWork")<
  CurrentWork,
  Work | undefined
>() {}

/** The work that runs this effect, if a service's work does. */
export const current: Effect.Effect<Work | undefined> = Effect.contextWith(
  (context: Context.Context<never>) => of(context)
)

/** The work that runs in a context. */
export const of = (context: Context.Context<never>): Work | undefined =>
  Option.getOrUndefined(Context.getOption(context, CurrentWork))

/** The context for an effect that is not part of the current work. */
export const outside = <R>(context: Context.Context<R>): Context.Context<R> =>
  of(context) === undefined ? context : over(context, { keys: [CurrentWork.key], get: () => undefined })

/** Whether some work, or work that waits for it, belongs to this source. */
export const isOf = (work: Work | undefined, source: object): boolean => {
  for (let next = work; next !== undefined; next = next.awaitedBy) if (next.source === source) return true
  return false
}

/** Whether some work, or work that waits for it, belongs to a service below this owner. */
export const isWithin = (work: Work | undefined, owner: Owner.Owner): boolean => {
  for (let next = work; next !== undefined; next = next.awaitedBy) {
    for (let above: Owner.Owner | undefined = next.owner; above !== undefined; above = above.parent) {
      if (above === owner) return true
    }
  }
  return false
}

/**
 * Waits for the end of some work, unless that waits for the caller: because it
 * is what runs this, or because each waits for the other's end, be it by way of
 * others. In a circle, the last one to ask does not wait.
 */
export const unlessCircular = <E>(
  isAwaited: (work: Work | undefined) => boolean,
  wait: Effect.Effect<void, E>
): Effect.Effect<void, E> =>
  Effect.flatMap(current, (caller) => {
    if (isAwaited(caller) || (caller !== undefined && isCircular(caller, isAwaited, new Set())))
      return Effect.void
    if (caller === undefined) return wait
    const waiting: Waiting = { caller, isAwaited }
    return Effect.acquireUseRelease(
      Effect.sync(() => waits.add(waiting)),
      () => wait,
      () => Effect.sync(() => waits.delete(waiting))
    )
  })

/** Some work that waits for the end of other work. */
interface Waiting {
  readonly caller: Work
  readonly isAwaited: (work: Work | undefined) => boolean
}

const waits = new Set<Waiting>()

/** Whether some work waits, be it by way of others, for the end of the caller. */
const isCircular = (caller: Work, isAwaited: Waiting["isAwaited"], seen: Set<Waiting>): boolean => {
  for (const waiting of waits) {
    if (seen.has(waiting) || !isAwaited(waiting.caller)) continue
    seen.add(waiting)
    if (waiting.isAwaited(caller) || isCircular(caller, waiting.isAwaited, seen)) return true
  }
  return false
}

/**
 * What the runs of some work begin with: the context and the FiberRefs of the
 * fiber that set the work up, taken once, since `Runtime.runFork` copies and
 * patches all of them at each fork.
 */
export class RunRuntime<in R> {
  readonly runtime: Runtime.Runtime<R>
  /** Without FiberRefs: each run is given `locals`. */
  private readonly bare: Runtime.Runtime<R>
  private locals: FiberRefs.FiberRefs["locals"] | undefined = undefined

  constructor(runtime: Runtime.Runtime<R>) {
    this.runtime = runtime
    this.bare = Runtime.make({
      context: runtime.context,
      fiberRefs: noFiberRefs,
      runtimeFlags: RuntimeFlags.disable(runtime.runtimeFlags, RuntimeFlags.Interruption)
    })
  }

  /** Forks an uninterruptible run in this context, and runs it until it first waits, unless `immediate` is false. */
  fork<A, E, R2>(
    context: Context.Context<R2>,
    effect: Effect.Effect<A, E, R2>,
    options?: { readonly immediate: false }
  ): Fiber.RuntimeFiber<A, E> {
    this.locals ??= FiberRefs.forkAs(this.runtime.fiberRefs, FiberId.none).locals
    const { locals } = this
    const updateRefs: Runtime.RunForkOptions["updateRefs"] = (_, id) =>
      FiberRefs.unsafeMake(new Map(locals).set(FiberRef.currentContext, [[id, context]]))
    // What the effect needs is in `context`, which replaces the runtime's.
    const provided = effect as Effect.Effect<A, E>
    return options === undefined
      ? Fork.unsafeNow(this.bare, provided, updateRefs)
      : Runtime.runFork(this.bare, provided, { updateRefs, immediate: false })
  }
}

const noFiberRefs = FiberRefs.empty()

/** The runtime for work that this fiber sets up. Work set up in the same state shares one. */
export const runtime = <R>(): Effect.Effect<RunRuntime<R>, never, R> =>
  Effect.withFiberRuntime((fiber) => {
    const { currentContext } = fiber
    const fiberRefs = fiber.getFiberRefs()
    const known = lastOf.get(currentContext)
    const flags = fiber.getFiberRef(FiberRef.currentRuntimeFlags)
    const isSame =
      known?.made.runtime.runtimeFlags === flags && Fork.haveSameValues(known.fiberRefs, fiberRefs)
    // It was made from this very context, so it provides `R`.
    if (isSame) return Effect.succeed(known.made as RunRuntime<R>)
    // This effect needs `R`, so the fiber's context has it.
    const context = Spans.outside(currentContext as Context.Context<R>)
    const made = new RunRuntime(Runtime.make({ context, fiberRefs, runtimeFlags: flags }))
    lastOf.set(currentContext, { fiberRefs, made })
    return Effect.succeed(made)
  })

/** The last runtime that was made from a context, and the FiberRefs at that time. */
const lastOf = new WeakMap<
  Context.Context<never>,
  { readonly fiberRefs: FiberRefs.FiberRefs; readonly made: RunRuntime<any> }
>()

/** The task, listener or spawned effect that started a run, and may interrupt it. */
export interface RunOwner {
  /** Whether it has interrupted the run, at the stop of the service or by `cancel` of a handle. */
  readonly isInterrupted: boolean
}

/** A run of some work. Its scope is made when it is first asked for: most runs never do. */
export class Run implements OverlayEntries {
  readonly keys = ownKeys
  private readonly work: Work
  private readonly base: Context.Context<any>
  private scope: Scope.CloseableScope | undefined = undefined
  private exit: Exit.Exit<unknown, unknown> | undefined = undefined
  private readonly owner: RunOwner

  /** A run in a context, which `owner` may interrupt. */
  constructor(work: Work, base: Context.Context<any>, owner: RunOwner) {
    this.work = work
    this.base = base
    this.owner = owner
  }

  /** Whether its owner has interrupted it: then the interruption is neither journaled nor answered. */
  get isInterrupted(): boolean {
    return this.owner.isInterrupted
  }

  get(key: string): unknown {
    return key === Scope.Scope.key ? this.ownScope() : this.work
  }

  /** The context of the run, with its work and its scope. */
  get context(): Context.Context<any> {
    return over(this.base, this)
  }

  /**
   * Runs an effect interruptibly, releases what it acquired, and then, in the
   * same fiber, goes on with `settle`, which runs uninterruptibly.
   */
  perform<A, E, B, E2>(
    effect: Effect.Effect<A, E, any>,
    settle: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, any>
  ): Effect.Effect<B, E2> {
    // What it needs is in the run's context, in which it is performed.
    return Effect.matchCauseEffect(Effect.interruptible(effect), {
      onFailure: (cause) => this.release(Exit.failCause(cause), settle),
      onSuccess: (value) => this.release(Exit.succeed(value), settle)
    }) as Effect.Effect<B, E2>
  }

  /** As `perform`, for another attempt in the same fiber, with a scope of its own. */
  again<A, E, B, E2>(
    effect: Effect.Effect<A, E, any>,
    settle: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, any>
  ): Effect.Effect<B, E2> {
    const next = new Run(this.work, this.base, this.owner)
    return Effect.mapInputContext(next.perform(effect, settle), () => next.context)
  }

  /** Runs the answer to a failure of the effect: part of the same work, but outside the run's scope. */
  afterwards<A, E>(effect: Effect.Effect<A, E, any>): Effect.Effect<A, E> {
    return Effect.mapInputContext(effect, () =>
      over(this.base, { keys: [CurrentWork.key], get: () => this.work })
    )
  }

  private release<A, E, B, E2>(
    exit: Exit.Exit<A, E>,
    settle: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2, any>
  ): Effect.Effect<B, E2, any> {
    this.exit = exit
    if (this.scope === undefined) return settle(exit)
    return Effect.flatMap(Effect.exit(Scope.close(this.scope, exit)), (closed) =>
      settle(Exit.zipLeft(exit, closed))
    )
  }

  private ownScope(): Scope.CloseableScope {
    if (this.scope !== undefined) return this.scope
    this.scope = Effect.runSync(Scope.make())
    // A fiber that the run left behind may ask for the scope later.
    if (this.exit !== undefined) Effect.runSync(Scope.close(this.scope, this.exit))
    return this.scope
  }
}

const ownKeys = [Scope.Scope.key, CurrentWork.key]

// A context laid over another one without a copy. Effect copies the whole context for
// each service that it adds, which costs too much for every event and tick.

/** Services that lie over a context. */
interface OverlayEntries {
  readonly keys: ReadonlyArray<string>
  /** The service of one of `keys`; may make it when it is first asked for. */
  readonly get: (key: string) => unknown
}

/** A context with these entries over it. They provide the services `I`. */
const over = <R, I>(context: Context.Context<R>, entries: OverlayEntries): Context.Context<R | I> =>
  Context.unsafeMake(new Overlay(context.unsafeMap, entries))

/** Effect copies a context before it changes it, so an overlay is only ever read. */
class Overlay implements Map<string, any> {
  private readonly below: ReadonlyMap<string, any>
  private readonly own: OverlayEntries

  constructor(below: ReadonlyMap<string, any>, entries: OverlayEntries) {
    this.below = below
    this.own = entries
  }

  get(key: string): any {
    return this.own.keys.includes(key) ? this.own.get(key) : this.below.get(key)
  }

  has(key: string): boolean {
    return this.own.keys.includes(key) || this.below.has(key)
  }

  get size(): number {
    return this.below.size + this.own.keys.filter((key) => !this.below.has(key)).length
  }

  entries(): MapIterator<[string, any]> {
    return this.copy().entries()
  }

  keys(): MapIterator<string> {
    return this.copy().keys()
  }

  values(): MapIterator<any> {
    return this.copy().values()
  }

  forEach(f: (value: any, key: string, map: Map<string, any>) => void): void {
    this.copy().forEach(f)
  }

  [Symbol.iterator](): MapIterator<[string, any]> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return "Map"
  }

  set(): never {
    throw new TypeError("An overlay of a context is read-only: copy it first")
  }

  delete(): never {
    return this.set()
  }

  clear(): never {
    return this.set()
  }

  private copy(): Map<string, any> {
    const all = new Map(this.below)
    for (const key of this.own.keys) all.set(key, this.own.get(key))
    return all
  }
}
