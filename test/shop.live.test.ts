/** The example `examples/shop` as its users have it: a process, sockets, files and signals. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { bundled } from "./processes.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const sample = join(root, "examples/shop/sample/orders.csv")
/** Of the 300 rows of the sample. */
const goodRows = 294
const badLines = [42, 88, 131, 176, 219, 260]
/** For each wait: a start takes some seconds on a small machine, and more when the machine is busy. */
const patience = 30_000

const main = "examples/shop/main.ts"
const shop = bundled([main])(main)
const running = new Set<ChildProcess>()
let dataDir = ""
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "shop-"))
})
afterEach(async () => {
  for (const child of running) child.kill("SIGKILL")
  await rm(dataDir, { recursive: true, force: true })
})

const start = (env: Record<string, string>) => {
  const child = spawn(process.execPath, [shop], {
    cwd: root,
    env: { ...process.env, PORT: "0", DATA_DIR: dataDir, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  running.add(child)
  let log = ""
  child.stdout.on("data", (chunk) => (log += chunk))
  child.stderr.on("data", (chunk) => (log += chunk))
  const code = once(child, "close").then(([code]) => {
    running.delete(child)
    return code as number | null
  })
  const logged = (pattern: RegExp) =>
    until(`the log says ${pattern}`, () => pattern.exec(log) ?? undefined).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${log}`)
    })
  return {
    log: () => log,
    logged,
    url: async (path: string) => {
      const [, address] = await logged(/Listening on (http:\/\/127\.0\.0\.1:\d+)/)
      return `${address}${path}`
    },
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    /** Fails with all it said when it does not end as it should. */
    endsWith: async (expected: number) => {
      const actual = await Promise.race([code, sleep(patience, "still running", { ref: false })])
      if (actual !== expected) throw new Error(`exit code ${actual} and not ${expected}\n${log}`)
    }
  }
}

/** Asks again and again until there is an answer. */
const until = async <A>(
  what: string,
  ask: () => A | undefined | Promise<A | undefined>,
  deadline = Date.now() + patience
): Promise<A> => {
  const answer = await ask()
  if (answer !== undefined) return answer
  if (Date.now() > deadline) throw new Error(`waited ${patience} ms in vain until ${what}`)
  await sleep(25)
  return until(what, ask, deadline)
}

const post = async (url: string, body: unknown): Promise<{ status: number; body: any }> => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  const response = await fetch(url, { method: "POST", body: text, signal: AbortSignal.timeout(patience) })
  return { status: response.status, body: await response.json() }
}
const get = async (url: string): Promise<any> =>
  (await fetch(url, { signal: AbortSignal.timeout(patience) })).json()
const anOrder = (id: string) => ({ id, email: "ada@example.com", item: "Teapot", quantity: 1, total: 64.9 })

/** Orders over a connection kept alive, and tells the ids that were accepted. */
const orderUntilRefused = async (url: string, prefix: string, n = 0): Promise<ReadonlyArray<string>> => {
  const id = `${prefix}-${n}`
  const answer = await post(url, anOrder(id)).catch(() => undefined)
  if (answer === undefined) return []
  const rest = await orderUntilRefused(url, prefix, n + 1)
  return answer.status === 201 ? [id, ...rest] : rest
}

const keptIds = async () => {
  const lines = (await readFile(join(dataDir, "orders.jsonl"), "utf8")).trimEnd().split("\n")
  return lines.map((line) => JSON.parse(line).id as string)
}
const csvFiles = async (...folders: Array<string>) =>
  (await readdir(join(dataDir, ...folders))).filter((name) => name.endsWith(".csv"))
const expectAMailForEach = async (ids: ReadonlyArray<string>) =>
  expect((await readdir(join(dataDir, "spool"))).toSorted()).toEqual(ids.map((id) => `${id}.eml`).toSorted())

describe("the shop", () => {
  it(
    "handles what it accepted when it is stopped in the middle of an import, and finishes that import later",
    { timeout: 120_000 },
    async () => {
      const shop = start({
        IMPORT_ROWS_PER_SECOND: "50",
        IMPORT_SLOW_AFTER: "200 millis",
        METRICS_EVERY: "100 millis"
      })
      const orders = await shop.url("/orders")
      const dashboard = await shop.url("/dashboard")

      expect(await post(orders, anOrder("H-1"))).toMatchObject({
        status: 201,
        body: { id: "H-1", total: 64.9 }
      })
      expect(await post(orders, anOrder("H-1"))).toMatchObject({ status: 200, body: { id: "H-1" } })
      expect(await post(orders, { ...anOrder("H-2"), email: "nobody", quantity: -1 })).toEqual({
        status: 400,
        body: {
          error: "this is not valid",
          issues: [
            { path: "email", message: "must be an email address" },
            { path: "quantity", message: "must be a whole number, 1 to 10,000" }
          ]
        }
      })
      expect(await post(orders, `{"id":`)).toMatchObject({ status: 400 })
      expect((await post(orders, { ...anOrder(""), id: undefined })).body.id).toMatch(/^[\da-f-]{36}$/)
      await post(orders, anOrder("H-3"))
      expect((await get(`${orders}?limit=1`)).map((order: any) => order.id)).toEqual(["H-3"])
      expect((await fetch(`${orders}?limit=0`)).status).toBe(400)

      const live = await fetch(`${dashboard}/live`)
      const liveText = live.text().catch(String)
      await cp(sample, join(dataDir, "inbox", "orders.csv"))
      const seen = await until("the import is under way", async () => {
        const now = await get(dashboard)
        return now.imports[0]?.placed >= 60 ? now : undefined
      })
      expect(seen.imports[0]).toMatchObject({ file: "orders.csv", known: 0, rejected: expect.any(Number) })
      expect(seen.ordersInAll).toBeGreaterThanOrEqual(63)
      expect(seen.heapMb).toBeGreaterThan(1)
      await shop.logged(/still importing after 200ms/)

      // Customers do not know that a stop is coming: they go on until they find the door closed.
      const customers = Array.from({ length: 10 }, (_, i) => orderUntilRefused(orders, `L-${i}`))
      await shop.logged(/so far: .*[^]*so far: /)
      shop.kill("SIGTERM")
      const accepted = (await Promise.all(customers)).flat()
      await shop.endsWith(0)

      const ids = await keptIds()
      expect(new Set(ids).size).toBe(ids.length)
      expect(accepted.length).toBeGreaterThan(10)
      expect(ids).toEqual(expect.arrayContaining(["H-1", "H-3", ...accepted]))
      await expectAMailForEach(ids)
      expect(shop.log()).toContain(`final figures: ${ids.length} orders since start`)
      expect(await readFile(join(dataDir, "spool", "H-1.eml"), "utf8")).toMatch(
        /^(.+\r\n)*To: ada@example\.com\r\n(.+\r\n)*\r\nThank you/
      )

      const placed = ids.filter((id) => id.startsWith("S-")).length
      expect(placed).toBeGreaterThanOrEqual(60)
      expect(placed).toBeLessThan(goodRows)
      expect(await csvFiles("inbox")).toEqual(["orders.csv"])
      expect(shop.log()).toContain("the import of orders.csv is cut short")
      expect(await liveText).toMatch(/event: metrics:updated\ndata: \{.+\}\n\n[^]*event: import:progress\n/)

      const stops = [...shop.log().matchAll(/message="(Shop.*?) stopped in .*?"/g)].map((match) => match[1])
      expect(stops.slice(0, 4)).toEqual([
        "Shop > HttpServer",
        "Shop > Inbox > CsvImport[orders.csv]",
        "Shop > Inbox",
        "Shop > Orders"
      ])
      // They hear of orders and need nothing of each other, so they stop side by side.
      expect(new Set(stops.slice(4, 6))).toEqual(new Set(["Shop > Email", "Shop > Metrics"]))
      expect(stops.slice(6)).toEqual(["Shop > Spool", "Shop"])

      const again = start({ IMPORT_ROWS_PER_SECOND: "2000", INBOX_SCAN_EVERY: "300 millis" })
      await again.logged(new RegExp(`${ids.length} orders known`))
      await again.logged(
        new RegExp(
          `in all: ${goodRows - placed} orders placed, ${placed} known, ${badLines.length} rows rejected`
        )
      )
      expect(await csvFiles("inbox")).toEqual([])
      const [done] = await csvFiles("inbox", "done")
      expect(done).toMatch(/Z-orders\.csv$/)
      const report = await readFile(join(dataDir, "inbox", "done", `${done}.rejected.txt`), "utf8")
      expect([...report.matchAll(/^line (\d+): /gm)].map((match) => Number(match[1]))).toEqual(badLines)
      expect(report).toContain("line 42: total must be a number")
      expect(report).toContain("line 88: email must be an email address")

      // A failing disk fails the one import, which is tried again until the disk is back.
      await rm(join(dataDir, "inbox", "done"), { recursive: true })
      await writeFile(
        join(dataDir, "inbox", "more.csv"),
        "id,email,item,quantity,total\nM-1,a@b.example,Cup,1,12.25\n"
      )
      await again.logged(/CsvImport\[more\.csv\] failed/)
      await mkdir(join(dataDir, "inbox", "done"))
      await until("the import has been tried again", async () =>
        (await csvFiles("inbox")).length === 0 ? true : undefined
      )

      again.kill("SIGINT")
      await again.endsWith(0)
      const all = await keptIds()
      expect(all.slice(0, ids.length)).toEqual(ids)
      expect(new Set(all).size).toBe(all.length)
      expect(all.length).toBe(ids.length + goodRows - placed + 1)
      await expectAMailForEach(all)
    }
  )

  it("is not ready any more when it is to stop, and takes orders on for the readiness delay", async () => {
    const shop = start({ READINESS_DELAY: "2 seconds" })
    const ready = await shop.url("/health/ready")
    const ask = () => fetch(ready, { signal: AbortSignal.timeout(patience) })
    await until("it is ready", async () => ((await ask()).status === 200 ? true : undefined))
    expect(await get(await shop.url("/health/status"))).toMatchObject({
      name: "Shop",
      state: { _tag: "Running" }
    })
    shop.kill("SIGTERM")
    await shop.logged(/Shop is stopping/)
    const unready = await ask()
    expect([unready.status, await unready.text()]).toEqual([
      503,
      expect.stringMatching(/^Shop is stopping, for .+\nHttpServer: stopping, for .+\n/)
    ])
    expect((await post(await shop.url("/orders"), anOrder("late"))).status).toBe(201)
    await shop.endsWith(0)
    expect(shop.log()).toMatch(/Shop stopped in .+, clean/)
  })

  it("gives up a file that crashes its import, and lives", { timeout: 90_000 }, async () => {
    const shop = start({ INBOX_SCAN_EVERY: "300 millis" })
    const orders = await shop.url("/orders")
    const rest = "A teapot, and what came after it.\n".repeat(1_000)
    await writeFile(
      join(dataDir, "inbox", "broken.csv"),
      `id,email,item,quantity,total\nB-1,a@b.example,Cup,1,12.25\nB-2,a@b.example,"${rest}`
    )
    await shop.logged(/child CsvImport\[broken\.csv\] failed again after 3 restarts, and is given up/)
    await shop.logged(/broken\.csv could not be imported, and is in .*failed/)
    const restarts = [...shop.log().matchAll(/CsvImport\[broken\.csv\] restarts in/g)]
    expect(restarts).toHaveLength(3)
    // How it all is, at one look: the import is given up, and the shop runs.
    shop.kill("SIGUSR2")
    await shop.logged(
      /^Shop: running for .*[^]*├─ Inbox: running.*child CsvImport\[broken\.csv\] failed.*Max Record Size.*[^]*└─ CsvImport\[broken\.csv\]: failed for .* \(Shop > Inbox > CsvImport\[broken\.csv\] > rows: /m
    )
    expect((await post(orders, anOrder("H-1"))).status).toBe(201)
    expect(await csvFiles("inbox")).toEqual([])
    expect(await csvFiles("inbox", "failed")).toEqual([expect.stringMatching(/Z-broken\.csv$/)])

    // A store that cannot be written any more ends it, and says where.
    await rm(join(dataDir, "orders.jsonl"))
    await mkdir(join(dataDir, "orders.jsonl"))
    for (const id of ["F-1", "F-2", "F-3", "F-4"]) {
      // One after another, as a customer would try.
      // eslint-disable-next-line no-await-in-loop
      expect((await post(orders, anOrder(id))).status).toBe(503)
    }
    await shop.endsWith(1)
    expect(shop.log()).toMatch(
      /level=ERROR fiber=\S+ message="Shop > Orders > store failed, so the app was stopped: the order could not be written to /
    )
  })

  it("does not start with what it cannot use, and says so in one line", { timeout: 90_000 }, async () => {
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const port = (other.address() as AddressInfo).port
    const missing = join(dataDir, "missing")
    const cases = [
      {
        env: { PORT: `${port}` },
        says: `Service "Shop > HttpServer" failed in onStart, so what it had begun was undone: cannot listen on 127.0.0.1:${port}: it is in use. End what listens there, or choose another. (listen EADDRINUSE: address already in use 127.0.0.1:${port})`
      },
      {
        env: { INBOX_DIR: missing },
        says: `INBOX_DIR: there is no folder ${missing}. Create it, or leave INBOX_DIR out to have one made.`
      },
      { env: { PORT: "http" }, says: 'PORT: must be a port, 0 to 65535, but is "http"' },
      {
        env: { SPOOL_TIDY_CRON: "at night" },
        says: 'SPOOL_TIDY_CRON: must be a cron expression, like "0 3 * * *", but is "at night"'
      }
    ]
    const shops = cases.map(({ env }) => start(env))
    await Promise.all(shops.map((shop) => shop.endsWith(1)))
    for (const [index, shop] of shops.entries()) {
      const lines = shop.log().split("\n")
      const complaints = lines.filter((line) => line !== "" && !line.includes("level=INFO"))
      expect(complaints).toHaveLength(1)
      expect(complaints[0]).toContain(`level=ERROR`)
      expect(complaints[0]).toContain(`message=${JSON.stringify(cases[index]?.says)}`)
    }
    other.close()
  })
})
