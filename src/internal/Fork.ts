/**
 * Forks that run on the caller's stack until they first wait. Most steps of a
 * start or a stop never wait, so they cost no turn of the scheduler.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"

/** Forks a daemon, as `Effect.forkDaemon`, and runs it until it first waits. The caller awaits it, and tells its failure (`told`). */
export const now = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => unsafeNow(runtime, told(effect)))

/** Forks at once in a runtime that is at hand. */
export const unsafeNow = <A, E, R>(
  runtime: Runtime.Runtime<R>,
  effect: Effect.Effect<A, E, R>,
  updateRefs?: Runtime.RunForkOptions["updateRefs"]
): Fiber.RuntimeFiber<A, E> => {
  depth++
  try {
    return Runtime.runFork(runtime, effect, { updateRefs, immediate: depth <= deepest })
  } finally {
    depth--
  }
}

/**
 * For a fiber whose failure is told by what awaits it. Effect logs it as well, at
 * Debug, and where the log cannot print the failure, that throws, and the fiber
 * never ends. So this fiber does not log.
 */
export const told = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tapErrorCause(effect, () => unlogged)

/** From now on, Effect does not log how this fiber fails. */
export const unlogged: Effect.Effect<void> = FiberRef.set(FiberRef.unhandledErrorLogLevel, Option.none())

/** How many forks are on the stack. */
let depth = 0

/** Deeper forks start in a later turn: each takes about 100 of the 10,000 frames of JavaScript's stack. */
const deepest = 50

/**
 * Like `Fiber.inheritAll`, but keeps the context and the FiberRefs in `kept`, and
 * skips the join when the fiber has changed none since it started with `begun`.
 * That is the usual case, and a comparison is cheaper than a join.
 */
export const inherit = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  begun: Runtime.Runtime<any>,
  ...kept: ReadonlyArray<FiberRef.FiberRef<any>>
): Effect.Effect<void> =>
  Effect.withFiberRuntime((self) => {
    const now = fiber.getFiberRefs()
    // `WindDown` is set on a fiber that has ended, and is not inherited.
    const flags = RuntimeFlags.disable(fiber.getFiberRef(FiberRef.currentRuntimeFlags), RuntimeFlags.WindDown)
    // Some FiberRefs are reset in each new fiber.
    const isUnchanged =
      haveSameValues(begun.fiberRefs, now) ||
      haveSameValues(FiberRefs.forkAs(begun.fiberRefs, fiber.id()), now)
    if (flags === begun.runtimeFlags && isUnchanged) return Effect.void
    const restore = [FiberRef.currentContext, ...kept].map((ref) => FiberRef.set(ref, self.getFiberRef(ref)))
    return Effect.zipRight(Fiber.inheritAll(fiber), Effect.all(restore, { discard: true }))
  })

/** Whether two have the same values. Ignores the context and the runtime flags, which each fiber is given anew. */
export const haveSameValues = (before: FiberRefs.FiberRefs, now: FiberRefs.FiberRefs): boolean => {
  let common = 0
  for (const [ref, [[, value]]] of now.locals) {
    if (ref === FiberRef.currentContext || ref === FiberRef.currentRuntimeFlags) continue
    const known = before.locals.get(ref)
    if (known !== undefined) common++
    const then = known === undefined ? FiberRefs.getOrDefault(before, ref) : known[0][1]
    if (then !== value) return false
  }
  const given = [FiberRef.currentContext, FiberRef.currentRuntimeFlags].filter((ref) =>
    before.locals.has(ref)
  )
  return common === before.locals.size - given.length
}
