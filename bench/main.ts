/** `npm run bench [name...] [-- --quick]`: runs the named benchmarks, or all. */
import { readFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, totalmem } from "node:os"
import { lifecycle } from "./lifecycle.ts"

const benchmarks: Record<string, (quick: boolean) => Promise<void>> = { lifecycle }

const versionOf = (manifest: string): string =>
  JSON.parse(readFileSync(new URL(manifest, import.meta.url), "utf8")).version

const args = process.argv.slice(2)
const quick = args.includes("--quick")
const chosen = args.filter((arg) => arg !== "--quick")
const unknown = chosen.filter((name) => !(name in benchmarks))
if (unknown.length > 0) {
  console.error(`No benchmark ${unknown.join(", ")}. There are: ${Object.keys(benchmarks).join(", ")}.`)
  process.exit(1)
}

const [cpu] = cpus()
console.log(
  `effect-services ${versionOf("../package.json")}, ` +
    `effect ${versionOf("../node_modules/effect/package.json")}, Node ${process.versions.node}\n` +
    `${cpu?.model ?? "unknown CPU"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ` +
    `${platform()} ${arch()}, load ${loadavg()[0]!.toFixed(1)} at the start\n`
)
for (const name of chosen.length > 0 ? chosen : Object.keys(benchmarks)) {
  console.log(`## ${name}${quick ? " (quick)" : ""}\n`)
  // One after another: they would disturb each other.
  // eslint-disable-next-line no-await-in-loop
  await benchmarks[name]!(quick)
}
