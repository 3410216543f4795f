/**
 * A fiber that does one job after another, and waits when there is none: to wake
 * one costs a fraction of what it costs to fork one, and to go on with another
 * job a fraction of that.
 *
 * To its jobs it is like a fiber of their own. Each finds it as it was at first,
 * has its `Scope` to itself, and can be interrupted alone. When a job was
 * interrupted, leaves children or changes its flags, the fiber ends with it.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"
import * as Latch from "../Latch.ts"
import * as HeadStart from "../HeadStart.ts"
import * as InnerFiber from "../InnerFiber.ts"
import * as ContextOverlay from "../ContextOverlay.ts"
import type { Ready, RunQueue } from "./RunQueue.ts"
import { RunScope } from "./RunScope.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as Work from "./Work.ts"

/** What a worker does. */
export interface Job extends Ready {
  /** Which work it is. */
  readonly work: Work.Work
  /** In which it is done. It belongs to the work: there is one for each. */
  readonly runtime: Runtime.Runtime<any>
  /** Who does it, when it has begun. */
  worker: Worker | undefined
  /** What else it needs than a scope is in its runtime. */
  readonly perform: (worker: Worker) => Effect.Effect<any, never, any>
  /** It has ended. A failure is one that it has not answered itself. */
  readonly ended: (exit: Exit.Exit<any>) => void
}

/** Whose worker it is. */
export interface Home {
  readonly begin: (job: Job) => void
  /** Where jobs wait until they begin. */
  readonly ready: RunQueue<Job>
  /** It waits for a job. Gives whether it may. */
  readonly rests: (worker: Worker) => boolean
  /** It is not to be given a job any more. Gives whether it had none. */
  readonly retires: (worker: Worker) => boolean
  /** Its fiber has ended. */
  readonly leaves: (worker: Worker) => void
}

export class Worker {
  /** It has one from when it first begins. */
  private fiber: InnerFiber.InnerFiber | undefined
  /** What it does; nothing while it waits. */
  job: Job | undefined
  readonly crew: Home
  /** Made when it first waits, and is first woken, as one whose task goes on for ever never is. */
  private wait: Effect.Effect<unknown, never, any> | undefined
  private woken: Effect.Effect<unknown, never, any> | undefined
  private wake: ((effect: Effect.Effect<any, never, any>) => void) | undefined
  /** Its last job has ended with this, and so will the fiber. */
  private last: { readonly value: unknown } | undefined
  /** The work that is in its context. */
  private work: Work.Work | undefined
  /** With the work in it, and without a scope. */
  private context!: Context.Context<any>
  private scope: RunScope | undefined
  /** What is made of the end of its job, if that has a scope. */
  private settle: ((exit: Exit.Exit<any, any>) => Effect.Effect<unknown, never, any>) | undefined
  /** What its job has left to do. */
  private left: Effect.Effect<unknown, never, any> | undefined
  /** The runtime it is in, and the values it has as a fiber of it, which nobody else has. */
  private runtime!: Runtime.Runtime<any>
  private refs!: FiberRefs.FiberRefs
  private flags: RuntimeFlags.RuntimeFlags | undefined

  constructor(crew: Home) {
    this.crew = crew
  }

  /** Begins with a job, on this stack. It has none. */
  begin(job: Job): void {
    const { fiber, wake } = this
    this.takes(job)
    if (fiber === undefined) {
      this.runtime = job.runtime
      Runtime.runFork(job.runtime)(this.life, { immediate: true }).addObserver((exit) => this.ended(exit))
      return
    }
    // Who is spare waits.
    HeadStart.wake(fiber, () => wake!((this.woken ??= this.doing)))
  }

  interrupt(by: FiberId.FiberId): void {
    this.fiber?.unsafeInterruptAsFork(by)
  }

  /** Ends it, if it has nothing to do. */
  dismiss(): void {
    if (this.crew.retires(this)) this.end()
  }

  end(): void {
    this.interrupt(FiberId.none)
  }

  /** Whether it can do a job: its flags, and who supervises it, cannot be changed from outside. */
  isFor({ runtime }: Job): boolean {
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
    return Effect.mapInputContext(effect, () => this.context)
  }

  /**
   * The last that a job does, to be returned as it is: runs an effect with a
   * scope in its context. When all that it has acquired is released, the job goes
   * on with how it ended. A failure to release is one of the job.
   */
  settled<B, E, R1, C, R2>(
    effect: Effect.Effect<B, E, R1>,
    settle: (exit: Exit.Exit<B, E>) => Effect.Effect<C, never, R2>
  ): Effect.Effect<C, never, Exclude<R1, Scope.Scope> | R2> {
    this.scope = new RunScope()
    this.settle = settle
    this.enter(this.scope.within(this.context))
    // Still the effect itself, whatever the type says: its end comes to `did` or `failed`, which settle it.
    // To do so here would cost each job two steps more.
    return effect as Effect.Effect<any, never, Exclude<R1, Scope.Scope>>
  }

  /** What is left of the job, after what was to be settled. */
  private released(
    settle: NonNullable<Worker["settle"]>,
    exit: Exit.Exit<unknown, unknown>
  ): Effect.Effect<unknown, never, any> {
    this.settle = undefined
    const closing = this.scope?.close(exit)
    if (closing === undefined) return settle(exit)
    const closed = Effect.exit(Effect.uninterruptible(closing))
    return Effect.flatMap(closed, (ended) => settle(Exit.zipLeft(exit, ended)))
  }

  private get life(): Effect.Effect<void, never, any> {
    return Effect.withFiberRuntime((fiber) => {
      this.fiber = InnerFiber.of(fiber)
      this.refs = FiberRefs.forkAs(this.runtime.fiberRefs, fiber.id())
      return Effect.uninterruptible(this.jobs)
    })
  }

  private get jobs(): Effect.Effect<void, never, any> {
    const loop: Effect.Effect<void, never, any> = Effect.whileLoop({
      while: () => this.last === undefined,
      body: () => this.next,
      step: (value) => this.did(value)
    })
    // So that it hears of each end, be it an interruption.
    return Effect.catchAllCause(Effect.interruptible(loop), (cause) => this.failed(cause))
  }

  private get next(): Effect.Effect<unknown, never, any> {
    const { job, left } = this
    if (left !== undefined) return left
    return job === undefined ? (this.wait ??= this.waiting) : this.perform(job)
  }

  private get waiting(): Effect.Effect<unknown, never, any> {
    return Effect.async<unknown, never, any>((resume) => {
      this.wake = resume
      if (!this.crew.rests(this)) resume(Effect.interrupt)
    }, Latch.ours)
  }

  private get doing(): Effect.Effect<unknown, never, any> {
    // Who is woken has one.
    return Effect.suspend(() => this.perform(this.job!))
  }

  private perform(job: Job): Effect.Effect<unknown, never, any> {
    this.prepare(job)
    // It has a fiber, which runs this.
    this.flags ??= this.fiber!.currentRuntimeFlags
    const effect = job.perform(this)
    // Otherwise it has entered the context with a scope.
    if (this.scope === undefined) this.enter(this.context)
    return effect
  }

  private takes(job: Job): void {
    job.worker = this
    this.job = job
  }

  private failed(cause: Cause.Cause<never>): Effect.Effect<void, never, any> {
    const { scope, settle } = this
    // It has a fiber, in which this runs.
    const isInterrupted = !Cause.isEmpty(this.fiber!.getFiberRef(FiberRef.interruptedCause))
    if (isInterrupted || settle === undefined) {
      const ended = Exit.failCause(cause)
      const closing = scope?.close(ended)
      return closing === undefined ? ended : Effect.onExit(ended, () => closing)
    }
    this.left = this.released(settle, Exit.failCause(cause))
    return this.jobs
  }

  private did(given: unknown): void {
    // A fiber that has a job runs this.
    const [fiber, job] = [this.fiber!, this.job!]
    if (fiber._queue.length > 0) {
      // It has been told something, as to be interrupted, and hears it before its next step: it must be of this job.
      this.left = Effect.succeed(given)
      return
    }
    const { settle } = this
    const left = settle && this.released(settle, Exit.succeed(given))
    this.left = undefined
    if (left !== undefined && !isDone(left)) {
      this.left = left
      return
    }
    const value = left === undefined ? given : left.value
    if (fiber.getChildren().size > 0 || fiber.currentRuntimeFlags !== this.flags) {
      this.last = { value }
      return
    }
    // Not only when it next enters: until then it goes by these, as its scheduler, and would keep what they hold.
    if (fiber._fiberRefs !== this.refs) fiber.setFiberRefs(this.refs)
    this.job = undefined
    this.scope = undefined
    job.ended(Exit.succeed(value))
    const next = this.crew.ready.takeFor(this)
    if (next !== undefined) this.takes(next)
  }

  private ended(exit: Exit.Exit<void>): void {
    const { job, last } = this
    this.job = undefined
    this.crew.leaves(this)
    job?.ended(last === undefined ? exit : Exit.succeed(last.value))
  }

  /** Becomes a fiber of a job, as it is before it does anything. */
  private prepare({ runtime, work }: Job): void {
    if (work === this.work) return
    this.work = work
    this.context = ContextOverlay.add(runtime.context, Work.CurrentWork, work)
    if (runtime === this.runtime) return
    this.runtime = runtime
    // It has one since it has begun.
    this.refs = FiberRefs.forkAs(runtime.fiberRefs, this.fiber!.id())
    // Also for who asks for the tracer, before it enters with a scope.
    this.enter(this.context)
  }

  /** Has a context, and nothing of what was changed since it began. */
  private enter<S>(context: Context.Context<S>): void {
    // It has one since it has begun.
    const fiber = this.fiber!
    // A copy is made by whoever asks a fiber for them, so that they can be changed in place.
    const locals = this.refs.locals as Map<FiberRef.FiberRef<any>, readonly [readonly [FiberId.Single, any]]>
    locals.set(FiberRef.currentContext, [[fiber.id(), context]])
    // The span in it is that of its runtime.
    if (fiber._fiberRefs === this.refs) fiber.currentContext = context
    else fiber.setFiberRefs(this.refs)
  }
}

/** Whether there is nothing to run. */
const isDone = <A, R>(effect: Effect.Effect<A, never, R>): effect is Exit.Success<A, never> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)
