/**
 * Owned work that runs when it is due. Between two runs it has no fiber, but a
 * place among the timers of its service's clock.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Captured from "./Captured.ts"
import * as Escalation from "./Escalation.ts"
import * as HeadStart from "./HeadStart.ts"
import * as OwnedFiber from "./OwnedFiber.ts"
import type { OwnedWork, Shown } from "./OwnedWork.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Timers from "./Timers.ts"

/** What runs, and when. */
export interface Timed<R> {
  readonly name: string
  readonly shown: Shown
  readonly plan: Plan
  /** One run, which answers its own failures. */
  run(run: OwnedFiber.Run): Effect.Effect<void, never, R>
  /** So many slots came due while a run was still going. */
  missed(slots: number): Effect.Effect<void>
  /** The next run is due as planned. */
  due(): void
  /** Nothing of it will run any more. Gives what is left to do, if something is. */
  over(): Effect.Effect<void> | undefined
}

/** When it runs. */
export interface Plan {
  /** How many milliseconds are left until the next run. */
  left(): number
  /** A run has ended: goes on to the next slot, and gives how many were missed; none when that was the last. */
  next(): number | undefined
}

/** Work that a service owns until it has ended. Throws when the service takes none any more. */
export const own = <R>(service: ServiceScope.Lifetime, timed: Timed<R>): Effect.Effect<OwnedWork, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => {
    ServiceScope.admit(service, "work", timed.name)
    const work = new TimedWork(service, timed, runtime)
    ServiceScope.own(service, work)
    work.wait()
    return work
  })

/** There may be very many, so it is small while it waits. */
class TimedWork<R> extends Timers.Timer implements OwnedWork {
  private readonly service: ServiceScope.Lifetime
  private readonly timed: Timed<R>
  private readonly runtime: Runtime.Runtime<R>
  private state: "waiting" | "running" | "over" = "waiting"
  /** What runs, or tells that it is over. */
  private fiber: Fiber.RuntimeFiber<unknown> | undefined = undefined

  constructor(service: ServiceScope.Lifetime, timed: Timed<R>, runtime: Runtime.Runtime<R>) {
    super()
    this.service = service
    this.timed = timed
    this.runtime = runtime
  }

  get name(): string {
    return this.timed.name
  }

  get source(): object {
    return this
  }

  get shown(): Shown {
    return this.timed.shown
  }

  get isRunning(): boolean {
    return this.fiber !== undefined
  }

  /** Waits for its next run. */
  wait(): void {
    this.state = "waiting"
    this.timed.due()
    this.service.timers.add(this, this.timed.plan.left())
  }

  fire(scope: Scope.CloseableScope): void {
    const { plan } = this.timed
    const left = plan.left()
    // The clock it goes by has been set back.
    if (left > 0) return this.service.timers.add(this, left)
    this.state = "running"
    const [run, runtime] = OwnedFiber.runOf(this.service, this, scope, this.runtime)
    const whole = Effect.flatMap(this.timed.run(run), () => this.next())
    const fiber = HeadStart.unsafeFork(runtime, Effect.interruptible(whole))
    this.fiber = fiber
    // It may have been ended before it first waited.
    if (this.isOver()) fiber.unsafeInterruptAsFork(FiberId.none)
    fiber.addObserver((exit) => this.ran(exit))
  }

  end(cuts: boolean): void {
    if (this.isOver()) return
    const was = this.state
    this.state = "over"
    this.service.timers.remove(this)
    if (was === "waiting") this.finish(undefined)
    else if (cuts) this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  get ended(): Effect.Effect<void> {
    const ended: Effect.Effect<void> = Effect.suspend(() =>
      this.fiber === undefined ? Effect.void : Effect.flatMap(Fiber.await(this.fiber), () => ended)
    )
    return ended
  }

  private isOver(): boolean {
    return this.state === "over"
  }

  /** Goes on to the next slot. Gives whether there is one. */
  private next(): Effect.Effect<boolean> {
    const missed = this.timed.plan.next()
    if (missed === undefined) return Effect.succeed(false)
    return missed === 0 ? Effect.succeed(true) : Effect.as(this.timed.missed(missed), true)
  }

  private ran(exit: Exit.Exit<boolean>): void {
    this.fiber = undefined
    if (Exit.isSuccess(exit) && exit.value && !this.isOver()) return this.wait()
    this.state = "over"
    this.finish(Exit.isSuccess(exit) ? undefined : Escalation.leaked(this.service, this.name, exit.cause))
  }

  /** Nothing of it runs any more, and it is owned until all has been told. */
  private finish(told: Effect.Effect<void> | undefined): void {
    const over = this.timed.over()
    if (told === undefined && over === undefined) return ServiceScope.disown(this.service, this)
    const all = Effect.zipRight(told ?? Effect.void, over ?? Effect.void)
    const fiber = HeadStart.unsafeFork(this.service.runtime, all)
    this.fiber = fiber
    fiber.addObserver(() => {
      this.fiber = undefined
      ServiceScope.disown(this.service, this)
    })
  }
}
