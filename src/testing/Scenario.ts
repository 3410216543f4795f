/** What is done to an app to see whether its services keep their laws, as data that can be written down. */
import * as Input from "../internal/Input.ts"
import { below, counted, listed } from "../internal/Format.ts"

/** One course of events. Without anything, the app starts, runs, and is stopped. */
export interface Scenario {
  /** What goes wrong, each once, when its step is first reached. */
  readonly faults?: ReadonlyArray<Fault> | undefined
  /** The app is asked to stop after so many steps of its fibers, be it up or not; without, when it has run for a while. */
  readonly stopAfter?: number | undefined
  /** How the app is asked to stop. Defaults to `"once"`; `"twice"`: by two at once, one of whom interrupts it. */
  readonly stop?: "once" | "twice" | undefined
  /** The services are adopted by another one, which restarts them once. */
  readonly isAdopted?: boolean | undefined
  /** Fibers are interrupted at random points and run in random order. */
  readonly seed?: number | undefined
}

/** Something that goes wrong at a step. */
export interface Fault {
  /** `Mailer: interval 1m`. */
  readonly at: string
  readonly trouble: Trouble
}

/**
 * What goes wrong: the step fails with an error, dies, is interrupted, does not
 * end, asks for the stop of its service, or takes a second longer.
 */
export type Trouble = "fail" | "die" | "interrupt" | "hang" | "stop" | "slow"

/** What the app is called that is rehearsed. */
export const appName = "App"

/** What the service is called that adopts the services, where they are. */
export const parentName = "Laws"

/** What a service is called, be it adopted or not. */
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

/** Throws `InputError` when something is no scenario, as one that was typed by hand. */
export const check = (where: string, scenario: Scenario): void => {
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
