/** How an app has started: which service when and for how long, and which of them made it take that long. */
import * as Duration from "effect/Duration"
import type { Snapshot } from "./ServiceStatus.ts"
import * as CriticalPath from "./CriticalPath.ts"
import { counted, duration } from "../Format.ts"

/** The boot of an app. */
export interface BootReport {
  readonly app: string
  readonly took: Duration.Duration
  /** In the order in which they began to start; without adopted children, whose start is part of their parent's. */
  readonly services: ReadonlyArray<BootedService>
  /**
   * The way that took longest: the service that was up last, before it the one
   * that it had to wait for, and so on. First comes what was up first.
   */
  readonly criticalPath: ReadonlyArray<CriticalStep>
}

/** The start of a service. Times are from the begin of the boot. */
export interface BootedService {
  readonly service: string
  /** 0 for one that was given no service, else one more than the highest of those it was given. */
  readonly level: number
  readonly startedAt: Duration.Duration
  readonly took: Duration.Duration
  /** The paths of the services it was given. */
  readonly dependencies: ReadonlyArray<string>
}

/** A service on the critical path. */
export interface CriticalStep {
  readonly service: string
  /** From the end of the step before it until it began to start: layers that are no services. */
  readonly waited: Duration.Duration
  readonly took: Duration.Duration
}

/** The boot of an app that has just come up. */
export const make = (snapshot: Snapshot, took: Duration.Duration): BootReport => {
  // What a service was given has begun before it, so its level is known by then.
  const known = new Map<string, Booted>()
  const services = snapshot.services.flatMap(({ dependencies, path, startedAfter, startTook }) => {
    if (startedAfter === undefined || startTook === undefined) return []
    const before = dependencies.flatMap((dependency) => known.get(dependency) ?? [])
    const level = before.reduce((highest, { service }) => Math.max(highest, service.level + 1), 0)
    const service = { service: path, level, startedAt: startedAfter, took: startTook, dependencies }
    const booted = { service, after: lastOf(before), upAt: Duration.sum(startedAfter, startTook) }
    known.set(path, booted)
    return [service]
  })
  const criticalPath: Array<CriticalStep> = []
  for (let step = lastOf([...known.values()]); step !== undefined; step = step.after) {
    const { service, startedAt, took } = step.service
    const begun = step.after?.upAt ?? Duration.zero
    criticalPath.push({ service, waited: Duration.subtract(startedAt, begun), took })
  }
  return { app: snapshot.name, took, services, criticalPath: criticalPath.toReversed() }
}

interface Booted {
  readonly service: BootedService
  /** What it was given that was up last. */
  readonly after: Booted | undefined
  readonly upAt: Duration.Duration
}

/** The one that was up last; of two at the same time, that which began later, since it may have waited for the other. */
const lastOf = (all: ReadonlyArray<Booted>): Booted | undefined =>
  all.reduce<Booted | undefined>(
    (last, one) => (last === undefined || Duration.greaterThanOrEqualTo(one.upAt, last.upAt) ? one : last),
    undefined
  )

/**
 * A boot as text: a line for each level, with its slowest services, and one for
 * the way that took longest. Thirty lines at most.
 */
export const render = (report: BootReport): string => {
  const levels: Array<Array<BootedService>> = []
  for (const service of report.services) (levels[service.level] ??= []).push(service)
  const lines = levels.slice(0, mostLevels).map((level, index) => `  ${index + 1}. ${slowest(report, level)}`)
  if (levels.length > mostLevels) lines.push(`  and ${counted(levels.length - mostLevels, "more level")}`)
  const path = criticalPath(report)
  return [
    `${report.app} started in ${duration(report.took)}, with ${counted(report.services.length, "service")}`,
    ...lines,
    ...(path === "" ? [] : [`  the longest way: ${path}`])
  ].join("\n")
}

/** The critical path in one line; empty when there was nothing to wait for. */
export const criticalPath = ({ app, criticalPath, took }: BootReport): string => {
  if (criticalPath.length === 0) return ""
  const inServices = criticalPath.reduce((sum, step) => Duration.sum(sum, step.took), Duration.zero)
  const others = Duration.subtract(took, inServices)
  const steps = criticalPath.map(({ service, took }) => ({ service, time: took }))
  const rest = Duration.toMillis(others) < 1 ? "" : `, and ${duration(others)} for what is no service`
  return `${CriticalPath.text(app, steps)}${rest}`
}

const slowest = ({ app }: BootReport, level: ReadonlyArray<BootedService>): string => {
  const steps = level.map((service) => ({ ...service, time: service.took }))
  return CriticalPath.level(app, steps, ({ startedAt }) =>
    Duration.toMillis(startedAt) < 1 ? "" : `, after ${duration(startedAt)}`
  )
}

/** So that all is read at a glance. */
const mostLevels = 27
