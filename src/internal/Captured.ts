/** The runtime of the fiber that asks, and the values of fibers that it has. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as InnerFiber from "./InnerFiber.ts"
import * as Spans from "./telemetry/Spans.ts"

/**
 * The runtime for what outlives the span in which it began. All that begins in
 * the same state shares one: each that Effect gives is a copy, of two kilobytes.
 */
export const runtime = <R>(): Effect.Effect<Runtime.Runtime<R>, never, R> =>
  Effect.withFiberRuntime((fiber) => {
    const { _fiberRefs, currentContext, currentRuntimeFlags } = InnerFiber.of(fiber)
    const known = last.get(currentContext)
    const same = known !== undefined && !haveChanged(known.fiberRefs, _fiberRefs) ? known : undefined
    if (same?.runtimeFlags === currentRuntimeFlags) return Effect.succeed(same as Runtime.Runtime<R>)
    return Effect.map(Effect.runtime<R>(), ({ context, fiberRefs, runtimeFlags }) =>
      remember(Runtime.make({ context, runtimeFlags, fiberRefs: same?.fiberRefs ?? fiberRefs }))
    )
  })

/** Notes the runtime that a fiber is about to begin with: what is captured in that fiber shares it. Gives it outside its span. */
export const remember = <R>(begun: Runtime.Runtime<R>): Runtime.Runtime<R> => {
  const outside = Spans.runtimeOutside(begun)
  last.set(begun.context, outside)
  return outside
}

/** Values of fibers; those that are known already, if they are the same. */
export const shared = (
  known: FiberRefs.FiberRefs | undefined,
  fresh: FiberRefs.FiberRefs
): FiberRefs.FiberRefs => (known !== undefined && !haveChanged(known, fresh) ? known : fresh)

/** The values of fibers in which all that is logged bears the name of a service. */
export const named = (fiberRefs: FiberRefs.FiberRefs, path: string): FiberRefs.FiberRefs => {
  const annotations = FiberRefs.getOrDefault(fiberRefs, FiberRef.currentLogAnnotations)
  if (lastNamed?.path !== path || lastNamed.from !== annotations) {
    lastNamed = { path, from: annotations, to: HashMap.set(annotations, "service", path) }
  }
  // Without `updateAs`, which hashes them.
  const locals = new Map(fiberRefs.locals)
  locals.set(FiberRef.currentLogAnnotations, [[FiberId.none, lastNamed.to]])
  // Each fiber is given its own, and this holds all contexts that it came through.
  locals.delete(FiberRef.currentContext)
  return FiberRefs.unsafeMake(locals)
}

/** Each service is named twice in a row, for its start and for the rest: so that these have the same. */
let lastNamed: { readonly path: string; readonly from: Annotations; readonly to: Annotations } | undefined
type Annotations = HashMap.HashMap<string, unknown>

/**
 * Takes over what a fiber that has ended has changed of the values it began
 * with, as `Fiber.inheritAll`, but for its context and what else is to be kept.
 * Mostly it has changed nothing, and to join all that it has is dear.
 */
export const inherit = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  begun: Runtime.Runtime<any>,
  ...kept: ReadonlyArray<FiberRef.FiberRef<any>>
): Effect.Effect<void> =>
  Effect.withFiberRuntime((self) => {
    const now = fiber.getFiberRefs()
    // Those are among them now. One that has ended winds down, which nobody takes over.
    const flags = fiber.getFiberRef(FiberRef.currentRuntimeFlags)
    const areFlagsSame = RuntimeFlags.disable(flags, RuntimeFlags.WindDown) === begun.runtimeFlags
    const isSame =
      !haveChanged(begun.fiberRefs, now) ||
      // Some are set back in each new fiber.
      !haveChanged(FiberRefs.forkAs(begun.fiberRefs, fiber.id()), now)
    if (areFlagsSame && isSame) return Effect.void
    const back = [FiberRef.currentContext, ...kept].map((ref) => FiberRef.set(ref, self.getFiberRef(ref)))
    return Effect.zipRight(Fiber.inheritAll(fiber), Effect.all(back, { discard: true }))
  })

/** The last that was captured in a context. */
const last = new WeakMap<Context.Context<any>, Runtime.Runtime<any>>()

/** Whether others are there now. What each fiber is given anew, by its runtime, does not count. */
const haveChanged = (before: FiberRefs.FiberRefs, now: FiberRefs.FiberRefs): boolean => {
  let kept = 0
  for (const [ref, [[, value]]] of now.locals) {
    const known = before.locals.get(ref)
    if (known !== undefined) kept++
    const isGiven = ref === FiberRef.currentContext || ref === FiberRef.currentRuntimeFlags
    const then = known === undefined ? FiberRefs.getOrDefault(before, ref) : known[0][1]
    if (!isGiven && then !== value) return true
  }
  return kept < before.locals.size
}
