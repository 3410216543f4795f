import { assert, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"

/** Low to high. A module imports only from levels below its own. */
const levels = [
  ["Gate", "Overlay", "Few", "LeanStream", "Refusal", "Finalizers", "Definition", "RunQueue", "InnerFiber"],
  ["HeadStart"],
  [
    "Input",
    "Reason",
    "Words",
    "Labels",
    "LongWait",
    "Deadline",
    "Monotonic",
    "Tally",
    "Backlog",
    "Feed",
    "Keys",
    "Budget",
    "Changes",
    "Secrets",
    "Spans",
    "Replacements",
    "BusDecorator",
    "WorkDecorator",
    "node/Connections",
    "node/ListenError"
  ],
  ["Way", "Captured", "RunScope"],
  [
    "CronSlots",
    "Grid",
    "Timers",
    "Event",
    "Delivery",
    "Failure",
    "ServiceClass",
    "ServiceStatus",
    "ServiceMetrics",
    "StartError"
  ],
  [
    "BootReport",
    "StopPlan",
    "StopReport",
    "StatusText",
    "StatusJson",
    "Readiness",
    "Restarts",
    "TaskRecord",
    "ListenerRecord"
  ],
  ["Entry"],
  ["EntryText"],
  ["Journal"],
  ["Owner", "AppEnd", "AppNotes"],
  ["Work", "ServiceRegistry", "OwnedWork"],
  ["Envelope", "Worker"],
  ["Crew"],
  ["Handling", "Streams", "Overflow"],
  ["Listener", "Health"],
  ["EventBus", "ServiceScope"],
  ["Escalation", "Shutdown"],
  ["OwnerWithin", "OwnedRun"],
  ["Handle"],
  ["TaskRuns", "TimedWork", "Startup"],
  ["Task", "Incarnation"],
  ["HealthCheck", "Subscription", "Slot"],
  ["Trouble"],
  ["Supervisor"],
  ["Child"],
  ["Adoption"],
  ["Service", "App"],
  ["node/ProbeFiles", "node/HttpDrain"],
  ["node/NodeApp", "node/NodeHttp"],
  ["testing/Step", "testing/Stub", "testing/TestEventBus", "testing/Scenario", "testing/Sample"],
  ["testing/Resource", "testing/Fibers", "testing/Faults", "testing/Shape"],
  ["testing/RealTime"],
  ["testing/RealTimers"],
  ["testing/VirtualTime"],
  ["testing/Timeline", "testing/Leftovers"],
  ["testing/Drive"],
  ["testing/Stage"],
  ["testing/Rehearsal"],
  ["testing/Laws", "testing/Plan"],
  ["testing/TestApp", "testing/ServiceLaws"],
  ["index", "node/index", "testing/index"]
]

const levelOf = (module: string) => levels.findIndex((level) => level.includes(module))
const read = (module: string) => readFileSync(`src/${module}.ts`, "utf8")

const modules = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))

it.each(modules)("%s imports only from lower levels", (module) => {
  assert.notStrictEqual(levelOf(module), -1, `Give src/${module}.ts a level in test/architecture.test.ts`)
  for (const [, path] of read(module).matchAll(/from "(\.{1,2}\/.+)\.ts"/g)) {
    const imported = normalize(join(dirname(module), path!))
    assert.isBelow(levelOf(imported), levelOf(module), `src/${module}.ts may not import ${imported}`)
  }
})

it.each(modules)("%s imports no Node module, unless it is of effect-services/node", (module) => {
  if (!module.startsWith("node/")) assert.notMatch(read(module), /from "node:|@effect\/platform-node/)
})

it.each(modules.filter((module) => !module.endsWith("index")))(
  "%s is told of in ARCHITECTURE.md",
  (module) => {
    assert.include(readFileSync("ARCHITECTURE.md", "utf8"), `\`${module}\``)
  }
)
