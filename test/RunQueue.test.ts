import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, FiberRef, type Runtime } from "effect"
import { type Ready, RunQueue } from "../src/RunQueue.ts"

type Step = "now" | "later" | "withdraw" | "turn"

/** What is ready, and which of the other items, by index, it puts into the queue when it begins. */
interface Script {
  readonly sends: ReadonlyArray<Step>
}

const steps = FastCheck.array(
  FastCheck.constantFrom<Step>("now", "now", "later", "later", "withdraw", "turn"),
  { maxLength: 6 }
)

/** A queue whose later turns come when `turn` is called, and what has begun in it. */
const setUp = () => {
  const tasks: Array<() => void> = []
  const begun: Array<number> = []
  const scheduler = {
    scheduleTask: (task: () => void) => void tasks.push(task),
    shouldYield: () => false as const
  }
  const runtime = Effect.runSync(
    Effect.locally(Effect.runtime<never>(), FiberRef.currentScheduler, scheduler)
  )
  const queue = new RunQueue<Item>()
  let made = 0
  let depth = 0
  let deepest = 0
  class Item implements Ready {
    readonly runtime = runtime as Runtime.Runtime<any>
    readonly id = made++
    readonly crew = {
      begin: () => {
        begun.push(this.id)
        deepest = Math.max(deepest, ++depth)
        this.act()
        depth--
      }
    }
    readonly act: () => void
    constructor(act: () => void = () => {}) {
      this.act = act
    }
  }
  return {
    queue,
    begun,
    item: (act?: () => void) => new Item(act),
    deepest: () => deepest,
    turn: () => {
      for (const task of tasks.splice(0)) task()
    },
    isIdle: () => tasks.length === 0
  }
}

describe("RunQueue", () => {
  it.prop(
    "begins all in the order in which it came, once, and on no more than two levels of a stack",
    [FastCheck.array(steps, { maxLength: 12 }), steps],
    ([scripts, first]) => {
      const { begun, deepest, isIdle, item, queue, turn } = setUp()
      const pushed: Array<ReturnType<typeof item>> = []
      const withdrawn = new Set<number>()
      let isTurning = false
      const send = (todo: Script["sends"]): void => {
        for (const step of todo) {
          if (step === "turn" && !isTurning) {
            isTurning = true
            turn()
            isTurning = false
          }
          if (step === "withdraw") {
            const last = pushed.at(-1)
            if (last !== undefined && queue.withdraw(last)) withdrawn.add(last.id)
          }
          if (step !== "now" && step !== "later") continue
          const script = scripts[pushed.length] ?? []
          const next = item(() => send(script.filter((each) => each !== "turn")))
          pushed.push(next)
          queue.push(next)
          if (step === "now") queue.beginNow()
          else queue.beginLater()
        }
      }
      send(first)
      while (!isIdle()) turn()
      const left = pushed.filter(({ id }) => !withdrawn.has(id)).map(({ id }) => id)
      assert.deepStrictEqual(begun, left)
      assert.isAtMost(deepest(), 2)
      assert.deepStrictEqual(queue.waiting(), [])
    }
  )

  it("begins at once what nothing is before, and in a later turn all else", () => {
    const { begun, item, queue, turn } = setUp()
    queue.push(item())
    queue.push(item())
    queue.beginNow()
    assert.deepStrictEqual(begun, [0, 1])
    queue.push(item())
    queue.beginLater()
    queue.push(item())
    queue.beginNow()
    assert.deepStrictEqual(begun, [0, 1])
    turn()
    assert.deepStrictEqual(begun, [0, 1, 2, 3])
  })

  it("begins later what something that was begun at once sends", () => {
    const { begun, item, queue, turn } = setUp()
    const sending = () => {
      queue.push(item())
      queue.beginNow()
      assert.deepStrictEqual(begun, [0])
    }
    queue.push(item(sending))
    queue.beginNow()
    turn()
    assert.deepStrictEqual(begun, [0, 1])
  })

  it.each(["now", "later"] as const)("begins with 256 in one turn, if it is %s", (when) => {
    const { begun, item, queue, turn } = setUp()
    for (let n = 0; n < 600; n++) queue.push(item())
    if (when === "now") queue.beginNow()
    else {
      queue.beginLater()
      turn()
    }
    assert.strictEqual(begun.length, 256)
    turn()
    assert.strictEqual(begun.length, 512)
    turn()
    assert.strictEqual(begun.length, 600)
  })

  it("gives what is next to who has done with one; of what began at once, no more than that", () => {
    const { begun, item, queue, turn } = setUp()
    const later = item()
    const second = item()
    const first = item(() => {
      queue.push(later)
      queue.beginLater()
      assert.strictEqual(queue.take(), second)
      assert.isUndefined(queue.take())
    })
    queue.push(first)
    queue.push(second)
    queue.beginNow()
    turn()
    assert.deepStrictEqual(begun, [first.id, later.id])
    queue.push(
      item(() => {
        queue.push(second)
        queue.beginLater()
        assert.strictEqual(queue.take(), second)
      })
    )
    queue.beginLater()
    turn()
  })
})
