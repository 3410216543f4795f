/**
 * The connections of a Node HTTP server, and the requests that are in flight on
 * them: until the answer has been sent, and the handler has ended with all that
 * it releases.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/** A request, from its arrival until nothing of it is left. */
export interface Exchange {
  readonly request: Http.IncomingMessage
  /** None when the client offered another protocol, as WebSocket. */
  readonly response: Http.ServerResponse | undefined
  /** Whether the answer has been sent, or nobody is there to take it. */
  isAnswered: boolean
  /** Whether it ends only when somebody ends it: a WebSocket, or server-sent events. */
  isStream: boolean
  /** What handles it, once it does. */
  handler: Fiber.RuntimeFiber<unknown, unknown> | undefined
}

/** What is open, and how to close it. */
export interface Connections {
  readonly inFlight: () => ReadonlyArray<Exchange>
  readonly exchangeOf: (request: Http.IncomingMessage) => Exchange | undefined
  /** Notes who handles a request. */
  readonly handledBy: (exchange: Exchange, fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  /** Each connection is closed by its client after the next answer, which says so. */
  readonly closeAfterAnswers: () => void
  /** Notes that an answer has no end of its own; false when streams are not to begin any more. */
  readonly mayStream: (exchange: Exchange) => boolean
  /** Interrupts what handles streams, also those that would begin later. */
  readonly endStreams: () => void
  /** Takes no new connections. What is open stays so. */
  readonly stopListening: () => void
  /** Closes each connection as soon as no request is in flight on it. */
  readonly closeWhenIdle: () => void
  /** Cuts the connections on which all that is in flight, if anything, is to be cut. */
  readonly destroyWhere: (isToBeCut: (exchange: Exchange) => boolean) => void
  /** Closes all, whatever is in flight. */
  readonly destroy: () => void
  /** Waits until no request is in flight and no connection is open. */
  readonly closed: Effect.Effect<void>
}

/** What is in flight on one connection. */
interface Line {
  readonly exchanges: Set<Exchange>
  /** The answer that comes last, and whether the connection was to be kept after it. */
  last: { readonly response: Http.ServerResponse; readonly isKept: boolean } | undefined
  /** Whether it is being closed. */
  isClosing: boolean
}

/** Watches a server, from before it listens. Requests that come before there is a handler are answered with 503 and `notYet`. */
export const of = (server: Http.Server, notYet: string): Connections => {
  const open = new Map<Duplex, Line>()
  const exchanges = new Map<Http.IncomingMessage, Exchange>()
  /** Connections below TLS, which no request ever shows. */
  const raw = new Set<Net.Socket>()
  const waiting = new Set<() => void>()
  let closesAfterAnswers = false
  let closesWhenIdle = false
  let endsStreams = false

  const lineOf = (socket: Duplex): Line => {
    const known = open.get(socket)
    if (known !== undefined) return known
    const line: Line = { exchanges: new Set(), last: undefined, isClosing: false }
    open.set(socket, line)
    socket.once("close", () => {
      open.delete(socket)
      for (const { response } of line.exchanges) abandon(response)
      settle()
    })
    return line
  }
  const settle = () => {
    if (closesWhenIdle) {
      for (const [socket, line] of open) {
        if (line.exchanges.size > 0 || line.isClosing) continue
        line.isClosing = true
        close(socket)
      }
    }
    if (exchanges.size > 0 || open.size > 0) return
    for (const resume of waiting) resume()
  }
  /** Of requests that were sent without waiting for answers, only the last one's answer is the last. */
  const markLast = (line: Line, response: Http.ServerResponse) => {
    if (line.last !== undefined) line.last.response.shouldKeepAlive = line.last.isKept
    line.last = { response, isKept: response.shouldKeepAlive }
    if (closesAfterAnswers) response.shouldKeepAlive = false
  }
  const begin = (request: Http.IncomingMessage, response?: Http.ServerResponse): Exchange => {
    // Others are offers that mostly nobody takes up, as `h2c` by clients that could speak HTTP/2.
    const isStream = response === undefined && /websocket/i.test(request.headers.upgrade ?? "")
    const isAnswered = response === undefined
    const exchange: Exchange = { request, response, isAnswered, isStream, handler: undefined }
    exchanges.set(request, exchange)
    const line = lineOf(request.socket)
    line.exchanges.add(exchange)
    if (response !== undefined) markLast(line, response)
    return exchange
  }
  const end = (exchange: Exchange) => {
    if (!exchange.isAnswered || exchange.handler !== undefined || !exchanges.delete(exchange.request)) return
    const line = open.get(exchange.request.socket)
    if (line !== undefined) {
      line.exchanges.delete(exchange)
      if (line.last?.response === exchange.response) line.last = undefined
    }
    settle()
  }

  if (server instanceof Tls.Server) {
    server.on("connection", (socket: Net.Socket) => {
      raw.add(socket)
      socket.once("close", () => raw.delete(socket))
    })
    server.on("secureConnection", lineOf)
  } else {
    server.on("connection", lineOf)
  }
  // First, so that all who are told of a request find it here.
  server.prependListener("request", (request, response) => {
    const exchange = begin(request, response)
    callBackOnClose(response)
    response.once("close", () => {
      exchange.isAnswered = true
      end(exchange)
    })
    if (server.listenerCount("request") === 1) {
      response.writeHead(503, { "content-type": "text/plain", "retry-after": "1", connection: "close" })
      response.end(`${notYet}\n`)
    }
  })
  server.prependListener("upgrade", (request, socket) => {
    // Node hands it over without one, and an error that nobody hears ends the process.
    socket.on("error", () => {})
    const exchange = begin(request)
    socket.once("close", () => end(exchange))
    if (server.listenerCount("upgrade") === 1) close(socket.end(refusal))
  })

  return {
    inFlight: () => [...exchanges.values()],
    exchangeOf: (request) => exchanges.get(request),
    handledBy: (exchange, fiber) => {
      exchange.handler = fiber
      fiber.addObserver(() => {
        exchange.handler = undefined
        end(exchange)
      })
    },
    closeAfterAnswers: () => {
      closesAfterAnswers = true
      for (const { last } of open.values()) if (last !== undefined) last.response.shouldKeepAlive = false
    },
    mayStream: (exchange) => {
      exchange.isStream = true
      return !endsStreams
    },
    endStreams: () => {
      endsStreams = true
      for (const exchange of exchanges.values()) if (exchange.isStream) interrupt(exchange)
    },
    // That of `net`: that of `http` would cut idle connections too, on which a request may be on its way.
    stopListening: () => void Net.Server.prototype.close.call(server),
    closeWhenIdle: () => {
      closesWhenIdle = true
      settle()
    },
    destroyWhere: (isToBeCut) => {
      for (const [socket, line] of open) if ([...line.exchanges].every(isToBeCut)) socket.destroy()
    },
    destroy: () => {
      for (const socket of [...open.keys(), ...raw]) socket.destroy()
      // Ends its timers.
      server.closeAllConnections()
      server.close()
    },
    closed: Effect.async<void>((resume) => {
      const done = () => resume(Effect.void)
      waiting.add(done)
      settle()
      return Effect.sync(() => waiting.delete(done))
    })
  }
}

/** Ends what handles a request. */
const interrupt = ({ handler }: Exchange): void => handler?.unsafeInterruptAsFork(FiberId.none)

/** Answers with 503 where nothing has been sent, and ends what handles the request. */
export const cut = (exchange: Exchange): void => {
  // Here, since a handler may be deaf to interruption, and one that reads a body closes the connection then.
  if (exchange.response?.headersSent === false)
    exchange.response.writeHead(503, { connection: "close" }).end()
  interrupt(exchange)
}

/** Node calls back when all of an answer has been sent, and so never when its client has gone before. */
const callBackOnClose = (response: Http.ServerResponse): void => {
  const end = response.end.bind(response)
  response.end = (...args: ReadonlyArray<unknown>) => {
    const callback = args.find((arg) => typeof arg === "function") as (() => void) | undefined
    if (callback !== undefined && response.closed) process.nextTick(callback)
    else if (callback !== undefined) response.once("close", callback)
    return end(...(args as Parameters<typeof end>))
  }
}

/** Tells who waits for an answer that its connection has gone. Node does not where an earlier one was to be sent first. */
const abandon = (response: Http.ServerResponse | undefined): void => {
  if (response === undefined || response.socket !== null || response.destroyed) return
  response.destroy()
  response.emit("close")
}

const refusal = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

/** After what has been written. */
const close = (socket: Duplex): void => {
  if (socket instanceof Net.Socket) socket.destroySoon()
  else socket.destroy()
}
