/**
 * Bundles the benchmarks, or the soak, with esbuild and runs them. `tsx` would
 * keep the name of each function, which costs time and memory that no user pays.
 * With `--dist` it measures the built package.
 */
import { build } from "esbuild"
import { pathToFileURL } from "node:url"

const entry = process.argv[2] === "soak" ? "soak" : "main"
const outfile = `bench/.build/${entry}.mjs`
await build({
  entryPoints: [`bench/${entry}.ts`],
  outfile,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "esm",
  conditions: process.argv.includes("--dist") ? [] : ["effect-services:source"],
  external: ["effect", "effect/*", "@effect/*", "esbuild"],
  logLevel: "warning"
})
await import(pathToFileURL(outfile).href)
