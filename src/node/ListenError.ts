/** What the layer of an HTTP server fails with: it cannot listen where it was told to. */
import * as Data from "effect/Data"
import type * as Net from "node:net"

/** A server cannot listen. */
export class ListenError extends Data.TaggedError("ListenError")<{
  /** `127.0.0.1:3000`, or a path. */
  readonly address: string
  /** Of Node, as `EADDRINUSE`. */
  readonly code: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `cannot listen on ${this.address}: ${advice[this.code] ?? String(this.cause)}`
  }
}

const advice: Record<string, string> = {
  EADDRINUSE: "it is in use. End what listens there, or choose another.",
  EACCES: "that is not permitted. Choose a port above 1023, or give the process the right to.",
  EADDRNOTAVAIL: "this machine has no such address. Choose one that it has, or leave `host` out.",
  ENOTFOUND: "there is no such host. Choose an address of this machine, or leave `host` out.",
  ENOENT: "there is no such folder. Make it, or choose another path."
}

/** What to tell of an error of Node. */
export const of = (cause: unknown, { host, path, port }: Net.ListenOptions): ListenError => {
  const { code = "UNKNOWN" } = cause as NodeJS.ErrnoException
  const name = host?.includes(":") === true ? `[${host}]` : host
  const there = name === undefined ? `port ${port}` : `${name}:${port}`
  return new ListenError({ address: path ?? (port === undefined ? "what it was given" : there), code, cause })
}
