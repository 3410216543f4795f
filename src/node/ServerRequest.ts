/**
 * The request as handlers see it: bodies that are read whole are limited, and a
 * WebSocket can be closed by the server. The platform buffers bodies without a
 * limit by default, and answers a limit of its own by destroying the connection.
 */
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"
import type { Exchange } from "./Connections.ts"

/** How long the rest of a refused body is discarded, so that its client gets to read the answer. */
const discardTime = "1 second"

/** A request body exceeds its limit. Answered with 413, unless the program answers. */
class BodyTooLarge extends HttpServerError.RequestError {
  readonly source: Http.IncomingMessage

  constructor(request: HttpServerRequest.HttpServerRequest, limit: number) {
    super({ request, reason: "Decode", description: `the body exceeds ${size(limit)}` })
    this.source = NodeHttpServerRequest.toIncomingMessage(request)
  }

  override [HttpServerRespondable.symbol]() {
    const bytes = new TextEncoder().encode(`${this.description}\n`)
    const body = Stream.concat(Stream.make(bytes), Stream.drain(Stream.fromEffect(discarded(this.source))))
    return HttpServerResponse.stream(body, {
      status: 413,
      contentType: "text/plain",
      contentLength: bytes.length,
      headers: { connection: "close" }
    })
  }
}

/**
 * A view of a request whose `text`, `json`, `urlParamsBody` and `arrayBuffer` fail with a
 * `RequestError` above a limit: that of `HttpServerRequest.withMaxBodySize` where
 * the route has one, and otherwise `limit`, in bytes. `stream`, `multipart` and
 * `multipartStream` are not limited here: they do not hold the whole body.
 */
export const view = (
  request: HttpServerRequest.HttpServerRequest,
  exchange: Exchange,
  limit: number
): HttpServerRequest.HttpServerRequest => {
  const bytes = Effect.flatMap(limitOfRoute(limit), (most) => {
    // Once for all views of a request: the body can only be read once.
    exchange.body ??= Effect.runSync(Effect.cached(read(request, exchange, most)))
    return exchange.body
  })
  const text = Effect.flatMap(bytes, (all) =>
    Effect.try({ try: () => all.toString("utf8"), catch: (cause) => unreadable(request, cause) })
  )
  const arrayBuffer = Effect.map(bytes, (all) => new Uint8Array(all).buffer)
  return new Proxy(request, {
    get: (target, key, receiver) => {
      if (key === "text") return text
      if (key === "arrayBuffer") return arrayBuffer
      if (key === "upgrade")
        return Effect.tap(target.upgrade, (socket) =>
          Effect.sync(() => (exchange.closeSocket = goAway(socket)))
        )
      // `json` and the like ask the receiver for its `text`.
      if (key !== "modify") return Reflect.get(target, key, receiver)
      return (options: Parameters<typeof request.modify>[0]) => view(target.modify(options), exchange, limit)
    }
  })
}

/** The limit of a route is in its context; `Option.none` there is no limit. */
const limitOfRoute = (limit: number): Effect.Effect<number> =>
  Effect.map(Effect.context<never>(), (context) =>
    context.unsafeMap.has(HttpIncomingMessage.MaxBodySize.key)
      ? Option.match(
          // What the context has under the key of a tag is of its type.
          context.unsafeMap.get(HttpIncomingMessage.MaxBodySize.key) as Option.Option<bigint>,
          { onNone: () => Number.POSITIVE_INFINITY, onSome: Number }
        )
      : limit
  )

const read = (
  request: HttpServerRequest.HttpServerRequest,
  { response }: Exchange,
  limit: number
): Effect.Effect<Buffer, HttpServerError.RequestError> =>
  Effect.async((resume) => {
    const source = NodeHttpServerRequest.toIncomingMessage(request)
    const chunks: Array<Buffer> = []
    let length = 0
    const settle = (result: Effect.Effect<Buffer, HttpServerError.RequestError>) => {
      source.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose)
      resume(result)
    }
    /** Leaves the rest unread; the connection cannot be used after that. */
    const discard = () => {
      if (response !== undefined) response.shouldKeepAlive = false
      source.resume()
    }
    const refuse = () => {
      settle(Effect.fail(new BodyTooLarge(request, limit)))
      discard()
    }
    const onData = (data: Buffer | string) => {
      const chunk = Buffer.from(data)
      length += chunk.length
      if (length > limit) refuse()
      else chunks.push(chunk)
    }
    const onEnd = () => settle(Effect.succeed(Buffer.concat(chunks, length)))
    const onError = (cause: unknown) => settle(Effect.fail(unreadable(request, cause)))
    const onClose = () => onError(new Error("the body ended early, or has been read already"))
    if (Number(source.headers["content-length"] ?? 0) > limit) {
      refuse()
      return
    }
    if (source.closed || source.readableEnded) {
      onClose()
      return
    }
    source.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose)
    return Effect.sync(() => {
      source.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose)
      discard()
    })
  })

/** Waits until the client has sent the rest of a body, in real time: clients do not live in a test's virtual time. */
const discarded = (source: Http.IncomingMessage): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const done = () => resume(Effect.void)
    if (source.complete || source.closed) return done()
    source.resume()
    source.once("end", done).once("close", done)
    return Effect.sync(() => source.off("end", done).off("close", done))
  }).pipe(Effect.timeoutOption(discardTime), Effect.withClock(Clock.make()))

/** Closes a WebSocket with 1001, so that its client reconnects: the platform closes it without a code. */
const goAway = (socket: Socket.Socket): Effect.Effect<void> => {
  const close = new Socket.CloseEvent(1001, "the server is stopping")
  return Effect.flatMap(socket.writer, (write) => write(close)).pipe(Effect.scoped, Effect.ignore)
}

const unreadable = (request: HttpServerRequest.HttpServerRequest, cause: unknown) =>
  new HttpServerError.RequestError({ request, reason: "Decode", cause })

const size = (bytes: number): string =>
  bytes % 1_048_576 === 0 ? `${bytes / 1_048_576} MiB` : `${bytes} bytes`
