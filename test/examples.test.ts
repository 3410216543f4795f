import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { promisify } from "node:util"
import { bundled } from "./processes.ts"
import "../examples/06-testing.ts"
import "../examples/14-testing-an-app.ts"
import "../examples/15-service-laws.ts"

/** A log line as `INFO message`; times are noise. */
const normalize = (output: string) =>
  output
    .replaceAll(
      /^timestamp=\S+ level=(\w+) fiber=#\d+ message="?(.*?)"?( cause=.*)?( service=.*)?( request="(.*)")?$/gm,
      (_, level, message, _cause, _service, _tail, request) =>
        request === undefined ? `${level} ${message}` : `${level} ${message} (${request})`
    )
    .replaceAll(/\n {4}at .*/g, "")
    .replaceAll(/\b\d+m?s( \d+ms)?\b/g, "1ms")

/** The others are tests, and run here. */
const examples = readdirSync("examples").filter((file) => file.endsWith(".ts") && !/testing|laws/.test(file))

const clock = "test/fixtures/steady-clock.ts"
const bundle = bundled([clock, ...examples.map((file) => `examples/${file}`)])

describe.concurrent("examples", () => {
  for (const file of examples) {
    it(`${file} prints what it says`, { timeout: 40_000 }, async () => {
      const source = readFileSync(`examples/${file}`, "utf8")
      const [, code = "0", expected] = /\/\/ prints(?:, and exits with (\d))?:\n([^]*)/.exec(source)!
      const run = promisify(execFile)("node", ["--import", bundle(clock), bundle(file)], { timeout: 30_000 })
      const ended = await run.then(
        ({ stdout }) => ({ stdout, code: 0 }),
        (error: { readonly stdout: string; readonly code: unknown }) => error
      )
      assert.strictEqual(normalize(ended.stdout), normalize(expected!.replaceAll(/^\/\/ ?/gm, "")))
      assert.strictEqual(String(ended.code), code)
    })
  }
})

describe("README", () => {
  const readme = readFileSync("README.md", "utf8")

  it("shows the examples as they are, and no other code", () =>
    promisify(execFile)("node", ["scripts/readme.mjs", "--check"]))

  it("makes the promises that the tests keep", () => {
    const promised = [...readme.matchAll(/^(\d+\. .*)$/gm)].map(([, promise]) => promise!)
    const tests = readFileSync("test/promises.test.ts", "utf8")
    const kept = [...tests.matchAll(/describe\(\s*["'](\d+\. .*)["'],/g)].map(([, promise]) => promise!)
    const byNumber = (a: string, b: string) => Number.parseInt(a, 10) - Number.parseInt(b, 10)
    assert.deepStrictEqual(promised, kept.toSorted(byNumber))
  })
})
