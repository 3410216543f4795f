/** The runtime of the fiber that asks. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import type * as Runtime from "effect/Runtime"
import * as Spans from "./Spans.ts"

/**
 * The runtime for what outlives the span in which it began. All that begins in
 * the same state shares one: each that Effect gives is a copy, of two kilobytes.
 */
export const runtime = <R>(): Effect.Effect<Runtime.Runtime<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (ambient) => {
    const known = last.get(ambient.context)
    if (known !== undefined && isSame(known.ambient, ambient)) return known.outside as Runtime.Runtime<R>
    const outside = Spans.runtimeOutside(ambient)
    last.set(ambient.context, { ambient, outside })
    return outside
  })

/** The values of fibers in which all that is logged bears the name of a service. */
export const named = (fiberRefs: FiberRefs.FiberRefs, path: string): FiberRefs.FiberRefs => {
  const fiberRef = FiberRef.currentLogAnnotations
  const value = HashMap.set(FiberRefs.getOrDefault(fiberRefs, fiberRef), "service", path)
  return FiberRefs.updateAs(fiberRefs, { fiberId: FiberId.none, fiberRef, value })
}

/** The last that was captured in a context. */
const last = new WeakMap<Context.Context<any>, { readonly ambient: Any; readonly outside: Any }>()

type Any = Runtime.Runtime<any>

const isSame = (one: Any, other: Any): boolean =>
  one.runtimeFlags === other.runtimeFlags && refersToSame(one.fiberRefs, other.fiberRefs)

const refersToSame = (
  { locals: one }: FiberRefs.FiberRefs,
  { locals: other }: FiberRefs.FiberRefs
): boolean => {
  if (one.size !== other.size) return false
  for (const [ref, [[, value]]] of one) {
    if (other.get(ref)?.[0][1] !== value) return false
  }
  return true
}
