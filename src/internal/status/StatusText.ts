/** Renders the service tree as text that fits on one terminal screen. */
import * as Duration from "effect/Duration"
import { counted, truncate, units } from "../Format.ts"
import type {
  CheckStatus,
  ListenerStatus,
  ServiceStatus,
  Snapshot,
  State,
  TaskStatus
} from "./ServiceStatus.ts"

/**
 * Renders a line for the app and for each service, task and listener, at most
 * 50. If there are too many siblings, shows current problems first, then the
 * most recent ones, and counts the rest.
 */
export const render = (snapshot: Snapshot): string => {
  let all: ReadonlyArray<string> = []
  for (const limit of siblingLimits) {
    all = lines(snapshot, limit)
    if (all.length <= maxLines) return all.join("\n")
  }
  return [...all.slice(0, maxLines - 1), `and ${all.length - maxLines + 1} more lines`].join("\n")
}

/** One screen. */
const maxLines = 50

/** Siblings shown per parent; the largest limit that fits applies. 0 shows only the most urgent problem. */
const siblingLimits = [8, 5, 3, 2, 1, 0]

/** Limits that keep a line readable. */
const maxName = 60
const maxReason = 100

const lines = ({ at, name, services, since, state }: Snapshot, limit: number): ReadonlyArray<string> => [
  `${name === "" ? "Services" : truncate(name, maxName)}: ${describe(state, at, since)}`,
  ...branches(services, at, limit)
]

const branches = (
  services: ReadonlyArray<ServiceStatus>,
  at: number,
  limit: number
): ReadonlyArray<string> => {
  const shown = pick(services, limit, urgency)
  const more = services.length - shown.length
  const blocks = shown.map((service) => block(service, at, limit))
  if (more > 0) blocks.push([`and ${more} more`])
  return blocks.flatMap(([first, ...rest], index) => {
    const isLast = index === blocks.length - 1
    const below = rest.map((line) => `${isLast ? "  " : "│ "} ${line}`)
    return [`${isLast ? "└─" : "├─"} ${first}`].concat(below)
  })
}

const block = (service: ServiceStatus, at: number, limit: number): ReadonlyArray<string> => {
  const { checks, children, lastFailure, listeners, name, restarts, since, state, tasks } = service
  const facts = [describe(state, at, since)]
  if (restarts > 0) facts.push(counted(restarts, "restart"))
  // The state already gives the reason if the service has failed or restarts.
  if (lastFailure !== undefined && state._tag !== "Failed" && state._tag !== "Restarting") {
    const { at: failedAt, reason, work } = lastFailure
    facts.push(
      `${truncate(work, maxName)} failed ${span(at - failedAt)} ago (${truncate(reason, maxReason)})`
    )
  }
  const unhealthy = checks.filter(isUnhealthy)
  const checkLines = unhealthy.slice(0, Math.max(limit, 1)).map((check) => describeCheck(check, at))
  const moreChecks = unhealthy.length - checkLines.length
  if (moreChecks > 0) checkLines.push(`and ${counted(moreChecks, "more unhealthy check")}`)
  const taskLines = pick(tasks, limit, urgencyOfTask(lastFailure)).map((task) => describeTask(task, at))
  const moreTasks = tasks.length - taskLines.length
  if (moreTasks > 0) taskLines.push(`and ${counted(moreTasks, "more task")}`)
  const listenerLines = pick(listeners, limit, urgencyOfListener).map(describeListener)
  const moreListeners = listeners.length - listenerLines.length
  if (moreListeners > 0) listenerLines.push(`and ${counted(moreListeners, "more listener")}`)
  return [
    `${truncate(name, maxName)}: ${facts.join(", ")}`,
    ...[...checkLines, ...taskLines, ...listenerLines].map(
      (line) => `${children.length > 0 ? "│" : " "}  ${line}`
    ),
    ...branches(children, at, limit)
  ]
}

/** Sort priority; higher is more urgent, `calm` means no problem. */
const urgency = ({ checks, children, lastFailure, listeners, state, tasks }: ServiceStatus): number =>
  (state._tag !== "Running" && state._tag !== "Stopped") || checks.some(isUnhealthy)
    ? Number.POSITIVE_INFINITY
    : Math.max(
        lastFailure === undefined ? calm : lastFailure.at,
        ...tasks.map(urgencyOfTask(undefined)),
        ...listeners.map(urgencyOfListener),
        ...children.map(urgency)
      )
const urgencyOfTask =
  (lastFailure: ServiceStatus["lastFailure"]) =>
  ({ failures, name, skipped }: TaskStatus): number =>
    lastFailure?.work === name ? 0 : failures + skipped > 0 ? -1 : calm
const urgencyOfListener = ({ dropped, failed, queued }: ListenerStatus): number =>
  failed + dropped > 0 ? -1 : queued > 0 ? -2 : calm
const isUnhealthy = ({ state }: CheckStatus): boolean => state._tag === "Unhealthy"
const calm = Number.NEGATIVE_INFINITY

const describe = (state: State, at: number, since: number): string => {
  const age = `for ${span(at - since)}`
  switch (state._tag) {
    case "Restarting": {
      const next = state.nextStart === undefined ? "" : `, next start in ${span(state.nextStart - at)}`
      return `restarting ${age}${next} (${truncate(state.reason, maxReason)})`
    }
    case "Stopping":
      return `stopping (${state.step}) ${age}`
    case "Failed":
      return `failed ${age} (${truncate(state.reason, maxReason)})`
    default:
      return `${state._tag.toLowerCase()} ${age}`
  }
}

const describeCheck = ({ isCritical, name, since, state }: CheckStatus, at: number): string => {
  const reason = state._tag === "Unhealthy" ? ` (${truncate(state.reason, maxReason)})` : ""
  const check = name === undefined ? "health" : `health of ${truncate(name, maxName)}`
  return `${check}: ${state._tag.toLowerCase()} for ${span(at - since)}${reason}${isCritical ? "" : ", not critical"}`
}

const describeTask = (task: TaskStatus, at: number): string => {
  const { failures, isRunning, lastDuration, lastStart, name, nextRun, runs, skipped } = task
  const facts = [counted(runs, "run")]
  if (failures > 0) facts.push(`${failures} failed`)
  if (skipped > 0) facts.push(`${skipped} skipped`)
  if (isRunning && lastStart !== undefined) facts.push(`running for ${span(at - lastStart)}`)
  else if (lastStart !== undefined && lastDuration !== undefined) {
    facts.push(`last ${span(at - lastStart)} ago for ${span(Duration.toMillis(lastDuration))}`)
  }
  if (nextRun !== undefined) facts.push(`next in ${span(nextRun - at)}`)
  return `${truncate(name, maxName)}: ${facts.join(", ")}`
}

const describeListener = ({ dropped, event, failed, handled, lag, queued }: ListenerStatus): string => {
  const facts = [`${handled} handled`]
  if (failed > 0) facts.push(`${failed} failed`)
  if (dropped > 0) facts.push(`${dropped} dropped`)
  if (queued > 0) facts.push(`${queued} queued for ${span(Duration.toMillis(lag))}`)
  return `on ${truncate(event, maxName)}: ${facts.join(", ")}`
}

/** The most urgent items up to a limit, in their original order if all fit. */
const pick = <A>(all: ReadonlyArray<A>, limit: number, urgencyOf: (a: A) => number): ReadonlyArray<A> => {
  if (all.length <= limit) return all
  const ranked = Array.from(all, (a) => ({ a, urgency: urgencyOf(a) }))
  const shown = limit === 0 ? ranked.filter(({ urgency }) => urgency !== calm) : ranked
  return shown
    .toSorted((one, other) => (one.urgency === other.urgency ? 0 : other.urgency - one.urgency))
    .slice(0, Math.max(limit, 1))
    .map(({ a }) => a)
}

/** A time in its two largest units, such as `3d 4h`, `2m 5s` or `12ms`. */
const span = (millis: number): string => {
  const rounded = Math.max(0, Math.round(millis))
  const first = units.findIndex(({ millis }) => rounded >= millis)
  if (first === -1) return `${rounded}ms`
  // `findIndex` returned a valid index.
  const { millis: size, short } = units[first]!
  const next = units[first + 1]
  const remainder = next === undefined ? 0 : Math.floor((rounded % size) / next.millis)
  return `${Math.floor(rounded / size)}${short}${next === undefined || remainder === 0 ? "" : ` ${remainder}${next.short}`}`
}
