/**
 * Owned work that runs when it is due. Between two runs it has no fiber, but a
 * place among the timers of its service's clock.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Runtime from "effect/Runtime"
import * as Captured from "../Captured.ts"
import type { Crew } from "../lifecycle/Crew.ts"
import * as Escalation from "../supervision/Escalation.ts"
import * as Latch from "../Latch.ts"
import * as HeadStart from "../HeadStart.ts"
import type { OwnedWork, Shown } from "../lifecycle/OwnedWork.ts"
import * as ServiceScope from "../lifecycle/Lifetime.ts"
import * as Timers from "../Timers.ts"
import * as Work from "../lifecycle/Work.ts"
import type * as Worker from "../lifecycle/Worker.ts"

/** What runs, and when. */
export interface Timed<R> {
  readonly name: string
  readonly shown: Shown
  readonly plan: Plan
  /** One run, which answers its own failures. */
  run(worker: Worker.Worker): Effect.Effect<unknown, never, R>
  /** So many slots came due while a run was still going. */
  missed(slots: number): Effect.Effect<void>
  /** The next run is due as planned. */
  due(): void
  /** Nothing of it will run any more. Gives what is left to do, if something is. */
  over(): Effect.Effect<void> | undefined
}

/** When it runs. */
export interface Plan {
  /** When the next run is due, in monotonic milliseconds. */
  at(): number
  /** A run has ended: goes on to the next slot, and gives how many were missed; none when that was the last. */
  next(): number | undefined
}

/** Work that a service owns until it has ended. Dies with `ServiceStoppedError` when the service takes none any more. */
export const own = <R>(service: ServiceScope.Lifetime, timed: Timed<R>): Effect.Effect<OwnedWork, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => {
    const work = new TimedWork(service, timed, runtime)
    ServiceScope.own(service, work)
    work.wait()
    return work
  })

/** There may be very many, so it is small while it waits. */
class TimedWork<R> extends Timers.Timer implements OwnedWork, Worker.Job {
  readonly runtime: Runtime.Runtime<R>
  private readonly service: ServiceScope.Lifetime
  private readonly timed: Timed<R>
  private state: "waiting" | "running" | "telling" | "over" = "waiting"
  private isEnding = false
  private known: Work.Work | undefined = undefined
  worker: Worker.Worker | undefined = undefined
  /** Opens when it has ended. */
  private finished: Latch.Latch | undefined = undefined

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

  get work(): Work.Work {
    const { owner, path } = this.service
    return (this.known ??= new Work.Work(path, owner, this, undefined))
  }

  get crew(): Crew {
    return this.service.crew
  }

  get shown(): Shown {
    return this.timed.shown
  }

  get isRunning(): boolean {
    return this.state === "running" || this.state === "telling"
  }

  /** Waits for its next run. */
  wait(): void {
    this.state = "waiting"
    this.timed.due()
    this.service.timers.add(this, this.timed.plan.at())
  }

  fire(now: number): this | undefined {
    const at = this.timed.plan.at()
    // The clock it goes by has been set back.
    if (at > now) {
      this.service.timers.add(this, at)
      return undefined
    }
    // It begins with all others that are due.
    this.state = "running"
    return this
  }

  perform(worker: Worker.Worker): Effect.Effect<unknown, never, R> {
    return this.timed.run(worker)
  }

  end(cuts: boolean): void {
    if (this.isEnding) return
    this.isEnding = true
    this.service.timers.remove(this)
    if (this.state === "waiting") this.finish(undefined)
    else if (cuts) this.crew.cut(this, FiberId.none)
  }

  get await(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.state === "over" ? Effect.void : (this.finished ??= Latch.make()).await
    )
  }

  ended(exit: Exit.Exit<unknown>): void {
    this.worker = undefined
    if (Exit.isFailure(exit)) return this.finish(Escalation.leaked(this.service, this.name, exit))
    const missed = this.timed.plan.next()
    const told = missed === undefined || missed === 0 ? undefined : this.timed.missed(missed)
    if (missed === undefined || this.isEnding) return this.finish(told)
    if (told !== undefined) HeadStart.unsafeFork(this.service.runtime, told)
    this.wait()
  }

  /** Nothing of it runs any more, and it is owned until all has been told. */
  private finish(told: Effect.Effect<void> | undefined): void {
    this.isEnding = true
    const left = this.timed.over()
    if (told === undefined && left === undefined) return this.close()
    this.state = "telling"
    const all = Effect.zipRight(told ?? Effect.void, left ?? Effect.void)
    HeadStart.unsafeFork(this.service.runtime, all).addObserver(() => this.close())
  }

  private close(): void {
    this.state = "over"
    ServiceScope.disown(this.service, this)
    this.finished?.unsafeOpen()
  }
}
