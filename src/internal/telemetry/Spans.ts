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

/** Whether anybody is shown the spans of a tracer. */
export const isShown = (tracer: Tracer.Tracer): boolean => tracer !== ownTracer

/** Runs an effect, or what `traced` makes of it where spans are shown. */
export const whereShown = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  traced: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.tracerWith((tracer) => (isShown(tracer) ? traced() : effect))

/** Runs an effect in a span that is a trace of its own. */
export const around = (name: string, attributes: Record<string, unknown>) => rootSpan(name, { attributes })

/**
 * Runs a handler in a span that is linked to the one that the event was sent
 * in, and not below it: that one may end first.
 */
export const linked = (
  name: string,
  sender: Option.Option<Tracer.AnySpan>,
  attributes: Record<string, unknown>
) =>
  rootSpan(name, {
    attributes,
    kind: "consumer",
    links: Option.toArray(Option.map(sender, (span) => ({ _tag: "SpanLink", span, attributes: {} }) as const))
  })

/**
 * Runs the start of something in a span, inside that of whoever starts it. What
 * a start leaves behind, as a server or a fiber, goes on in the spans it began
 * in. When they have ended, they are taken for none.
 */
export const aroundStart =
  (name: string, attributes: Record<string, unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      !isShown(tracer)
        ? effect
        : effect.pipe(
            Effect.withSpan(name, { attributes, captureStackTrace: false }),
            Effect.withTracer(forgetful(tracer))
          )
    )

/** The span of a context, unless it has ended. */
export const current = (context: Context.Context<never>): Option.Option<Tracer.AnySpan> =>
  Option.filter(Context.getOption(context, Tracer.ParentSpan), (span) => !hasEnded(span))

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

const rootSpan =
  (name: string, options: Tracer.SpanOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      !isShown(tracer)
        ? effect
        : Effect.withSpan(effect, name, { ...options, root: true, captureStackTrace: false })
    )

/** A tracer for which a span that has ended is no parent. */
const forgetful = (tracer: Tracer.Tracer): Tracer.Tracer => {
  if (forgetfuls.has(tracer)) return tracer
  const made = Tracer.make({
    context: (f, fiber) => tracer.context(f, fiber),
    span: (name, parent, ...rest) =>
      tracer.span(
        name,
        Option.filter(parent, (span) => !hasEnded(span)),
        ...rest
      )
  })
  forgetfuls.add(made)
  return made
}
const forgetfuls = new WeakSet<Tracer.Tracer>()

const hasEnded = (span: Tracer.AnySpan): boolean => span._tag === "Span" && span.status._tag === "Ended"

/** The one that Effect has when nobody has installed another. */
const ownTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)
