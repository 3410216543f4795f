/**
 * Spans of what services do. They exist only where a tracer is installed: they
 * cost more than a tick does, and Effect's own tracer shows them to nobody.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"

/** Runs an effect in a span that is a trace of its own. */
export const around =
  (name: string, attributes: Record<string, unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      tracer === ownTracer
        ? effect
        : Effect.withSpan(effect, name, { attributes, root: true, captureStackTrace: false })
    )

/**
 * Runs the start of something in a span, inside that of whoever starts it. What
 * a start leaves behind, as a server or a fiber, goes on with the span it began
 * in, so that is taken for none when it has ended.
 */
export const aroundStart =
  (name: string, attributes: Record<string, unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      tracer === ownTracer
        ? effect
        : Effect.useSpan(name, { attributes, captureStackTrace: false }, (span) =>
            effect.pipe(Effect.withParentSpan(span), Effect.withTracer(untilEnded(tracer, span)))
          )
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
  // Mostly there is no span, and to copy the context of all that is owned would cost memory for nothing.
  context.unsafeMap.has(Tracer.ParentSpan.key)
    ? // Nothing needs a parent span: it is always optional.
      (Context.omit(Tracer.ParentSpan)(
        context as Context.Context<R | Tracer.ParentSpan>
      ) as Context.Context<R>)
    : context

/** The runtime for what outlives the span in which it began. */
export const runtimeOutside = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> => {
  const context = outside(runtime.context)
  return context === runtime.context ? runtime : Runtime.make({ ...runtime, context })
}

/** A tracer for which a span is no parent any more when it has ended. */
const untilEnded = (tracer: Tracer.Tracer, start: Tracer.Span): Tracer.Tracer =>
  Tracer.make({
    context: (f, fiber) => tracer.context(f, fiber),
    span: (name, parent, ...rest) => {
      const isOver = Option.isSome(parent) && parent.value === start && start.status._tag === "Ended"
      return tracer.span(name, isOver ? Option.none() : parent, ...rest)
    }
  })

/** The one that Effect has when nobody has installed another. */
const ownTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)
