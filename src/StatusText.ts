/** The tree of services as text, to be read in one screen of a terminal. */
import * as Duration from "effect/Duration"
import type { ListenerStatus, ServiceStatus, Snapshot, State, TaskStatus } from "./ServiceStatus.ts"

/**
 * A line for the app, each service, task and listener. Of many alike, those
 * that are in trouble come first, and the rest is counted.
 */
export const render = ({ at, name, services, since, state }: Snapshot): string =>
  [
    `${name === "" ? "Services" : name}: ${describe(state, at)} for ${span(at - since)}`,
    ...branches(services, at)
  ].join("\n")

/** How many lines of a kind a service may take: with more, a screen would not hold a shop. */
const mostAlike = 8

/** Where a reason is cut, so that a line stays a line. */
const longestReason = 100

const branches = (services: ReadonlyArray<ServiceStatus>, at: number): ReadonlyArray<string> => {
  const shown = some(services, ({ state }) => state._tag !== "Running")
  const more = services.length - shown.length
  const blocks = shown.map((service) => block(service, at))
  if (more > 0) blocks.push([`and ${more} more`])
  return blocks.flatMap(([first, ...rest], index) => {
    const isLast = index === blocks.length - 1
    const below = rest.map((line) => `${isLast ? "  " : "│ "} ${line}`)
    return [`${isLast ? "└─" : "├─"} ${first}`].concat(below)
  })
}

const block = (service: ServiceStatus, at: number): ReadonlyArray<string> => {
  const { children, lastFailure, listeners, name, restarts, since, state, tasks } = service
  const facts = [`${describe(state, at)} for ${span(at - since)}`]
  if (restarts > 0) facts.push(counted(restarts, "restart"))
  if (lastFailure !== undefined && state._tag !== "Failed") {
    facts.push(`${lastFailure.work} failed ${span(at - lastFailure.at)} ago (${cut(lastFailure.reason)})`)
  }
  const works = some(tasks, ({ failures }) => failures > 0).map((task) => describeTask(task, at))
  if (tasks.length > works.length) works.push(`and ${tasks.length - works.length} more tasks`)
  const ears = some(listeners, ({ dropped, failed }) => failed + dropped > 0).map(describeListener)
  if (listeners.length > ears.length) ears.push(`and ${listeners.length - ears.length} more listeners`)
  return [
    `${name}: ${facts.join(", ")}`,
    ...[...works, ...ears].map((line) => `${children.length > 0 ? "│" : " "}  ${line}`),
    ...branches(children, at)
  ]
}

const describe = (state: State, at: number): string => {
  switch (state._tag) {
    case "Restarting": {
      const { nextStart, reason } = state
      const when = nextStart === undefined ? "" : ` in ${span(nextStart - at)}`
      return `restarting${when} (${cut(reason)})`
    }
    case "Stopping":
      return `stopping (${state.step})`
    case "Failed":
      return `failed (${cut(state.reason)})`
    default:
      return state._tag.toLowerCase()
  }
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
  return `${name}: ${facts.join(", ")}`
}

const describeListener = ({ dropped, event, failed, handled, lag, queued }: ListenerStatus): string => {
  const facts = [`${handled} handled`]
  if (failed > 0) facts.push(`${failed} failed`)
  if (dropped > 0) facts.push(`${dropped} dropped`)
  if (queued > 0) facts.push(`${queued} queued for ${span(Duration.toMillis(lag))}`)
  return `on ${event}: ${facts.join(", ")}`
}

/** So many as there is room for, those in trouble before the others, else in their order. */
const some = <A>(all: ReadonlyArray<A>, isTrouble: (a: A) => boolean): ReadonlyArray<A> =>
  all.length <= mostAlike
    ? all
    : [...all.filter(isTrouble), ...all.filter((a) => !isTrouble(a))].slice(0, mostAlike)

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

const cut = (reason: string): string =>
  reason.length <= longestReason ? reason : `${reason.slice(0, longestReason - 1)}…`

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000]
] as const

/** A time in its two largest units: `3d 4h`, `2m 5s`, `12ms`. */
const span = (millis: number): string => {
  const rounded = Math.max(0, Math.round(millis))
  const first = units.findIndex(([, size]) => rounded >= size)
  if (first === -1) return `${rounded}ms`
  const [unit, size] = units[first]!
  const next = units[first + 1]
  const rest = next === undefined ? 0 : Math.floor((rounded % size) / next[1])
  return `${Math.floor(rounded / size)}${unit}${next === undefined || rest === 0 ? "" : ` ${rest}${next[0]}`}`
}
