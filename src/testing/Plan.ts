/** Which scenarios an app is tried with, and how one that breaks a law is made shorter. */
import * as Effect from "effect/Effect"
import * as Utils from "effect/Utils"
import * as Faults from "./Faults.ts"
import type { Rehearsal } from "./Rehearsal.ts"
import type { Fault, Scenario } from "./Scenario.ts"

/** What a rehearsal in which nothing goes wrong has shown. */
type Known = Pick<Rehearsal, "reached" | "steps">

/** Each trouble alone, simple ones first. */
export const each = ({ reached, steps }: Known): ReadonlyArray<Scenario> => [
  { stop: "twice" },
  { isAdopted: true },
  ...Array.from({ length: seeds }, (_, index) => ({ seed: index + 1 })),
  ...faultsAt(reached).map((fault) => ({ faults: [fault] })),
  ...spread(0, steps.boot, bootStops).map((stopAfter) => ({ stopAfter })),
  ...spread(steps.boot, steps.all, laterStops).map((stopAfter) => ({ stopAfter }))
]

/** In how many random orders an app is run in which nothing goes wrong. */
const seeds = 10
/** At how many points of its boot an app is stopped; that of a few services has about as many. */
const bootStops = 100
/** At how many points it is stopped later, where less is in the balance. */
const laterStops = 30

/** Several troubles at once, made up from a seed. */
export const atRandom = ({ reached, steps }: Known, count: number, seed: number): ReadonlyArray<Scenario> => {
  const random = new Utils.PCGRandom(seed)
  const faults = faultsAt(reached)
  const isSo = (oneOf: number) => random.integer(oneOf) === 0
  return Array.from({ length: count }, () => ({
    faults:
      faults.length === 0
        ? []
        : // The index is below the length.
          Array.from({ length: random.integer(4) }, () => faults[random.integer(faults.length)]!),
    ...(isSo(2) ? { stopAfter: 1 + random.integer(Math.max(1, steps.all)) } : {}),
    ...(isSo(3) ? { stop: "twice" as const } : {}),
    ...(isSo(5) ? { isAdopted: true } : {}),
    ...(isSo(2) ? { seed: 1 + random.integer(1_000_000) } : {})
  }))
}

/** The shortest scenario that is found by leaving things out of one, and that shows the same. */
export const shortest = <A>(
  scenario: Scenario,
  shown: A,
  shows: (shorter: Scenario) => Effect.Effect<A | undefined>
): Effect.Effect<A> =>
  Effect.gen(function* () {
    for (const next of shorter(scenario)) {
      const still = yield* shows(next)
      if (still !== undefined) return yield* shortest(next, still, shows)
    }
    return shown
  })

const shorter = ({ faults = [], isAdopted, seed, stop, stopAfter }: Scenario): ReadonlyArray<Scenario> => {
  const all = { faults, isAdopted, seed, stop, stopAfter }
  return [
    ...(seed === undefined ? [] : [{ ...all, seed: undefined }]),
    ...(isAdopted === undefined ? [] : [{ ...all, isAdopted: undefined }]),
    ...(stop === undefined ? [] : [{ ...all, stop: undefined }]),
    ...(stopAfter === undefined ? [] : [{ ...all, stopAfter: undefined }]),
    ...faults.map((_, index) => ({ ...all, faults: faults.toSpliced(index, 1) })),
    ...(stopAfter === undefined || stopAfter === 1 ? [] : [{ ...all, stopAfter: Math.floor(stopAfter / 2) }])
  ]
}

const faultsAt = (reached: Rehearsal["reached"]): ReadonlyArray<Fault> =>
  [...reached].flatMap(([at, kind]) => Faults.troublesOf[kind].map((trouble) => ({ at, trouble })))

/** Whole numbers above one and up to another: all, or so many of them. */
const spread = (above: number, upTo: number, most: number): ReadonlyArray<number> => {
  const count = Math.min(most, upTo - above)
  return Array.from(
    { length: count },
    (_, index) => above + Math.ceil(((index + 1) * (upTo - above)) / count)
  )
}
