import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Exit } from "effect"
import type * as Entry from "../src/internal/journal/Entry.ts"
import * as Faults from "../src/testing/Faults.ts"
import * as Laws from "../src/testing/Laws.ts"
import type { StepKind, Trouble } from "../src/testing/Scenario.ts"
import type { Simulation } from "../src/testing/Simulation.ts"

/** A simulation in which all went well. */
const well: Simulation = {
  scenario: {},
  isUp: true,
  exit: Exit.void as Exit.Exit<never>,
  stuck: undefined,
  reached: new Map(),
  injected: new Map(),
  handled: new Set(),
  isHasty: false,
  missed: [],
  steps: { boot: 1, all: 2 },
  entries: [],
  timeline: [],
  asked: undefined,
  interruptionsLogged: [],
  forgotten: [],
  resources: [],
  leftovers: [],
  handledAfter: [],
  changed: []
}

const at = 0
const service = "App > Mailer"
const boom = Cause.fail("boom")
const interrupted = Cause.interrupt(1 as never)

const stopTimedOut = (step: string): Entry.Entry => ({
  _tag: "StopTimedOut",
  at,
  service,
  step,
  after: Duration.seconds(10),
  alive: []
})
const taskFailed = (cause: Cause.Cause<unknown>): Entry.Entry => ({
  _tag: "TaskFailed",
  at,
  service,
  task: "tick",
  cause,
  answer: "Log"
})
const handlerFailed: Entry.Entry = {
  _tag: "HandlerFailed",
  at,
  service,
  event: "paid",
  cause: boom,
  answer: "Log"
}
const startFailed = (cause: Cause.Cause<unknown>): Entry.Entry => ({
  _tag: "StartFailed",
  at,
  service,
  step: "onStart",
  cause
})
const starting: Entry.Entry = { _tag: "ServiceStarting", at, service }
const stopping: Entry.Entry = { _tag: "ServiceStopping", at, service }
const stopped: Entry.Entry = { _tag: "ServiceStopped", at, service, took: Duration.zero }
const ticked: Entry.Entry = { _tag: "TaskTicked", at, service, task: "tick", took: Duration.zero }
const unhealthy = (reason: string): Entry.Entry => ({
  _tag: "HealthChanged",
  at,
  service,
  check: undefined,
  isCritical: true,
  reason
})

/** A fault that was injected at a step. */
const faulty = (work: string, trouble: Trouble, kind: StepKind): Partial<Simulation> => {
  const fault = { at: `Mailer: ${work}`, trouble }
  return {
    scenario: { faults: [fault] },
    reached: new Map([[fault.at, kind]]),
    injected: new Map([[fault, errorAt(work)]])
  }
}
const errorAt = (work: string) => new Faults.InjectedFault({ at: `Mailer: ${work}` })
/** A start that has recovered from a fault. */
const handling = ((): Partial<Simulation> => {
  const seen = faulty("onStart", "fail", "start")
  return { ...seen, handled: new Set(seen.injected?.values()) }
})()
const childHangs = { at: "Mailer > Child: onStart", trouble: "hang" } as const
const nowhere = (work: string) => ["fails aloud", `${errorAt(work).message} is nowhere in the journal`]

/** What is seen, and the laws that it violates. */
const cases: ReadonlyArray<
  readonly [what: string, seen: Partial<Simulation>, ...breaches: Array<Array<string>>]
> = [
  ["nothing", {}],
  ["a start that does not end", { isUp: false, stuck: "It waits" }, ["starts", "It waits"]],
  ["a start without an end", { isUp: false, exit: undefined }, ["starts", "it does not start"]],
  ["a start that fails", { isUp: false, exit: Exit.fail("no") }, ["starts", "it does not start: no"]],
  [
    "a start that asks for its stop",
    {
      isUp: false,
      exit: Exit.failCause(interrupted),
      entries: [{ _tag: "StopAsked", at, service }]
    }
  ],
  ["a start that fails because of a fault", { ...faulty("onStart", "hang", "start"), isUp: false }],
  ["a handler that a sample fails", { entries: [handlerFailed] }],
  ["a task that fails", { entries: [taskFailed(boom)] }, ["works", "Mailer: tick failed"]],
  ["a task that fails beside a fault", { ...faulty("x", "slow", "run"), entries: [taskFailed(boom)] }],
  ["what it was asked", { asked: Cause.die("no stub") }, ["works", "what it was asked failed: no stub"]],
  ["a stop for each start", { entries: [starting, stopping, stopped, starting, stopping, stopped] }],
  [
    "a stop too many",
    { entries: [starting, stopping, stopped, stopping] },
    ["stops once", "Mailer was started 1 time, and stopped 2 times"]
  ],
  ["a stop that does not end", { stuck: "It waits" }, ["stops in time", "It waits"]],
  [
    "a step of a stop that takes too long",
    { entries: [stopTimedOut("onStop")] },
    ["stops in time", "Mailer hung in onStop while stopping; it was left after 10s"]
  ],
  ["an onStop that hangs", { ...faulty("onStop", "hang", "stop"), entries: [stopTimedOut("onStop")] }],
  ["a cleanup that hangs", { ...faulty("cleanup 1", "hang", "stop"), entries: [stopTimedOut("a cleanup")] }],
  [
    "a handler that hangs",
    {
      ...faulty("listener paid", "hang", "handler"),
      entries: [stopTimedOut("listeners"), stopTimedOut("listener paid")]
    }
  ],
  [
    "an onStop that waits for a child whose start hangs",
    {
      scenario: { faults: [childHangs] },
      injected: new Map([[childHangs, errorAt("onStart")]]),
      entries: [stopTimedOut("onStop")]
    }
  ],
  [
    "who adopts what it is asked to, whose cleanup hangs",
    {
      ...faulty("cleanup 1", "hang", "stop"),
      entries: [{ ...stopTimedOut("work"), service: "App > Laws" } as Entry.Entry]
    }
  ],
  [
    "a task that takes too long, when another step hangs",
    { ...faulty("onStop", "hang", "stop"), entries: [stopTimedOut("work")] },
    ["stops in time", "Mailer hung in work while stopping; it was left after 10s"]
  ],
  [
    "an onStop that takes too long, when that of another service hangs",
    {
      ...faulty("onStop", "hang", "stop"),
      entries: [{ ...stopTimedOut("onStop"), service: "App > Spool" } as Entry.Entry]
    },
    ["stops in time", "Spool hung in onStop while stopping; it was left after 10s"]
  ],
  [
    "a step that takes too long, when it does not hang",
    { ...faulty("onStop", "interrupt", "stop"), entries: [stopTimedOut("onStop")] },
    ["stops in time", "Mailer hung in onStop while stopping; it was left after 10s"]
  ],
  ["a resource", { resources: ["file was never closed"] }, ["closes what it opens", "file was never closed"]],
  ["a resource of an app that has not ended", { exit: undefined, resources: ["file was never closed"] }],
  ["something left", { leftovers: ["a timer"] }, ["leaves nothing", "a timer"]],
  [
    "a listener that still hears",
    { handledAfter: ["Mailer: listener paid"] },
    ["goes quiet", "Mailer: listener paid was told of an event when all was over"]
  ],
  ["a tick", { entries: [ticked, stopped] }],
  [
    "a tick after the stop",
    { entries: [stopped, ticked] },
    ["goes quiet", "it had stopped, and then: Mailer ticked (tick)"]
  ],
  ["a tick after a restart", { entries: [stopped, starting, ticked] }],
  ["a fault that is nowhere", faulty("x", "fail", "run"), nowhere("x")],
  ["a defect that is nowhere", faulty("x", "die", "run"), nowhere("x")],
  ["an interruption that is nowhere", faulty("x", "interrupt", "run")],
  [
    "a fault that is told",
    { ...faulty("x", "fail", "run"), entries: [taskFailed(Cause.fail(errorAt("x")))] }
  ],
  [
    "a fault that is the cause of what is told",
    {
      ...faulty("x", "fail", "run"),
      entries: [taskFailed(Cause.fail({ cause: Cause.die(errorAt("x")) }))]
    }
  ],
  [
    "a fault that is the reason of bad health",
    { ...faulty("x", "fail", "run"), entries: [unhealthy(errorAt("x").message)] }
  ],
  [
    "bad health for another reason",
    { ...faulty("x", "fail", "run"), entries: [unhealthy("no disk")] },
    nowhere("x")
  ],
  [
    "a fault in a start that has handled it",
    {
      ...faulty("onStart", "fail", "start"),
      entries: [{ _tag: "ServiceStarted", at, service, took: Duration.zero }]
    }
  ],
  [
    "a fault in a start that fails with an error of its own",
    { ...faulty("onStart", "fail", "start"), isUp: false, entries: [startFailed(boom)] }
  ],
  [
    "a fault in a start that nobody has heard of again",
    faulty("onStart", "fail", "start"),
    nowhere("onStart")
  ],
  [
    "a fiber that has failed",
    { forgotten: [{ step: { service: "Mailer", work: "tick" }, cause: boom }] },
    [
      "fails aloud",
      "a fiber, forked by Mailer: tick, failed, and nobody was told: boom. Work that Service.spawn forks is watched"
    ]
  ],
  [
    "a fiber that has failed with what is told",
    {
      ...faulty("x", "slow", "run"),
      forgotten: [{ step: { service: "Spool", work: "tick" }, cause: boom }],
      entries: [taskFailed(boom)]
    }
  ],
  [
    "a fiber that a start was to ask for, and did not come to",
    { forgotten: [{ step: { service: "Mailer", work: "onStart" }, cause: boom }] }
  ],
  [
    "a fiber that work was to ask for, which went wrong",
    {
      ...faulty("x", "interrupt", "run"),
      forgotten: [{ step: { service: "Mailer", work: "tick" }, cause: boom }]
    }
  ],
  [
    "a fiber that has failed beside a fault of another service",
    {
      ...faulty("x", "interrupt", "run"),
      forgotten: [{ step: { service: "Spool", work: "tick" }, cause: boom }]
    },
    [
      "fails aloud",
      "a fiber, forked by Spool: tick, failed, and nobody was told: boom. Work that Service.spawn forks is watched"
    ]
  ],
  ["a start that handles what goes wrong in it", { ...handling, isUp: false }],
  [
    "an interruption that is logged",
    { interruptionsLogged: ["lost"] },
    ["is interrupted quietly", "logged as a warning or an error: lost"]
  ],
  [
    "an interruption that is told as a failure",
    { ...faulty("x", "slow", "run"), entries: [taskFailed(interrupted)] },
    ["is interrupted quietly", "Mailer: tick failed"]
  ],
  ["a difference", { changed: ["a task is gone"] }, ["restarts as it was", "a task is gone"]]
]

describe("Laws.violations", () => {
  for (const [what, seen, ...breaches] of cases) {
    it(`${what}: ${breaches.map(([law]) => law).join(", ") || "violates none"}`, () => {
      assert.deepStrictEqual(
        Laws.violations({ ...well, ...seen }, []).map((one) => [one.law, one.what]),
        breaches
      )
    })
  }

  it("leaves out the laws that are excepted", () => {
    assert.deepStrictEqual(Laws.violations({ ...well, leftovers: ["a timer"] }, ["leaves nothing"]), [])
  })
})
