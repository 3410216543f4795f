/** Payloads that fit events, for listeners that are to be tried. */
import * as Arbitrary from "effect/Arbitrary"
import * as FastCheck from "effect/FastCheck"
import * as Utils from "effect/Utils"
import type * as Event from "../Event.ts"

/** A payload that fits an event, the same each time; none where its schema does not say how to make one. */
export const of = (event: Event.Event<string, any>): ReadonlyArray<unknown> => {
  const known = samples.get(event)
  if (known !== undefined) return known
  const sample = made(event)
  samples.set(event, sample)
  return sample
}

/** A schema with filters may take a second to sample. */
const samples = new WeakMap<object, ReadonlyArray<unknown>>()

const made = (event: Event.Event<string, any>): ReadonlyArray<unknown> => {
  try {
    return FastCheck.sample(Arbitrary.make(event.schema), { numRuns: 1, seed: 1, randomType: limited })
  } catch {
    return []
  }
}

/**
 * Numbers at random for a sample, but not for ever: a filter that lets nearly
 * nothing pass asks for more and more.
 */
const limited = (seed: number): Generator => {
  const random = new Utils.PCGRandom(seed)
  let asked = 0
  const unsafeNext = () => {
    if (++asked > mostNumbers) throw new Error("the schema cannot be sampled")
    return Math.floor(random.number() * 2 ** 32) - 2 ** 31
  }
  const generator: Generator = {
    clone: () => generator,
    next: () => [unsafeNext(), generator],
    unsafeNext
  }
  return generator
}

/** As fast-check asks for one. */
interface Generator {
  readonly clone: () => Generator
  readonly next: () => [number, Generator]
  readonly unsafeNext: () => number
}

/** Enough for large payloads, and asked for in about a second. */
const mostNumbers = 1_000_000
