/**
 * Real processes and real sockets: `fixtures/http.ts` in each way of
 * @effect/platform, with its layers nested in each way, and clients of all kinds. Scenarios share
 * a process, since each costs half a second of CPU.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { describe, type ExpectStatic, it } from "vitest"
import { client } from "./client.ts"
import { type Ended, patience, processesOf } from "./processes.ts"

const start = processesOf("http.ts")

type Client = Awaited<ReturnType<typeof client>>

const answered = /^HTTP\/1.1 200 OK\r\n[^]*\r\nconnection: close\r\n[^]*\r\nrow$/i
const unavailable = /^HTTP\/1.1 503 Service Unavailable\r\n(?:[^]*)connection: close/i

interface Scenario {
  readonly name: string
  /** What the client has done when the signal comes. */
  readonly before: (client: Client, app: ReturnType<typeof start>) => Promise<unknown>
  /** What it does after that. */
  readonly after?: (client: Client, app: ReturnType<typeof start>) => Promise<unknown>
  /** All that it has received in the end. */
  readonly received: RegExp
  /** What the app says about its requests. */
  readonly said: ReadonlyArray<string>
  /** The request takes so long that it must be under way for only a short time before the signal. */
  readonly isSlow?: true
  /** What of it is cut. */
  readonly cut?: string
}

/** Marks a request, so that what the app says about it can be told from the rest. */
const by = (scenario: string) => `x-scenario: ${scenario}\r\n`

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "a connection that is kept alive and idle",
    before: async (client) => {
      client.get("/fast")
      await client.receives(/row$/)
    },
    received: /^HTTP\/1.1 200 OK\r\n[^]*connection: keep-alive[^]*\r\n\r\nrow$/i,
    said: []
  },
  {
    name: "a request over a connection that was idle",
    before: async () => {},
    after: async (client, app) => {
      await app.says(/App is stopping/)
      client.get("/fast")
    },
    received: answered,
    said: []
  },
  {
    name: "a connection that sends nothing",
    before: async () => {},
    received: /^$/,
    said: []
  },
  {
    name: "server-sent events",
    before: async (client) => {
      client.get("/events", by("server-sent events"))
      await client.receives(/data: row/)
    },
    received: /data: row\n\n\r\n(?:[^]*)0\r\n\r\n$/,
    said: ["stream ends"]
  },
  {
    name: "a WebSocket",
    before: async (client) => {
      client.get(
        "/socket",
        `${by("a WebSocket")}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n`
      )
      await client.receives(/101 Switching Protocols/)
      // A text of two letters, "hi", masked with zeros.
      client.socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      await client.receives(/hi row/)
    },
    // The frame that closes.
    received: /hi row\u0088/,
    said: ["stream ends"]
  },
  {
    name: "a slow request",
    before: async (client, app) => {
      client.get("/slow", by("a slow request"))
      await app.says(/> a slow request: request begins/)
    },
    received: answered,
    said: ["request begins", "request ends"],
    isSlow: true
  },
  {
    name: "a request queued behind a slow one",
    before: async (client, app) => {
      client.get("/slow", by("a request queued behind a slow one"))
      client.get("/fast")
      await app.says(/> a request queued behind a slow one: request begins/)
    },
    received:
      /^HTTP\/1.1 200 OK\r\n[^]*connection: keep-alive[^]*\r\n\r\nrowHTTP\/1.1 200 OK\r\n[^]*\r\n\r\nrow$/i,
    said: ["request begins", "request ends"],
    isSlow: true
  },
  {
    name: "a body that trickles",
    before: async (client, app) => {
      client.socket.write(
        `POST /upload HTTP/1.1\r\nhost: x\r\n${by("a body that trickles")}content-length: 100000\r\n\r\n`
      )
      const trickle = setInterval(() => client.socket.write("x"), 20)
      client.socket.once("close", () => clearInterval(trickle))
      await app.says(/> a body that trickles: request begins/)
    },
    received: unavailable,
    said: ["request begins"],
    cut: "POST /upload"
  },
  {
    name: "a client that never reads",
    before: async (client, app) => {
      client.socket.pause()
      client.get("/big", by("a client that never reads"))
      await app.says(/> a client that never reads: request begins/)
      await sleep(100)
    },
    received: /^/,
    said: ["request begins", "request is released"],
    cut: "GET /big"
  },
  {
    name: "a handler that never ends",
    before: async (client, app) => {
      client.get("/never/17?token=secret", by("a handler that never ends"))
      await app.says(/> a handler that never ends: request begins/)
    },
    received: unavailable,
    said: ["request begins", "request ends"],
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

/** One process, with a client for each scenario: how it ended, and what each client received. */
const run = async (
  app: ReturnType<typeof start>,
  scenarios: ReadonlyArray<Scenario>,
  signals: readonly [NodeJS.Signals, NodeJS.Signals?]
): Promise<Ended & { readonly received: ReadonlyMap<Scenario, string> }> => {
  const port = await listening(app)
  const clients = await Promise.all(
    scenarios.map(async (scenario) => ({ scenario, client: await client(port) }))
  )
  // The slow requests begin last, and together: they must not be over when the signal comes.
  for (const isSlow of [false, true]) {
    const now = clients.filter(({ scenario }) => (scenario.isSlow ?? false) === isSlow)
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(now.map(({ client, scenario }) => scenario.before(client, app)))
  }
  app.signal(signals[0])
  if (signals[1] !== undefined) {
    // Not the same signal again, which at once is the same request.
    await app.says(/is stopping/)
    app.signal(signals[1])
  }
  await Promise.all(clients.map(async ({ client, scenario }) => scenario.after?.(client, app)))
  const ended = await app.ended()
  const received = await Promise.all(
    clients.map(async ({ client, scenario }) => {
      client.socket.resume()
      return [scenario, await client.closed()] as const
    })
  )
  return { ...ended, received: new Map(received) }
}

/** What each client received, and what the app said about its requests; the pool closes once, after all of them. */
const expectScenarios = (
  expect: ExpectStatic,
  scenarios: ReadonlyArray<Scenario>,
  { received, said }: Awaited<ReturnType<typeof run>>
) => {
  for (const scenario of scenarios) {
    const { name } = scenario
    const own = said.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2))
    expect.soft(received.get(scenario), name).toMatch(scenario.received)
    expect.soft(own, name).toEqual(scenario.said)
  }
  expect.soft(said.filter((line) => !line.includes(": "))).toEqual(["pool closes"])
  expect.soft(said.at(-1)).toBe("pool closes")
}

const named = (scenarios: ReadonlyArray<Scenario>) => scenarios.map(({ name }) => name).join(", ")

const clean = scenarios.filter(({ cut }) => cut === undefined)
const cut = scenarios.filter(({ cut }) => cut !== undefined)
// Without a slow request that keeps the server busy, the others alone decide how long the app lives.
const quick = clean.filter(({ isSlow }) => isSlow === undefined)

describe.concurrent.each(apps)("%s, %s", { timeout: patience * 3 }, (way, nesting) => {
  for (const scenarios of [clean, quick]) {
    it(`SIGTERM: ${named(scenarios)}`, async ({ expect }) => {
      const ended = await run(start(way, nesting, "{}"), scenarios, ["SIGTERM"])
      expectScenarios(expect, scenarios, ended)
      expect(ended.output).toMatch(/App stopped in .+, clean/)
      expect(ended.code).toBe(0)
      // The slow request and some; less than the time for the drain, which is 10 seconds.
      expect(ended.took).toBeLessThan(8_000)
    })
  }

  it(`SIGTERM, and requests that the drain does not wait for: ${named(cut)}`, async ({ expect }) => {
    const ended = await run(start(way, nesting, '{"drainTimeout":"1 second"}'), cut, ["SIGTERM"])
    expectScenarios(expect, cut, ended)
    const [, routes] = /App > HttpServer cut 3 requests that had no answer after 1s: ([^"\n]*)/.exec(
      ended.output
    )!
    expect(new Set(routes!.split(", "))).toEqual(new Set(cut.map(({ cut }) => cut)))
    expect(ended.output).not.toContain("secret")
    expect(ended.code).toBe(1)
    expect(ended.took).toBeLessThan(8_000)
  })

  it(`SIGTERM, then SIGINT: ${named(scenarios)}`, async ({ expect }) => {
    const { code, output, took } = await run(
      start(way, nesting, '{"readinessDelay":"10 seconds"}'),
      scenarios,
      ["SIGTERM", "SIGINT"]
    )
    expect(output).toContain("SIGINT again: ending at once, while these had not stopped: App > ")
    expect(code).toBe(1)
    expect(took).toBeLessThan(8_000)
  })
})
