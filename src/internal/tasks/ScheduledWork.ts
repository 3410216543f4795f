/**
 * Work that runs when it is due: interval, cron, timeout, health check. Between
 * runs it is an entry in the heap of its clock's timers; each run is a fiber of
 * its own, forked by the timer into the service.
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

/** What runs, and when. */
export interface Spec<R> {
  readonly name: string
  readonly slots: Slots
  readonly task?: (() => TaskStatus) | undefined
  readonly check?: (() => CheckStatus) | undefined
  /** One run, which answers its own failures. Runs uninterruptibly but for what it makes interruptible. */
  readonly run: (run: Work.Run) => Effect.Effect<unknown, unknown, R>
  /** The next run is due at this time, in monotonic milliseconds. */
  readonly isDue?: ((at: number) => void) | undefined
  /** So many slots came due while a run was in progress. */
  readonly missed?: ((slots: number) => Effect.Effect<void>) | undefined
  /** Runs when the last run has ended. */
  readonly finished?: Effect.Effect<void> | undefined
}

/** Registers work with a service and schedules its first run. Dies with `ServiceStoppedError` when the service takes no work any more. */
export const schedule = <R>(
  service: Lifetime.Lifetime,
  spec: Spec<R>
): Effect.Effect<Lifetime.OwnedWork, never, R> =>
  Effect.map(Work.runtime<R>(), (runtime) => {
    const work = new ScheduledWork(service, spec, runtime)
    Lifetime.own(service, work)
    work.wait()
    return work
  })

class ScheduledWork<R> extends Timers.Timer implements Lifetime.OwnedWork, Work.RunOwner {
  private readonly service: Lifetime.Lifetime
  private readonly spec: Spec<R>
  private readonly runtime: Work.RunRuntime<R>
  private readonly work: Work.Work
  private state: "waiting" | "running" | "finishing" | "finished" = "waiting"
  private fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  private isEnding = false
  /** When its next run is, as it was last told. */
  private announced = 0
  isInterrupted = false
  /** Opens when it has finished. */
  private latch: Latch.Latch | undefined = undefined

  constructor(service: Lifetime.Lifetime, spec: Spec<R>, runtime: Work.RunRuntime<R>) {
    super()
    this.service = service
    this.spec = spec
    this.runtime = runtime
    this.work = new Work.Work(service.path, service.owner, this, undefined)
  }

  get name(): string {
    return this.spec.name
  }

  get source(): object {
    return this
  }

  get task(): Spec<R>["task"] {
    return this.spec.task
  }

  get check(): Spec<R>["check"] {
    return this.spec.check
  }

  get isRunning(): boolean {
    return this.state === "running" || this.state === "finishing"
  }

  /** Waits for its next slot. */
  wait(): void {
    this.state = "waiting"
    const at = this.spec.slots.at()
    this.announce(at)
    this.sleep(at)
  }

  fire(now: number): void {
    // It is a look at the clock that the slots go by, or that has been set back.
    const at = this.spec.slots.at()
    if (at > now && at > Monotonic.unsafeMillis(this.service.clock)) {
      if (Math.abs(at - this.announced) > smallestShift) this.announce(at)
      return this.sleep(at)
    }
    this.state = "running"
    const run = new Work.Run(this.work, this.runtime.runtime.context, this)
    const { context } = run
    const fiber = this.runtime.fork(context, this.spec.run(run))
    const exit = fiber.unsafePoll()
    if (exit !== null) return this.ran(exit)
    this.fiber = fiber
    fiber.addObserver((exit) => this.ran(exit))
  }

  end(interrupts: boolean): void {
    if (this.isEnding) return
    this.isEnding = true
    this.service.timers.remove(this)
    if (this.state === "waiting") return this.finish(undefined)
    if (!interrupts) return
    this.isInterrupted = true
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  get await(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.state === "finished" ? Effect.void : (this.latch ??= Latch.make()).await
    )
  }

  private announce(at: number): void {
    this.announced = at
    this.spec.isDue?.(at)
  }

  private sleep(at: number): void {
    const { longestWait } = this.spec.slots
    if (longestWait === undefined) return this.service.timers.add(this, at)
    // All that look at the clock do so at the same time.
    const now = Monotonic.unsafeMillis(this.service.clock)
    const look = (Math.floor(now / longestWait) + 1) * longestWait
    this.service.timers.add(this, Math.min(at, look))
  }

  private ran(exit: Exit.Exit<unknown, unknown>): void {
    this.fiber = undefined
    const recorded = ServiceFailure.unanswered(this.service, this.name, exit)
    const missed = this.spec.slots.next()
    if (missed === undefined || this.isEnding) return this.finish(recorded)
    if (recorded !== undefined) Runtime.runFork(this.service.runtime, recorded)
    const told = missed === 0 ? undefined : this.spec.missed?.(missed)
    if (told !== undefined) Runtime.runFork(this.service.runtime, told)
    this.wait()
  }

  /** It stays registered until all has been recorded. */
  private finish(recorded: Effect.Effect<void> | undefined): void {
    this.isEnding = true
    const { finished } = this.spec
    if (recorded === undefined && finished === undefined) return this.close()
    this.state = "finishing"
    const all = Effect.zipRight(recorded ?? Effect.void, finished ?? Effect.void)
    Runtime.runFork(this.service.runtime, all).addObserver(() => this.close())
  }

  private close(): void {
    this.state = "finished"
    Lifetime.disown(this.service, this)
    this.latch?.unsafeOpen()
  }
}

/** A time that is this close to the one announced, in milliseconds, is the same: the two clocks tick apart. */
const smallestShift = 1_000
