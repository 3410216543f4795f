import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, it } from "vitest"

// Both outputs are pipes here, which Node opens when the app logs its first line.
it("TestApp works in a plain script, and takes nothing of Node's for the app's", async () => {
  const args = ["--import", "tsx", "--conditions=effect-services:source", "test/fixtures/plainTest.ts"]
  const { stderr } = await promisify(execFile)(process.execPath, args)
  expect(stderr).toMatch(/^Success/m)
})
