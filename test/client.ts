/** An HTTP client that does what it is told, byte by byte, as no well-behaved one would. */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { patience } from "./processes.ts"

/** A connection to a port of this machine. */
export const client = async (port: number) => {
  const socket: Socket = connect(port, "127.0.0.1")
  await once(socket, "connect")
  let received = ""
  let isClosed = false
  const onChange = new Set<() => void>()
  const changed = () => {
    for (const look of onChange) look()
  }
  socket.on("data", (data) => {
    received += data.toString("latin1")
    changed()
  })
  // A server that cuts a connection may reset it.
  socket.on("error", () => {})
  socket.on("close", () => {
    isClosed = true
    changed()
  })
  const until = (what: string, isSo: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what}, but: ${received}`)), patience)
      const look = () => {
        if (!isSo()) return
        clearTimeout(timer)
        onChange.delete(look)
        resolve()
      }
      onChange.add(look)
      look()
    })
  return {
    socket,
    get: (path: string, headers = "") => socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`),
    receives: (pattern: RegExp) => until(String(pattern), () => pattern.test(received)),
    closed: async () => {
      await until("end of the connection", () => isClosed)
      return received
    }
  }
}
