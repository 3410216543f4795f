import { assert, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { Few } from "../src/internal/Few.ts"

it.prop(
  "is what a set would be, whatever is added and taken off",
  {
    steps: FastCheck.array(
      FastCheck.tuple(FastCheck.constantFrom("add", "delete"), FastCheck.constantFrom("a", "b", "c"))
    )
  },
  ({ steps }) => {
    const few = new Few<string>()
    const set = new Set<string>()
    for (const [step, item] of steps) {
      few[step as "add" | "delete"](item)
      set[step as "add" | "delete"](item)
      assert.deepStrictEqual([...few], [...set])
      assert.strictEqual(few.size, set.size)
      for (const each of ["a", "b", "c"]) assert.strictEqual(few.has(each), set.has(each))
    }
  }
)
