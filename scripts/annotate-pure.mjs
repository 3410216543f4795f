/**
 * Marks what the built modules make while they load as free of effects, as
 * Effect's own build does. Without it a bundler keeps each tag and each error
 * class, and all that these need, in a bundle that uses none of them.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import ts from "typescript"

const isStatic = ({ kind }) => kind === ts.SyntaxKind.StaticKeyword
const mark = "/* @__PURE__ */ "

/** The code, with the mark before each call that gives a value to a module: not in functions, nor where a call is a statement. */
export const annotated = (code) => {
  const source = ts.createSourceFile("module.ts", code, ts.ScriptTarget.Latest, true)
  const places = []
  const visit = (node) => {
    if (ts.isFunctionLike(node) || ts.isExpressionStatement(node)) return
    // What a class gives to its instances is made with each of them.
    if (ts.isPropertyDeclaration(node) && !node.modifiers?.some(isStatic)) return
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) places.push(node.getStart(source))
    ts.forEachChild(node, visit)
  }
  visit(source)
  return [...new Set(places)]
    .toSorted((one, other) => other - one)
    .reduce((text, place) => text.slice(0, place) + mark + text.slice(place), code)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const file of readdirSync("dist", { recursive: true })) {
    if (!file.endsWith(".js")) continue
    const path = join("dist", file)
    writeFileSync(path, annotated(readFileSync(path, "utf8")))
  }
}
