/**
 * `npm run bench [suite...] [-- --quick --record --cpu --dist]`: runs the named
 * suites, or all. `README.md` tells of the flags.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, totalmem } from "node:os"
import { bus } from "./bus.ts"
import { latency } from "./latency.ts"
import { lifecycle } from "./lifecycle.ts"
import { memory } from "./memory.ts"
import * as Peers from "./peers.ts"
import * as Report from "./report.ts"
import { measureCpuTime } from "./rounds.ts"
import { size } from "./size.ts"
import { tasks } from "./tasks.ts"
import { timers } from "./timers.ts"

/** A suite measures, and throws when something was not done that should have been. */
export type Suite = (quick: boolean, report: Report.Report) => Promise<void>

const suites: Record<string, Suite> = { bus, latency, lifecycle, timers, tasks, memory, size }

const args = process.argv.slice(2)
const quick = args.includes("--quick")
const cpu = quick || args.includes("--cpu")
if (cpu) measureCpuTime()
const names = args.filter((arg) => !arg.startsWith("--"))
const unknown = names.filter((name) => !(name in suites))
if (unknown.length > 0) {
  console.error(`No suite ${unknown.join(", ")}. There are: ${Object.keys(suites).join(", ")}.`)
  process.exit(1)
}

// Each in a process of its own, so that none runs in what another left.
if (names.length !== 1) {
  const flags = args.filter((arg) => arg.startsWith("--"))
  const statuses = (names.length > 0 ? names : Object.keys(suites)).map(
    (name) =>
      spawnSync(process.execPath, [...process.execArgv, process.argv[1]!, name, ...flags], {
        stdio: "inherit"
      }).status
  )
  process.exit(statuses.every((status) => status === 0) ? 0 : 1)
}
const name = names[0]!

const versionOf = (manifest: string): string => JSON.parse(readFileSync(manifest, "utf8")).version
const peers = ["emittery", "moleculer", "@nestjs/event-emitter", "@nestjs/core", "eventemitter3"]
const [core] = cpus()
console.log(
  `effect-services ${versionOf("package.json")}${args.includes("--dist") ? " (built)" : ""}, ` +
    `effect ${versionOf("node_modules/effect/package.json")}, Node ${process.versions.node}; ` +
    `${peers.map((peer) => `${peer} ${Peers.version(peer) ?? "(not installed)"}`).join(", ")}\n` +
    `${core?.model ?? "unknown CPU"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ` +
    `${platform()} ${arch()}, load ${loadavg()[0]!.toFixed(1)} at the start; ${cpu ? "CPU" : "wall"} time\n`
)

/** Ratios of quick runs that do not meet their goal yet, and may not become much worse. Lower them as work lands. */
const knownFile = "bench/known.json"
const known: Record<string, number> = JSON.parse(readFileSync(knownFile, "utf8"))
const failures: Array<string> = []

console.log(`## ${name}${quick ? " (quick: a smoke test, no measurement)" : ""}\n`)
const report = Report.make()
const [start, before] = [performance.now(), process.cpuUsage()]
const hasFailed = await suites[name]!(quick, report).then(
  () => false,
  (error: unknown) => {
    console.error(error)
    return failures.push(`${name} did not run to its end`) > 0
  }
)
Report.printVerdicts(report.verdicts)
const { system, user } = process.cpuUsage(before)
console.log(
  `${name} took ${Math.round((performance.now() - start) / 1e3)} s, ${Math.round((user + system) / 1e6)} s of CPU; ` +
    `load ${loadavg()[0]!.toFixed(1)} at the end\n`
)
if (quick && !hasFailed) {
  for (const { goal, measured } of report.verdicts) {
    const key = `${name}: ${goal.what}`
    const limit = Math.max(2 * goal.atMost, 1.5 * (known[key] ?? 0))
    if (measured === undefined) continue
    if (args.includes("--record")) {
      if (measured > goal.atMost) known[key] = Number(measured.toPrecision(2))
      else delete known[key]
    } else if (measured > limit) {
      failures.push(`${key}: ${measured.toPrecision(3)}, and may be ${limit.toPrecision(3)} at most`)
    }
  }
  for (const key of Object.keys(known).filter((key) => key.startsWith(`${name}: `))) {
    if (report.verdicts.some(({ goal }) => key === `${name}: ${goal.what}`)) continue
    if (args.includes("--record")) delete known[key]
    else failures.push(`${key}: is in ${knownFile}, and was not measured`)
  }
}
if (args.includes("--record")) writeFileSync(knownFile, `${JSON.stringify(known, null, 2)}\n`)
for (const failure of failures) console.error(`FAILED ${failure}`)
// Peers may have left something open.
process.exit(failures.length > 0 ? 1 : 0)
