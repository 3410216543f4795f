/** Services one after another, and services at the same time, as text that stays readable however many there are. */
import * as Duration from "effect/Duration"
import { below } from "../Format.ts"
import { cut, duration } from "../Format.ts"

/** Services that stop or start one after another, in this order. */
export interface Way {
  readonly steps: ReadonlyArray<Step>
  readonly sum: Duration.Duration
}

/** A service, and how long it takes. */
export interface Step {
  readonly service: string
  readonly time: Duration.Duration
}

/** Services one after another, with the time of each. Of many, those with the longest times. */
export const text = (app: string, steps: ReadonlyArray<Step>): string => {
  const all = steps.map((step, index) => ({ ...step, index }))
  const shown = longestFirst(all)
    .slice(0, mostOnWay)
    .toSorted((one, other) => one.index - other.index)
  const texts = shown.map(({ service, time }) => `${named(app, service)} ${duration(time)}`)
  return texts.join(" > ") + (steps.length > shown.length ? ` (and ${steps.length - shown.length} more)` : "")
}

/** Services at the same time, those with the longest times, each with its time and what `note` says of it. */
export const level = <A extends Step>(
  app: string,
  steps: ReadonlyArray<A>,
  note: (step: A) => string
): string => {
  const shown = longestFirst(steps).slice(0, mostOfLevel)
  const texts = shown.map((step) => `${named(app, step.service)} (${duration(step.time)}${note(step)})`)
  return texts.join(", ") + (steps.length > shown.length ? ` and ${steps.length - shown.length} more` : "")
}

const named = (app: string, service: string): string => cut(below(app, service), longestName)

const longestFirst = <A extends Step>(steps: ReadonlyArray<A>): ReadonlyArray<A> =>
  steps.toSorted((one, other) => Duration.toMillis(other.time) - Duration.toMillis(one.time))

/** So that each stays a line, and is read at a glance. */
const mostOnWay = 6
const mostOfLevel = 5
const longestName = 40
