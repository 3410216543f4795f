/** The fibers of an app: which are alive, and which have failed without anybody hearing of it. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as GlobalValue from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Finalizers from "../internal/Finalizers.ts"
import * as InnerFiber from "../internal/InnerFiber.ts"
import * as Step from "./Step.ts"

/** A fiber, whatever it gives. */
export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** The fibers of one app. */
export interface Fibers {
  /** Gives what is to be run in place of a run of a fiber: the first one is noted. */
  readonly noting: (fiber: AnyFiber, run: () => void) => () => void
  /** A fiber does something. One with a head start may come to wait without ever having been scheduled. */
  readonly runs: (fiber: AnyFiber) => void
  /** Also notes what its steps fork as if it were no part of an app, as `Effect.runFork` does, while this runs. */
  readonly watching: <A>(run: () => A) => A
  /** Those that have not ended, each with the step that has forked it. */
  readonly alive: () => ReadonlyArray<readonly [AnyFiber, Option.Option<Step.Step>]>
  /** Those of these that are no part of the app, and may end with the next turns of the event loop. */
  readonly strangers: () => ReadonlyArray<AnyFiber>
  /** Those that have failed, and nobody watched: they were forked as daemons, or into a scope, and forgotten. */
  readonly unheard: () => ReadonlyArray<Unheard>
}

/** A fiber that has failed, and nobody was told. */
interface Unheard {
  readonly fiber: AnyFiber
  readonly cause: Cause.Cause<unknown>
}

/** No fibers. `isOfApp` tells which belong to an app that is tested, be it another one. */
export const make = (isOfApp: (fiber: AnyFiber) => boolean): Fibers => {
  const alive = new Set<AnyFiber>()
  const unheard = new Set<Unheard>()
  /** Those that a step has forked as if they were no part of an app. */
  const strangers = new Map<AnyFiber, Step.Step>()
  const forget = () => {
    for (const fiber of strangers.keys()) if (fiber.unsafePoll() !== null) strangers.delete(fiber)
    return strangers
  }
  return {
    watching: (run) =>
      withRoots((fiber) => {
        if (isOfApp(fiber)) return
        const parent = Option.getOrUndefined(Fiber.getCurrentFiber())
        const step = parent && (strangers.get(parent) ?? Option.getOrUndefined(Step.of(parent)))
        if (step !== undefined) strangers.set(fiber, step)
      }, run),
    noting: (fiber, run) => {
      if (alive.has(fiber)) return run
      strangers.delete(fiber)
      alive.add(fiber)
      const isDaemon = watchersOf(fiber) === watchersOfDaemon
      const finalizers = scopeSizeOf(fiber)
      // Of those that are told, the last comes first. By the time of our first, a scope that the fiber was forked into has forgotten it.
      let before = 0
      fiber.addObserver((exit) => {
        alive.delete(fiber)
        if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause) || !isDaemon) return
        const others = watchersOf(fiber) - watchersOfDaemon - ownWatchers - (finalizers() < before ? 1 : 0)
        if (others > 0) return
        const one = { fiber, cause: exit.cause }
        unheard.add(one)
        onAsked(fiber, () => unheard.delete(one))
      })
      return () => {
        // Whoever has forked it has done with it now.
        fiber.addObserver(() => {
          before = finalizers()
        })
        run()
      }
    },
    runs: (fiber) => {
      if (alive.has(fiber)) return
      alive.add(fiber)
      // Who has given it a head start watches it.
      fiber.addObserver(() => alive.delete(fiber))
    },
    alive: () => [
      ...[...alive].map((fiber) => [fiber, Step.of(fiber)] as const),
      ...[...forget()].map(([fiber, step]) => [fiber, Option.some(step)] as const)
    ],
    strangers: () => [...forget().keys()],
    unheard: () => [...unheard]
  }
}

/** The two of `noting`. */
const ownWatchers = 2

/** A daemon is told of to its supervisor and to the list of all that have no parent; others have less, or more. */
const watchersOfDaemon = 2

/**
 * Calls back when a fiber that has ended is asked how, as `Fiber.join` does.
 * One that first interrupts it does not care.
 */
const onAsked = (fiber: AnyFiber, asked: () => void): void => {
  const { tell } = InnerFiber.of(fiber)
  const ended = fiber.await
  let isInterrupted = false
  Object.defineProperties(fiber, {
    tell: {
      value: (message: { readonly _tag: string }) => {
        isInterrupted ||= message._tag === "InterruptSignal"
        tell.call(fiber, message)
      }
    },
    await: {
      get: () => {
        if (!isInterrupted) asked()
        return ended
      }
    }
  })
}

/** Where Effect keeps all fibers that have no parent: it is there, as `Fiber` has been imported. */
const roots = GlobalValue.globalValue(Symbol.for("effect/FiberScope/Global"), (): Roots => ({
  add: () => {}
}))

interface Roots {
  add: (flags: unknown, fiber: AnyFiber) => void
}

/** Calls back for each fiber without a parent that begins while something runs. */
const withRoots = <A>(began: (fiber: AnyFiber) => void, run: () => A): A => {
  const { add } = roots
  roots.add = (flags, fiber) => {
    add.call(roots, flags, fiber)
    began(fiber)
  }
  try {
    return run()
  } finally {
    roots.add = add
  }
}

/** How many are told of the end of a fiber. */
const watchersOf = (fiber: AnyFiber): number => InnerFiber.of(fiber)._observers.length

/** Gives how many finalizers there are in the scope that a fiber runs in. */
const scopeSizeOf = (fiber: AnyFiber): (() => number) => {
  // It is asked for, and need not be there.
  const context = fiber.currentContext as Context.Context<Scope.Scope>
  const scope = Context.getOption(context, Scope.Scope)
  // All scopes that Effect makes can be closed.
  return () => (Option.isNone(scope) ? 0 : Finalizers.of(scope.value as Scope.CloseableScope).size)
}
