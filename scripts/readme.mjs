// Puts the example files, or regions of them, into README.md, behind their markers. With --check, fails where it differs.
import { readFileSync, writeFileSync } from "node:fs"

/** The code of a file, or of a region in it: `examples/14-testing-an-app.ts#day`. */
const codeOf = (marker) => {
  const [file, region] = marker.split("#")
  const code = readFileSync(file, "utf8")
  if (region === undefined) return code
  const [, found] = new RegExp(`^// #region ${region}\n([^]*?)^// #endregion`, "m").exec(code) ?? []
  if (found === undefined) throw new Error(`${file} has no region ${region}`)
  return found
}

const old = readFileSync("README.md", "utf8")
let shown = 0
const text = old.replaceAll(/<!-- (examples\/\S+) -->\n```ts\n[^]*?```/g, (_, marker) => {
  shown++
  return `<!-- ${marker} -->\n\`\`\`ts\n${codeOf(marker)}\`\`\``
})
if (!process.argv.includes("--check")) writeFileSync("README.md", text)
else if (text !== old) throw new Error("README.md differs from the examples: run node scripts/readme.mjs")
else if (old.match(/```ts/g)?.length !== shown) throw new Error("README.md has code that is no example")
