/**
 * Marks what the built modules make while they load as pure, as Effect's own
 * build does: each call that gives a value to a module, but not those in
 * functions, nor those that are a statement. Without it a bundler keeps each
 * tag and each error class, and all that these need, for apps that use none of
 * them. Lines stay, so that source maps hold; columns of marked lines move.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

const mark = "/* @__PURE__ */ "
const isStatic = ({ kind }) => kind === ts.SyntaxKind.StaticKeyword

/** Where calls begin that a module makes while it loads, last first. */
const callsOf = (source) => {
  const places = new Set()
  const visit = (node) => {
    if (ts.isFunctionLike(node) || ts.isExpressionStatement(node)) return
    // What a class gives to its instances is made with each of them.
    if (ts.isPropertyDeclaration(node) && !node.modifiers?.some(isStatic)) return
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) places.add(node.getStart(source))
    ts.forEachChild(node, visit)
  }
  visit(source)
  return [...places].toSorted((one, other) => other - one)
}

for (const file of readdirSync("dist", { recursive: true })) {
  if (!file.endsWith(".js")) continue
  const path = join("dist", file)
  const code = readFileSync(path, "utf8")
  const places = callsOf(ts.createSourceFile(path, code, ts.ScriptTarget.Latest, true))
  writeFileSync(
    path,
    places.reduce((text, place) => text.slice(0, place) + mark + text.slice(place), code)
  )
}
