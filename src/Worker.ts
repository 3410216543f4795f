/**
 * A fiber that does one job after another, and waits in between: to wake one
 * costs a fraction of what it costs to fork one.
 *
 * To its jobs it is like a fiber of their own. Each finds it as it was at first,
 * has its `Scope` to itself, and can be interrupted alone. When a job was
 * interrupted, or leaves children, the fiber ends with it, as any fiber does.
 */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Finalizers from "./Finalizers.ts"
import * as Gate from "./Gate.ts"
import * as HeadStart from "./HeadStart.ts"
import * as Overlay from "./Overlay.ts"
import type * as Owner from "./Owner.ts"
import * as Spans from "./Spans.ts"
import * as Work from "./Work.ts"

/** What a worker does. */
export interface Job<in R> {
  /** Which work it is. */
  readonly work: Work.Work
  /** In which it is done. It belongs to the work: there is one for each. */
  readonly runtime: Runtime.Runtime<R>
}

/** Those who do jobs of one kind. Some of them are kept while they have nothing to do. */
export interface Crew<J extends Job<R>, A, R> {
  readonly perform: (job: J, worker: Worker<J, A, R>) => Effect.Effect<A, never, R | Scope.Scope>
  /** A job has ended. */
  readonly done: (job: J, value: A) => void
  /** A job was interrupted, or has failed with a defect, and its fiber with it. */
  readonly cut: (job: J, cause: Cause.Cause<unknown>) => void
  /** Those who are there, if there are any. */
  workers: Set<Worker<J, A, R>> | undefined
  /** Those of them who have nothing to do. */
  spare: Array<Worker<J, A, R>> | undefined
  /** The spare workers of all crews of an app. */
  readonly spares: Owner.Shared["spares"]
}

/** How many workers an app keeps in all: a megabyte of them. */
const mostSpares = 256

/** Gives a job to a worker, who is to be told to begin. */
export const assign = <J extends Job<R>, A, R>(crew: Crew<J, A, R>, job: J): Worker<J, A, R> => {
  const spare = crew.spare?.pop()
  // Mostly all are alike. One that is not is of no use to whoever comes next, either.
  if (spare?.isFor(job) === false) spare.end()
  else if (spare !== undefined) {
    spare.job = job
    return spare
  }
  const worker = new Worker(crew, job)
  crew.workers ??= new Set()
  crew.workers.add(worker)
  return worker
}

/** Ends those who have nothing to do. */
export const dismiss = ({ spare = [] }: Crew<any, any, any>): void => {
  for (const worker of spare.slice()) worker.dismiss()
}

export class Worker<J extends Job<R>, A, R> {
  /** It has one from when it first begins. */
  private fiber: Inner | undefined
  /** What it does; nothing while it waits. */
  job: J | undefined
  private readonly crew: Crew<J, A, R>
  private wake: ((effect: Effect.Effect<A, never, R>) => void) | undefined
  /** Its last job has ended with this, and so will the fiber. */
  private last: { readonly value: A } | undefined
  /** In its context: what work it does, and the scope of that. */
  private work: Work.Work
  private scope!: Scope.CloseableScope
  /** The runtime it has come from, the values it has as a fiber of it, and with that context. */
  private runtime: Runtime.Runtime<R> | undefined
  private base!: FiberRefs.FiberRefs
  private refs!: FiberRefs.FiberRefs

  constructor(crew: Crew<J, A, R>, job: J) {
    this.crew = crew
    this.job = job
    this.work = job.work
  }

  /** Begins with its job in a later turn, or `now`, on the stack of whoever asks, if that is not taken. */
  begin(now: boolean): void {
    if (!now || !HeadStart.atOnce(() => this.proceed(true))) this.proceed(false)
  }

  interrupt(by: FiberId.FiberId): void {
    if (this.fiber === undefined) this.proceed(false)
    this.fiber?.unsafeInterruptAsFork(by)
  }

  /** Ends it, if it has nothing to do. */
  dismiss(): void {
    if (this.isSpare()) this.end()
  }

  end(): void {
    this.interrupt(FiberId.none)
  }

  /** Whether it can do a job: what flags a fiber has cannot be changed from outside. */
  isFor({ runtime }: J): boolean {
    return runtime.runtimeFlags === this.runtime?.runtimeFlags
  }

  /** Whether anybody is shown the spans of a job. */
  get isTraced(): boolean {
    return this.fiber !== undefined && Spans.isShown(this.fiber.currentTracer)
  }

  /** What follows a job is still its work, but has no scope. */
  get afterwards(): Effect.Effect<void> {
    return FiberRef.set(FiberRef.currentContext, this.contextOf(this.work))
  }

  /**
   * Runs what a job does, which has its scope in its context. When all that it
   * has acquired is released, goes on with how it ended. A failure to release is
   * one of the job.
   */
  settled<B, E, R1, C, R2>(
    effect: Effect.Effect<B, E, R1>,
    settle: (exit: Exit.Exit<B, E>) => Effect.Effect<C, never, R2>
  ): Effect.Effect<C, never, Exclude<R1, Scope.Scope> | R2> {
    const released = (exit: Exit.Exit<B, E>) => {
      if (Finalizers.of(this.scope).size === 0) return settle(exit)
      const closed = Effect.exit(Effect.uninterruptible(Scope.close(this.scope, exit)))
      const fresh = Effect.zipWith(closed, this.provided, (ended) => Exit.zipLeft(exit, ended))
      return Effect.flatMap(fresh, settle)
    }
    return Effect.matchCauseEffect(effect as Effect.Effect<B, E, Exclude<R1, Scope.Scope>>, {
      onFailure: (cause) => released(Exit.failCause(cause)),
      onSuccess: (value) => released(Exit.succeed(value))
    })
  }

  private proceed(immediate: boolean): void {
    const { fiber, job, wake } = this
    if (fiber === undefined) {
      // It has been given its first job.
      const forked = Runtime.runFork(job!.runtime)(Effect.interruptible(this.life), { immediate })
      this.fiber ??= forked as Inner
      return forked.addObserver((exit) => this.ended(exit))
    }
    // It may not wait yet, and finds the job when it would.
    if (wake === undefined) return
    this.wake = undefined
    if (immediate) HeadStart.wake(fiber, () => wake(this.doing))
    else wake(this.doing)
  }

  private get life(): Effect.Effect<void, never, R> {
    const jobs: Effect.Effect<void, never, R> = Effect.whileLoop({
      while: () => this.last === undefined,
      body: () => (this.job === undefined ? this.waiting : this.next(this.job)),
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

  // It has a job whenever it does not wait.
  private readonly doing: Effect.Effect<A, never, R> = Effect.suspend(() => this.next(this.job!))

  private next(job: J): Effect.Effect<A, never, R> {
    // A fiber runs this.
    const fiber = this.fiber!
    if (job.work !== this.work) this.provide(fiber, job, this.scope)
    if (fiber._fiberRefs !== this.refs) fiber.setFiberRefs(this.refs)
    // The scope is in its context.
    return this.crew.perform(job, this) as Effect.Effect<A, never, R>
  }

  private did(value: A): void {
    const { crew, fiber, job } = this
    if (fiber !== undefined && fiber.getChildren().size > 0) {
      this.last = { value }
      return
    }
    this.job = undefined
    crew.spare ??= []
    crew.spare.push(this)
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

  /** Is no spare one any more. Gives whether it was. */
  private isSpare(): boolean {
    const { spare, spares } = this.crew
    spares.delete(this)
    const place = spare === undefined ? -1 : spare.indexOf(this)
    if (place >= 0) spare?.splice(place, 1)
    return place >= 0
  }

  private ended(exit: Exit.Exit<void>): void {
    const { crew, job, last } = this
    this.job = undefined
    crew.workers?.delete(this)
    if (crew.workers?.size === 0) crew.workers = undefined
    this.isSpare()
    if (job === undefined) return
    if (Exit.isFailure(exit)) crew.cut(job, exit.cause)
    else if (last !== undefined) crew.done(job, last.value)
  }

  /** A scope that is new. */
  private readonly provided = Effect.withFiberRuntime<void>((fiber) =>
    Effect.map(Scope.make(), (scope) => {
      this.fiber ??= fiber as Inner
      // It is its job that asks.
      this.provide(this.fiber, this.job!, scope)
      this.fiber.setFiberRefs(this.refs)
    })
  )

  private provide(fiber: Inner, { runtime, work }: J, scope: Scope.CloseableScope): void {
    const fiberId = fiber.id()
    if (runtime !== this.runtime) {
      this.base = FiberRefs.forkAs(runtime.fiberRefs, fiberId)
      this.runtime = runtime
    }
    this.work = work
    this.scope = scope
    const context = Overlay.add(this.contextOf(work), Scope.Scope, scope)
    this.refs = FiberRefs.unsafeMake(
      new Map(this.base.locals).set(FiberRef.currentContext, [[fiberId, context]])
    )
  }

  private contextOf(work: Work.Work): Context.Context<R> {
    // The runtime is there since the fiber has begun.
    return Overlay.add(this.runtime!.context, Work.CurrentWork, work)
  }
}

/** What each fiber is inside: the effects that ask and set the same take turns, and copies of all that a fiber has. */
interface Inner extends Fiber.RuntimeFiber<void> {
  // Effect has one implementation of `RuntimeFiber`, which has these.
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly getChildren: () => ReadonlySet<unknown>
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}
