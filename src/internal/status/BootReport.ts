/** How an app started: when each service started, how long it took, and the critical path. */
import * as Duration from "effect/Duration"
import type { Snapshot } from "./ServiceStatus.ts"
import * as CriticalPath from "./CriticalPath.ts"
import { counted, duration } from "../Format.ts"

/** The boot of an app. */
export interface BootReport {
  readonly app: string
  readonly took: Duration.Duration
  /** In start order. Excludes adopted children, whose start is part of their parent's. */
  readonly services: ReadonlyArray<BootedService>
  /**
   * The chain of services that determined the boot time: the service that was up
   * last, preceded by the dependency it waited for, and so on. Earliest first.
   */
  readonly criticalPath: ReadonlyArray<CriticalStep>
}

/** The start of one service. Times are relative to the beginning of the boot. */
export interface BootedService {
  readonly service: string
  /** 0 without dependencies, otherwise one more than the highest level of its dependencies. */
  readonly level: number
  readonly startedAt: Duration.Duration
  readonly took: Duration.Duration
  /** The paths of its dependencies. */
  readonly dependencies: ReadonlyArray<string>
}

/** A service on the critical path. */
export interface CriticalStep {
  readonly service: string
  /** Time between the previous step and the start of this one, spent in layers that are not services. */
  readonly waited: Duration.Duration
  readonly took: Duration.Duration
}

/** Builds the report of an app that has just started. */
export const make = (snapshot: Snapshot, took: Duration.Duration): BootReport => {
  // Dependencies start first, so their levels are already known.
  const known = new Map<string, Booted>()
  const services = snapshot.services.flatMap(({ dependencies, path, startedAfter, startTook }) => {
    if (startedAfter === undefined || startTook === undefined) return []
    const started = dependencies.flatMap((dependency) => known.get(dependency) ?? [])
    const level = started.reduce((highest, { service }) => Math.max(highest, service.level + 1), 0)
    const service = { service: path, level, startedAt: startedAfter, took: startTook, dependencies }
    const booted = { service, after: lastUp(started), upAt: Duration.sum(startedAfter, startTook) }
    known.set(path, booted)
    return [service]
  })
  const criticalPath: Array<CriticalStep> = []
  for (let step = lastUp([...known.values()]); step !== undefined; step = step.after) {
    const { service, startedAt, took } = step.service
    const previousUpAt = step.after?.upAt ?? Duration.zero
    criticalPath.push({ service, waited: Duration.subtract(startedAt, previousUpAt), took })
  }
  return { app: snapshot.name, took, services, criticalPath: criticalPath.toReversed() }
}

interface Booted {
  readonly service: BootedService
  /** The dependency that was up last. */
  readonly after: Booted | undefined
  readonly upAt: Duration.Duration
}

/** The service that was up last. A tie goes to the later starter, which may have waited for the other. */
const lastUp = (all: ReadonlyArray<Booted>): Booted | undefined =>
  all.reduce<Booted | undefined>(
    (last, one) => (last === undefined || Duration.greaterThanOrEqualTo(one.upAt, last.upAt) ? one : last),
    undefined
  )

/**
 * Renders a line per level with its slowest services, and one for the critical
 * path. At most 30 lines.
 */
export const render = (report: BootReport): string => {
  const levels: Array<Array<BootedService>> = []
  for (const service of report.services) (levels[service.level] ??= []).push(service)
  const lines = levels.slice(0, maxLevels).map((level, index) => `  ${index + 1}. ${slowest(report, level)}`)
  if (levels.length > maxLevels) lines.push(`  and ${counted(levels.length - maxLevels, "more level")}`)
  const path = criticalPath(report)
  return [
    `${report.app} started in ${duration(report.took)}, with ${counted(report.services.length, "service")}`,
    ...lines,
    ...(path === "" ? [] : [`  the longest way: ${path}`])
  ].join("\n")
}

/** The critical path in one line; empty if the app has no services. */
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

/** Keeps the text within 30 lines. */
const maxLevels = 27
