/** Fibers that a service owns, and what work finds in its own. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Captured from "./Captured.ts"
import type { OwnedWork, Shown } from "./OwnedWork.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Work from "./Work.ts"

/** A fiber that a service owns. */
export class OwnedFiber<A, E> implements OwnedWork {
  readonly name: string
  readonly source: object
  readonly shown: Shown
  readonly fiber: Fiber.RuntimeFiber<A, E>
  readonly isRunning = true

  constructor(name: string, source: object, shown: Shown, fiber: Fiber.RuntimeFiber<A, E>) {
    this.name = name
    this.source = source
    this.shown = shown
    this.fiber = fiber
  }

  end(cuts: boolean): void {
    if (cuts) this.fiber.unsafeInterruptAsFork(FiberId.none)
  }

  get ended(): Effect.Effect<Exit.Exit<A, E>> {
    return Fiber.await(this.fiber)
  }
}

/** Forks work that the service owns: it is interrupted and awaited when the service stops. */
export const fork = <A, E, R>(
  service: ServiceScope.Lifetime,
  name: string,
  effect: (run: Run) => Effect.Effect<A, E, R>,
  shown: Shown = {}
): Effect.Effect<OwnedFiber<A, E>, never, R> =>
  Effect.zipWith(Captured.runtime<R>(), Scope.make(), (captured, scope) => {
    ServiceScope.admit(service, "work", name)
    const source = {}
    const [run, runtime] = runOf(service, source, scope, captured)
    const fiber = Runtime.runFork(runtime)(Effect.interruptible(effect(run)), { immediate: false })
    const owned = new OwnedFiber(name, source, shown, fiber)
    ServiceScope.own(service, owned)
    fiber.addObserver(() => ServiceScope.disown(service, owned))
    return owned
  })

/** One run of work. It has its fiber, and the scope in its context, to itself. */
export interface Run {
  readonly work: Work.Work
  readonly scope: Scope.CloseableScope
  /** The context without them. */
  readonly outer: Context.Context<never>
}

/** A run, and the runtime for its fiber: one copy of the context costs a fraction of providing each part. */
export const runOf = <R>(
  service: ServiceScope.Lifetime,
  source: object,
  scope: Scope.CloseableScope,
  runtime: Runtime.Runtime<R>
): readonly [Run, Runtime.Runtime<R>] => {
  const work = { service: service.path, owner: service.owner, source, awaitedBy: undefined }
  const all = new Map(runtime.context.unsafeMap)
  all.set(Work.CurrentWork.key, work)
  all.set(Scope.Scope.key, scope)
  return [
    { work, scope, outer: runtime.context },
    Runtime.make({ ...runtime, context: Context.unsafeMake<R>(all) })
  ]
}
