/**
 * A bounded queue of what waits to be handled, with three answers when it is
 * full. An offer is decided at once, in the order in which offers are made:
 * what waits for room comes before whatever is offered later.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as MutableList from "effect/MutableList"
import * as Latch from "../Latch.ts"

/** A queue of `A`. */
export interface Backlog<A> {
  /** Puts items in front, which do not count as queued. */
  readonly seed: (items: ReadonlyArray<A>) => void
  /** What becomes of the item. */
  readonly offer: (item: A) => "taken" | "dropped" | "refused" | Waiting
  /** Takes the first item, or the first for which `isNext` is true; none when there is none. */
  readonly take: (isNext?: (item: A) => boolean) => A | undefined
  /** Takes no more. What is there, and what waits for room, can still be taken. */
  readonly end: () => void
  /** Takes no more, and forgets what is there. Gives how many items that were. */
  readonly clear: () => number
  readonly isEmpty: () => boolean
  /** How many items wait, for their turn or for room. */
  readonly size: () => number
  /** What is taken next. */
  readonly peek: () => A | undefined
}

/** An item that waits for room. */
export interface Waiting {
  /** Waits until it is in the queue, or the queue is cleared. */
  readonly room: Effect.Effect<void>
  /** Takes the item back, if it still waits. */
  readonly withdraw: () => void
}

/** Makes an empty queue. */
export const make = <A>(capacity: number, onFull: "wait" | "dropOldest" | "dropNewest"): Backlog<A> => {
  const seeds: Array<A> = []
  const items = MutableList.empty<A>()
  const waiting = new Set<{ readonly item: A; readonly done: Deferred.Deferred<void> }>()
  let hasEnded = false

  const isEmpty = () => seeds.length === 0 && MutableList.isEmpty(items)
  const letIn = (room: number) => {
    for (const offer of waiting) {
      if (room-- <= 0) return
      waiting.delete(offer)
      MutableList.append(items, offer.item)
      Deferred.unsafeDone(offer.done, Effect.void)
    }
  }

  const size = () => seeds.length + MutableList.length(items) + waiting.size

  return {
    isEmpty,
    size,
    peek: () => seeds[0] ?? MutableList.head(items),
    seed: (more) => void seeds.push(...more),
    offer: (item) => {
      if (hasEnded) return "refused"
      const isFull = MutableList.length(items) >= capacity
      if (!isFull) {
        MutableList.append(items, item)
        return "taken"
      }
      if (onFull === "wait") {
        const offer = { item, done: Deferred.unsafeMake<void>(Latch.ours) }
        waiting.add(offer)
        return { room: Deferred.await(offer.done), withdraw: () => void waiting.delete(offer) }
      }
      if (onFull === "dropOldest") {
        MutableList.shift(items)
        MutableList.append(items, item)
      }
      return "dropped"
    },
    take: (isNext) => {
      if (seeds.length > 0) {
        const seed = isNext === undefined ? 0 : seeds.findIndex(isNext)
        if (seed >= 0) return seeds.splice(seed, 1)[0]
      }
      const item = isNext === undefined ? MutableList.shift(items) : takeFirst(items, isNext)
      if (item !== undefined) letIn(1)
      return item
    },
    end: () => {
      hasEnded = true
      letIn(waiting.size)
    },
    clear: () => {
      hasEnded = true
      const count = size()
      for (const { done } of waiting) Deferred.unsafeDone(done, Effect.void)
      waiting.clear()
      seeds.length = 0
      MutableList.reset(items)
      return count
    }
  }
}

const takeFirst = <A>(items: MutableList.MutableList<A>, isNext: (item: A) => boolean): A | undefined => {
  const passed: Array<A> = []
  let item = MutableList.shift(items)
  for (; item !== undefined && !isNext(item); item = MutableList.shift(items)) passed.push(item)
  for (const back of passed.toReversed()) MutableList.prepend(items, back)
  return item
}
