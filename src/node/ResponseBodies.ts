/** Prepares responses just before they are sent: which are streams, and how their bodies end. */
import * as Headers from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Connections from "./Connections.ts"

/**
 * Marks an exchange whose response is a stream; interrupts it when streams have
 * been ended. Any other body that fails or is interrupted resets its connection:
 * the platform would end it as if it were complete.
 */
export const prepare = (
  connections: Connections.Connections,
  exchange: Connections.Exchange,
  response: HttpServerResponse.HttpServerResponse
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.suspend(() => {
    if (isStream(response)) exchange.isStream = true
    if (exchange.isStream && !connections.mayStream()) return Effect.interrupt
    const { body } = response
    switch (body._tag) {
      case "Stream":
        return Effect.succeed(withStream(response, exchange, body.stream))
      case "FormData": {
        // The platform does not handle the error of an interrupted form, which ends the process.
        const form = new Response(body.formData)
        const type = form.headers.get("content-type") ?? "multipart/form-data"
        const bytes = Stream.fromReadableStream(
          // A `Response` made of a form has a body.
          () => form.body!,
          (error) => error
        )
        return Effect.succeed(
          withStream(HttpServerResponse.setHeader(response, "content-type", type), exchange, bytes)
        )
      }
      default:
        return Effect.succeed(response)
    }
  })

const withStream = <E>(
  response: HttpServerResponse.HttpServerResponse,
  exchange: Connections.Exchange,
  stream: Stream.Stream<Uint8Array, E>
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.setBody(
    response,
    HttpBody.stream(
      Stream.ensuringWith(stream, (exit) =>
        Effect.sync(() => {
          const isComplete =
            Exit.isSuccess(exit) || (exchange.isStream && Cause.isInterruptedOnly(exit.cause))
          if (!isComplete) Connections.truncate(exchange)
        })
      ),
      response.body.contentType,
      response.body.contentLength
    )
  )

/** The types of bodies that have no end of their own. */
const streamTypes = ["text/event-stream", "multipart/x-mixed-replace"]

const isStream = ({ headers }: HttpServerResponse.HttpServerResponse): boolean =>
  Option.exists(Headers.get(headers, "content-type"), (type) =>
    streamTypes.some((streamType) => type.toLowerCase().startsWith(streamType))
  )
