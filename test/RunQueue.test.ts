import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { beginNow, type Ready, RunQueue } from "../src/internal/lifecycle/RunQueue.ts"

type Step = "now" | "later" | "withdraw" | "turn"

const steps = FastCheck.array(
  FastCheck.constantFrom<Step>("now", "now", "later", "later", "withdraw", "turn"),
  { maxLength: 6 }
)

/** A queue whose later turns come when `turn` is called, and what has begun of it. */
const setUp = () => {
  const tasks: Array<() => void> = []
  const begun: Array<number> = []
  const queue: RunQueue<Item> = new RunQueue<Item>({
    scheduleTask: (task) => void tasks.push(task),
    shouldYield: () => false
  })
  const crew: Ready["crew"] = { begin: (item: Item) => item.begin(), ready: queue }
  let made = 0
  let depth = 0
  let deepest = 0
  class Item implements Ready {
    readonly crew = crew
    readonly id = made++
    readonly begin: () => void
    constructor(act: () => void) {
      this.begin = () => {
        begun.push(this.id)
        deepest = Math.max(deepest, ++depth)
        try {
          act()
        } finally {
          depth--
        }
      }
    }
  }
  return {
    queue,
    begun,
    item: (act: () => void = () => {}) => new Item(act),
    items: (count: number) => Array.from({ length: count }, () => new Item(() => {})),
    who: { crew, isFor: () => true },
    deepest: () => deepest,
    turn: () => {
      for (const task of tasks.splice(0)) task()
    },
    /** How many turns have been asked for. */
    turns: () => tasks.length
  }
}

describe("RunQueue", () => {
  it.prop(
    "begins all once, what waits for a turn in the order in which it came, on two levels of a stack at most",
    [FastCheck.array(steps, { maxLength: 12 }), steps],
    ([scripts, first]) => {
      const { begun, deepest, item, queue, turn, turns } = setUp()
      const all: Array<ReturnType<typeof item>> = []
      const left: Array<number> = []
      const waiting: Array<number> = []
      let isTurning = false
      const send = (todo: ReadonlyArray<Step>): void => {
        for (const step of todo) {
          if (step === "turn" && !isTurning) {
            isTurning = true
            turn()
            isTurning = false
          }
          const last = all.at(-1)
          if (step === "withdraw" && last !== undefined && queue.withdraw(last)) {
            left.splice(left.indexOf(last.id), 1)
            waiting.splice(waiting.indexOf(last.id), 1)
          }
          if (step !== "now" && step !== "later") continue
          const script = scripts[all.length] ?? []
          const next = item(() => send(script.filter((each) => each !== "turn")))
          all.push(next)
          left.push(next.id)
          const place = waiting.length
          waiting.push(next.id)
          if (step === "later") queue.beginLater(next)
          else beginNow([next])
          if (step === "now" && begun.includes(next.id)) waiting.splice(place, 1)
        }
      }
      send(first)
      while (turns() > 0) turn()
      assert.deepStrictEqual(
        begun.toSorted((one, other) => one - other),
        left
      )
      assert.deepStrictEqual(
        begun.filter((id) => waiting.includes(id)),
        waiting
      )
      assert.isAtMost(deepest(), 2)
      assert.deepStrictEqual(queue.waiting(), [])
    }
  )

  it("begins at once whatever else is ready, and asks for one turn for all the rest", () => {
    const { begun, item, items, queue, turn, turns } = setUp()
    queue.beginLater(item())
    queue.beginLater(item())
    beginNow(items(2))
    assert.deepStrictEqual(begun, [2, 3])
    assert.strictEqual(turns(), 1)
    turn()
    assert.deepStrictEqual(begun, [2, 3, 0, 1])
    queue.beginLater(item())
    assert.strictEqual(turns(), 1)
  })

  it("begins later what something sends that was begun at once, and at once, each time, what was begun later", () => {
    const { begun, item, queue, turn } = setUp()
    const counts: Array<number> = []
    const sending = () => {
      for (let n = 0; n < 2; n++) {
        beginNow([item()])
        counts.push(begun.length)
      }
    }
    beginNow([item(sending)])
    assert.deepStrictEqual(counts, [1, 1])
    turn()
    queue.beginLater(item(sending))
    turn()
    assert.deepStrictEqual(counts.slice(2), [5, 6])
  })

  it.each(["now", "later"] as const)("begins with 256 in one turn, if it is %s", (when) => {
    const { begun, items, queue, turn } = setUp()
    const all = items(600)
    if (when === "now") beginNow(all)
    else {
      for (const item of all) queue.beginLater(item)
      turn()
    }
    assert.strictEqual(begun.length, 256)
    turn()
    assert.strictEqual(begun.length, 512)
    turn()
    assert.deepStrictEqual(
      begun,
      Array.from({ length: 600 }, (_, n) => n)
    )
  })

  it("gives what is next to who has done with one, in a turn 256 of them", () => {
    const { begun, item, items, queue, turn, who } = setUp()
    const taken: Array<unknown> = []
    const second = item()
    const taking = item(() => {
      queue.beginLater(item())
      taken.push(queue.takeFor(who), queue.takeFor(who))
    })
    beginNow([taking, second])
    // What waits for a turn is not begun with at once.
    assert.deepStrictEqual(taken.splice(0), [second, undefined])
    turn()
    queue.beginLater(
      item(() => {
        for (const next of items(300)) queue.beginLater(next)
        for (let next = queue.takeFor(who); next !== undefined; next = queue.takeFor(who)) taken.push(next)
      })
    )
    begun.length = 0
    turn()
    assert.strictEqual(taken.length + begun.length, 256)
    turn()
    assert.strictEqual(taken.length + begun.length, 301)
    queue.beginLater(second)
    assert.isUndefined(queue.takeFor({ ...who, isFor: () => false }))
    assert.isUndefined(queue.takeFor({ ...who, crew: { ...who.crew } }))
  })

  it("tells what has not begun, also while something begins", () => {
    const { item, queue } = setUp()
    const told: Array<unknown> = []
    const [second, third] = [item(), item()]
    queue.beginLater(third)
    beginNow([item(() => told.push(queue.waiting())), second])
    assert.deepStrictEqual(told, [[second, third]])
  })

  it.each(["now", "later"] as const)("goes on when one throws that was begun %s", (when) => {
    const { begun, item, queue, turn } = setUp()
    const failing = item(() => {
      throw new RangeError("the stack is full")
    })
    if (when === "now") assert.throws(() => beginNow([failing, item()]), "the stack is full")
    else {
      queue.beginLater(failing)
      queue.beginLater(item())
      assert.throws(turn, "the stack is full")
    }
    turn()
    assert.deepStrictEqual(begun, [0, 1])
    beginNow([item()])
    assert.deepStrictEqual(begun, [0, 1, 2])
  })
})
