// Puts the example files into README.md, behind their markers.
import { readFileSync, writeFileSync } from "node:fs"

const old = readFileSync("README.md", "utf8")
const text = old.replaceAll(
  /<!-- (examples\/\S+) -->\n```ts\n[^]*?```/g,
  (_, file) => `<!-- ${file} -->\n\`\`\`ts\n${readFileSync(file, "utf8")}\`\`\``
)
writeFileSync("README.md", text)
