/** Runs the apps of a fixture as processes of their own, for tests of signals and sockets. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, beforeAll } from "vitest"

/** Much longer than anything takes, so that only a hang meets it. */
export const patience = 20_000

const root = fileURLToPath(new URL("..", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly output: string
  /** What the services said, in its order. */
  readonly said: ReadonlyArray<string>
  readonly errors: ReadonlyArray<string>
  /** Since the process was sent its first signal, in milliseconds. */
  readonly took: number
}

/**
 * Bundles TypeScript files for plain Node before the tests of this file: a bundle starts in a third of the CPU
 * time that a loader needs. Gives the path of the bundle of a file. Files that are bundled together share code.
 */
export const bundled = (files: ReadonlyArray<string>) => {
  const folder = mkdtempSync(join(tmpdir(), "effect-services-"))
  const outputOf = (file: string) => `${basename(file, ".ts")}.mjs`
  beforeAll(async () => {
    await build({
      entryPoints: files.map((file) => ({ in: join(root, file), out: basename(file, ".ts") })),
      outdir: folder,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      splitting: files.length > 1,
      format: "esm",
      platform: "node",
      conditions: ["effect-services:source"],
      // For packages in the bundle that are not ES modules.
      banner: {
        js: 'import { createRequire as createRequireOfBundle } from "node:module"; const require = createRequireOfBundle(import.meta.url);'
      }
    })
  }, 60_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return (file: string) => join(folder, outputOf(file))
}

/** A way to start the apps of a fixture in this file of tests. What still runs at the end is killed. */
export const processesOf = (fixture: string) => {
  const file = `test/fixtures/${fixture}`
  const bundle = bundled([file])(file)
  const running = new Set<() => void>()
  // Not after each test: others may run at the same time.
  afterAll(() => {
    for (const kill of running) kill()
  })

  return (app: string, ...args: ReadonlyArray<string>) => {
    const child = spawn(process.execPath, [bundle, app, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    const kill = () => void child.kill("SIGKILL")
    running.add(kill)
    let output = ""
    let exited = false
    let signalled = 0
    let took = 0
    const onChange = new Set<() => void>()
    const changed = () => {
      for (const look of onChange) look()
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text
        changed()
      })
    }
    child.on("exit", () => (took = performance.now() - signalled))
    // `close` and not `exit`: all output has come then.
    child.on("close", () => {
      running.delete(kill)
      exited = true
      changed()
    })

    const until = (what: string, isSo: () => boolean) =>
      new Promise<void>((resolve, reject) => {
        const end = (settle: () => void) => {
          clearTimeout(timer)
          onChange.delete(look)
          settle()
        }
        const problem = (why: string) => () => reject(new Error(`${app}: ${why} before ${what}:\n${output}`))
        const look = () => {
          if (isSo()) end(resolve)
          else if (exited) end(problem("the process ended"))
        }
        const timer = setTimeout(() => end(problem("time ran out")), patience)
        onChange.add(look)
        look()
      })

    return {
      output: () => output,
      says: (line: RegExp) => until(`it said ${line}`, () => line.test(output)),
      /** Nobody reads what it says any more. */
      stopReading: () => void child.stdout.destroy(),
      /** Reads nothing for so many milliseconds, or until the process has ended. */
      readLater: (millis?: number) => {
        const resume = () => void child.stdout.resume()
        child.stdout.pause()
        child.on("exit", resume)
        if (millis !== undefined) setTimeout(resume, millis)
      },
      signal: (signal: NodeJS.Signals) => {
        if (signalled === 0) signalled = performance.now()
        child.kill(signal)
      },
      ended: async (): Promise<Ended> => {
        await until("it ended", () => exited)
        const lines = output.split("\n")
        return {
          code: child.exitCode,
          output,
          said: lines.filter((line) => line.startsWith("> ")).map((line) => line.slice(2)),
          errors: lines.filter((line) => line.includes("level=ERROR")),
          took
        }
      }
    }
  }
}
