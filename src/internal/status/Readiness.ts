/** Derives from a snapshot whether an app can take work, and if not, why. */
import * as Redaction from "../Redaction.ts"
import type { CheckStatus, ServiceStatus, Snapshot, State } from "./ServiceStatus.ts"
import { below, counted, cut, truncate, units } from "../Format.ts"

/** Whether an app can take work, and its current problems. */
export interface Readiness {
  /** True if no problem is critical. */
  readonly isReady: boolean
  /** Empty without an app. */
  readonly app: string
  /** When it was evaluated. */
  readonly at: number
  /** Critical problems first. */
  readonly problems: ReadonlyArray<Problem>
}

/** A reason why the app is not ready, or a problem that is not critical. */
export interface Problem {
  /** The service and its check, such as `Shop > Orders > database`; for the app itself, its name. */
  readonly path: string
  /** Credentials are redacted. */
  readonly reason: string
  readonly since: number
  /** Whether it makes the app not ready. */
  readonly isCritical: boolean
}

/** Evaluates the readiness of an app. */
export const of = ({ at, name, services, since, state }: Snapshot): Readiness => {
  const appReason = reasonOf(state, name)
  const upSince = state._tag === "Running" ? since : undefined
  const own = appReason === undefined ? [] : [{ path: name, reason: appReason, since, isCritical: true }]
  const problems = [...own, ...services.flatMap((service) => problemsOf(service, upSince))]
  const critical = problems.filter(({ isCritical }) => isCritical)
  const others = problems.filter(({ isCritical }) => !isCritical)
  return { isReady: critical.length === 0, app: name, at, problems: [...critical, ...others] }
}

/**
 * Renders a line per problem, at most 50, such as `Orders > database: connection
 * refused, for 12 seconds`. Empty if there are no problems.
 */
export const render = ({ app, at, problems }: Readiness): string => {
  const shown = problems.length > maxLines ? problems.slice(0, maxLines - 1) : problems
  const lines = shown.map(({ isCritical, path, reason, since }) => {
    const what = path === app ? `${app} is ${reason}` : `${below(app, path)}: ${reason}`
    return `${what}, for ${age(at - since)}${isCritical ? "" : " (not critical)"}`
  })
  if (problems.length > shown.length) lines.push(`and ${problems.length - shown.length} more`)
  return lines.join("\n")
}

/** One screen, like the tree of services. */
const maxLines = 50

/** `upSince` is set while the app is running; `parent` is set for a child. */
const problemsOf = (
  service: ServiceStatus,
  upSince: number | undefined,
  parent?: { readonly hasRestarted: boolean }
): ReadonlyArray<Problem> => {
  const { checks, children, isCritical, path, since, state } = service
  const reason = reasonOf(state, path)
  // Children start and stop while the app is running.
  const isExpected =
    state._tag === "Stopped" || (parent !== undefined && !["Failed", "Restarting"].includes(state._tag))
  const own = reason === undefined || isExpected ? [] : [{ path: pathOf(path), reason, since, isCritical }]
  // A pending check blocks readiness during the boot and after a restart, but not for a service added later.
  const isAwaited = (check: CheckStatus) => upSince === undefined || check.since <= upSince || hasRestarted
  const hasRestarted = parent?.hasRestarted === true || service.restarts > 0
  const problematic = checks.filter(
    (check) => check.state._tag === "Unhealthy" || (check.state._tag === "Pending" && isAwaited(check))
  )
  return [
    ...own,
    ...problematic.map((check) => ({
      path: pathOf(check.name === undefined ? path : `${path} > ${check.name}`),
      reason: check.state._tag === "Unhealthy" ? describe(check.state.reason) : "not checked yet",
      since: check.since,
      isCritical: check.isCritical
    })),
    ...children.flatMap((child) => problemsOf(child, upSince, { hasRestarted }))
  ]
}

/** Why a service or app in this state cannot take work. */
const reasonOf = (state: State, path: string): string | undefined => {
  switch (state._tag) {
    case "Running":
      return undefined
    case "Failed":
    case "Restarting":
      return `${state._tag.toLowerCase()} (${describe(below(path, state.reason))})`
    default:
      return state._tag.toLowerCase()
  }
}

/** Enough for a sentence and an address. */
const maxReason = 300

/** Redacts before truncating: a truncated secret would no longer match. */
const describe = (reason: string): string =>
  truncate(Redaction.redact(cut(reason, maxRedacted)), maxReason) || "no reason given"

/** A name may be of any length, and a probe asks again and again. */
const pathOf = (path: string): string => Redaction.redact(cut(path, maxRedacted))

/** As long as a reason can be. */
const maxRedacted = 2_000

/** A time in its largest unit, such as `12 seconds`. */
const age = (millis: number): string => {
  const unit = units.find((each) => millis >= each.millis)
  return unit === undefined ? "less than a second" : counted(Math.floor(millis / unit.millis), unit.name)
}
