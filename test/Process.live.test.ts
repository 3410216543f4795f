/** How a process ends: signals that arrive twice, output that nobody has read yet, exits by other code. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import { patience, processesOf } from "./processes.ts"

const start = processesOf("apps.ts")
const folder = mkdtempSync(join(tmpdir(), "effect-services-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts an app, waits until it is up, sends it a signal, and waits until its service stops. */
const stopping = async (name: string, signal: NodeJS.Signals) => {
  const app = start(name)
  await app.says(/App started in/)
  app.signal(signal)
  await app.says(/> \w+ stops/)
  return app
}

describe("a signal", { timeout: patience * 3 }, () => {
  const same: ReadonlyArray<readonly [first: NodeJS.Signals, again: NodeJS.Signals]> = [
    ["SIGINT", "SIGINT"],
    ["SIGTERM", "SIGTERM"],
    ["SIGINT", "SIGTERM"],
    ["SIGTERM", "SIGHUP"]
  ]
  for (const [first, again] of same) {
    it(`is the same request as the ${first} that came less than a second before: ${again}`, async () => {
      const app = await stopping("stopsSlowly", first)
      app.signal(again)
      await sleep(20)
      app.signal(again)
      const { code, output, said } = await app.ended()
      expect(said).toEqual(["Slow starts", "Slow stops", "flushed"])
      expect(output).not.toContain("again")
      expect(code).toBe(0)
    })
  }

  it("ends the app at once when it comes again after more than a second", async () => {
    const app = await stopping("stuck", "SIGTERM")
    await sleep(1_200)
    app.signal("SIGTERM")
    const { code, output } = await app.ended()
    expect(output).toContain("SIGTERM again: ending at once, while these had not stopped: App > Stuck")
    expect(code).toBe(1)
  })

  it("is the same request although the event loop was blocked for longer than a second before it could be seen", async () => {
    const app = start("blocksInStop")
    await app.says(/App started in/)
    app.signal("SIGTERM")
    await sleep(200)
    app.signal("SIGTERM")
    const { code, said } = await app.ended()
    expect(said).toEqual(["Slow starts", "Slow stops", "flushed"])
    expect(code).toBe(0)
  })

  it("stops in order when it is a SIGHUP", async () => {
    const app = await stopping("stopsSlowly", "SIGHUP")
    const { code, output, said } = await app.ended()
    expect(output).toContain("App is stopping: SIGHUP")
    expect(said).toEqual(["Slow starts", "Slow stops", "flushed"])
    expect(code).toBe(0)
  })
})

describe("the output", { timeout: patience * 3 }, () => {
  it("is all written before the process exits, however slowly it is read", async () => {
    const app = start("talksInStop")
    await app.says(/App started in/)
    app.readLater(500)
    app.signal("SIGTERM")
    const { code, output, said } = await app.ended()
    expect(output.length).toBeGreaterThan(400_000)
    expect(said.at(-1)).toBe("the last line")
    expect(output).toMatch(/App stopped in \S+, clean/)
    expect(code).toBe(0)
  })

  it("holds up the exit for no longer than a second when nobody reads it", async () => {
    const app = start("talksInStop")
    await app.says(/App started in/)
    app.readLater()
    app.signal("SIGTERM")
    const { code, took } = await app.ended()
    expect(took).toBeGreaterThan(900)
    expect(took).toBeLessThan(3_000)
    expect(code).toBe(0)
  })
})

describe("process.exit by other code", { timeout: patience * 3 }, () => {
  it("says that the app did not stop in order, who called it, and exits with 1 instead of 0", async () => {
    const app = start("exitsWhenPoked", "0")
    await app.says(/Shop started in/)
    app.signal("SIGUSR2")
    const { code, output, said } = await app.ended()
    expect(said).toEqual(["Db starts", "Web starts"])
    expect(output).toMatch(
      /^Shop did not stop in order: process\.exit\(0\) was called at .*apps\.mjs:\d+:\d+\)?, while these had not stopped: Shop > Db \(running\), Shop > Web \(running\)\. The exit code is 1\.$/m
    )
    expect(code).toBe(1)
  })

  it("keeps another code than 0", async () => {
    const app = start("exitsWhenPoked", "3")
    await app.says(/Shop started in/)
    app.signal("SIGUSR2")
    const { code, output } = await app.ended()
    expect(output).toContain("process.exit(3) was called")
    expect(code).toBe(3)
  })

  it("is said of the boot and of the stop, too", async () => {
    const booting = await start("exitsInTheBoot").ended()
    expect(booting.output).toContain("App > Web (starting). The exit code is 1.\n")
    expect(booting.code).toBe(1)

    const app = await stopping("exitsInTheStop", "SIGTERM")
    const { code, output } = await app.ended()
    expect(output).toContain("App > Slow (stopping: onStop). The exit code is 1.\n")
    expect(code).toBe(1)
  })
})

describe("why an app fails", { timeout: patience * 3 }, () => {
  /** The levels and texts of the log, from the first error on. */
  const fromFirstError = (output: string) => {
    const lines = Array.from(
      output.matchAll(/ level=(\S+) .*?message=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|(\S+))/g),
      ([, level, quoted, bare]) =>
        `${level} ${(quoted ?? bare)!.replace(/\d+ms/, "1ms").replaceAll('\\"', "'")}`
    )
    return lines.slice(lines.findIndex((line) => line.startsWith("ERROR")))
  }

  it("is said as an error before the rest of the stop, and nothing is called clean: a service that failed", async () => {
    const app = start("failsWhenPoked")
    await app.says(/Shop started in/)
    app.signal("SIGUSR2")
    const { code, output } = await app.ended()
    expect(fromFirstError(output)).toEqual([
      "ERROR Shop > Web failed, because rows failed",
      "ERROR Shop > Web > rows failed, so the app was stopped: the table is gone",
      "INFO Shop is stopping: Shop > Web > rows failed",
      "INFO Shop > Web stopped in 1ms",
      "INFO Shop > Db stopped in 1ms",
      "INFO Shop stopped in 1ms, after a failure"
    ])
    expect(output).not.toMatch(/clean\b/)
    expect(code).toBe(1)
  })

  it("is said as an error before the rest of the stop, and nothing is called clean: a start that failed", async () => {
    const { code, output } = await start("failsToStart").ended()
    expect(fromFirstError(output)).toEqual([
      "ERROR Service 'App > Web' failed in onStart, so what it had begun was undone: no route to host",
      "INFO App > Db stopped in 1ms",
      "INFO App is stopping: it did not start",
      "INFO App stopped in 1ms, after a failure"
    ])
    expect(output.indexOf("stopped in")).toBeGreaterThan(output.indexOf("no route to host"))
    expect(output).not.toMatch(/clean\b/)
    expect(code).toBe(1)
  })

  it("is said as an error before the rest of the stop, and nothing is called clean: an uncaught exception", async () => {
    const app = start("throwsWhenPoked")
    await app.says(/App started in/)
    app.signal("SIGUSR2")
    const { output } = await app.ended()
    expect(fromFirstError(output)).toEqual([
      "ERROR App crashed: uncaught exception",
      "INFO App is stopping: uncaught exception",
      "INFO App > Web stopped in 1ms",
      "INFO App > Db stopped in 1ms",
      "INFO App stopped in 1ms, after a failure"
    ])
    expect(output).not.toMatch(/clean\b/)
  })
})

describe("the app's own logger", { timeout: patience * 3 }, () => {
  /** The lines of the log that are JSON, and those that are not. */
  const linesOf = (output: string) => {
    const lines = output.split("\n").filter((line) => /^(?:\{|timestamp=)/.test(line))
    const json = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Line)
    return { json: json.map(({ logLevel, message }) => `${logLevel} ${String(message)}`), lines }
  }
  interface Line {
    readonly logLevel: string
    readonly message: unknown
  }

  const boots: ReadonlyArray<readonly [what: string, app: string, arg: string, reason: RegExp]> = [
    [
      "a start that fails",
      "failsWithJson",
      "start",
      /^ERROR Service "Shop > Web" failed in onStart.*no route/
    ],
    ["a layer that fails before any service", "failsWithJson", "layer", /^ERROR .*DATABASE_URL/]
  ]
  for (const [what, name, arg, reason] of boots) {
    it(`tells of a boot that fails: ${what}`, async () => {
      const { code, output } = await start(name, arg).ended()
      const { json, lines } = linesOf(output)
      expect(json.length).toBe(lines.length)
      expect(json.filter((line) => line.startsWith("ERROR"))).toEqual([expect.stringMatching(reason)])
      expect(json.at(-1)).toMatch(/^INFO Shop stopped in \S+, after a failure$/)
      expect(code).toBe(1)
    })
  }

  it("tells of a boot that fails beside it", async () => {
    const { json } = linesOf((await start("failsBesideJson").ended()).output)
    expect(json.at(-1)).toMatch(/^INFO Shop stopped in \S+, after a failure$/)
  })

  const interrupted: ReadonlyArray<
    readonly [signal: NodeJS.Signals, reason: string, errors: ReadonlyArray<string>]
  > = [
    ["SIGUSR2", "uncaught exception", ["ERROR Shop crashed: uncaught exception"]],
    ["SIGTERM", "SIGTERM", []]
  ]
  for (const [signal, reason, errors] of interrupted) {
    it(`tells of a boot that ends by ${reason}`, async () => {
      const app = start("failsWithJson", "crash")
      await app.says(/> Web starts/)
      app.signal(signal)
      const { json, lines } = linesOf((await app.ended()).output)
      expect(json.length).toBe(lines.length)
      expect(json).toContain(`INFO Shop is stopping: ${reason}`)
      expect(json.filter((line) => line.startsWith("ERROR"))).toEqual(errors)
    })
  }

  /** Starts an app whose logger keeps lines in a file, and stops it when it is up. */
  const stopped = async (what: string) => {
    const file = join(folder, what)
    const app = start("logsToAFile", what, file)
    if (what !== "fails") {
      await app.says(/> Web starts/)
      await sleep(100)
      app.signal("SIGTERM")
    }
    return { ...(await app.ended()), file: () => readFileSync(file, "utf8") }
  }

  it("has said why an app stops when its scope is closed, and the loggers around the app say how", async () => {
    const { code, file, output } = await stopped("stops")
    expect(file()).toContain("Shop is stopping: SIGTERM")
    expect(output).toMatch(/Shop stopped in \S+, clean/)
    expect(code).toBe(0)
  })

  it("does not take with it that the stop was not clean when its scope is never closed", async () => {
    const { code, output } = await stopped("hangs")
    expect(output).toMatch(/Shop stopped in .*, not clean\n[^]*a layer that is no service hung/)
    expect(code).toBe(1)
  })

  it("has said why a boot failed when its scope is closed", async () => {
    const { code, file, output } = await stopped("fails")
    expect(file()).toMatch(/level=ERROR .*no route to host/)
    expect(output).toMatch(/Shop stopped in \S+, after a failure/)
    expect(code).toBe(1)
  })
})

describe("a step that blocks the event loop past its deadline", { timeout: patience * 3 }, () => {
  const texts: ReadonlyArray<readonly [where: string, text: RegExp]> = [
    ["onStop", /Web .* timed out +took 1s \d+ms for onStop while stopping, longer than 1s: the event loop/],
    [
      "cleanup",
      /Web .* timed out +took 1s \d+ms for a cleanup while stopping, longer than .*: the event loop/
    ],
    [
      "finalizer",
      /Web .* timed out +took 1s \d+ms for a cleanup while stopping, longer than .*: the event loop/
    ],
    ["layer", /the stop took 1s \d+ms, longer than its deadline: the event loop was blocked/]
  ]
  for (const [where, text] of texts) {
    it(`is measured when it has ended, and is no clean stop: ${where}`, async () => {
      const app = start("blocksPastADeadline", where)
      await app.says(/App started in/)
      app.signal("SIGTERM")
      const { code, output, said } = await app.ended()
      expect(said.at(-1)).toBe("Db is cleaned up")
      expect(output).toMatch(text)
      expect(output).toMatch(/App stopped in .*, not clean/)
      expect(code).toBe(1)
    })
  }
})
