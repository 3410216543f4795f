/**
 * Tracks the connections of a Node HTTP server and the exchanges in flight on
 * them. An exchange is in flight until its response has been sent and its
 * handler has ended, finalizers included.
 */
import type * as HttpServerError from "@effect/platform/HttpServerError"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/** A request and its response, from the arrival of the head until the handler has ended. */
export interface Exchange {
  readonly request: Http.IncomingMessage
  /** Undefined for an upgrade request, such as WebSocket. */
  readonly response: Http.ServerResponse | undefined
  /** Whether the response has been sent, or the client has gone. */
  isAnswered: boolean
  /** Whether it has no end of its own: a WebSocket, or server-sent events. */
  isStream: boolean
  /** Whether an earlier response on its connection has said that it closes, so that nothing sent now arrives. */
  readonly isRefused: boolean
  /** Whether its failure is in the journal. */
  isFailureRecorded: boolean
  /** Its body, once somebody has asked for all of it. */
  body: Effect.Effect<Buffer, HttpServerError.RequestError> | undefined
  /** Closes its WebSocket with 1001, once it has one. */
  closeSocket: Effect.Effect<void> | undefined
  /** The fiber that handles it, while it runs. */
  handler: Fiber.RuntimeFiber<unknown, unknown> | undefined
}

/** How long connections may wait, in milliseconds. */
export interface Timeouts {
  /** For the rest of a request head, from its first byte. */
  readonly head: number
  /** For the first byte of the first request. */
  readonly unused: number
}

/** The open connections of a server, and the ways to close them. */
export interface Connections {
  readonly inFlight: () => ReadonlyArray<Exchange>
  readonly exchangeOf: (request: Http.IncomingMessage) => Exchange | undefined
  /** Records the fiber that handles an exchange, until it ends. */
  readonly handledBy: (exchange: Exchange, fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  /**
   * From now on, the last response of each connection says `Connection: close`;
   * with `"unlessBusy"`, only where the request did not follow the one before within
   * 200 milliseconds. A busy connection gets its last answer when the drain begins.
   */
  readonly closeAfterAnswers: (which: "never" | "unlessBusy" | "all") => void
  /** Whether streams may still start. */
  readonly mayStream: () => boolean
  /** Interrupts the handlers of streams. Streams that start later are refused. */
  readonly endStreams: () => void
  /** Refuses new connections and leaves the open ones as they are. */
  readonly stopListening: () => void
  /** Closes each connection as soon as nothing is in flight on it. */
  readonly closeWhenIdle: () => void
  /** Destroys idle connections, and those whose exchanges all match. */
  readonly destroyWhere: (matches: (exchange: Exchange) => boolean) => void
  /** Destroys all connections, whatever is in flight, and closes the server. */
  readonly destroy: () => void
  /** Completes when nothing is in flight and no connection is open. */
  readonly closed: Effect.Effect<void>
}

/** The state of one connection. */
interface Connection {
  readonly exchanges: Set<Exchange>
  /** The last response in pipeline order, and whether Node meant to keep the connection alive after it. */
  last: { readonly response: Http.ServerResponse; readonly isKept: boolean } | undefined
  /** The bytes received when it last became idle. More means that the head of a request has begun. */
  idleAt: number
  /** When it became idle, or the head began, in milliseconds. */
  since: number
  /** Whether the head of a request has begun and not ended. */
  isHeadOpen: boolean
  /** When its last exchange ended, in milliseconds. */
  answeredAt: number
  /** Whether its last request came soon after the answer before it. */
  isBusy: boolean
  /** Whether it has had a request. Node closes those after its `keepAliveTimeout` by itself. */
  isUsed: boolean
  /** Whether a response on it has said `Connection: close`. */
  saidClose: boolean
  /** Whether the server has begun to close it. */
  isClosing: boolean
}

/**
 * Tracks a server that does not listen yet. A request that arrives before a
 * handler is installed is answered with 503 and the text `unavailable`.
 */
export const make = (server: Http.Server, unavailable: string, timeouts?: Timeouts): Connections => {
  const open = new Map<Duplex, Connection>()
  const exchanges = new Map<Http.IncomingMessage, Exchange>()
  /** TCP sockets below TLS: requests and responses only show the TLS socket. */
  const raw = new Set<Net.Socket>()
  /** Those whose handshake is in progress, by the address of the client. */
  const handshakes = new Map<string, Net.Socket>()
  const waiting = new Set<() => void>()
  let closesAfterAnswers: "never" | "unlessBusy" | "all" = "never"
  let closesWhenIdle = false
  let endsStreams = false

  const connectionOf = (socket: Duplex): Connection => {
    const known = open.get(socket)
    if (known !== undefined) return known
    const connection: Connection = {
      exchanges: new Set(),
      idleAt: bytesRead(socket),
      since: performance.now(),
      isHeadOpen: false,
      answeredAt: Number.NEGATIVE_INFINITY,
      isBusy: false,
      isUsed: false,
      last: undefined,
      saidClose: false,
      isClosing: false
    }
    open.set(socket, connection)
    socket.once("close", () => {
      open.delete(socket)
      for (const { response } of connection.exchanges) abandon(response)
      settle()
    })
    return connection
  }
  const settle = () => {
    if (closesWhenIdle) {
      for (const [socket, connection] of open) {
        if (connection.exchanges.size > 0 || connection.isClosing) continue
        connection.isClosing = true
        closeWhenFlushed(socket)
      }
      for (const socket of handshakes.values()) socket.destroy()
    }
    if (exchanges.size > 0 || open.size > 0 || handshakes.size > 0) return
    for (const resume of waiting) resume()
  }
  const isLastAnswer = ({ isBusy }: Connection) =>
    closesAfterAnswers === "all" || (closesAfterAnswers === "unlessBusy" && !isBusy)
  /** Of pipelined requests, only the last response may say that the connection closes. */
  const markLast = (connection: Connection, response: Http.ServerResponse) => {
    if (connection.last !== undefined) connection.last.response.shouldKeepAlive = connection.last.isKept
    connection.last = { response, isKept: response.shouldKeepAlive }
    if (isLastAnswer(connection)) response.shouldKeepAlive = false
  }
  const begin = (request: Http.IncomingMessage, response?: Http.ServerResponse): Exchange => {
    // Other protocols are offers that servers usually ignore, such as `h2c` from clients that speak HTTP/2.
    const isStream = response === undefined && /websocket/i.test(request.headers.upgrade ?? "")
    const isAnswered = response === undefined
    const connection = connectionOf(request.socket)
    const exchange: Exchange = {
      request,
      response,
      isAnswered,
      isStream,
      isRefused: connection.saidClose,
      isFailureRecorded: false,
      body: undefined,
      closeSocket: undefined,
      handler: undefined
    }
    exchanges.set(request, exchange)
    exchangeOfRequest.set(request, exchange)
    connection.exchanges.add(exchange)
    connection.isUsed = true
    connection.isBusy = performance.now() - connection.answeredAt < busyMillis
    connection.isHeadOpen = false
    if (response === undefined || connection.saidClose) return exchange
    markLast(connection, response)
    onHead(response, (said) => {
      // A header of the program, such as one passed on from upstream, does not keep the connection alive.
      const closes = !response.shouldKeepAlive || /\bclose\b/i.test(said)
      connection.saidClose ||= closes
      return closes
    })
    return exchange
  }
  const end = (exchange: Exchange) => {
    if (!exchange.isAnswered || exchange.handler !== undefined || !exchanges.delete(exchange.request)) return
    const connection = open.get(exchange.request.socket)
    if (connection !== undefined) {
      connection.exchanges.delete(exchange)
      connection.idleAt = bytesRead(exchange.request.socket)
      connection.answeredAt = performance.now()
      if (connection.last?.response === exchange.response) connection.last = undefined
    }
    settle()
  }

  if (server instanceof Tls.Server) {
    server.on("connection", (socket: Net.Socket) => {
      raw.add(socket)
      const address = addressOf(socket)
      if (address !== undefined) handshakes.set(address, socket)
      socket.once("close", () => {
        raw.delete(socket)
        if (address !== undefined && handshakes.get(address) === socket) handshakes.delete(address)
        settle()
      })
    })
    server.on("secureConnection", (socket) => {
      handshakes.delete(addressOf(socket) ?? "")
      connectionOf(socket)
    })
  } else {
    server.on("connection", connectionOf)
  }
  // Runs before all other listeners, so that they find the exchange.
  server.prependListener("request", (request, response) => {
    const exchange = begin(request, response)
    callBackOnClose(response)
    response.once("close", () => {
      exchange.isAnswered = true
      end(exchange)
    })
    if (server.listenerCount("request") === 1) {
      response.writeHead(503, { "content-type": "text/plain", "retry-after": "1", connection: "close" })
      response.end(`${unavailable}\n`)
    }
  })
  server.prependListener("upgrade", (request, socket) => {
    // Node removes its own error listener here, and an unhandled `error` event ends the process.
    socket.on("error", () => {})
    const exchange = begin(request)
    socket.once("close", () => end(exchange))
    if (server.listenerCount("upgrade") === 1) closeWhenFlushed(socket.end(refusal))
  })

  /** Closes connections whose head is late, and those that nobody has ever used. */
  const expire = ({ head, unused }: Timeouts) => {
    const now = performance.now()
    for (const [socket, connection] of open) {
      if (connection.exchanges.size > 0 || connection.isClosing) continue
      if (!connection.isHeadOpen && bytesRead(socket) > connection.idleAt) {
        connection.isHeadOpen = true
        connection.since = now
      }
      const isLate = connection.isHeadOpen && now - connection.since > head
      const isUnused = !connection.isHeadOpen && !connection.isUsed && now - connection.since > unused
      if (!isLate && !isUnused) continue
      connection.isClosing = true
      closeWhenFlushed(isLate && socket.writable ? socket.end(requestTimeout) : socket)
    }
  }
  if (timeouts !== undefined) {
    let timer: NodeJS.Timeout | undefined
    // Ends with the server, and does not keep the process alive.
    server.once("listening", () => (timer = setInterval(expire, expireEveryMillis, timeouts).unref()))
    server.once("close", () => clearInterval(timer))
  }

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
    closeAfterAnswers: (which) => {
      closesAfterAnswers = which
      for (const connection of open.values())
        if (connection.last !== undefined && isLastAnswer(connection))
          connection.last.response.shouldKeepAlive = false
    },
    mayStream: () => !endsStreams,
    endStreams: () => {
      endsStreams = true
      for (const exchange of exchanges.values()) if (exchange.isStream) interrupt(exchange)
    },
    // `close` of `net`: that of `http` also destroys idle connections, on which a request may be on its way.
    stopListening: () => void Net.Server.prototype.close.call(server),
    closeWhenIdle: () => {
      closesWhenIdle = true
      settle()
    },
    destroyWhere: (matches) => {
      for (const [socket, connection] of open) if ([...connection.exchanges].every(matches)) socket.destroy()
    },
    destroy: () => {
      for (const socket of [...open.keys(), ...raw]) socket.destroy()
      // Also stops the timers of the server.
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

/** Of all servers, for handlers that do not know theirs. */
const exchangeOfRequest = new WeakMap<Http.IncomingMessage, Exchange>()

/** Marks the exchange of a request as a stream, if a server of `NodeHttp` has received it. */
export const markStream = (request: Http.IncomingMessage): void => {
  const exchange = exchangeOfRequest.get(request)
  if (exchange !== undefined) exchange.isStream = true
}

/** Interrupts the handler of an exchange, after its WebSocket has been closed. */
const interrupt = ({ closeSocket, handler }: Exchange): void => {
  const end = Effect.sync(() => handler?.unsafeInterruptAsFork(FiberId.none))
  if (closeSocket === undefined) Effect.runSync(end)
  // A socket that is not open yet would wait for it. Ends by itself, in real time.
  else Effect.runFork(Effect.zipRight(Effect.timeoutOption(closeSocket, "100 millis"), end))
}

/**
 * Ends an exchange early and interrupts its handler. Answers with 503 if no
 * response has begun; otherwise resets the connection, unless it is a stream.
 */
export const abort = (exchange: Exchange): void => {
  // Before the interruption: a handler may ignore it, and one that reads the body closes the connection on it.
  if (exchange.response?.headersSent === false)
    exchange.response.writeHead(503, { connection: "close" }).end()
  else if (!exchange.isStream) truncate(exchange)
  interrupt(exchange)
}

/**
 * Resets the connection of a response that has begun and will not be completed,
 * so that its client never takes it for a complete one. Only a reset tells
 * clients of HTTP/1.0, for which the end of the connection is the end of a body.
 */
export const truncate = ({ request, response }: Exchange): void => {
  if (response === undefined || !response.headersSent || response.writableEnded) return
  const { socket } = request
  if (socket instanceof Tls.TLSSocket) socket.destroy()
  else socket.resetAndDestroy()
}

/** Makes the callback of `response.end` run when the client goes too: Node only calls it when all has been sent. */
const callBackOnClose = (response: Http.ServerResponse): void => {
  const end = response.end.bind(response)
  response.end = (...args: ReadonlyArray<unknown>) => {
    // The only function that `end` takes is its callback, and the arguments go on unchanged.
    const callback = args.find((arg) => typeof arg === "function") as (() => void) | undefined
    if (callback !== undefined && response.closed) process.nextTick(callback)
    else if (callback !== undefined) response.once("close", callback)
    return end(...(args as Parameters<typeof end>))
  }
}

/**
 * Asks whether the connection closes when the head of a response is about to be
 * written; `said` is its own `Connection` header, if it has one. If it closes, the
 * header says so, whatever it said.
 */
const onHead = (response: Http.ServerResponse, closes: (said: string) => boolean): void => {
  const writeHead = response.writeHead.bind(response)
  response.writeHead = (...args: ReadonlyArray<unknown>) => {
    const given = args.at(-1)
    // A list of headers, name after name, goes on unchanged: the platform never gives one.
    const isObject = typeof given === "object" && given !== null && !Array.isArray(given)
    const headers: Record<string, unknown> = isObject ? { ...given } : {}
    const namesOf = (name: string) => Object.keys(headers).filter((key) => key.toLowerCase() === name)
    const said = [response.getHeader("connection"), ...namesOf("connection").map((key) => headers[key])]
    if (!response.headersSent && closes(said.join())) {
      for (const key of namesOf("connection")) headers[key] = "close"
      for (const key of namesOf("keep-alive")) delete headers[key]
      // Only where they are set: Node takes the removal of a header for a wish not to have it at all.
      if (response.hasHeader("connection")) response.setHeader("connection", "close")
      if (response.hasHeader("keep-alive")) response.removeHeader("keep-alive")
    }
    // The same arguments, but for the copy of the headers.
    return writeHead(...((isObject ? [...args.slice(0, -1), headers] : args) as Parameters<typeof writeHead>))
  }
}

/** Emits `close` on a response whose connection has gone. Node does not for a response queued behind another. */
const abandon = (response: Http.ServerResponse | undefined): void => {
  if (response === undefined || response.socket !== null || response.destroyed) return
  response.destroy()
  response.emit("close")
}

/** The client's address and port, which a TLS socket and the TCP socket below it share. None over a unix socket. */
const addressOf = ({ remoteAddress, remotePort }: Net.Socket): string | undefined =>
  remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`

/** A client that asks this often also asks in the 300 milliseconds for which a drain keeps idle connections. */
const busyMillis = 200

/** How often connections are looked at: a timeout of 15 seconds may take a second more. */
const expireEveryMillis = 1_000

const bytesRead = (socket: Duplex): number => (socket instanceof Net.Socket ? socket.bytesRead : 0)

const requestTimeout = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
const refusal = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

/** Closes a socket once all that was written has been flushed. */
const closeWhenFlushed = (socket: Duplex): void => {
  if (socket instanceof Net.Socket) socket.destroySoon()
  else socket.destroy()
}
