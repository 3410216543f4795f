/** Payloads that fit events, for listeners that are to be tried. */
import * as Arbitrary from "effect/Arbitrary"
import * as FastCheck from "effect/FastCheck"
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
    return FastCheck.sample(Arbitrary.make(event.schema), { numRuns: 1, seed: 1 })
  } catch {
    return []
  }
}
