/**
 * A fiber that does one job after another, and waits in between: to wake one
 * costs a fraction of what it costs to fork one.
 *
 * To its jobs it is like a fiber of their own. Each finds it as it was at first,
 * has its `Scope` to itself, and can be interrupted alone. When a job was
 * interrupted, or leaves children, the fiber ends with it, as any fiber does.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Finalizers from "./Finalizers.ts"
import * as Gate from "./Gate.ts"
import * as Work from "./Work.ts"

/** What a worker does. */
export interface Job {
  /** The work that waits for it. */
  readonly awaitedBy: Work.Work | undefined
}

/** Those who do jobs of one kind, in one context. One of them is kept while it has nothing to do. */
export interface Crew<J extends Job, A, R> {
  readonly runtime: Runtime.Runtime<R>
  /** Which work a job is. */
  readonly workOf: (awaitedBy: Work.Work | undefined) => Work.Work
  readonly perform: (job: J, worker: Worker<J, A, R>) => Effect.Effect<A, never, R | Scope.Scope>
  /** A job has ended. */
  readonly done: (job: J, value: A) => void
  /** A job was interrupted, or has failed with a defect, and its fiber with it. */
  readonly cut: (job: J, cause: Cause.Cause<unknown>) => void
  /** Those who are there, if there are any. */
  workers: Set<Worker<J, A, R>> | undefined
  spare: Worker<J, A, R> | undefined
  /** The spare workers of all crews. */
  readonly spares: Spares
}

/** Workers that are kept, whatever their crews. */
export type Spares = Set<Worker<any, any, any>>

/** How many workers are kept in all: a megabyte of them. */
const mostSpares = 256

/** Gives a job to a worker. It does not begin at once: a chain of jobs would grow the stack. */
export const begin = <J extends Job, A, R>(crew: Crew<J, A, R>, job: J): void => {
  const { spare } = crew
  crew.spare = undefined
  if (spare !== undefined) return spare.begin(job)
  crew.workers ??= new Set()
  crew.workers.add(new Worker(crew, job))
}

/** Ends the worker that has nothing to do. */
export const dismiss = ({ spare }: Crew<any, any, any>): void => spare?.dismiss()

export class Worker<J extends Job, A, R> {
  readonly fiber: Fiber.RuntimeFiber<void>
  /** What it does; nothing while it waits. */
  job: J | undefined
  private readonly crew: Crew<J, A, R>
  private wake: ((effect: Effect.Effect<A, never, R>) => void) | undefined
  /** Its last job has ended with this, and so will the fiber. */
  private last: { readonly value: A } | undefined
  /** In its context: whom it works for, and the scope of what it does. */
  private awaitedBy: Work.Work | undefined
  private scope!: Scope.CloseableScope
  private refs!: FiberRefs.FiberRefs

  constructor(crew: Crew<J, A, R>, job: J) {
    this.crew = crew
    this.job = job
    this.awaitedBy = job.awaitedBy
    this.fiber = Runtime.runFork(crew.runtime)(Effect.interruptible(this.life()), { immediate: false })
    this.fiber.addObserver((exit) => this.ended(exit))
  }

  begin(job: J): void {
    const { wake } = this
    this.job = job
    this.wake = undefined
    // It may not wait yet, and finds the job when it would.
    wake?.(this.doing)
  }

  interrupt(by: FiberId.FiberId): void {
    this.fiber.unsafeInterruptAsFork(by)
  }

  dismiss(): void {
    const { crew, fiber } = this
    crew.spares.delete(this)
    if (crew.spare !== this) return
    crew.spare = undefined
    this.interrupt(fiber.id())
  }

  /** Releases what the job has acquired, if anything. A failure of that is a failure of the job. */
  released<B, E>(exit: Exit.Exit<B, E>): Effect.Effect<Exit.Exit<B, E>> | undefined {
    if (Finalizers.of(this.scope).size === 0) return undefined
    const closed = Effect.exit(Effect.uninterruptible(Scope.close(this.scope, exit)))
    return Effect.zipWith(closed, this.provided, (ended) => Exit.zipLeft(exit, ended))
  }

  private life(): Effect.Effect<void, never, R> {
    const jobs: Effect.Effect<void, never, R> = Effect.whileLoop({
      while: () => this.last === undefined,
      body: () => (this.job === undefined ? this.waiting : this.doing),
      step: (value) => this.did(value)
    })
    return Effect.zipRight(
      this.provided,
      Effect.onExit(jobs, (exit) => Scope.close(this.scope, exit))
    )
  }

  private readonly waiting = Effect.async<A, never, R>((resume) => {
    // A job may have come since it was seen that there is none.
    if (this.job === undefined) this.wake = resume
    else resume(this.doing)
  }, Gate.ours)

  private readonly doing: Effect.Effect<A, never, R> = Effect.suspend(() => {
    const { crew, fiber } = this
    // It has one whenever it does not wait.
    const job = this.job!
    inside(fiber).setFiberRefs(this.refs)
    if (job.awaitedBy !== this.awaitedBy) {
      this.awaitedBy = job.awaitedBy
      this.provide(this.scope)
    }
    // The scope is in its context.
    return crew.perform(job, this) as Effect.Effect<A, never, R>
  })

  private did(value: A): void {
    const { crew, fiber, job } = this
    if (crew.spare !== undefined || inside(fiber).getChildren().size > 0) {
      this.last = { value }
      return
    }
    this.job = undefined
    crew.spare = this
    if (!crew.spares.has(this)) this.keep()
    if (job !== undefined) crew.done(job, value)
  }

  private keep(): void {
    const { spares } = this.crew
    spares.add(this)
    if (spares.size <= mostSpares) return
    // One that is busy is kept again when it is done.
    for (const oldest of spares) return oldest.dismiss()
  }

  private ended(exit: Exit.Exit<void>): void {
    const { crew, job, last } = this
    this.job = undefined
    crew.workers?.delete(this)
    if (crew.workers?.size === 0) crew.workers = undefined
    crew.spares.delete(this)
    if (crew.spare === this) crew.spare = undefined
    if (job === undefined) return
    if (Exit.isFailure(exit)) crew.cut(job, exit.cause)
    else if (last !== undefined) crew.done(job, last.value)
  }

  /** A scope that is new. */
  private readonly provided = Effect.map(Scope.make(), (scope) => this.provide(scope))

  private provide(scope: Scope.CloseableScope): void {
    const { crew, fiber } = this
    this.scope = scope
    const context = crew.runtime.context.pipe(
      Context.add(Work.CurrentWork, crew.workOf(this.awaitedBy)),
      Context.add(Scope.Scope, scope)
    )
    this.refs = FiberRefs.updateAs(fiber.getFiberRefs(), {
      fiberId: fiber.id(),
      fiberRef: FiberRef.currentContext,
      value: context
    })
    inside(fiber).setFiberRefs(this.refs)
  }
}

/** What each fiber is inside. The effects that ask and set the same take turns, and copies of all that a fiber has. */
const inside = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
  // Effect has one implementation of `RuntimeFiber`, and this is public in it.
  fiber as unknown as {
    readonly getChildren: () => ReadonlySet<unknown>
    readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
  }
