/** Real processes, as the time zone is one of the whole process. */
import { assert, describe, it } from "@effect/vitest"
import { patience, processesOf } from "./processes.ts"

const start = processesOf("crons.ts")

/** When a cron without a time zone runs, by the local clock. */
const runs = async (zone: string, expression: string, startsAt: string, days: number) => {
  const { code, output } = await start(zone, expression, startsAt, String(days)).ended()
  assert.strictEqual(code, 0, output)
  return output.trim().split("\n")
}

describe("without a time zone", () => {
  it(
    "a cron goes by that of the process, over both changes",
    async () => {
      const nine = (zone: string, startsAt: string) => runs(zone, "0 9 * * *", startsAt, 2.9)
      assert.deepStrictEqual(await nine("Europe/Berlin", "2026-03-28T07:00:00Z"), [
        "Sat Mar 28 2026 09:00:00 GMT+0100",
        "Sun Mar 29 2026 09:00:00 GMT+0200",
        "Mon Mar 30 2026 09:00:00 GMT+0200"
      ])
      assert.deepStrictEqual(await nine("Europe/Berlin", "2026-10-24T06:00:00Z"), [
        "Sat Oct 24 2026 09:00:00 GMT+0200",
        "Sun Oct 25 2026 09:00:00 GMT+0100",
        "Mon Oct 26 2026 09:00:00 GMT+0100"
      ])
      assert.deepStrictEqual(await nine("Australia/Lord_Howe", "2026-10-02T20:00:00Z"), [
        "Sat Oct 03 2026 09:00:00 GMT+1030",
        "Sun Oct 04 2026 09:00:00 GMT+1100",
        "Mon Oct 05 2026 09:00:00 GMT+1100"
      ])
    },
    patience
  )

  it(
    "the rules of the two odd hours hold",
    async () => {
      const nightly = (startsAt: string) => runs("America/New_York", "30 1,2 * * *", startsAt, 1)
      assert.deepStrictEqual(await nightly("2026-03-08T05:00:00Z"), [
        "Sun Mar 08 2026 01:30:00 GMT-0500",
        "Sun Mar 08 2026 03:00:00 GMT-0400"
      ])
      assert.deepStrictEqual(await nightly("2026-11-01T04:00:00Z"), [
        "Sun Nov 01 2026 01:30:00 GMT-0400",
        "Sun Nov 01 2026 02:30:00 GMT-0500"
      ])
    },
    patience
  )
})
