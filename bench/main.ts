/**
 * `npm run bench [suite...] [-- --quick --dist --tables]`: runs the named suites, or all.
 * README.md explains the flags.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, totalmem } from "node:os"
import { bus } from "./bus.ts"
import { knownMisses } from "./knownMisses.ts"
import { lifecycle } from "./lifecycle.ts"
import { memory } from "./memory.ts"
import * as Peers from "./peers.ts"
import * as Report from "./report.ts"
import { size } from "./size.ts"
import { tasks } from "./tasks.ts"
import { timers } from "./timers.ts"

/** Measures, and throws when something that should have happened did not. */
export type Suite = (quick: boolean, report: Report.Report) => Promise<void>

const suites: Record<string, Suite> = { bus, lifecycle, timers, tasks, memory, size }

/** A quick run is small and short, so its ratios may be so many times their limits. */
const quickTolerance = 2

/** Two full runs differ by so much. */
const noise = 1.25

const args = process.argv.slice(2)
const flags = args.filter((arg) => arg.startsWith("--"))
const quick = flags.includes("--quick")
const named = args.filter((arg) => !arg.startsWith("--"))
const names = named.length > 0 ? named : Object.keys(suites)
const unknown = names.filter((name) => !(name in suites))
if (unknown.length > 0) {
  console.error(`No suite ${unknown.join(", ")}. There are: ${Object.keys(suites).join(", ")}.`)
  process.exit(1)
}

/** Where a suite leaves its result, for `--tables`. */
const folder = `bench/.build/${quick ? "quick" : "full"}`
const fileOf = (name: string): string => `${folder}/${name}.json`

if (flags.includes("--tables")) {
  printTables()
} else if (names.length === 1) {
  await run(names[0]!)
} else {
  // A process for each, so that none runs in what another left behind.
  const statuses = names.map(
    (name) =>
      spawnSync(process.execPath, [...process.execArgv, process.argv[1]!, name, ...flags], {
        stdio: "inherit"
      }).status
  )
  process.exit(statuses.every((status) => status === 0) ? 0 : 1)
}

async function run(name: string) {
  const result: Report.Result = { environment: environment(), limits: [], costs: [] }
  console.log(`## ${name}${quick ? " (quick: a smoke test, not a measurement)" : ""}\n`)
  console.log(`${result.environment}; load ${loadavg()[0]!.toFixed(1)} at the start\n`)
  const start = performance.now()
  const failures: Array<string> = []
  try {
    await suites[name]!(quick, Report.into(result))
  } catch (error) {
    console.error(error)
    failures.push(`${name} did not run to its end`)
  }
  console.log(`${Report.costTables(result.costs)}\n${Report.limitsTable(result.limits)}`)
  const seconds = Math.round((performance.now() - start) / 1_000)
  console.log(`${name} took ${seconds} s; load ${loadavg()[0]!.toFixed(1)} at the end\n`)
  const tolerance = quick ? quickTolerance : 1
  for (const limit of result.limits) {
    const times = Report.timesLimit(limit)
    const known = ((knownMisses[Report.nameOf(limit)] ?? 0) * noise) / limit.atMost
    if (times > tolerance * Math.max(1, known))
      failures.push(`${name}: ${Report.nameOf(limit)}: ${times.toFixed(1)} times its limit`)
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(fileOf(name), JSON.stringify(result))
  for (const failure of failures) console.error(`FAILED ${failure}`)
  // Peers may have left something open.
  process.exit(failures.length > 0 ? 1 : 0)
}

function printTables() {
  const missing = names.filter((name) => !existsSync(fileOf(name)))
  if (missing.length > 0) console.error(`Not run yet: ${missing.join(", ")}.`)
  const results = names
    .filter((name) => !missing.includes(name))
    .map((name): Report.Result => JSON.parse(readFileSync(fileOf(name), "utf8")))
  const limits = results.flatMap((result) => result.limits)
  console.log("For README.md:\n")
  console.log(Report.summary(limits))
  console.log("For bench/README.md:\n")
  console.log(`${[...new Set(results.map((result) => result.environment))].join("\n\n")}\n`)
  console.log(Report.limitsTable(limits))
  console.log(Report.costTables(results.flatMap((result) => result.costs)))
}

function environment(): string {
  const versionOf = (manifest: string): string => JSON.parse(readFileSync(manifest, "utf8")).version
  const peers = ["emittery", "moleculer", "@nestjs/event-emitter", "@nestjs/core"]
  return (
    `effect-services ${versionOf("package.json")}${flags.includes("--dist") ? " (built)" : ""}, ` +
    `effect ${versionOf("node_modules/effect/package.json")}, Node ${process.versions.node}; ` +
    `${peers.map((peer) => `${peer} ${Peers.version(peer) ?? "(not installed)"}`).join(", ")}; ` +
    `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ` +
    `${platform()} ${arch()}`
  )
}
