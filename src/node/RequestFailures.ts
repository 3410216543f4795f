/**
 * Records requests that fail unexpectedly. The platform answers them with an
 * empty 500 and logs the failure at Debug at most.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Lifetime from "../internal/lifecycle/Lifetime.ts"
import * as Monotonic from "../internal/Monotonic.ts"
import * as Reason from "../internal/Reason.ts"
import type { Exchange } from "./Connections.ts"

/**
 * Records the failure of an exchange once: as a `RequestFailed` entry, in the
 * metrics, and as the last failure of the service. Interruptions are not
 * failures; neither are errors that answer for themselves, such as a
 * `RouteNotFound` or any `HttpServerRespondable`.
 */
export const recorded =
  (service: Lifetime.Lifetime, exchange: Exchange) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R> =>
    Effect.flatMap(Monotonic.millis, (start) =>
      Effect.tapErrorCause(app, (cause) =>
        Effect.withFiberRuntime<void>((fiber) => {
          if (exchange.isFailureRecorded) return Effect.void
          return Effect.flatMap(isUnexpected(exchange, cause), (isFailure) => {
            if (!isFailure) return Effect.void
            exchange.isFailureRecorded = true
            const route = routeOf(exchange, fiber)
            const why = withoutResponse(cause)
            Lifetime.noteFailure(service, route, why)
            return Effect.flatMap(Monotonic.since(start), (took) =>
              service.owner.shared.journal.append({
                _tag: "RequestFailed",
                service: service.path,
                route,
                cause: why,
                took
              })
            )
          })
        })
      )
    )

/**
 * The method and route that a fiber handles, such as `GET /orders/:id`, or the
 * path where no route has matched.
 */
export const routeOf = (
  { request }: Exchange,
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
): string => {
  const route = Option.flatMap(Option.fromNullable(fiber), ({ currentContext }) => {
    // Both may be absent from any context; the cast only allows asking for them.
    const context = currentContext as Context.Context<HttpRouter.RouteContext | Tracer.ParentSpan>
    return Option.orElse(
      Option.map(Context.getOption(context, HttpRouter.RouteContext), ({ route }): string => route.path),
      // Outside the router, only the span of the request still has it.
      () => Option.flatMap(Context.getOption(context, Tracer.ParentSpan), routeOfSpan)
    )
  })
  // Without the query, which may hold personal data.
  return Reason.lineOf(
    `${request.method} ${Option.getOrElse(route, () => request.url?.split("?")[0] ?? "")}`,
    longestRoute
  )
}

/** A path that no route has matched may be as long as a request line. */
const longestRoute = 500

const routeOfSpan = (span: Tracer.AnySpan): Option.Option<string> => {
  const route = span._tag === "Span" ? span.attributes.get("http.route") : undefined
  return typeof route === "string" ? Option.some(route) : Option.none()
}

/** Without the response that the platform adds to a cause. */
const withoutResponse = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  try {
    return Option.getOrElse(HttpServerError.causeResponseStripped(cause)[1], () => cause)
  } catch {
    // Of a defect that cannot be asked what it is.
    return cause
  }
}

/** What the platform answers when nothing says how to answer. */
const unmapped = HttpServerResponse.empty({ status: 500 })

const isUnexpected = (exchange: Exchange, cause: Cause.Cause<unknown>): Effect.Effect<boolean> => {
  const answers = [
    ...Array.from(Cause.failures(cause), (error) =>
      Effect.suspend(() => answerOf(exchange, error, HttpServerRespondable.toResponseOrElse))
    ),
    ...Array.from(Cause.defects(cause), (defect) =>
      Effect.suspend(() => answerOf(exchange, defect, HttpServerRespondable.toResponseOrElseDefect))
    )
    // A value that cannot even be asked what it is has no answer.
  ].map(Effect.catchAllCause(() => Effect.succeed(unmapped)))
  return Effect.map(Effect.all(answers), (responses) => responses.includes(unmapped))
}

const answerOf = (
  { response }: Exchange,
  error: unknown,
  toResponse: typeof HttpServerRespondable.toResponseOrElse
): Effect.Effect<HttpServerResponse.HttpServerResponse | undefined> => {
  // The platform's own error for a response that cannot be sent.
  if (HttpServerError.isServerError(error) && error._tag === "ResponseError") return Effect.succeed(unmapped)
  // The client of a WebSocket has gone.
  if (response === undefined && Socket.isSocketError(error)) return Effect.succeed(undefined)
  return toResponse(error, unmapped)
}
