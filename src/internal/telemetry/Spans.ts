/**
 * Tracing spans of services. Created only if a tracer is installed: a span costs
 * more than a tick, and Effect's default tracer exports nothing.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

/** Whether a tracer may export spans: any but Effect's default. */
const isShown = (tracer: Tracer.Tracer): boolean => tracer !== defaultTracer

/** Runs `traced` if a tracer is installed, otherwise the plain effect. */
export const whereShown = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  traced: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.tracerWith((tracer) => (isShown(tracer) ? traced() : effect))

/** Runs an effect in a root span. */
export const around = (name: string, attributes: Record<string, unknown>) => rootSpan(name, { attributes })

/**
 * Runs a handler in a root span linked to the span that sent the event. It is
 * not a child of that span, which may end first.
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
 * Runs a start in a child span. A server or fiber that it leaves running keeps
 * that span as its parent, so ended spans are ignored as parents.
 */
export const aroundStart =
  (name: string, attributes: Record<string, unknown>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      !isShown(tracer)
        ? effect
        : effect.pipe(
            Effect.withSpan(name, { attributes, captureStackTrace: false }),
            Effect.withTracer(ignoringEndedParents(tracer))
          )
    )

/** The span in a context, unless it has ended. */
export const current = (context: Context.Context<never>): Option.Option<Tracer.AnySpan> =>
  Option.filter(Context.getOption(context, Tracer.ParentSpan), (span) => !hasEnded(span))

/** The context without its span, for work that outlives it. */
export const outside = <R>(context: Context.Context<R>): Context.Context<R> =>
  // Usually there is no span, and copying the context of each task would waste memory.
  context.unsafeMap.has(Tracer.ParentSpan.key)
    ? // Nothing requires `ParentSpan`, since it is always optional.
      (Context.omit(Tracer.ParentSpan)(
        context as Context.Context<R | Tracer.ParentSpan>
      ) as Context.Context<R>)
    : context

const rootSpan =
  (name: string, options: Tracer.SpanOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tracerWith((tracer) =>
      !isShown(tracer)
        ? effect
        : Effect.withSpan(effect, name, { ...options, root: true, captureStackTrace: false })
    )

/** A tracer that ignores ended parent spans. */
const ignoringEndedParents = (tracer: Tracer.Tracer): Tracer.Tracer => {
  if (knownWrappers.has(tracer)) return tracer
  const wrapper = Tracer.make({
    context: (f, fiber) => tracer.context(f, fiber),
    span: (name, parent, ...rest) =>
      tracer.span(
        name,
        Option.filter(parent, (span) => !hasEnded(span)),
        ...rest
      )
  })
  knownWrappers.add(wrapper)
  return wrapper
}
const knownWrappers = new WeakSet<Tracer.Tracer>()

const hasEnded = (span: Tracer.AnySpan): boolean => span._tag === "Span" && span.status._tag === "Ended"

/** Effect's default tracer. */
const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)
