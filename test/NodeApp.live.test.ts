/** Real processes and real signals: each test runs an app of `fixtures/apps.ts`. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { type Ended, patience, processesOf } from "./processes.ts"

const start = processesOf("apps.ts")
const folder = mkdtempSync(join(tmpdir(), "effect-services-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts an app, sends it a signal when it is up, and waits for its end. */
const runAndSend = async (app: string, signal: NodeJS.Signals): Promise<Ended> => {
  const process = start(app)
  await process.says(/ started in .*, with \d+ services?/)
  process.signal(signal)
  return process.ended()
}

const started = ["Db starts", "Web starts"]
const stopped = ["Web stops", "Web is cleaned up", "Db stops", "Db is cleaned up"]

describe("NodeApp.runMain", { timeout: patience * 3 }, () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`stops in order on ${signal}, and exits with 0`, async () => {
      const { code, errors, output, said } = await runAndSend("orderly", signal)
      expect(said).toEqual([...started, ...stopped])
      expect(output).toContain(`App is stopping: ${signal}`)
      expect(output).toMatch(/App stopped in \S+, clean/)
      expect(errors).toEqual([])
      expect(code).toBe(0)
    })
  }

  it("undoes what had started when a signal comes during the boot, and exits with 0", async () => {
    const app = start("bootsForEver")
    await app.says(/> Web starts/)
    app.signal("SIGTERM")
    const { code, errors, said } = await app.ended()
    expect(said).toEqual([...started, "Web is cleaned up", "Db stops", "Db is cleaned up"])
    expect(errors).toEqual([])
    expect(code).toBe(0)
  })

  it("ends at once on a second signal, says what was still running, and exits with 1", async () => {
    const app = start("stuck")
    await app.says(/App started in/)
    app.signal("SIGTERM")
    await app.says(/> Stuck stops/)
    app.signal("SIGINT")
    const { code, output } = await app.ended()
    expect(output).toContain(
      "SIGINT again: ending at once, while these had not stopped: App > Stuck (stopping: onStop)\n"
    )
    expect(output).toMatch(/^App: stopping \(services\) for .*\n└─ Stuck: stopping \(onStop\) for .*$/m)
    expect(code).toBe(1)
  })

  it("writes the tree of services on SIGUSR2, in the boot and in the stop too", async () => {
    const booting = start("bootsForEver")
    await booting.says(/> Web starts/)
    booting.signal("SIGUSR2")
    await booting.says(/^App: starting for .*\n├─ Db: running for .*\n└─ Web: starting for .*\n/m)

    const stopping = start("stuck")
    await stopping.says(/App started in/)
    stopping.signal("SIGTERM")
    await stopping.says(/> Stuck stops/)
    stopping.signal("SIGUSR2")
    await stopping.says(/^App: stopping \(services\) for .*\n└─ Stuck: stopping \(onStop\) for .*\n/m)
  })

  it("writes below the tree how the app will stop, while it is up", async () => {
    const app = start("orderly")
    await app.says(/App started in/)
    app.signal("SIGUSR2")
    await app.says(/^└─ Web: running .*\nApp will stop in 2 steps within 30s\n {2}1\. Web \(1s\)\n/m)
  })

  it("stops in order after an uncaught exception, and exits with 1", async () => {
    const { code, errors, said } = await runAndSend("throwsWhenPoked", "SIGUSR2")
    expect(said).toEqual([...started, ...stopped])
    expect(errors.join()).toMatch(/uncaught exception.*thrown by a callback/)
    expect(code).toBe(1)
  })

  it("stops in order after an unhandled rejection, and exits with 1", async () => {
    const { code, errors, said } = await runAndSend("rejectsWhenPoked", "SIGUSR2")
    expect(said).toEqual([...started, ...stopped])
    expect(errors.join()).toMatch(/unhandled rejection.*awaited by nobody/)
    expect(code).toBe(1)
  })

  it("goes on stopping after a crash in a stop, and exits with 1", async () => {
    const { code, errors, output, said } = await runAndSend("throwsWhileStopping", "SIGTERM")
    expect(said).toEqual([...started, ...stopped])
    expect(errors.join()).toMatch(/uncaught exception.*thrown while stopping/)
    expect(output).toMatch(/App stopped in \S+, after a failure/)
    expect(code).toBe(1)
  })

  it("goes on stopping, and exits with 0, when a signal comes while it stops already", async () => {
    const app = start("stopsItselfSlowly")
    await app.says(/> Web stops/)
    app.signal("SIGTERM")
    const { code, errors, said } = await app.ended()
    expect(said).toEqual([...started, "Web stops", "Web is done", ...stopped.slice(1)])
    expect(errors).toEqual([])
    expect(code).toBe(0)
  })

  it("stops the others when an onStop fails, and exits with 1", async () => {
    const { code, output, said } = await runAndSend("failsToStop", "SIGTERM")
    expect(said).toEqual([...started, ...stopped])
    expect(output).toContain("failed   failed in onStop: the disk is full")
    expect(code).toBe(1)
  })

  it("names the service and the step that hung, and exits with 1 although a handle is open", async () => {
    const { code, output, said } = await runAndSend("hangsInStop", "SIGTERM")
    expect(said).toEqual([...started, ...stopped])
    expect(output).toContain("Shop > Web hung in onStop while stopping; it was left after 1s")
    expect(code).toBe(1)
  })

  it("names the work that cannot be interrupted, goes on with the next step, and exits with 1", async () => {
    const { code, output, said } = await runAndSend("hangsInWork", "SIGTERM")
    expect(said).toEqual(expect.arrayContaining(stopped))
    expect(output).toMatch(
      /App > Web hung in work while stopping; it was left after \S+, with rows still running/
    )
    expect(code).toBe(1)
  })

  it("ends an app that passes its own deadline, says what had not stopped, and exits with 1", async () => {
    const { code, output, said } = await runAndSend("stuckWithDeadline", "SIGTERM")
    expect(said).toEqual(expect.arrayContaining(stopped))
    expect(output).toMatch(
      /^ {2}Stuck +\d+ms +never +abandoned +had not stopped after 500ms \(stopping: onStop\)$/m
    )
    expect(code).toBe(1)
  })

  it("ends an app of which a layer hangs that is no service, and exits with 1", async () => {
    const { code, output, said } = await runAndSend("hangsInALayer", "SIGTERM")
    expect(said).toEqual([...started, ...stopped, "pool closes"])
    expect(output).toContain("a layer that is no service hung")
    expect(code).toBe(1)
  })

  it("stops in order, and exits with 1, when nobody reads its log any more", async () => {
    const app = start("logsOften")
    await app.says(/tick/)
    app.stopReading()
    expect((await app.ended()).code).toBe(1)
  })

  it("exits with 0 when a service asked for the stop, although a handle is open", async () => {
    const { code, errors, output, said } = await start("stopsItself").ended()
    expect(said).toEqual([...started, ...stopped])
    expect(output).toContain("App is stopping: App > Web asked for it")
    expect(errors).toEqual([])
    expect(code).toBe(0)
  })

  it("stops in order when a service fails, logs the path of the failure, and exits with 1", async () => {
    const { code, errors, said } = await runAndSend("failsWhenPoked", "SIGUSR2")
    expect(said).toEqual([...started, ...stopped])
    expect(errors.at(-1)).toContain("Shop > Web > rows failed, so the app was stopped: the table is gone")
    expect(code).toBe(1)
  })

  it("answers probes by files, those of a process that was killed are gone, and none is left in the end", async () => {
    const probes = join(folder, "probes")
    mkdirSync(probes)
    writeFileSync(join(probes, "ready"), "")
    const app = start("answersProbes", probes)
    const files = async (expected: ReadonlyArray<string>) => {
      await expect.poll(() => readdirSync(probes), { timeout: patience, interval: 20 }).toEqual(expected)
    }
    // As the README has it.
    const probe = (command: string) => spawnSync("sh", ["-c", command.replaceAll("/tmp/shop", probes)]).status
    await files(["live", "ready"])
    expect(probe('test -n "$(find /tmp/shop/live -mmin -1)"')).toBe(0)
    expect(probe("test -e /tmp/shop/ready")).toBe(0)
    app.signal("SIGUSR2")
    await files(["live", "not-ready"])
    expect(probe("test -e /tmp/shop/ready")).toBe(1)
    expect(readFileSync(join(probes, "not-ready"), "utf8")).toMatch(
      /^Web > database: connection refused, for .+\n$/
    )
    app.signal("SIGTERM")
    expect((await app.ended()).code).toBe(0)
    expect(readdirSync(probes)).toEqual([])
  })

  it("says that the probe files cannot be written, and exits with 1", async () => {
    const aFile = join(folder, "a-file")
    writeFileSync(aFile, "")
    const { code, errors, said } = await start("answersProbes", join(aFile, "probes")).ended()
    expect(said).toEqual([])
    expect(errors).toEqual([
      expect.stringMatching(
        /The probe files cannot be written to .*a-file\/probes.*: ENOTDIR.* Give `probeDir` a folder that the process may write to, as one in \/tmp\./
      )
    ])
    expect(code).toBe(1)
  })

  const undone = [...started, "Web is cleaned up", "Db stops", "Db is cleaned up"]
  const broken: ReadonlyArray<
    readonly [what: string, app: string, error: RegExp, said: ReadonlyArray<string>]
  > = [
    [
      "an onStart that fails",
      "failsToStart",
      /App > Web.* failed in onStart, so .*: no route to host/,
      undone
    ],
    [
      "an onStart that dies",
      "diesInStart",
      /App > Web.* failed in onStart, so .*: x is not a function/,
      undone
    ],
    ["an onStart without its config", "lacksConfig", /App > Web.* failed in onStart.*DATABASE_URL/, undone],
    ["a layer without its config", "lacksConfigInALayer", /Expected DATABASE_URL to exist/, []],
    [
      "two services of one name",
      "hasTwins",
      /Two different services are named .*Twin.*: one made at .*Rename/,
      []
    ],
    [
      "an onStart that interrupts itself",
      "interruptsItself",
      /App > Web.* failed in onStart, so .*: it interrupted itself/,
      undone
    ]
  ]
  for (const [what, app, error, expected] of broken) {
    it(`says in one line why it does not start, and exits with 1: ${what}`, async () => {
      const { code, errors, said } = await start(app).ended()
      expect(said).toEqual(expect.arrayContaining([...expected]))
      expect(errors).toEqual([expect.stringMatching(error)])
      expect(code).toBe(1)
    })
  }
})
