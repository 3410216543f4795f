/** Work that starts at once and runs in one fiber, which ends with its service's scope at the latest. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Latch from "../Latch.ts"
import type { TaskStatus } from "../status/ServiceStatus.ts"
import * as Lifetime from "./Lifetime.ts"
import * as ServiceFailure from "./ServiceFailure.ts"
import * as Work from "./Work.ts"

/** What runs. */
export interface Spec<out A, out R> {
  readonly name: string
  readonly taskStatus?: (() => TaskStatus) | undefined
  /** The only run, which answers its own failures. */
  readonly run: (run: Work.Run) => Effect.Effect<A, never, R>
}

/**
 * Forks work as a fiber of a service, which interrupts and awaits it in its stop.
 * Dies with `ServiceStoppedError` when the service takes no work any more.
 */
export const fork = <A, R>(
  service: Lifetime.Lifetime,
  spec: Spec<A, R>
): Effect.Effect<OwnedFiber<A, R>, never, R> =>
  Effect.map(Work.runtime<R>(), (runtime) => {
    const owned = new OwnedFiber(service, spec)
    Lifetime.own(service, owned)
    owned.begin(runtime)
    return owned
  })

/**
 * Interrupts the spawned fibers that the stop of their service has left, except
 * one that closes the scope itself. Does not wait for them.
 */
export const interruptAll = (service: Lifetime.Lifetime): Effect.Effect<void> =>
  Effect.map(Work.current, (caller) => {
    for (const work of service.work) {
      if (work instanceof OwnedFiber && !Work.isOf(caller, work)) work.end(true)
    }
  })

export class OwnedFiber<A, R> implements Lifetime.OwnedWork, Work.RunOwner {
  readonly isRunning = true
  private readonly service: Lifetime.Lifetime
  private readonly spec: Spec<A, R>
  private fiber: Fiber.RuntimeFiber<A> | undefined = undefined
  isInterrupted = false
  private exit: Exit.Exit<A> | undefined = undefined
  /** Opens when it has ended, and its end has been recorded. */
  private finished: Latch.Latch | undefined = undefined

  constructor(service: Lifetime.Lifetime, spec: Spec<A, R>) {
    this.service = service
    this.spec = spec
  }

  get name(): string {
    return this.spec.name
  }

  get source(): object {
    return this
  }

  taskStatus(): TaskStatus | undefined {
    return this.spec.taskStatus?.()
  }

  /** Begins in a later turn of the scheduler, as `Effect.fork` does. */
  begin(runtime: Work.RunRuntime<R>): void {
    const { owner, path } = this.service
    const work = new Work.Work(path, owner, this, undefined)
    const run = new Work.Run(work, runtime.runtime.context, this)
    const { context } = run
    this.fiber = runtime.fork(context, this.spec.run(run), { immediate: false })
    this.fiber.addObserver((exit) => this.ended(exit))
  }

  end(interrupts: boolean): void {
    if (!interrupts) return
    this.isInterrupted = true
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  /** Waits for its end, and gives its exit. */
  get await(): Effect.Effect<Exit.Exit<A>> {
    return Effect.suspend(() => {
      if (this.exit !== undefined) return Effect.succeed(this.exit)
      // The latch opens when there is an exit.
      return Effect.map((this.finished ??= Latch.make()).await, () => this.exit!)
    })
  }

  private ended(exit: Exit.Exit<A>): void {
    const recorded = ServiceFailure.unanswered(this.service, this.name, exit)
    if (recorded === undefined) return this.finish(exit)
    Runtime.runFork(this.service.runtime, recorded).addObserver(() => this.finish(exit))
  }

  private finish(exit: Exit.Exit<A>): void {
    this.exit = exit
    Lifetime.disown(this.service, this)
    this.finished?.unsafeOpen()
  }
}
