import { assert, it } from "@effect/vitest"
import { Context } from "effect"
import * as ContextOverlay from "../src/internal/ContextOverlay.ts"

const tags = ["a", "b", "c", "d", "e", "f", "g"].map((key) => Context.GenericTag<never, number>(key))

it("is what the copy would be, however many are on top of each other", () => {
  let over: Context.Context<never> = Context.make(tags[0]!, 0)
  let copy = over
  // Some for the first time, and some again.
  for (const [value, index] of [1, 2, 0, 3, 1, 4, 5, 6, 6, 2].entries()) {
    over = ContextOverlay.add(over, tags[index]!, value)
    copy = Context.add(copy, tags[index]!, value)
    const [one, other] = [over.unsafeMap, copy.unsafeMap]
    assert.deepStrictEqual(new Map(one), new Map(other))
    assert.sameMembers([...one.keys()], [...other.keys()])
    assert.sameMembers([...one.values()], [...other.values()])
    const each: Array<[string, unknown]> = []
    one.forEach((value, key) => each.push([key, value]))
    assert.deepStrictEqual(each, [...one.entries()])
    assert.strictEqual(one.size, other.size)
    for (const tag of tags) assert.deepStrictEqual(Context.getOption(over, tag), Context.getOption(copy, tag))
  }
})

it("changes nothing below it, whoever changes it", () => {
  const below = Context.make(tags[0]!, 0)
  const over = ContextOverlay.add(below, tags[1]!, 1)
  over.unsafeMap.set("a", 2).set("b", 3).set("c", 4)
  assert.sameDeepMembers(
    [...over.unsafeMap],
    [
      ["a", 2],
      ["b", 3],
      ["c", 4]
    ]
  )
  assert.deepStrictEqual([...below.unsafeMap], [["a", 0]])
  assert.throws(() => over.unsafeMap.delete("a"), TypeError)
  assert.throws(() => over.unsafeMap.clear(), TypeError)
})
