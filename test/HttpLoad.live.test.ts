/** Stops of a real process under load: `fixtures/http.ts`, asked by `fixtures/load.ts`. */
import { setTimeout as sleep } from "node:timers/promises"
import { describe, it } from "vitest"
import { patience, processesOf } from "./processes.ts"

const start = processesOf("http.ts")
const startLoad = processesOf("load.ts")

const listening = async (app: ReturnType<typeof start>) => {
  await app.says(/Listening on [^]*App started in/)
  return Number(/Listening on http:\/\/127.0.0.1:(\d+)/.exec(app.output())![1])
}

describe("under load", { timeout: patience * 10 }, () => {
  it("answers each request that it has accepted, over 20 stops", async ({ expect }) => {
    const totals = { answered: 0, refused: 0, failed: 0, handled: 0 }
    const stopUnderLoad = async (round: number): Promise<void> => {
      const app = start("HttpRouter", "pool-inside", '{"readinessDelay":"200 millis"}')
      const load = startLoad(String(await listening(app)))
      await load.says(/> under way/)
      // Each round stops at another moment of the load.
      await sleep(round * 7)
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
