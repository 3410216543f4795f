/**
 * Real processes and real sockets: `fixtures/http.ts` in each way of
 * @effect/platform, with its layers nested in each way, and clients of all kinds.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { describe, it } from "vitest"
import { client } from "./client.ts"
import { type Ended, patience, processesOf } from "./processes.ts"

const start = processesOf("http.ts")
const startLoad = processesOf("load.ts")

type Client = Awaited<ReturnType<typeof client>>

const answered = /^HTTP\/1.1 200 OK\r\n[^]*\r\nconnection: close\r\n[^]*\r\nrow$/i
const unavailable = /^HTTP\/1.1 503 Service Unavailable\r\n(?:[^]*)connection: close/i

interface Scenario {
  readonly name: string
  /** What the client has done when the signal comes. */
  readonly before: (client: Client, app: ReturnType<typeof start>) => Promise<unknown>
  /** What it does after that. */
  readonly after?: (client: Client) => Promise<unknown>
  /** All that it has received in the end. */
  readonly received: RegExp
  readonly said: ReadonlyArray<string>
  /** What of it is cut. */
  readonly cut?: string
}

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "a slow request",
    before: async (client, app) => {
      client.get("/slow")
      await app.says(/> request begins/)
    },
    received: answered,
    said: ["request begins", "request ends", "pool closes"]
  },
  {
    name: "a request queued behind a slow one",
    before: async (client, app) => {
      client.get("/slow")
      client.get("/fast")
      await app.says(/> request begins/)
    },
    received:
      /^HTTP\/1.1 200 OK\r\n[^]*connection: keep-alive[^]*\r\n\r\nrowHTTP\/1.1 200 OK\r\n[^]*\r\n\r\nrow$/i,
    said: ["request begins", "request ends", "pool closes"]
  },
  {
    name: "a connection that is kept alive and idle",
    before: async (client) => {
      client.get("/fast")
      await client.receives(/row$/)
    },
    received: /^HTTP\/1.1 200 OK\r\n[^]*connection: keep-alive[^]*\r\n\r\nrow$/i,
    said: ["pool closes"]
  },
  {
    name: "a request over a connection that was idle",
    before: async () => {},
    after: async (client) => {
      await sleep(50)
      client.get("/fast")
    },
    received: answered,
    said: ["pool closes"]
  },
  {
    name: "a connection that sends nothing",
    before: async () => {},
    received: /^$/,
    said: ["pool closes"]
  },
  {
    name: "server-sent events",
    before: async (client) => {
      client.get("/events")
      await client.receives(/data: row/)
    },
    received: /data: row\n\n\r\n(?:[^]*)0\r\n\r\n$/,
    said: ["stream ends", "pool closes"]
  },
  {
    name: "a WebSocket",
    before: async (client) => {
      client.get(
        "/socket",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      )
      await client.receives(/101 Switching Protocols/)
      // A text of two letters, "hi", masked with zeros.
      client.socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      await client.receives(/hi row/)
    },
    // The frame that closes.
    received: /hi row\u0088/,
    said: ["stream ends", "pool closes"]
  },
  {
    name: "a body that trickles",
    before: async (client, app) => {
      client.socket.write("POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
      const trickle = setInterval(() => client.socket.write("x"), 20)
      client.socket.once("close", () => clearInterval(trickle))
      await app.says(/> request begins/)
    },
    received: unavailable,
    said: ["request begins", "pool closes"],
    cut: "POST /upload"
  },
  {
    name: "a client that never reads",
    before: async (client, app) => {
      client.socket.pause()
      client.get("/big")
      await app.says(/> request begins/)
      await sleep(100)
    },
    received: /^/,
    said: ["request begins", "request is released", "pool closes"],
    cut: "GET /big"
  },
  {
    name: "a handler that never ends",
    before: async (client, app) => {
      client.get("/never/17?token=secret")
      await app.says(/> request begins/)
    },
    received: unavailable,
    said: ["request begins", "request ends", "pool closes"],
    cut: "GET /never/:id"
  }
]

const apps = ["HttpRouter", "HttpLayerRouter", "HttpApi"].flatMap((way) =>
  ["pool-outside", "pool-inside", "pool-beside", "pool-at-handlers"].map((nesting) => [way, nesting] as const)
)

const listening = async (app: ReturnType<typeof start>) => {
  await app.says(/Listening on [^]*App started in/)
  return Number(/Listening on http:\/\/127.0.0.1:(\d+)/.exec(app.output())![1])
}

const run = async (
  app: ReturnType<typeof start>,
  { after, before }: Pick<Scenario, "after" | "before">,
  signals: readonly [NodeJS.Signals, NodeJS.Signals?]
): Promise<Ended & { readonly received: string }> => {
  const it = await client(await listening(app))
  await before(it, app)
  app.signal(signals[0])
  if (signals[1] !== undefined) {
    // Two that come at once are one.
    await app.says(/is stopping/)
    app.signal(signals[1])
  }
  await after?.(it)
  const ended = await app.ended()
  it.socket.resume()
  return { ...ended, received: await it.closed() }
}

describe.each(apps)("%s, %s", { timeout: patience * 3 }, (way, nesting) => {
  describe.concurrent("SIGTERM", () => {
    for (const scenario of scenarios) {
      it(scenario.name, async ({ expect }) => {
        const { code, output, received, said, took } = await run(
          start(way, nesting, scenario.cut === undefined ? "{}" : '{"drainTimeout":"1 second"}'),
          scenario,
          ["SIGTERM"]
        )
        expect(received).toMatch(scenario.received)
        expect(said).toEqual(scenario.said)
        if (scenario.cut === undefined) {
          expect(output).toMatch(/App stopped in .+, clean/)
          expect(code).toBe(0)
          // The slow request and some; less than the time for the drain, which is 10 seconds.
          expect(took).toBeLessThan(8_000)
        } else {
          expect(output).toContain(
            `App > HttpServer cut 1 request that had no answer after 1s: ${scenario.cut}`
          )
          expect(output).not.toContain("secret")
          expect(code).toBe(1)
          expect(took).toBeLessThan(8_000)
        }
      })
    }
  })

  describe.concurrent("SIGINT twice", () => {
    for (const scenario of scenarios) {
      it(scenario.name, async ({ expect }) => {
        const { code, output, took } = await run(
          start(way, nesting, '{"readinessDelay":"10 seconds"}'),
          scenario,
          ["SIGINT", "SIGINT"]
        )
        expect(output).toContain("SIGINT again: ending at once, while these had not stopped: App > ")
        expect(code).toBe(1)
        expect(took).toBeLessThan(8_000)
      })
    }
  })
})

describe("under load", { timeout: patience * 10 }, () => {
  it("answers each request that it has accepted, over 20 stops", async ({ expect }) => {
    const totals = { answered: 0, refused: 0, failed: 0, handled: 0 }
    const stopUnderLoad = async (round: number): Promise<void> => {
      const app = start("HttpRouter", "pool-inside", '{"readinessDelay":"200 millis"}')
      const load = startLoad(String(await listening(app)))
      await load.says(/> loading/)
      await sleep(200 + round * 7)
      app.signal("SIGTERM")
      const { code, output, said } = await app.ended()
      const counts = JSON.parse((await load.ended()).said.at(-1)!) as Omit<typeof totals, "handled">
      expect(output).toMatch(/App stopped in .+, clean/)
      expect(code).toBe(0)
      expect(counts.answered).toBeGreaterThan(20)
      totals.answered += counts.answered
      totals.refused += counts.refused
      totals.failed += counts.failed
      totals.handled += said.filter((line) => line === "handled").length
      if (round < 20) await stopUnderLoad(round + 1)
    }
    await stopUnderLoad(1)
    console.log(`20 stops under load: ${JSON.stringify(totals)}`)
    expect(totals.failed).toBe(0)
    expect(totals.answered).toBe(totals.handled)
    // The load went on until nobody listened any more.
    expect(totals.refused).toBeGreaterThan(0)
  })
})
