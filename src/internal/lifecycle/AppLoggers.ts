/**
 * The loggers that an app puts in place inside its layer, such as `Logger.json`.
 * A build that fails undoes them before it ends, so they are noted when built.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"

type Loggers = HashSet.HashSet<Logger.Logger<unknown, any>>

/** The loggers of one app. */
export interface AppLoggers {
  /** Those around the app. */
  readonly outer: Loggers
  /** Those that its layer has put in place so far. */
  own: Loggers
}

/** The loggers of an app whose build has not begun. */
export const make: Effect.Effect<AppLoggers> = Effect.map(
  FiberRef.get(FiberRef.currentLoggers),
  (outer): AppLoggers => ({ outer, own: outer })
)

/** A memo map that notes the loggers after each layer, in whichever fiber that is built. */
export const noting = (loggers: AppLoggers, memoMap: Layer.MemoMap): Layer.MemoMap => {
  const note = Effect.map(FiberRef.get(FiberRef.currentLoggers), (now) => {
    if (now !== loggers.outer) loggers.own = now
  })
  // Not in the types of Effect, so it may be gone in a later version: then a failed boot falls back to the loggers around the app.
  const { getOrElseMemoize } = memoMap as Partial<Memoizing>
  if (getOrElseMemoize === undefined) return memoMap
  // Inherits from the other, which hands itself to the layers within a layer: those go through this one too.
  return Object.assign(Object.create(memoMap) as Layer.MemoMap, {
    getOrElseMemoize(...args: Parameters<Memoizing["getOrElseMemoize"]>) {
      return Effect.zipLeft(getOrElseMemoize.apply(this, args), note)
    }
  } satisfies Memoizing)
}

interface Memoizing {
  getOrElseMemoize(
    layer: Layer.Layer<any, any, any>,
    scope: Scope.Scope
  ): Effect.Effect<Context.Context<any>, unknown, any>
}

/** Logs by the app's own loggers, which are in place. */
export const use = ({ own }: AppLoggers): Effect.Effect<void> => FiberRef.set(FiberRef.currentLoggers, own)

/**
 * Logs when the scope of the app's own loggers is closed. Effect's own, such as
 * `Logger.json`, log on. Others, such as those of `Logger.batched`, may not: those
 * around the app log besides.
 */
export const outlive = ({ outer, own }: AppLoggers): Effect.Effect<void> =>
  own === outer
    ? Effect.void
    : Effect.flatMap(lasting, (known) => {
        const isLasting = HashSet.isSubset(own, HashSet.union(known, outer))
        return FiberRef.set(FiberRef.currentLoggers, isLasting ? own : HashSet.union(own, outer))
      })

/** Effect's loggers that need no scope. */
const lasting: Effect.Effect<Loggers> = Effect.forEach(
  [Logger.json, Logger.logFmt, Logger.pretty, Logger.structured],
  (layer) => Effect.provide(FiberRef.get(FiberRef.currentLoggers), layer)
).pipe(
  Effect.map((all) => all.reduce((union, each) => HashSet.union(union, each))),
  // Each layer adds to what is there.
  Effect.locally(FiberRef.currentLoggers, HashSet.empty())
)
