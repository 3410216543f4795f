/** How an app will stop: which services at the same time, how long that may take, and whether it fits. */
import * as Duration from "effect/Duration"
import type { ServiceStatus, Snapshot } from "./ServiceStatus.ts"
import * as CriticalPath from "./CriticalPath.ts"
import { counted, duration } from "../Format.ts"

/**
 * The plan of a stop, as far as the services of an app tell: layers in between
 * that are no services are not in it, nor is an order that only they know, as
 * that of `Layer.flatMap`.
 */
export interface StopPlan {
  readonly app: string
  /** How long the app may take; none where there is no app. */
  readonly stopTimeout: Duration.Duration | undefined
  /** What stops at the same time, first that on which nothing depends. */
  readonly levels: ReadonlyArray<ReadonlyArray<PlannedStop>>
  /** The way that takes longest, if all services take as long as they may. */
  readonly longest: CriticalPath.Way
  /**
   * The way on which the deadlines that were set add up to most. A service that
   * leaves its `stopTimeout` to the default makes no claim to need it.
   */
  readonly claimed: CriticalPath.Way
  /** Whether the app's `stopTimeout` is enough for `claimed`. */
  readonly fits: boolean
}

/** The stop of a service and its children, which stop one after another. */
export interface PlannedStop {
  readonly service: string
  /** How long it may take. */
  readonly budget: Duration.Duration
  /** The part of it that was set: by the service, or by its children. */
  readonly claim: Duration.Duration
}

/** How the services of an app will stop that have not stopped yet. */
export const make = ({ name, services, stopTimeout }: Snapshot): StopPlan => {
  const all = dependentsFirst(services.filter(({ state }) => state._tag !== "Stopped"))
  const levelOf = new Map<string, number>()
  const levels: Array<Array<PlannedStop>> = []
  for (const { dependencies, path, ...service } of all) {
    const level = levelOf.get(path) ?? 0
    const budget = Duration.millis(budgetOf(service))
    ;(levels[level] ??= []).push({ service: path, budget, claim: Duration.millis(claimOf(service)) })
    for (const dependency of dependencies) {
      levelOf.set(dependency, Math.max(levelOf.get(dependency) ?? 0, level + 1))
    }
  }
  const claimed = longestWay(all, claimOf)
  const fits = stopTimeout === undefined || Duration.lessThanOrEqualTo(claimed.sum, stopTimeout)
  return { app: name, stopTimeout, levels, longest: longestWay(all, budgetOf), claimed, fits }
}

/**
 * Mostly this is the order of start, turned round. But a server starts before
 * the services that its handlers use, and stops before them too.
 */
const dependentsFirst = (services: ReadonlyArray<ServiceStatus>): ReadonlyArray<ServiceStatus> => {
  const byPath = new Map(services.map((service) => [service.path, service]))
  const dependents = new Map<string, number>()
  for (const { dependencies } of services) {
    for (const path of dependencies) dependents.set(path, (dependents.get(path) ?? 0) + 1)
  }
  const ready = services.toReversed().filter(({ path }) => !dependents.has(path))
  // It grows while it is read.
  for (const { dependencies } of ready) {
    for (const path of dependencies.toReversed()) {
      const left = (dependents.get(path) ?? 0) - 1
      dependents.set(path, left)
      const service = byPath.get(path)
      if (left === 0 && service !== undefined) ready.push(service)
    }
  }
  return ready
}

type Budgeted = Pick<ServiceStatus, "stopTimeout" | "isStopTimeoutSet" | "children">

/** A service and its children, which stop one after another. Those that are lost are only shown. */
const sumOf = (service: Budgeted, own: (service: Budgeted) => number): number =>
  service.children
    .filter(({ state }) => state._tag !== "Stopped" && state._tag !== "Failed")
    .reduce((sum, child) => sum + sumOf(child, own), own(service))

const budgetOf = (service: Budgeted): number =>
  sumOf(service, ({ stopTimeout }) => Duration.toMillis(stopTimeout))

const claimOf = (service: Budgeted): number =>
  sumOf(service, ({ isStopTimeoutSet, stopTimeout }) =>
    isStopTimeoutSet ? Duration.toMillis(stopTimeout) : 0
  )

/** The way through services, dependents first, that takes longest. Each edge is looked at once. */
const longestWay = (
  services: ReadonlyArray<ServiceStatus>,
  timeOf: (service: ServiceStatus) => number
): CriticalPath.Way => {
  const waitsFor = new Map<string, End>()
  let last: End | undefined
  for (const service of services) {
    const before = waitsFor.get(service.path)
    const time = timeOf(service)
    const end = { service: service.path, time, at: (before?.at ?? 0) + time, before }
    if (last === undefined || end.at > last.at) last = end
    for (const dependency of service.dependencies) {
      const other = waitsFor.get(dependency)
      if (other === undefined || end.at > other.at) waitsFor.set(dependency, end)
    }
  }
  const steps: Array<CriticalPath.Step> = []
  for (let end = last; end !== undefined; end = end.before) {
    if (end.time > 0) steps.push({ service: end.service, time: Duration.millis(end.time) })
  }
  return { steps: steps.toReversed(), sum: Duration.millis(last?.at ?? 0) }
}

/** When a service has stopped at the latest, in milliseconds, and the one it waits for longest. */
interface End {
  readonly service: string
  readonly time: number
  readonly at: number
  readonly before: End | undefined
}

/** A plan as text: a line for each level, with what may take longest, and what it comes to. Thirty lines at most. */
export const render = (plan: StopPlan): string => {
  const { app, claimed, fits, levels, longest, stopTimeout } = plan
  const within = stopTimeout === undefined ? "" : ` within ${duration(stopTimeout)}`
  const lines = levels.slice(0, mostLevels).map((level, index) => `  ${index + 1}. ${levelText(app, level)}`)
  if (levels.length > mostLevels) lines.push(`  and ${counted(levels.length - mostLevels, "more level")}`)
  if (longest.steps.length > 0) {
    const isLonger = stopTimeout !== undefined && Duration.greaterThan(longest.sum, stopTimeout)
    lines.push(`  at the longest: ${wayText(app, longest)}${isLonger ? ", more than it has" : ""}`)
  }
  if (claimed.steps.length > 0) {
    const verdict = stopTimeout === undefined ? "" : fits ? ", which fits" : ", which does not fit"
    lines.push(`  what was set: ${wayText(app, claimed)}${verdict}`)
  }
  return [`${app === "" ? "The services" : app} will stop in ${counted(levels.length, "step")}${within}`]
    .concat(lines)
    .join("\n")
}

/** That what was set does not fit, and what to do about it, in one line. */
export const tooLong = ({ app, claimed, stopTimeout = Duration.infinity }: StopPlan): string =>
  `${app} may be cut while it stops: what its services have set as stopTimeout adds up to ` +
  `${duration(claimed.sum)} (${CriticalPath.text(app, claimed.steps)}), but its own is ${duration(stopTimeout)}. ` +
  "Raise that, and terminationGracePeriodSeconds above it, or lower theirs."

const wayText = (app: string, { steps, sum }: CriticalPath.Way): string =>
  CriticalPath.text(app, steps) + (steps.length === 1 ? "" : ` = ${duration(sum)}`)

const levelText = (app: string, level: ReadonlyArray<PlannedStop>): string => {
  const steps = level.map((stop) => ({ ...stop, time: stop.budget }))
  return CriticalPath.level(app, steps, ({ claim }) => (Duration.toMillis(claim) === 0 ? " by default" : ""))
}

/** So that all is read at a glance. */
const mostLevels = 26
