import { assert, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"

/**
 * The floors of the house, lowest first. A file imports from its own folder and
 * from lower floors. `Event` and `Failure` are the vocabulary that the inside speaks.
 */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["src/internal"],
  ["src/Event.ts", "src/Failure.ts", "src/internal/status", "src/internal/telemetry"],
  ["src/internal/journal"],
  ["src/internal/lifecycle"],
  ["src/internal/supervision"],
  ["src/internal/tasks", "src/internal/events"],
  ["src"],
  ["src/node", "src/testing"]
]

const floorOf = (file: string) =>
  floors.findIndex((floor) => floor.includes(file)) >= 0
    ? floors.findIndex((floor) => floor.includes(file))
    : floors.findIndex((floor) => floor.includes(dirname(file)))

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => join("src", file))

it("imports run one way between the folders", () => {
  const wrong = files.flatMap((file) => {
    const text = readFileSync(file, "utf8")
    assert.isAtLeast(floorOf(file), 0, `${file} lies on no floor: see test/house.test.ts`)
    const imports = Array.from(text.matchAll(/from "(\.{1,2}\/.+?)"/g), ([, path]) =>
      normalize(join(dirname(file), path!))
    )
    const upwards = imports.filter(
      (path) =>
        floorOf(path) > floorOf(file) ||
        (floorOf(path) === floorOf(file) && dirname(path) !== dirname(file) && floorOf(path) > 1)
    )
    return upwards.map((path) => `${file} imports ${path}`)
  })
  assert.deepStrictEqual(wrong, [])
})

it("only src/node imports Node modules", () => {
  const wrong = files.filter(
    (file) =>
      dirname(file) !== "src/node" && /from "(node:|@effect\/platform-node)/.test(readFileSync(file, "utf8"))
  )
  assert.deepStrictEqual(wrong, [])
})

it("nothing reaches into what Effect keeps to itself", () => {
  // `_tag`, `_op` and `_id` are how public data tells its kind.
  const hidden =
    /[\])\w]\??\._(?!(?:tag|op|id)\b)[a-z]\w*|as unknown as|Object\.definePropert|\["_(?!tag\b)[a-z]/
  const wrong = files.flatMap((file) =>
    readFileSync(file, "utf8")
      .split("\n")
      .flatMap((line, index) =>
        hidden.test(line.replace(/\/\/.*|^ *\*.*/, "")) ? [`${file}:${index + 1} ${line.trim()}`] : []
      )
  )
  assert.deepStrictEqual(wrong, [])
})
