/** Whether an app can take work, and why not, as its services say. */
import * as Redaction from "../Redaction.ts"
import type { CheckStatus, ServiceStatus, Snapshot, State } from "./ServiceStatus.ts"
import { below } from "../Format.ts"
import { counted, cut, units } from "../Format.ts"

/** Whether an app can take work. */
export interface Readiness {
  /** Whether there is no critical problem. */
  readonly isReady: boolean
  /** Empty where there is no app. */
  readonly app: string
  /** When this was so. */
  readonly at: number
  /** What is not well, the critical first. */
  readonly problems: ReadonlyArray<Problem>
}

/** Something that is not well. */
export interface Problem {
  /** The service, and its check: `Shop > Orders > database`. Of the app itself its name. */
  readonly path: string
  /** Without credentials. */
  readonly reason: string
  readonly since: number
  /** Whether the app is not ready because of it. */
  readonly isCritical: boolean
}

/** What there is to say of an app. */
export const of = ({ at, name, services, since, state }: Snapshot): Readiness => {
  const ofApp = reasonOf(state, name)
  const upSince = state._tag === "Running" ? since : undefined
  const own = ofApp === undefined ? [] : [{ path: name, reason: ofApp, since, isCritical: true }]
  const problems = [...own, ...services.flatMap((service) => problemsOf(service, upSince))]
  const critical = problems.filter(({ isCritical }) => isCritical)
  const others = problems.filter(({ isCritical }) => !isCritical)
  return { isReady: critical.length === 0, app: name, at, problems: [...critical, ...others] }
}

/**
 * A line for each problem, fifty at most: `Orders > database: connection refused,
 * for 12 seconds`. Empty when all is well.
 */
export const render = ({ app, at, problems }: Readiness): string => {
  const told = problems.length > mostLines ? problems.slice(0, mostLines - 1) : problems
  const lines = told.map(({ isCritical, path, reason, since }) => {
    const what = path === app ? `${app} is ${reason}` : `${below(app, path)}: ${reason}`
    return `${what}, for ${age(at - since)}${isCritical ? "" : " (not critical)"}`
  })
  if (problems.length > told.length) lines.push(`and ${problems.length - told.length} more`)
  return lines.join("\n")
}

/** A screen, as for the tree of services. */
const mostLines = 50

/** `upSince` is since when the app is up, if it is; `above` is there for a child. */
const problemsOf = (
  service: ServiceStatus,
  upSince: number | undefined,
  above?: { readonly hasRestarted: boolean }
): ReadonlyArray<Problem> => {
  const { checks, children, isCritical, path, since, state } = service
  const reason = reasonOf(state, path)
  // Children come and go while the app runs.
  const isUsual =
    state._tag === "Stopped" || (above !== undefined && !["Failed", "Restarting"].includes(state._tag))
  const own =
    reason === undefined || isUsual ? [] : [{ path: Redaction.masked(path), reason, since, isCritical }]
  // What is new while the app runs has not failed it yet; what has restarted may have.
  const isAwaited = (check: CheckStatus) => upSince === undefined || check.since <= upSince || hasRestarted
  const hasRestarted = above?.hasRestarted === true || service.restarts > 0
  const ill = checks.filter(
    (check) => check.state._tag === "Unhealthy" || (check.state._tag === "Pending" && isAwaited(check))
  )
  return [
    ...own,
    ...ill.map((check) => ({
      path: Redaction.masked(check.name === undefined ? path : `${path} > ${check.name}`),
      reason: check.state._tag === "Unhealthy" ? shown(check.state.reason) : "not checked yet",
      since: check.since,
      isCritical: check.isCritical
    })),
    ...children.flatMap((child) => problemsOf(child, upSince, { hasRestarted }))
  ]
}

/** Why something in this state cannot take work. */
const reasonOf = (state: State, path: string): string | undefined => {
  switch (state._tag) {
    case "Running":
      return undefined
    case "Failed":
    case "Restarting":
      return `${state._tag.toLowerCase()} (${shown(below(path, state.reason))})`
    default:
      return state._tag.toLowerCase()
  }
}

/** Enough for a sentence and an address. */
const longestReason = 300

/** Masked before it is cut: half a secret is one too. */
const shown = (reason: string): string => cut(Redaction.masked(reason), longestReason) || "no reason given"

/** A time in its largest unit: `12 seconds`. */
const age = (millis: number): string => {
  const unit = units.find((each) => millis >= each.millis)
  return unit === undefined ? "less than a second" : counted(Math.floor(millis / unit.millis), unit.name)
}
