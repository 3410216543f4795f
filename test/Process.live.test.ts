/** How a process ends: signals that arrive twice, output that nobody has read yet, exits by other code. */
import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { patience, processesOf } from "./processes.ts"

const start = processesOf("apps.ts")

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
