/**
 * A fiber that does one job after another, and waits in between: to wake one
 * costs a fraction of what it costs to fork one.
 *
 * To its jobs it is like a fiber of their own. Each finds it as it was at first,
 * has its `Scope` to itself, and can be interrupted alone. When a job was
 * interrupted, leaves children or changes its flags, the fiber ends with it.
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
import type * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"
import type * as Supervisor from "effect/Supervisor"
import * as Gate from "./Gate.ts"
import * as HeadStart from "./HeadStart.ts"
import * as Overlay from "./Overlay.ts"
import type * as Owner from "./Owner.ts"
import { RunScope } from "./RunScope.ts"
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
  private work: Work.Work | undefined
  /** With the work in it, and without a scope. */
  private context!: Context.Context<R>
  private scope: RunScope | undefined
  /** The runtime it is in, and the values it has as a fiber of it, which nobody else has. */
  private runtime: Runtime.Runtime<R>
  private refs!: FiberRefs.FiberRefs
  private flags: RuntimeFlags.RuntimeFlags | undefined

  constructor(crew: Crew<J, A, R>, job: J) {
    this.crew = crew
    this.job = job
    this.runtime = job.runtime
  }

  /** Begins with its job in a later turn. */
  begin(): void {
    this.proceed(false)
  }

  /** Begins with its job at once, on the stack of whoever asks; in a later turn, if that is taken. */
  beginAtOnce(): void {
    if (!HeadStart.atOnce(() => this.proceed(true))) this.begin()
  }

  interrupt(by: FiberId.FiberId): void {
    if (this.fiber === undefined) this.proceed(false)
    this.fiber?.unsafeInterruptAsFork(by)
  }

  /** Ends it, if it has nothing to do. */
  dismiss(): void {
    if (this.leaveSpares()) this.end()
  }

  end(): void {
    this.interrupt(FiberId.none)
  }

  /** Whether it can do a job: its flags, and who supervises it, cannot be changed from outside. */
  isFor({ runtime }: J): boolean {
    if (runtime === this.runtime) return true
    const supervisor = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentSupervisor)
    return runtime.runtimeFlags === this.runtime.runtimeFlags && supervisor === this.fiber?.currentSupervisor
  }

  /** Whether anybody is shown the spans of a job. */
  get isTraced(): boolean {
    return this.fiber !== undefined && Spans.isShown(this.fiber.currentTracer)
  }

  /** Runs what follows a job: it is still its work, but has the scope of whoever began that, and not its own. */
  afterwards<B, E, R1>(effect: Effect.Effect<B, E, R1>): Effect.Effect<B, E, R1> {
    // What it needs the runtime has, so this is more than `R1`.
    return Effect.mapInputContext(effect, () => this.context as Context.Context<any>)
  }

  /**
   * Runs what a job does, with a scope in its context. When all that it has
   * acquired is released, goes on with how it ended. A failure to release is one
   * of the job.
   */
  settled<B, E, R1, C, R2>(
    effect: Effect.Effect<B, E, R1>,
    settle: (exit: Exit.Exit<B, E>) => Effect.Effect<C, never, R2>
  ): Effect.Effect<C, never, Exclude<R1, Scope.Scope> | R2> {
    const scope = new RunScope()
    this.scope = scope
    this.enter(scope.within(this.context))
    const released = (exit: Exit.Exit<B, E>) => {
      const closing = scope.close(exit)
      if (closing === undefined) return settle(exit)
      const closed = Effect.exit(Effect.uninterruptible(closing))
      return Effect.flatMap(closed, (ended) => settle(Exit.zipLeft(exit, ended)))
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
      // Begun at once, it has noted its fiber itself, before it is known here.
      this.fiber ??= forked as Inner
      return forked.addObserver((exit) => this.ended(exit))
    }
    // It may not wait yet, and finds the job when it would.
    if (wake === undefined || job === undefined) return
    this.wake = undefined
    // While it waits, so that the scheduler of the job wakes it.
    this.prepare(job)
    if (immediate) HeadStart.wake(fiber, () => wake(this.doing))
    else wake(this.doing)
  }

  private get life(): Effect.Effect<void, never, R> {
    const jobs: Effect.Effect<void, never, R> = Effect.whileLoop({
      while: () => this.last === undefined,
      body: () => (this.job === undefined ? this.waiting : this.next(this.job)),
      step: (value) => this.did(value)
    })
    return Effect.withFiberRuntime((fiber) => {
      this.fiber ??= fiber as Inner
      this.flags = this.fiber.currentRuntimeFlags
      this.refs = FiberRefs.forkAs(this.runtime.fiberRefs, fiber.id())
      return Effect.onExit(jobs, (exit) => this.scope?.close(exit) ?? Effect.void)
    })
  }

  private readonly waiting = Effect.async<A, never, R>((resume) => {
    // A job may have come since it was seen that there is none.
    if (this.job === undefined) this.wake = resume
    else resume(this.doing)
  }, Gate.ours)

  // It has a job whenever it does not wait.
  private readonly doing: Effect.Effect<A, never, R> = Effect.suspend(() => this.next(this.job!))

  private next(job: J): Effect.Effect<A, never, R> {
    this.prepare(job)
    // What else it needs is in its context when it is run.
    return this.crew.perform(job, this) as Effect.Effect<A, never, R>
  }

  private did(value: A): void {
    const { crew, job } = this
    // A fiber runs this.
    const fiber = this.fiber!
    if (fiber.getChildren().size > 0 || fiber.currentRuntimeFlags !== this.flags) {
      this.last = { value }
      return
    }
    if (fiber._fiberRefs !== this.refs) fiber.setFiberRefs(this.refs)
    this.job = undefined
    crew.spare ??= []
    crew.spare.push(this)
    this.keep()
    if (job !== undefined) crew.done(job, value)
  }

  private keep(): void {
    const { spares } = this
    if (spares === undefined || spares.has(this)) return
    spares.add(this)
    if (spares.size <= mostSpares) return
    // One that is busy is kept again when it is done.
    for (const oldest of spares) return oldest.dismiss()
  }

  /** All that its app keeps: spare ones, and some that have been given a job since. */
  private get spares(): Owner.Shared["spares"] | undefined {
    return this.work?.owner.shared.spares
  }

  /** Gives whether it was a spare one. */
  private leaveSpares(): boolean {
    const { spare } = this.crew
    this.spares?.delete(this)
    const place = spare === undefined ? -1 : spare.indexOf(this)
    if (place >= 0) spare?.splice(place, 1)
    return place >= 0
  }

  private ended(exit: Exit.Exit<void>): void {
    const { crew, job, last } = this
    this.job = undefined
    crew.workers?.delete(this)
    if (crew.workers?.size === 0) crew.workers = undefined
    this.leaveSpares()
    if (job === undefined) return
    if (Exit.isFailure(exit)) crew.cut(job, exit.cause)
    else if (last !== undefined) crew.done(job, last.value)
  }

  /** Becomes a fiber of a job, as it is before it does anything. */
  private prepare({ runtime, work }: J): void {
    if (work === this.work) return
    if (runtime !== this.runtime) {
      this.runtime = runtime
      // It has one since it has begun.
      this.refs = FiberRefs.forkAs(runtime.fiberRefs, this.fiber!.id())
    }
    this.work = work
    this.context = Overlay.add(runtime.context, Work.CurrentWork, work)
    this.enter(this.context)
  }

  /** Has a context, and nothing of what was changed since it began. */
  private enter<S>(context: Context.Context<S>): void {
    const fiber = this.fiber!
    // A copy is made by whoever asks a fiber for them, so that they can be changed in place.
    const locals = this.refs.locals as Map<FiberRef.FiberRef<any>, readonly [readonly [FiberId.Single, any]]>
    locals.set(FiberRef.currentContext, [[fiber.id(), context]])
    // The span in it is that of its runtime.
    if (fiber._fiberRefs === this.refs) fiber.currentContext = context
    else fiber.setFiberRefs(this.refs)
  }
}

/** What each fiber is inside: the effects that ask and set the same take turns, and copies of all that a fiber has. */
interface Inner extends Omit<Fiber.RuntimeFiber<void>, "currentContext"> {
  // Effect has one implementation of `RuntimeFiber`, which has these.
  readonly _fiberRefs: FiberRefs.FiberRefs
  currentContext: Context.Context<any>
  readonly currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  readonly currentSupervisor: Supervisor.Supervisor<any>
  readonly getChildren: () => ReadonlySet<unknown>
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}
