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
  /** None when the client asked for another protocol, as WebSocket. */
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
  /** Takes no new connections. What is open stays so. */
  readonly stopListening: () => void
  /** Closes each connection as soon as no request is in flight on it. */
  readonly closeWhenIdle: () => void
  /** Closes all, whatever is in flight. */
  readonly destroy: () => void
  /** Waits until no request is in flight and no connection is open. */
  readonly closed: Effect.Effect<void>
}

/** What the server has on one connection, in the order in which it came. */
type Line = Set<Exchange>

/** Watches a server, from before it listens. Requests that come before there is a handler are answered with 503. */
export const of = (server: Http.Server): Connections => {
  const open = new Map<Duplex, Line>()
  const exchanges = new Map<Http.IncomingMessage, Exchange>()
  /** Connections below TLS, which no request ever shows. */
  const raw = new Set<Net.Socket>()
  const waiting = new Set<() => void>()
  let closesAfterAnswers = false
  let closesWhenIdle = false

  const lineOf = (socket: Duplex): Line => {
    const known = open.get(socket)
    if (known !== undefined) return known
    const line: Line = new Set()
    open.set(socket, line)
    socket.once("close", () => {
      open.delete(socket)
      settle()
    })
    return line
  }
  const settle = () => {
    if (closesWhenIdle) {
      for (const [socket, line] of open) if (line.size === 0) close(socket)
    }
    if (exchanges.size > 0 || open.size > 0) return
    for (const resume of waiting) resume()
  }
  /** Of requests that were sent without waiting for answers, the last one's answer is the last. */
  const markLast = (line: Line) => {
    const responses = [...line].flatMap(({ response }) => response ?? [])
    for (const [index, response] of responses.entries()) {
      response.shouldKeepAlive = index < responses.length - 1
    }
  }
  const begin = (request: Http.IncomingMessage, response: Http.ServerResponse | undefined): Exchange => {
    const isUpgrade = response === undefined
    const exchange: Exchange = {
      request,
      response,
      isAnswered: isUpgrade,
      isStream: isUpgrade,
      handler: undefined
    }
    exchanges.set(request, exchange)
    const line = lineOf(request.socket)
    line.add(exchange)
    if (closesAfterAnswers) markLast(line)
    return exchange
  }
  const end = (exchange: Exchange) => {
    if (!exchange.isAnswered || exchange.handler !== undefined || !exchanges.delete(exchange.request)) return
    open.get(exchange.request.socket)?.delete(exchange)
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
    response.once("close", () => {
      // Who waits for "finish" would wait for ever for the end of an answer that its client did not take.
      if (!response.writableFinished) response.emit("finish")
      exchange.isAnswered = true
      end(exchange)
    })
    if (server.listenerCount("request") === 1) {
      response.writeHead(503, { "retry-after": "1", connection: "close" }).end()
    }
  })
  server.prependListener("upgrade", (request, socket) => {
    const exchange = begin(request, undefined)
    socket.once("close", () => end(exchange))
    if (server.listenerCount("upgrade") === 1) close(socket.end(notYet))
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
      for (const line of open.values()) markLast(line)
    },
    // That of `net`: that of `http` would cut idle connections too, on which a request may be on its way.
    stopListening: () => void Net.Server.prototype.close.call(server),
    closeWhenIdle: () => {
      closesWhenIdle = true
      settle()
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
export const interrupt = ({ handler }: Exchange): void => handler?.unsafeInterruptAsFork(FiberId.none)

/** Answers with 503 where nothing has been sent, and ends what handles the request. */
export const cut = (exchange: Exchange): void => {
  // Here, since a handler may be deaf to interruption, and one that reads a body closes the connection then.
  if (exchange.response?.headersSent === false)
    exchange.response.writeHead(503, { connection: "close" }).end()
  interrupt(exchange)
}

const notYet = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

/** After what has been written. */
const close = (socket: Duplex): void => {
  if (socket instanceof Net.Socket) socket.destroySoon()
  else socket.destroy()
}
