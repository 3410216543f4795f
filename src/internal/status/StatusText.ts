/** The tree of services as text, to be read in one screen of a terminal. */
import * as Duration from "effect/Duration"
import { counted, cut, units } from "../Format.ts"
import type {
  CheckStatus,
  ListenerStatus,
  ServiceStatus,
  Snapshot,
  State,
  TaskStatus
} from "./ServiceStatus.ts"

/**
 * A line for the app, each service, task and listener, fifty at most. Of many
 * alike, those that are in trouble now come first, then those that were last;
 * the rest is counted.
 */
export const render = (snapshot: Snapshot): string => {
  let all: ReadonlyArray<string> = []
  for (const most of mostAlike) {
    all = lines(snapshot, most)
    if (all.length <= mostLines) return all.join("\n")
  }
  return [...all.slice(0, mostLines - 1), `and ${all.length - mostLines + 1} more lines`].join("\n")
}

/** A screen. */
const mostLines = 50

/** How many services, tasks or listeners of one service are shown: the most for which all fits. With 0, one that is not well. */
const mostAlike = [8, 5, 3, 2, 1, 0]

/** Where names and reasons are cut, so that a line stays a line. */
const longestName = 60
const longestReason = 100

const lines = ({ at, name, services, since, state }: Snapshot, most: number): ReadonlyArray<string> => [
  `${name === "" ? "Services" : cut(name, longestName)}: ${describe(state, at, since)}`,
  ...branches(services, at, most)
]

const branches = (
  services: ReadonlyArray<ServiceStatus>,
  at: number,
  most: number
): ReadonlyArray<string> => {
  const shown = some(services, most, urgency)
  const more = services.length - shown.length
  const blocks = shown.map((service) => block(service, at, most))
  if (more > 0) blocks.push([`and ${more} more`])
  return blocks.flatMap(([first, ...rest], index) => {
    const isLast = index === blocks.length - 1
    const below = rest.map((line) => `${isLast ? "  " : "│ "} ${line}`)
    return [`${isLast ? "└─" : "├─"} ${first}`].concat(below)
  })
}

const block = (service: ServiceStatus, at: number, most: number): ReadonlyArray<string> => {
  const { checks, children, lastFailure, listeners, name, restarts, since, state, tasks } = service
  const facts = [describe(state, at, since)]
  if (restarts > 0) facts.push(counted(restarts, "restart"))
  // One that restarts or has failed says why already.
  if (lastFailure !== undefined && state._tag !== "Failed" && state._tag !== "Restarting") {
    const { at: then, reason, work } = lastFailure
    facts.push(`${cut(work, longestName)} failed ${span(at - then)} ago (${cut(reason, longestReason)})`)
  }
  const ill = checks.filter(isUnhealthy)
  const ills = ill.slice(0, Math.max(most, 1)).map((check) => describeCheck(check, at))
  if (ill.length > ills.length) ills.push(`and ${counted(ill.length - ills.length, "more unhealthy check")}`)
  const works = some(tasks, most, urgencyOfTask(lastFailure)).map((task) => describeTask(task, at))
  if (tasks.length > works.length) works.push(`and ${counted(tasks.length - works.length, "more task")}`)
  const ears = some(listeners, most, urgencyOfListener).map(describeListener)
  if (listeners.length > ears.length)
    ears.push(`and ${counted(listeners.length - ears.length, "more listener")}`)
  return [
    `${cut(name, longestName)}: ${facts.join(", ")}`,
    ...[...ills, ...works, ...ears].map((line) => `${children.length > 0 ? "│" : " "}  ${line}`),
    ...branches(children, at, most)
  ]
}

/** How much something matters to who looks for trouble: not at all, or the more the higher. */
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
      return `restarting ${age}${next} (${cut(state.reason, longestReason)})`
    }
    case "Stopping":
      return `stopping (${state.step}) ${age}`
    case "Failed":
      return `failed ${age} (${cut(state.reason, longestReason)})`
    default:
      return `${state._tag.toLowerCase()} ${age}`
  }
}

const describeCheck = ({ isCritical, name, since, state }: CheckStatus, at: number): string => {
  const reason = state._tag === "Unhealthy" ? ` (${cut(state.reason, longestReason)})` : ""
  const check = name === undefined ? "health" : `health of ${cut(name, longestName)}`
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
  return `${cut(name, longestName)}: ${facts.join(", ")}`
}

const describeListener = ({ dropped, event, failed, handled, lag, queued }: ListenerStatus): string => {
  const facts = [`${handled} handled`]
  if (failed > 0) facts.push(`${failed} failed`)
  if (dropped > 0) facts.push(`${dropped} dropped`)
  if (queued > 0) facts.push(`${queued} queued for ${span(Duration.toMillis(lag))}`)
  return `on ${cut(event, longestName)}: ${facts.join(", ")}`
}

/** So many as there is room for, what is urgent before the rest, else in their order. */
const some = <A>(all: ReadonlyArray<A>, most: number, urgencyOf: (a: A) => number): ReadonlyArray<A> => {
  if (all.length <= most) return all
  const ranked = Array.from(all, (a) => ({ a, urgency: urgencyOf(a) }))
  const shown = most === 0 ? ranked.filter(({ urgency }) => urgency !== calm) : ranked
  return shown
    .toSorted((one, other) => (one.urgency === other.urgency ? 0 : other.urgency - one.urgency))
    .slice(0, Math.max(most, 1))
    .map(({ a }) => a)
}

/** A time in its two largest units: `3d 4h`, `2m 5s`, `12ms`. */
const span = (millis: number): string => {
  const rounded = Math.max(0, Math.round(millis))
  const first = units.findIndex(({ millis }) => rounded >= millis)
  if (first === -1) return `${rounded}ms`
  // It was found there.
  const { millis: size, short } = units[first]!
  const next = units[first + 1]
  const rest = next === undefined ? 0 : Math.floor((rounded % size) / next.millis)
  return `${Math.floor(rounded / size)}${short}${next === undefined || rest === 0 ? "" : ` ${rest}${next.short}`}`
}
