import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, FiberId, Runtime } from "effect"
import { Crew } from "../src/internal/lifecycle/Crew.ts"
import { RunQueue } from "../src/internal/lifecycle/RunQueue.ts"
import type * as Worker from "../src/internal/lifecycle/Worker.ts"
import type * as Work from "../src/internal/lifecycle/Work.ts"

describe("Crew", () => {
  it("cuts what has not begun: it is told of, and never begins", () => {
    const turns: Array<() => void> = []
    const ready = new RunQueue<Worker.Job>({
      scheduleTask: (turn) => void turns.push(turn),
      shouldYield: () => false
    })
    const crew = new Crew({ ready, spares: new Set() })
    const ends: Array<Exit.Exit<unknown>> = []
    let hasBegun = false
    const job: Worker.Job = {
      crew,
      // Nothing looks at it before it begins.
      work: {} as Work.Work,
      runtime: Runtime.defaultRuntime as Runtime.Runtime<any>,
      worker: undefined,
      perform: () => Effect.sync(() => void (hasBegun = true)),
      ended: (exit) => void ends.push(exit)
    }
    ready.beginLater(job)
    assert.deepStrictEqual(crew.jobs(), [job])
    crew.cut(job, FiberId.none)
    crew.cut(job, FiberId.none)
    for (const turn of turns) turn()
    assert.deepStrictEqual(ends, [Exit.failCause(Cause.interrupt(FiberId.none))])
    assert.isFalse(hasBegun)
    assert.deepStrictEqual(crew.jobs(), [])
  })
})
