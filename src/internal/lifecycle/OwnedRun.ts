/** Owned work that runs once, from now on, as a spawned effect. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Runtime from "effect/Runtime"
import * as Captured from "../Captured.ts"
import type { Crew } from "./Crew.ts"
import * as Escalation from "../supervision/Escalation.ts"
import * as Latch from "../Latch.ts"
import * as HeadStart from "../HeadStart.ts"
import type { OwnedWork, Shown } from "./OwnedWork.ts"
import * as ServiceScope from "./Lifetime.ts"
import * as Work from "./Work.ts"
import type * as Worker from "./Worker.ts"

/** Work that runs once. */
export interface Once<out A, out R> {
  readonly name: string
  readonly shown: Shown
  /** It answers its own failures. */
  readonly run: (worker: Worker.Worker) => Effect.Effect<A, never, R>
}

/**
 * Runs work that the service owns: it is interrupted and awaited when the
 * service stops. Dies with `ServiceStoppedError` when the service takes none any more.
 */
export const own = <A, R>(
  service: ServiceScope.Lifetime,
  once: Once<A, R>
): Effect.Effect<OwnedRun<A, R>, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => {
    const owned = new OwnedRun(service, once, runtime)
    ServiceScope.own(service, owned)
    // Begins in a later turn.
    service.crew.ready.beginLater(owned)
    return owned
  })

export class OwnedRun<A, R> implements OwnedWork, Worker.Job {
  readonly work: Work.Work
  readonly runtime: Runtime.Runtime<R>
  readonly isRunning = true
  private readonly service: ServiceScope.Lifetime
  private readonly once: Once<A, R>
  worker: Worker.Worker | undefined = undefined
  private exit: Exit.Exit<A> | undefined = undefined
  /** Opens when it has ended. */
  private finished: Latch.Latch | undefined = undefined

  constructor(service: ServiceScope.Lifetime, once: Once<A, R>, runtime: Runtime.Runtime<R>) {
    this.service = service
    this.once = once
    this.runtime = runtime
    this.work = new Work.Work(service.path, service.owner, this, undefined)
  }

  get name(): string {
    return this.once.name
  }

  get source(): object {
    return this
  }

  get shown(): Shown {
    return this.once.shown
  }

  get crew(): Crew {
    return this.service.crew
  }

  perform(worker: Worker.Worker): Effect.Effect<A, never, R> {
    return this.once.run(worker)
  }

  end(cuts: boolean): void {
    if (cuts) this.crew.cut(this, FiberId.none)
  }

  ended(exit: Exit.Exit<A>): void {
    this.worker = undefined
    const told = Escalation.leaked(this.service, this.name, exit)
    if (told === undefined) return this.finish(exit)
    HeadStart.unsafeFork(this.service.runtime, told).addObserver(() => this.finish(exit))
  }

  /** Waits for its end, and tells how it did. */
  get await(): Effect.Effect<Exit.Exit<A>> {
    return Effect.suspend(() => {
      if (this.exit === undefined) this.finished ??= Latch.make()
      // When that is open it has ended.
      return Effect.map(this.finished?.await ?? Effect.void, () => this.exit!)
    })
  }

  private finish(exit: Exit.Exit<A>): void {
    this.exit = exit
    ServiceScope.disown(this.service, this)
    this.finished?.unsafeOpen()
  }
}
