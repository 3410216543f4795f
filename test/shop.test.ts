/** The example `examples/shop` under test in virtual time: its own services, on files and a server in memory. */
import { Error as PlatformError, FileSystem, Path } from "@effect/platform"
import { describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { ServiceLaws, TestApp, TestEventBus } from "effect-services/testing"
import { expect } from "vitest"
import { MetricsUpdated, OrderCompleted } from "../examples/shop/events.ts"
import { shopOn } from "../examples/shop/Shop.ts"
import { Spool } from "../examples/shop/Spool.ts"
import * as Disk from "./disk.ts"
import * as Portless from "./portless.ts"

/** A shop that is up, on a disk that an earlier one may have left. */
const open = (
  disk: ReturnType<typeof Disk.make>,
  options: TestApp.Options = {},
  settings: Record<string, string> = {}
) =>
  Effect.gen(function* () {
    const server = Portless.make()
    const defaults = { DATA_DIR: "/data", METRICS_EVERY: "6 hours", INBOX_SCAN_EVERY: "6 hours" }
    const environment = ConfigProvider.fromMap(new Map(Object.entries({ ...defaults, ...settings })))
    const layer = shopOn(server.layer).pipe(
      Layer.provide([Layer.succeed(FileSystem.FileSystem, disk.fs), Path.layer]),
      Layer.provide(Layer.setConfigProvider(environment))
    )
    const app = yield* TestApp.make(layer, {
      name: "Shop",
      startsAt: "2026-11-25T09:00:00Z",
      patience: "10 seconds",
      ...options
    })
    return {
      app,
      ask: (path: string, body?: unknown) => app.run(server.ask(path, body)),
      drop: (name: string, rows: ReadonlyArray<string>) =>
        app.run(
          disk.fs.writeFileString(`/data/inbox/${name}`, ["id,email,item,quantity,total", ...rows].join("\n"))
        )
    }
  })

const anOrder = (id: string) => ({ id, email: "ada@example.com", item: "Teapot", quantity: 1, total: 64.9 })
const rows = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index + 1},a@b.example,Cup,1,12.25`)

describe("the shop", () => {
  it.scoped("has a day", () =>
    Effect.gen(function* () {
      const disk = Disk.make()
      const mails: Array<string> = []
      const { app, ask, drop } = yield* open(disk, {
        replace: [TestApp.stub(Spool, { put: (name) => Effect.sync(() => void mails.push(name)) })]
      })
      expect(yield* ask("/health/ready")).toEqual([200, "ready\n"])

      yield* app.advance("1 hour")
      expect(yield* ask("/orders", anOrder("A-1"))).toMatchObject([
        201,
        { id: "A-1", placedAt: "2026-11-25T10:00:00.000Z" }
      ])
      expect(yield* ask("/orders", anOrder("A-1"))).toMatchObject([200, { id: "A-1" }])
      expect(yield* ask("/orders", { ...anOrder("A-2"), email: "nobody" })).toMatchObject([
        400,
        { issues: [{ path: "email", message: "must be an email address" }] }
      ])

      yield* app.advance("1 hour")
      yield* drop("week.csv", [...rows("W", 2), "W-3,nobody,Cup,1,12.25", "A-1,a@b.example,Cup,1,1"])
      const updated = yield* app.run(TestEventBus.expect(MetricsUpdated, { within: "6 hours" }))
      expect(updated).toMatchObject({
        sender: "Shop > Metrics",
        payload: { ordersSinceStart: 3, revenueSinceStart: 89.4 }
      })
      expect(yield* ask("/dashboard")).toMatchObject([200, { ordersInAll: 3, imports: [] }])

      yield* app.advance("18 hours")
      expect((yield* app.stop).exitCode).toBe(0)
      expect(mails).toEqual(["A-1", "W-1", "W-2"])
      expect(disk.paths()).toEqual([
        "/data/inbox/done/2026-11-25T11-00-00.510Z-week.csv",
        "/data/inbox/done/2026-11-25T11-00-00.510Z-week.csv.rejected.txt",
        "/data/orders.jsonl"
      ])
      expect(yield* app.timeline).toEqual([
        "00:00:00.000 Spool is starting",
        "00:00:00.000 Spool started in 0ms",
        "00:00:00.000 Metrics is starting",
        "00:00:00.000 Metrics started in 0ms",
        "00:00:00.000 Email is starting",
        "00:00:00.000 Email started in 0ms",
        "00:00:00.000 Orders is starting",
        "00:00:00.000 Orders started in 0ms",
        "00:00:00.000 Inbox is starting",
        "00:00:00.000 Inbox started in 0ms",
        "00:00:00.000 Inbox ticked (scan)",
        "00:00:00.000 Shop started in 0ms, with 5 services",
        "01:00:00.000 order:completed was published to 2 listeners",
        "01:00:00.000 Metrics handled order:completed in 0ms",
        "01:00:00.000 Email handled order:completed in 0ms",
        "02:00:00.500 Inbox > CsvImport[week.csv] is starting",
        "02:00:00.500 Inbox > CsvImport[week.csv] started in 0ms",
        "02:00:00.500 Inbox adopted CsvImport[week.csv]",
        "02:00:00.500 order:completed was published to 2 listeners by Shop > Inbox > CsvImport[week.csv]",
        "02:00:00.500 Metrics handled order:completed in 0ms",
        "02:00:00.500 Email handled order:completed in 0ms",
        "02:00:00.505 order:completed was published to 2 listeners by Shop > Inbox > CsvImport[week.csv]",
        "02:00:00.505 Metrics handled order:completed in 0ms",
        "02:00:00.505 Email handled order:completed in 0ms",
        "02:00:00.510 import:progress was emitted to 0 listeners by Shop > Inbox > CsvImport[week.csv]",
        "02:00:00.510 import:progress was emitted to 0 listeners by Shop > Inbox > CsvImport[week.csv]",
        "02:00:00.510 Inbox > CsvImport[week.csv] asked to be stopped",
        "02:00:00.510 Inbox > CsvImport[week.csv] is stopping",
        "02:00:00.510 Inbox > CsvImport[week.csv] stopped in 0ms",
        "06:00:00.000 metrics:updated was emitted to 0 listeners by Shop > Metrics",
        "06:00:00.000 Metrics ticked (interval 6h)",
        "06:00:00.000 Inbox ticked (scan)",
        "12:00:00.000 metrics:updated was emitted to 0 listeners by Shop > Metrics",
        "12:00:00.000 Metrics ticked (interval 6h)",
        "12:00:00.000 Inbox ticked (scan)",
        "18:00:00.000 metrics:updated was emitted to 0 listeners by Shop > Metrics",
        "18:00:00.000 Metrics ticked (interval 6h)",
        "18:00:00.000 Inbox ticked (scan)",
        "1d 00:00:00.000 metrics:updated was emitted to 0 listeners by Shop > Metrics",
        "1d 00:00:00.000 Metrics ticked (interval 6h)",
        "1d 00:00:00.000 Inbox ticked (scan)",
        "1d 00:00:00.000 Shop is stopping: the test stops it",
        "1d 00:00:00.000 Inbox is stopping",
        "1d 00:00:00.000 Inbox stopped in 0ms",
        "1d 00:00:00.000 Orders is stopping",
        "1d 00:00:00.000 Orders stopped in 0ms",
        "1d 00:00:00.000 Email is stopping",
        "1d 00:00:00.000 Email stopped in 0ms",
        "1d 00:00:00.000 Metrics is stopping",
        "1d 00:00:00.000 Metrics stopped in 0ms",
        "1d 00:00:00.000 Spool is stopping",
        "1d 00:00:00.000 Spool stopped in 0ms",
        "1d 00:00:00.000 Shop stopped in 0ms, clean"
      ])
    })
  )

  it.scoped("sends a mail again, and lives without one", () =>
    Effect.gen(function* () {
      const disk = Disk.make()
      const tries: Array<string> = []
      const full = new PlatformError.SystemError({
        module: "FileSystem",
        method: "writeFile",
        reason: "Unknown"
      })
      const replace = [
        TestApp.override(Spool, (spool) => ({
          put: (name, mail) => {
            const isBad = name === "A-2" || !tries.includes(name)
            tries.push(name)
            return isBad ? Effect.fail(full) : spool.put(name, mail)
          }
        }))
      ]
      const { app, ask } = yield* open(disk, { replace }, { SPOOL_KEEP: "1 day" })
      yield* ask("/orders", anOrder("A-1"))
      yield* ask("/orders", anOrder("A-2"))
      yield* app.advance("10 seconds")
      expect(tries).toEqual(["A-1", "A-2", "A-1", "A-2", "A-2"])
      expect(disk.text("/data/spool/A-1.eml")).toContain("1 x Teapot\r\nTotal: 64.90")
      expect(disk.paths()).toEqual(["/data/orders.jsonl", "/data/spool/A-1.eml"])
      expect((yield* app.timeline).filter((line) => line.includes("Email"))).toEqual([
        "00:00:00.000 Email is starting",
        "00:00:00.000 Email started in 0ms",
        "00:00:00.164 Email handled order:completed in 164ms",
        "00:00:00.564 Email: the listener of order:completed failed"
      ])

      // The spool is tidied at three each night; the first time, the mail is not a day old.
      yield* app.advance("1 day")
      expect(disk.paths()).toContain("/data/spool/A-1.eml")
      yield* app.advance("1 day")
      expect(disk.paths()).toEqual(["/data/orders.jsonl"])
    })
  )

  it.scoped("is not ready while its disk is away, and ends when that lasts", () =>
    Effect.gen(function* () {
      const disk = Disk.make()
      const { app, ask } = yield* open(disk)
      disk.breaks((_, path) => !path.includes("inbox"))
      expect(yield* ask("/orders", anOrder("A-1"))).toEqual([503, { error: "orders cannot be taken now" }])
      yield* app.advance("10 seconds")
      expect(yield* ask("/health/ready")).toEqual([
        503,
        "Orders > store: Unknown: FileSystem.access (/data), for less than a second\n" +
          "Spool > folder: Unknown: FileSystem.access (/data/spool), for less than a second (not critical)\n"
      ])
      disk.breaks()
      yield* app.advance("10 seconds")
      expect(yield* ask("/health/ready")).toEqual([200, "ready\n"])
      expect((yield* ask("/orders", anOrder("A-1")))[0]).toBe(201)

      yield* app.advance("1 hour")
      disk.breaks((method) => method === "writeFile")
      for (const id of ["F-1", "F-2", "F-3", "F-4"]) {
        expect((yield* ask("/orders", anOrder(id)))[0]).toBe(503)
      }
      yield* app.advance("1 second")
      const report = yield* app.stop
      expect([report.exitCode, report.reason]).toEqual([1, "Shop > Orders > store failed"])
    })
  )

  it.scoped("tries a file three times more, and then leaves it to a person", () =>
    Effect.gen(function* () {
      const disk = Disk.make()
      const { app, drop } = yield* open(disk)
      yield* drop("broken.csv", [...rows("B", 1), `B-2,a@b.example,"${"Cup ".repeat(5_000)}`])
      yield* app.advance("1 hour")
      expect((yield* app.timeline).filter((line) => /restarts in|given up/.test(line))).toEqual([
        "00:00:00.505 Inbox > CsvImport[broken.csv] restarts in 410ms (restart 1), because Shop > Inbox > CsvImport[broken.csv] > rows failed",
        "00:00:00.915 Inbox > CsvImport[broken.csv] restarts in 1s 141ms (restart 2), because Shop > Inbox > CsvImport[broken.csv] > rows failed",
        "00:00:02.056 Inbox > CsvImport[broken.csv] restarts in 1s 680ms (restart 3), because Shop > Inbox > CsvImport[broken.csv] > rows failed",
        "00:00:03.736 Inbox: child CsvImport[broken.csv] failed again after 3 restarts, and is given up"
      ])
      expect(disk.paths()).toEqual([
        "/data/inbox/failed/2026-11-25T09-00-03.736Z-broken.csv",
        "/data/orders.jsonl",
        "/data/spool/B-1.eml"
      ])
      // Its first row was an order all the same, once.
      expect(yield* app.run(TestEventBus.emitted(OrderCompleted))).toHaveLength(1)
    })
  )

  it.effect("takes an import up where a stop has cut it", () =>
    Effect.gen(function* () {
      const disk = Disk.make()
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const { app, drop } = yield* open(disk, {}, { IMPORT_ROWS_PER_SECOND: "1" })
          yield* drop("long.csv", rows("L", 100))
          yield* app.advance("30 seconds")
          return yield* app.stop
        })
      )
      expect([first.exitCode, disk.text("/data/orders.jsonl").trimEnd().split("\n").length]).toEqual([0, 30])
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { app } = yield* open(disk, { startsAt: "2026-11-26T09:00:00Z" })
          yield* app.advance("1 minute")
          expect(yield* app.run(TestEventBus.emitted(OrderCompleted))).toHaveLength(70)
        })
      )
      expect(disk.paths().filter((path) => path.endsWith(".eml"))).toHaveLength(100)
    })
  )

  it.effect("keeps each order and mails it once, in whatever order its fibers run", () =>
    Effect.gen(function* () {
      const minute = (seed: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const disk = Disk.make()
            const { app, drop, ask } = yield* open(disk, { seed })
            yield* drop("week.csv", rows("W", 10))
            const ids = ["A-1", "W-3", "A-1", "A-2"]
            const answers = yield* Effect.forEach(ids, (id) => ask("/orders", anOrder(id)), {
              concurrency: 4
            })
            yield* app.advance("1 minute")
            const report = yield* app.stop
            return { answers, files: disk.paths(), exitCode: report.exitCode, timeline: yield* app.timeline }
          })
        )
      const mails = ["A-1", "A-2", ...Array.from({ length: 10 }, (_, index) => `W-${index + 1}`)].toSorted()
      for (const seed of [1, 2, 3, 4, 5, 6]) {
        const once = yield* minute(seed)
        // One of the two that are the same was first.
        expect(once.answers.filter(([status]) => status === 201)).toHaveLength(3)
        expect(once.files.filter((path) => path.includes("spool"))).toEqual(
          mails.map((id) => `/data/spool/${id}.eml`)
        )
        expect(once.exitCode).toBe(0)
        expect(yield* minute(seed)).toEqual(once)
      }
    })
  )
})

it.live(
  "its services keep the laws of services",
  () =>
    Effect.gen(function* () {
      const server = Portless.make()
      let disk = Disk.make()
      // Each scenario begins with an empty disk.
      const files = Layer.suspend(() => {
        disk = Disk.make()
        return Layer.merge(Layer.succeed(FileSystem.FileSystem, disk.fs), Path.layer)
      })
      const shop = shopOn(server.layer).pipe(
        Layer.provide(files),
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["DATA_DIR", "/data"]]))))
      )
      const csv = ["id,email,item,quantity,total", ...rows("W", 2)].join("\n")
      const report = yield* ServiceLaws.check(shop, {
        // Just before the spool is tidied.
        startsAt: "2026-11-25T02:59:30Z",
        runs: 20,
        during: Effect.zipRight(
          server.ask("/orders", anOrder("A-1")),
          Effect.suspend(() => disk.fs.writeFileString("/data/inbox/week.csv", csv))
        )
      })
      expect(report.missed).toEqual([])
      const services = ["Spool", "Metrics", "Email", "Orders", "Inbox", "Inbox > CsvImport[week.csv]"]
      expect(report.steps).toEqual(expect.arrayContaining(services.map((service) => `${service}: onStart`)))
    }),
  180_000
)
