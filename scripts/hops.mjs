/**
 * Counts the hops from source file to source file that one operation takes
 * through `src`. Each function there reports when it is entered; a hop is the
 * entry of a function in another file than the one entered before. Code outside
 * `src` does not count, nor does the return from a call, nor the resumption of
 * a generator. The operations are in hopsScenarios.mjs; each has a process of its own.
 *
 *   node scripts/hops.mjs [operation...] [--path] [--check]
 *
 * `--path` prints the files in order, with the functions entered in each; a
 * nameless function is `outer~`, after the one around it. `--check` fails when
 * an operation is over its limit.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative, resolve, sep } from "node:path"
import { build } from "esbuild"
import ts from "typescript"

const limits = { emit: 20, tick: 20, "failed start": 50, SIGTERM: 50 }

const root = resolve(import.meta.dirname, "..")
const src = join(root, "src")

/** What a function is called, or else what it is the value of; a nameless one by the function around it. */
const nameOf = (node) => {
  const { name, parent } = node
  if (name !== undefined) return name.getText()
  if (ts.isConstructorDeclaration(node)) return `new ${parent.name?.getText() ?? "class"}`
  const isValue = ts.isVariableDeclaration(parent) || ts.isPropertyDeclaration(parent)
  if (isValue || ts.isPropertyAssignment(parent)) return parent.name.getText()
  const outer = ts.findAncestor(parent, ts.isFunctionLike)
  return outer === undefined ? "~" : `${nameOf(outer).replace(/~$/, "")}~`
}

/** The code, in which each function first reports its file and name. Lines stay. */
const instrument = (path, code) => {
  const source = ts.createSourceFile(path, code, ts.ScriptTarget.Latest, true)
  const file = relative(src, path).replaceAll(sep, "/")
  const insertions = []
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) {
      const report = `globalThis.hop?.(${JSON.stringify(file)}, ${JSON.stringify(nameOf(node))})`
      const start = node.body.getStart(source)
      if (ts.isBlock(node.body)) insertions.push([start + 1, `${report};`])
      else insertions.push([start, `(${report}, `], [node.body.end, ")"])
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return insertions
    .toSorted(([one], [other]) => other - one)
    .reduce((text, [place, added]) => text.slice(0, place) + added + text.slice(place), code)
}

const instrumented = {
  name: "instrumented",
  setup: ({ onLoad }) => {
    onLoad({ filter: /\.ts$/ }, ({ path }) =>
      path.startsWith(src + sep)
        ? { contents: instrument(path, readFileSync(path, "utf8")), loader: "ts" }
        : undefined
    )
  }
}

const printPath = (entries) => {
  const visits = []
  for (const [file, name] of entries) {
    const last = visits.at(-1)
    if (last?.file !== file) visits.push({ file, names: [name] })
    else if (last.names.at(-1) !== name) last.names.push(name)
  }
  const width = Math.max(...visits.map(({ file }) => file.length))
  visits.forEach(({ file, names }, hop) =>
    console.log(`${String(hop).padStart(4)}  ${file.padEnd(width)}  ${names.join(", ")}`)
  )
}

const flags = process.argv.slice(2)
const asked = flags.filter((flag) => !flag.startsWith("--"))
const unknown = asked.find((operation) => !(operation in limits))
if (unknown !== undefined) throw new Error(`No such operation: ${unknown}`)

const folder = mkdtempSync(join(tmpdir(), "hops-"))
const results = []
try {
  const outfile = join(folder, "scenarios.mjs")
  await build({
    entryPoints: [join(import.meta.dirname, "hopsScenarios.mjs")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    conditions: ["effect-services:source"],
    plugins: [instrumented],
    logLevel: "warning"
  })
  for (const operation of asked.length > 0 ? asked : Object.keys(limits)) {
    const output = execFileSync(process.execPath, [outfile, operation], {
      encoding: "utf8",
      timeout: 30_000,
      stdio: ["ignore", "pipe", "inherit"]
    })
    // The app writes its log there, too.
    const entries = JSON.parse(output.split("\n").find((line) => line.startsWith("[[")))
    const hops = entries.filter(([file], index) => index > 0 && file !== entries[index - 1][0]).length
    const rooms = new Set(entries.map(([file]) => file)).size
    results.push({ operation, hops, rooms, limit: limits[operation] })
    if (flags.includes("--path")) {
      console.log(`\n${operation}`)
      printPath(entries)
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
console.table(results)
if (flags.includes("--check") && results.some(({ hops, limit }) => hops > limit)) process.exitCode = 1
