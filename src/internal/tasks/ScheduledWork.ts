/**
 * Work that runs on a schedule: interval, cron, timeout, health check. Between
 * runs it is an entry in the heap of its clock's timers. When it is due, the timer
 * forks the run into the service, as a fiber of its own.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Timers from "../Timers.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as ServiceFailure from "../lifecycle/ServiceFailure.ts"
import * as Work from "../lifecycle/Work.ts"
import type { CheckStatus, TaskStatus } from "../status/ServiceStatus.ts"
import type { Slots } from "./Slots.ts"

/** What runs. */
export interface Spec<R> {
  readonly name: string
  readonly taskStatus?: (() => TaskStatus) | undefined
  readonly checkStatus?: (() => CheckStatus) | undefined
  /** One run, which answers its own failures. Runs uninterruptibly, except where it restores interruptibility. */
  readonly run: (run: Work.Run) => Effect.Effect<unknown, unknown, R>
  /** Called when the next run is scheduled, with its time in monotonic milliseconds. */
  readonly scheduled?: ((at: number) => void) | undefined
  /** Reports the slots that came due during a run. */
  readonly skipped?: ((slots: number) => Effect.Effect<void>) | undefined
  /** Runs after the last run. */
  readonly finished?: Effect.Effect<void> | undefined
}

/** Registers work with a service and schedules its first run. Dies with `ServiceStoppedError` when the service takes no work any more. */
export const schedule = <R>(
  service: Lifetime.Lifetime,
  slots: Slots,
  spec: Spec<R>
): Effect.Effect<Lifetime.OwnedWork, never, R> =>
  Effect.map(Work.runtime<R>(), (runtime) => {
    const work = new ScheduledWork(service, slots, spec, runtime)
    Lifetime.own(service, work)
    work.wait()
    return work
  })

/**
 * `Waiting` for its next slot, or in a run. `Completing` and `Interrupted` are in
 * their last run. `Finishing` has no run any more, and records its end.
 */
type State = "Waiting" | "Running" | "Completing" | "Interrupted" | "Finishing" | "Finished"

class ScheduledWork<R> extends Timers.Timer implements Lifetime.OwnedWork, Work.RunOwner {
  readonly name: string
  private readonly service: Lifetime.Lifetime
  private readonly slots: Slots
  private readonly spec: Spec<R>
  private readonly runtime: Work.RunRuntime<R>
  private readonly work: Work.Work
  private state: State = "Waiting"
  /** The run in progress, unless it ended without waiting. */
  private fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  /** When its next run is, as it was last announced. */
  private announced = 0
  /** Opens when it has finished. */
  private latch: Latch.Latch | undefined = undefined

  constructor(service: Lifetime.Lifetime, slots: Slots, spec: Spec<R>, runtime: Work.RunRuntime<R>) {
    super()
    this.name = spec.name
    this.service = service
    this.slots = slots
    this.spec = spec
    this.runtime = runtime
    this.work = new Work.Work(service.path, service.owner, this, undefined)
  }

  get source(): object {
    return this
  }

  get isRunning(): boolean {
    return this.state !== "Waiting" && this.state !== "Finished"
  }

  get isInterrupted(): boolean {
    return this.state === "Interrupted"
  }

  taskStatus(): TaskStatus | undefined {
    return this.spec.taskStatus?.()
  }

  checkStatus(): CheckStatus | undefined {
    return this.spec.checkStatus?.()
  }

  /** Waits for its next slot. */
  wait(): void {
    this.state = "Waiting"
    const at = this.slots.at()
    this.announce(at)
    this.sleep(at)
  }

  fire(now: number): void {
    // It is a look at the wall clock, which cron slots follow, or that clock has been set back.
    const at = this.slots.at()
    if (at > now && at > Monotonic.unsafeMillis(this.service.clock)) {
      if (Math.abs(at - this.announced) > smallestShift) this.announce(at)
      return this.sleep(at)
    }
    this.state = "Running"
    const run = new Work.Run(this.work, this.runtime.runtime.context, this)
    const { context } = run
    const fiber = this.runtime.fork(context, this.spec.run(run))
    const exit = fiber.unsafePoll()
    if (exit !== null) return this.ran(exit)
    this.fiber = fiber
    fiber.addObserver((exit) => this.ran(exit))
    // The run may have cancelled its own work before it first waited.
    if (this.isInterrupted) this.interrupt()
  }

  end(interrupts: boolean): void {
    this.service.timers.remove(this)
    if (this.state === "Waiting") return this.finish(undefined)
    if (this.state !== "Running") return
    this.state = interrupts ? "Interrupted" : "Completing"
    if (interrupts) this.interrupt()
  }

  get await(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.state === "Finished" ? Effect.void : (this.latch ??= Latch.make()).await
    )
  }

  private announce(at: number): void {
    this.announced = at
    this.spec.scheduled?.(at)
  }

  private sleep(at: number): void {
    const { longestWait } = this.slots
    if (longestWait === undefined) return this.service.timers.add(this, at)
    // All that look at the clock do so at the same time.
    const now = Monotonic.unsafeMillis(this.service.clock)
    const look = (Math.floor(now / longestWait) + 1) * longestWait
    this.service.timers.add(this, Math.min(at, look))
  }

  private interrupt(): void {
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  private ran(exit: Exit.Exit<unknown, unknown>): void {
    this.fiber = undefined
    const recorded = ServiceFailure.unanswered(this.service, this.name, exit)
    const skipped = this.slots.next()
    if (skipped === undefined || this.state !== "Running") return this.finish(recorded)
    if (recorded !== undefined) this.service.run(recorded)
    const reported = skipped === 0 ? undefined : this.spec.skipped?.(skipped)
    if (reported !== undefined) this.service.run(reported)
    this.wait()
  }

  /** It stays registered until its end has been recorded. */
  private finish(recorded: Effect.Effect<void> | undefined): void {
    const { finished } = this.spec
    this.state = "Finishing"
    if (recorded === undefined && finished === undefined) return this.close()
    const all = Effect.zipRight(recorded ?? Effect.void, finished ?? Effect.void)
    Runtime.runFork(this.service.runtime, all).addObserver(() => this.close())
  }

  private close(): void {
    this.state = "Finished"
    Lifetime.disown(this.service, this)
    this.latch?.unsafeOpen()
  }
}

/** A time that is this close to the one announced, in milliseconds, is the same: the two clocks tick apart. */
const smallestShift = 1_000
