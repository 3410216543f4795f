/**
 * Spans of what services do. They exist only where a tracer is installed: they
 * cost more than a tick does, and Effect's own tracer shows them to nobody.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"

/**
 * Runs an effect in a span: a trace of its own, or one `"inside"` the span of
 * whoever runs it.
 */
export const around =
  (name: string, attributes: Record<string, unknown>, place: "root" | "inside" = "root") =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      tracer === ownTracer
        ? effect
        : Effect.withSpan(effect, name, { attributes, root: place === "root", captureStackTrace: false })
    )

/** Runs a handler in a span that is linked to the sender's, and not below it: the sender may end first. */
export const linked =
  (name: string, sender: Option.Option<Tracer.AnySpan>, attributes: Record<string, unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withSpan(effect, name, {
      root: true,
      kind: "consumer",
      links: sender._tag === "None" ? [] : [{ _tag: "SpanLink", span: sender.value, attributes: {} }],
      attributes,
      captureStackTrace: false
    })

/** The context for what outlives the span in which it began. */
export const outside = <R>(context: Context.Context<R>): Context.Context<R> =>
  // Nothing needs a parent span: it is always optional.
  Context.omit(Tracer.ParentSpan)(context as Context.Context<R | Tracer.ParentSpan>) as Context.Context<R>

/** The runtime for what outlives the span in which it began. */
export const runtimeOutside = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> =>
  Runtime.make({ ...runtime, context: outside(runtime.context) })

/** The one that Effect has when nobody has installed another. */
const ownTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)
