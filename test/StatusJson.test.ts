import { assert, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { Health, type ServiceRegistry } from "effect-services"
import { nothing } from "./support.ts"

const secret = "no answer of postgres://shop:hunter2@db"
const shown = "no answer of postgres://***@db"

/** A tree with everything in it, and a secret wherever a text comes from anywhere. */
const tree = (text: string): ServiceRegistry.Snapshot => ({
  name: "Shop",
  state: { _tag: "Stopping", step: "services" },
  since: 1,
  at: 2,
  stopTimeout: Duration.millis(24),
  services: [
    {
      name: "Orders",
      path: "Shop > Orders",
      state: { _tag: "Restarting", reason: text, nextStart: 3 },
      since: 4,
      restarts: 5,
      isCritical: true,
      lastFailure: { at: 6, work: "scan", reason: text },
      startedAfter: Duration.millis(21),
      startTook: Duration.millis(22),
      stopTimeout: Duration.millis(23),
      isStopTimeoutSet: true,
      dependencies: ["Shop > Settings"],
      checks: [
        {
          name: "database",
          isCritical: false,
          state: { _tag: "Unhealthy", reason: text },
          since: 7,
          lastStart: 8,
          lastDuration: Duration.millis(9)
        }
      ],
      tasks: [
        {
          kind: "interval",
          name: "scan",
          schedule: "1m",
          runs: 10,
          failures: 11,
          skipped: 12,
          isRunning: false,
          lastStart: 13,
          lastDuration: Duration.millis(14),
          nextRun: 15,
          lastError: text
        }
      ],
      listeners: [
        { event: "ping", handled: 16, failed: 17, queued: 18, dropped: 19, lag: Duration.millis(20) }
      ],
      children: [
        {
          ...nothing,
          name: "Feed",
          path: "Shop > Orders > Feed",
          state: { _tag: "Failed", reason: text },
          checks: [
            {
              name: undefined,
              isCritical: true,
              state: { _tag: "Pending" },
              since: 0,
              lastStart: undefined,
              lastDuration: undefined
            }
          ]
        }
      ]
    }
  ]
})

it("has all of a tree, as a client decodes it, but no secrets", () => {
  const json = JSON.stringify(Schema.encodeSync(Health.Status)(tree(secret)))
  assert.deepStrictEqual(Schema.decodeUnknownSync(Schema.parseJson(Health.Status))(json), tree(shown))
})

it("has times in milliseconds, and leaves out what is not there", () => {
  const { services } = Schema.encodeSync(Health.Status)(tree(secret))
  assert.deepStrictEqual(JSON.parse(JSON.stringify(services[0]!.tasks)), [
    {
      kind: "interval",
      name: "scan",
      schedule: "1m",
      runs: 10,
      failures: 11,
      skipped: 12,
      isRunning: false,
      lastStart: 13,
      lastDuration: 14,
      nextRun: 15,
      lastError: shown
    }
  ])
  assert.deepStrictEqual(JSON.parse(JSON.stringify(services[0]!.children[0]!.checks)), [
    { isCritical: true, state: { _tag: "Pending" }, since: 0 }
  ])
})

it("refuses what is no tree", () => {
  assert.throws(() => Schema.decodeUnknownSync(Health.Status)({ name: "Shop" }), /is missing|Expected/)
})
