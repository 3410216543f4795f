/** Scenarios: what is done to an app to see whether its services keep their laws, as data that can be written down. */
import * as Effect from "effect/Effect"
import * as Utils from "effect/Utils"
import { below, counted, listed } from "../internal/Format.ts"
import * as Input from "../internal/Input.ts"

/** One course of events. Without any of these, the app starts, runs, and is stopped. */
export interface Scenario {
  /** What goes wrong, each once, when its step is first reached. */
  readonly faults?: ReadonlyArray<Fault> | undefined
  /** After how many steps of its fibers the app is asked to stop, whether or not it is up. By default when it has run for a while. */
  readonly stopAfter?: number | undefined
  /** How the app is asked to stop. Defaults to `"once"`. `"twice"`: by two at once, one of which interrupts it. */
  readonly stop?: "once" | "twice" | undefined
  /** Whether another service adopts the services, and restarts them once. */
  readonly isAdopted?: boolean | undefined
  /** With a seed, fibers yield at random points and run in random order. */
  readonly seed?: number | undefined
}

/** Something that goes wrong at a step. */
export interface Fault {
  /** `Mailer: interval 1m`. */
  readonly at: string
  readonly trouble: Trouble
}

/**
 * What goes wrong: the step fails with an error, dies, is interrupted, hangs,
 * asks for the stop of its service, or takes a second longer.
 */
export type Trouble = "fail" | "die" | "interrupt" | "hang" | "stop" | "slow"

/** Which part of a service's life a step belongs to. */
export type StepKind = "start" | "run" | "handler" | "stop"

/** What a simulation without faults has shown: the steps there are, and how many runs of fibers it took. */
export interface Known {
  readonly reached: ReadonlyMap<string, StepKind>
  readonly steps: { readonly boot: number; readonly all: number }
}

/** The name of the app in a simulation. */
export const appName = "App"

/** The name of the service that adopts the services. */
export const parentName = "Laws"

/** The path of a service, the same whether it is adopted or not. */
export const nameOf = (path: string): string => below(parentName, below(appName, path))

/** In words: `Mailer: interval 1m dies; the app is stopped after 12 steps (seed 5)`. */
export const describe = ({ faults = [], isAdopted, seed, stop, stopAfter }: Scenario): string => {
  const wrong = faults.map(({ at, trouble }) => `${at} ${verbs[trouble]}`)
  const first = wrong.length === 0 ? "nothing goes wrong" : listed(wrong)
  const restarted = isAdopted === true ? "; as a child it is restarted" : ""
  const times = stop === "twice" ? " by several at once" : ""
  const when = stopAfter === undefined ? "" : ` after ${counted(stopAfter, "step")}`
  const order = seed === undefined ? "" : ` (seed ${seed})`
  return `${first}${restarted}; the app is stopped${times}${when}${order}`
}

/** Throws `InputError` when a value, perhaps typed by hand, is not a scenario. */
export const validate = (where: string, scenario: Scenario): void => {
  const { faults = [], isAdopted, seed, stop, stopAfter } = Input.options(where, scenario)
  if (!Array.isArray(faults)) {
    throw new Input.InputError({ where, input: "faults", expected: "a list of faults", actual: faults })
  }
  for (const { at, trouble } of faults) {
    Input.name(where, "at", at)
    Input.oneOf(where, "trouble", troubles, trouble)
  }
  if (isAdopted !== undefined) Input.oneOf(where, "isAdopted", [true, false], isAdopted)
  if (seed !== undefined) Input.positiveInteger(where, "seed", seed)
  if (stop !== undefined) Input.oneOf(where, "stop", ["once", "twice"], stop)
  if (stopAfter !== undefined) Input.positiveInteger(where, "stopAfter", stopAfter)
}

const verbs: Record<Trouble, string> = {
  fail: "fails",
  die: "dies",
  interrupt: "is interrupted",
  hang: "hangs",
  stop: "asks for the stop of its service",
  slow: "takes a second longer"
}

const troubles = Object.keys(verbs) as ReadonlyArray<Trouble>

/** How many random orders are tried without faults. */
const seeds = 10
/** How many points of the boot the app is stopped at: about as many as the boot of a few services has. */
const bootStops = 100
/** How many later points the app is stopped at, where less can go wrong. */
const laterStops = 30

/** Each trouble alone, simple ones first. */
export const each = ({ reached, steps }: Known): ReadonlyArray<Scenario> => [
  { stop: "twice" },
  { isAdopted: true },
  ...Array.from({ length: seeds }, (_, index) => ({ seed: index + 1 })),
  ...faultsAt(reached).map((fault) => ({ faults: [fault] })),
  ...spread(0, steps.boot, bootStops).map((stopAfter) => ({ stopAfter })),
  ...spread(steps.boot, steps.all, laterStops).map((stopAfter) => ({ stopAfter }))
]

/** Several troubles at once, generated from a seed. */
export const atRandom = ({ reached, steps }: Known, count: number, seed: number): ReadonlyArray<Scenario> => {
  const random = new Utils.PCGRandom(seed)
  const faults = faultsAt(reached)
  const isOneIn = (many: number) => random.integer(many) === 0
  return Array.from({ length: count }, () => ({
    faults:
      faults.length === 0
        ? []
        : // The index is below the length.
          Array.from({ length: random.integer(4) }, () => faults[random.integer(faults.length)]!),
    ...(isOneIn(2) ? { stopAfter: 1 + random.integer(Math.max(1, steps.all)) } : {}),
    ...(isOneIn(3) ? { stop: "twice" as const } : {}),
    ...(isOneIn(5) ? { isAdopted: true } : {}),
    ...(isOneIn(2) ? { seed: 1 + random.integer(1_000_000) } : {})
  }))
}

/** Shrinks a scenario as long as `shows` gives a result for the smaller one. Gives the result of the smallest. */
export const shrink = <A>(
  scenario: Scenario,
  shown: A,
  shows: (smaller: Scenario) => Effect.Effect<A | undefined>
): Effect.Effect<A> =>
  Effect.gen(function* () {
    for (const next of smaller(scenario)) {
      const still = yield* shows(next)
      if (still !== undefined) return yield* shrink(next, still, shows)
    }
    return shown
  })

const smaller = ({ faults = [], isAdopted, seed, stop, stopAfter }: Scenario): ReadonlyArray<Scenario> => {
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

/** What can go wrong with each kind of step. */
const troublesOf: Record<StepKind, ReadonlyArray<Trouble>> = {
  start: ["fail", "die", "interrupt", "hang"],
  run: ["fail", "die", "interrupt", "hang", "stop"],
  handler: ["fail", "die", "interrupt", "hang", "stop", "slow"],
  stop: ["fail", "die", "interrupt", "hang"]
}

const faultsAt = (reached: Known["reached"]): ReadonlyArray<Fault> =>
  [...reached].flatMap(([at, kind]) => troublesOf[kind].map((trouble) => ({ at, trouble })))

/** Whole numbers above one and up to another: all, or `most` of them, evenly spread. */
const spread = (above: number, upTo: number, most: number): ReadonlyArray<number> => {
  const count = Math.min(most, upTo - above)
  return Array.from(
    { length: count },
    (_, index) => above + Math.ceil(((index + 1) * (upTo - above)) / count)
  )
}
