/** The fibers of an app: which are alive, and which have failed without anybody hearing of it. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Finalizers from "../Finalizers.ts"

/** A fiber, whatever it gives. */
export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** The fibers of one app. */
export interface Fibers {
  /** Gives what is to be run in place of a run of a fiber: the first one is noted. */
  readonly noting: (fiber: AnyFiber, run: () => void) => () => void
  /** Those that have not ended. */
  readonly alive: () => ReadonlyArray<AnyFiber>
  /** Those that have failed, and nobody watched: they were forked as daemons, or into a scope, and forgotten. */
  readonly unheard: () => ReadonlyArray<Unheard>
}

/** A fiber that has failed, and nobody was told. */
interface Unheard {
  readonly fiber: AnyFiber
  readonly cause: Cause.Cause<unknown>
}

/** No fibers. */
export const make = (): Fibers => {
  const alive = new Set<AnyFiber>()
  const unheard: Array<Unheard> = []
  return {
    noting: (fiber, run) => {
      if (alive.has(fiber)) return run
      alive.add(fiber)
      const isDaemon = watchersOf(fiber) === watchersOfDaemon
      const finalizers = scopeSizeOf(fiber)
      // Of those that are told, the last comes first. By the time of our first, a scope that the fiber was forked into has forgotten it.
      let before = 0
      fiber.addObserver((exit) => {
        alive.delete(fiber)
        if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause) || !isDaemon) return
        const others = watchersOf(fiber) - watchersOfDaemon - ownWatchers - (finalizers() < before ? 1 : 0)
        if (others === 0) unheard.push({ fiber, cause: exit.cause })
      })
      return () => {
        // Whoever has forked it has done with it now.
        fiber.addObserver(() => {
          before = finalizers()
        })
        run()
      }
    },
    alive: () => [...alive],
    unheard: () => unheard
  }
}

/** The two of `noting`. */
const ownWatchers = 2

/** A daemon is told of to its supervisor and to the list of all that have no parent; others have less, or more. */
const watchersOfDaemon = 2

/** How many are told of the end of a fiber. Only Effect itself knows. */
const watchersOf = (fiber: AnyFiber): number =>
  (fiber as unknown as { readonly _observers: ReadonlyArray<unknown> })._observers.length

/** Gives how many finalizers there are in the scope that a fiber runs in. */
const scopeSizeOf = (fiber: AnyFiber): (() => number) => {
  // It is asked for, and need not be there.
  const context = fiber.currentContext as Context.Context<Scope.Scope>
  const scope = Context.getOption(context, Scope.Scope)
  // All scopes that Effect makes can be closed.
  return () => (Option.isNone(scope) ? 0 : Finalizers.of(scope.value as Scope.CloseableScope).size)
}
