import { assert, describe, it } from "@effect/vitest"
import { vi } from "vitest"
import { type Console, Effect, type Layer } from "effect"
import { ServiceLaws } from "effect-services/testing"

/** What the examples would run. */
const run = vi.hoisted(() => ({ layer: undefined as Layer.Layer<never, unknown> | undefined }))
vi.mock("effect-services/node", () => ({
  NodeApp: { runMain: (layer: Layer.Layer<never, unknown>) => (run.layer = layer) }
}))

/** Prints nothing. */
const quiet = Effect.map(Effect.console, (real): Console.Console => ({ ...real, log: () => Effect.void }))

describe("the services of an example keep the laws:", () => {
  for (const example of [
    "01-first-service",
    "02-background-work",
    "03-events",
    "04-adopting",
    "05-parameters-and-providing",
    "07-restarting",
    "08-what-runs",
    "10-health"
  ]) {
    it.live(
      example,
      () =>
        Effect.gen(function* () {
          yield* Effect.promise(() => import(`../examples/${example}.ts`))
          assert.isDefined(run.layer)
          // Much of what they do is meant to fail.
          const report = yield* ServiceLaws.check(run.layer, { except: ["works"], runs: 20 }).pipe(
            Effect.withConsole(yield* quiet)
          )
          assert.isAbove(report.steps.length, 2)
        }),
      60_000
    )
  }
})
