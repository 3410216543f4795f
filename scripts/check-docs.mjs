// Type-checks each ```ts block in the doc comments of src, as a module of its own, with the project's tsc.
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const files = readdirSync("src", { recursive: true })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => join("src", file))

/** The blocks of a file. `line` is where the code begins; each of its lines begins with ` * `. */
const blocksOf = (file) => {
  const text = readFileSync(file, "utf8")
  const fence = /^([ \t]*\* ?)```ts\n([^]*?)^[ \t]*\* ?```/gm
  return [...text.matchAll(fence)].map(({ 1: prefix, 2: body, index }) => ({
    file,
    line: text.slice(0, index).split("\n").length + 1,
    column: prefix.length,
    code: body.replaceAll(/^[ \t]*\* ?/gm, "")
  }))
}
const blocks = files.flatMap(blocksOf)

// Inside the project, so that the package finds itself by name. No dot in front: tsconfig would not see it.
const folder = mkdtempSync("check-docs-")
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
process.on("SIGINT", () => process.exit(130))
process.on("SIGTERM", () => process.exit(143))

for (const [i, block] of blocks.entries()) {
  writeFileSync(join(folder, `block${i}.ts`), block.code)
}
const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false, plugins: [] }
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({ extends: "../tsconfig.json", compilerOptions, include: ["."] })
)

const tsc = spawnSync(
  process.execPath,
  ["node_modules/@typescript/native/bin/tsc", "-p", folder, "--pretty", "false"],
  { encoding: "utf8" }
)
const where = (_, i, line, column) => {
  const block = blocks[Number(i)]
  return `${block.file}:${block.line + Number(line) - 1}:${block.column + Number(column)} `
}
process.stdout.write(tsc.stdout.replaceAll(/^\S*block(\d+)\.ts\((\d+),(\d+)\): /gm, where))
process.stderr.write(tsc.stderr)
const isGood = tsc.status === 0 && blocks.length > 0
console.log(
  `${blocks.length} ts blocks of ${files.length} files checked${isGood ? "" : ": not all are right"}`
)
process.exitCode = isGood ? 0 : 1
