/** How an app will stop: which services stop concurrently, how long they may take, and whether that fits. */
import * as Duration from "effect/Duration"
import type { ServiceStatus, Snapshot } from "./ServiceStatus.ts"
import * as CriticalPath from "./CriticalPath.ts"
import { counted, duration } from "../Format.ts"

/**
 * A stop plan derived from the dependencies between services. It does not
 * include layers that are not services, nor an order imposed elsewhere, such as
 * by `Layer.flatMap`.
 */
export interface StopPlan {
  readonly app: string
  /** How long the app may take; undefined without an app. */
  readonly stopTimeout: Duration.Duration | undefined
  /** Services that stop concurrently, starting with those that nothing depends on. */
  readonly levels: ReadonlyArray<ReadonlyArray<PlannedStop>>
  /** The critical path if every service uses its whole `stopTimeout`. */
  readonly longest: CriticalPath.CriticalPath
  /**
   * The critical path of explicitly set timeouts. A service with the default
   * `stopTimeout` claims no time.
   */
  readonly claimed: CriticalPath.CriticalPath
  /** Whether `claimed` fits into the app's `stopTimeout`. */
  readonly fits: boolean
}

/** The stop of one service and its children, which stop sequentially. */
export interface PlannedStop {
  readonly service: string
  /** The longest it may take. */
  readonly budget: Duration.Duration
  /** The part of `budget` set explicitly by the service or its children. */
  readonly claim: Duration.Duration
}

/** Plans the stop of all services that have not stopped yet. */
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
  const claimed = longestPath(all, claimOf)
  const fits = stopTimeout === undefined || Duration.lessThanOrEqualTo(claimed.sum, stopTimeout)
  return { app: name, stopTimeout, levels, longest: longestPath(all, budgetOf), claimed, fits }
}

/**
 * Orders services so that each precedes its dependencies. This is usually the
 * reverse start order, except that a server starts before the services its
 * handlers use, and also stops before them.
 */
const dependentsFirst = (services: ReadonlyArray<ServiceStatus>): ReadonlyArray<ServiceStatus> => {
  const byPath = new Map(services.map((service) => [service.path, service]))
  const dependents = new Map<string, number>()
  for (const { dependencies } of services) {
    for (const path of dependencies) dependents.set(path, (dependents.get(path) ?? 0) + 1)
  }
  const ready = services.toReversed().filter(({ path }) => !dependents.has(path))
  // The loop appends to the array it iterates.
  for (const { dependencies } of ready) {
    for (const path of dependencies.toReversed()) {
      const remaining = (dependents.get(path) ?? 0) - 1
      dependents.set(path, remaining)
      const service = byPath.get(path)
      if (remaining === 0 && service !== undefined) ready.push(service)
    }
  }
  return ready
}

type Budgeted = Pick<ServiceStatus, "stopTimeout" | "isStopTimeoutSet" | "children">

/** Sums a service and its children, which stop sequentially. Stopped and failed children take no time. */
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

/** The longest path through services sorted dependents first. Visits each edge once. */
const longestPath = (
  services: ReadonlyArray<ServiceStatus>,
  timeOf: (service: ServiceStatus) => number
): CriticalPath.CriticalPath => {
  const waitsFor = new Map<string, LatestStop>()
  let last: LatestStop | undefined
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

/** The latest time at which a service has stopped, in milliseconds, and the dependent it waits for longest. */
interface LatestStop {
  readonly service: string
  readonly time: number
  readonly at: number
  readonly before: LatestStop | undefined
}

/** Renders a line per level with its slowest services, then both critical paths. At most 30 lines. */
export const render = (plan: StopPlan): string => {
  const { app, claimed, fits, levels, longest, stopTimeout } = plan
  const within = stopTimeout === undefined ? "" : ` within ${duration(stopTimeout)}`
  const lines = levels.slice(0, maxLevels).map((level, index) => `  ${index + 1}. ${levelText(app, level)}`)
  if (levels.length > maxLevels) lines.push(`  and ${counted(levels.length - maxLevels, "more level")}`)
  if (longest.steps.length > 0) {
    const isLonger = stopTimeout !== undefined && Duration.greaterThan(longest.sum, stopTimeout)
    lines.push(`  at the longest: ${pathText(app, longest)}${isLonger ? ", more than it has" : ""}`)
  }
  if (claimed.steps.length > 0) {
    const verdict = stopTimeout === undefined ? "" : fits ? ", which fits" : ", which does not fit"
    lines.push(`  what was set: ${pathText(app, claimed)}${verdict}`)
  }
  return [`${app === "" ? "The services" : app} will stop in ${counted(levels.length, "step")}${within}`]
    .concat(lines)
    .join("\n")
}

/** A one-line warning that the claimed timeouts do not fit, and the remedy. */
export const tooLong = ({ app, claimed, stopTimeout = Duration.infinity }: StopPlan): string =>
  `${app} may be cut while it stops: what its services have set as stopTimeout adds up to ` +
  `${duration(claimed.sum)} (${CriticalPath.text(app, claimed.steps)}), but its own is ${duration(stopTimeout)}. ` +
  "Raise that, and terminationGracePeriodSeconds above it, or lower theirs."

const pathText = (app: string, { steps, sum }: CriticalPath.CriticalPath): string =>
  CriticalPath.text(app, steps) + (steps.length === 1 ? "" : ` = ${duration(sum)}`)

const levelText = (app: string, level: ReadonlyArray<PlannedStop>): string => {
  const steps = level.map((stop) => ({ ...stop, time: stop.budget }))
  return CriticalPath.level(app, steps, ({ claim }) => (Duration.toMillis(claim) === 0 ? " by default" : ""))
}

/** Keeps the text within 30 lines. */
const maxLevels = 26
