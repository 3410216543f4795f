/** Paths and levels of services as text, shortened if there are many. */
import * as Duration from "effect/Duration"
import { below, duration, truncate } from "../Format.ts"

/** Services that start or stop sequentially, in this order. */
export interface CriticalPath {
  readonly steps: ReadonlyArray<Step>
  readonly sum: Duration.Duration
}

/** A service and its duration. */
export interface Step {
  readonly service: string
  readonly time: Duration.Duration
}

/** Sequential services with their durations; the slowest ones if there are many. */
export const text = (app: string, steps: ReadonlyArray<Step>): string => {
  const all = steps.map((step, index) => ({ ...step, index }))
  const shown = slowestFirst(all)
    .slice(0, maxSteps)
    .toSorted((one, other) => one.index - other.index)
  const texts = shown.map(({ service, time }) => `${nameOf(app, service)} ${duration(time)}`)
  return texts.join(" > ") + (steps.length > shown.length ? ` (and ${steps.length - shown.length} more)` : "")
}

/** The slowest of the services in one level, each with its duration and a note. */
export const level = <A extends Step>(
  app: string,
  steps: ReadonlyArray<A>,
  note: (step: A) => string
): string => {
  const shown = slowestFirst(steps).slice(0, maxPerLevel)
  const texts = shown.map((step) => `${nameOf(app, step.service)} (${duration(step.time)}${note(step)})`)
  return texts.join(", ") + (steps.length > shown.length ? ` and ${steps.length - shown.length} more` : "")
}

const nameOf = (app: string, service: string): string => truncate(below(app, service), maxName)

const slowestFirst = <A extends Step>(steps: ReadonlyArray<A>): ReadonlyArray<A> =>
  steps.toSorted((one, other) => Duration.toMillis(other.time) - Duration.toMillis(one.time))

/** Limits that keep a line readable. */
const maxSteps = 6
const maxPerLevel = 5
const maxName = 40
