/** How an app stopped: when each service stopped, what went wrong, and the resulting exit code. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import { below, counted, duration, listed, truncate } from "../Format.ts"

/** The stop of an app. */
export interface StopReport {
  readonly app: string
  /** Why it stopped, such as `SIGTERM` or `Shop > Db > rows failed`. */
  readonly reason: string
  readonly took: Duration.Duration
  /** The app's deadline. */
  readonly stopTimeout: Duration.Duration
  /** The exit code for the process: 0 if the app was asked to stop and stopped cleanly, otherwise 1. */
  readonly exitCode: 0 | 1
  readonly exitReason: string
  /** In the order of their stop requests. Includes adopted children, and services rolled back by a failed boot. */
  readonly services: ReadonlyArray<StoppedService>
  /** Problems outside of services, such as another layer that hung or a start that failed during interruption. */
  readonly problems: ReadonlyArray<string>
}

/** The stop of one service. Times are relative to the beginning of the app's stop, or of a failed boot's rollback. */
export interface StoppedService {
  readonly service: string
  readonly outcome: Outcome
  /** Undefined if it was never asked to stop. */
  readonly askedAt: Duration.Duration | undefined
  /** Undefined if it never ended. */
  readonly endedAt: Duration.Duration | undefined
  /** What failed or hung; usually empty. */
  readonly problems: ReadonlyArray<Problem>
  /** Names of work still running when a deadline passed. */
  readonly alive: ReadonlyArray<string>
}

/**
 * The outcome of a stop. `failed`: a step or work failed. `timedOut`: a step
 * exceeded its deadline and was abandoned. `abandoned`: the service was still
 * stopping when the app ended.
 */
export type Outcome = "clean" | "failed" | "timedOut" | "abandoned"

/** A problem during the stop of a service. */
export type Problem = Data.TaggedEnum<{
  /** A step failed; the stop continued with the next step. */
  StepFailed: { readonly step: string; readonly reason: string }
  /** A step exceeded its deadline and was abandoned; with `took`, it blocked the event loop and has ended late. */
  StepHung: {
    readonly step: string
    readonly after: Duration.Duration
    readonly alive: ReadonlyArray<string>
    readonly took?: Duration.Duration | undefined
  }
  /** A server aborted requests that had no response in time. */
  RequestsCut: {
    readonly after: Duration.Duration
    readonly requests: ReadonlyArray<{ readonly route: string; readonly count: number }>
  }
  /** Work of the service failed during the stop. */
  WorkFailed: { readonly work: string; readonly reason: string }
  /** Its start could not be interrupted. */
  StartHung: { readonly after: Duration.Duration }
  /** It was still stopping when the app's deadline passed. `doing` is its state, such as `stopping: work`. */
  Late: {
    readonly after: Duration.Duration
    readonly doing: string
    readonly alive: ReadonlyArray<string>
  }
}>
export const Problem = Data.taggedEnum<Problem>()

/** The facts from which a report is made. */
export interface Facts extends Omit<StopReport, "exitCode" | "exitReason" | "services"> {
  readonly services: ReadonlyArray<Omit<StoppedService, "outcome" | "alive">>
  /** Why the app failed, if it did. */
  readonly failure: string | undefined
  /** The uncaught error that crashed it, if any. */
  readonly crash: string | undefined
}

/** Derives outcomes and the exit code from the facts. */
export const make = ({ crash, failure, ...facts }: Facts): StopReport => {
  const services = facts.services.map((service): StoppedService => {
    const alive = service.problems.flatMap((problem) => ("alive" in problem ? problem.alive : []))
    return { ...service, outcome: outcomeOf(service), alive: [...new Set(alive)] }
  })
  const reasons = [
    ...(crash === undefined ? [] : [`it crashed (${crash})`]),
    ...(failure === undefined ? [] : [failure]),
    ...uncleanReason(services, facts.problems)
  ]
  return {
    ...facts,
    services,
    exitCode: reasons.length === 0 ? 0 : 1,
    exitReason: reasons.length === 0 ? "it was asked to stop, and stopped cleanly" : reasons.join("; ")
  }
}

const outcomeOf = ({ endedAt, problems }: Facts["services"][number]): Outcome => {
  const isLate = problems.some(({ _tag }) => _tag !== "StepFailed" && _tag !== "WorkFailed")
  if (endedAt === undefined && isLate) return "abandoned"
  if (isLate) return "timedOut"
  return problems.length > 0 ? "failed" : "clean"
}

const uncleanReason = (
  services: ReadonlyArray<StoppedService>,
  problems: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const unclean = services.filter(({ outcome }) => outcome !== "clean").length
  if (unclean > 0) return [`${unclean} of ${counted(services.length, "service")} did not stop cleanly`]
  return problems.length > 0 ? ["it did not stop cleanly"] : []
}

/** Whether everything stopped in time and without failures, for whatever reason it stopped. */
export const isClean = (report: StopReport): boolean => problemsOf(report).length === 0

/** How it stopped, in words: `clean` only if nothing failed before either. */
export const how = (report: StopReport): string => {
  if (!isClean(report)) return "not clean"
  return report.exitCode === 0 ? "clean" : "after a failure"
}

/** Describes aborted requests by route: `3 requests that had no answer after 20s: GET /a, 2 of POST /b`. */
export const unanswered = (
  requests: ReadonlyArray<{ readonly route: string; readonly count: number }>,
  after: Duration.Duration
): string => {
  const total = requests.reduce((sum, { count }) => sum + count, 0)
  const routes = requests.map(({ count, route }) => (count === 1 ? route : `${count} of ${route}`))
  return `${counted(total, "request")} that had no answer after ${duration(after)}: ${listed(routes)}`
}

/** Describes a step whose deadline passed while the event loop was blocked. */
export const blocked = (took: Duration.Duration, step: string, after: Duration.Duration): string =>
  `took ${duration(took)} for ${step} while stopping, longer than ${duration(after)}: the event loop was blocked`

/** All problems of the app and its services, one line each. */
export const problemsOf = ({ problems, services }: StopReport): ReadonlyArray<string> => [
  ...problems,
  ...services.flatMap(({ problems, service }) => problems.map((problem) => `${service} ${describe(problem)}`))
]

/** The predicate of a sentence whose subject is the service. */
const describe = Problem.$match({
  StepFailed: ({ reason, step }) => `failed in ${step}: ${reason}`,
  StepHung: ({ after, alive, step, took }) =>
    took === undefined
      ? `hung in ${step}, and was left after ${duration(after)}${stillRunning(alive)}`
      : blocked(took, step, after),
  RequestsCut: ({ after, requests }) => `cut ${unanswered(requests, after)}`,
  WorkFailed: ({ reason, work }) => `failed, because ${work} failed: ${reason}`,
  StartHung: ({ after }) =>
    `could not be interrupted while it started, and was left after ${duration(after)}`,
  Late: ({ after, alive, doing }) =>
    `had not stopped after ${duration(after)} (${doing})${stillRunning(alive)}`
})

const stillRunning = (alive: ReadonlyArray<string>): string =>
  alive.length === 0 ? "" : `, with ${listed(alive)} still running`

/** Renders a table with a row per service, unclean stops first. At most 50 lines. */
export const render = (report: StopReport): string => {
  const { app, exitCode, exitReason, problems, reason, services, stopTimeout, took } = report
  const lines = [
    `${app} stopped in ${duration(took)}, ${how(report)}`,
    `  stopped because: ${truncate(reason, maxText)}`,
    `  deadline: ${duration(stopTimeout)}`,
    `  exit code: ${exitCode}, because ${truncate(exitReason, maxText)}`,
    ...shorten(problems).map((problem) => `  ${truncate(problem, maxText)}`)
  ]
  const ranked = services.toSorted((one, other) => rank[one.outcome] - rank[other.outcome])
  const blocks = ranked.map((service) => rows(app, service))
  const shown: Array<Row> = []
  let remaining = blocks.length
  for (const block of blocks) {
    const isLast = remaining === 1
    if (lines.length + 1 + shown.length + block.length + (isLast ? 0 : 1) > maxLines) break
    shown.push(...block)
    remaining--
  }
  if (shown.length > 0) lines.push(...table([["service", "asked", "ended", "outcome", ""], ...shown]))
  if (remaining > 0) {
    const allClean = ranked.at(-remaining)?.outcome === "clean"
    lines.push(`  and ${counted(remaining, "more service")}${allClean ? ", clean" : ""}`)
  }
  return lines.join("\n")
}

/** One screen. */
const maxLines = 50

/** Limits that keep a line readable. */
const maxName = 40
const maxText = 100

/** Sort order of the rows. */
const rank: Record<Outcome, number> = { abandoned: 0, timedOut: 1, failed: 2, clean: 3 }

const label: Record<Outcome, string> = {
  abandoned: "abandoned",
  timedOut: "timed out",
  failed: "failed",
  clean: "clean"
}

type Row = readonly [name: string, asked: string, ended: string, outcome: string, problem: string]

/** A row for a service, and one for each of its further problems. */
const rows = (app: string, { askedAt, endedAt, outcome, problems, service }: StoppedService) => {
  const [first = "", ...others] = shorten(problems.map(describe))
  const name = truncate(below(app, service), maxName)
  return [
    [name, at(askedAt), at(endedAt), label[outcome], truncate(first, maxText)],
    ...others.map((problem): Row => ["", "", "", "", truncate(problem, maxText)])
  ] satisfies ReadonlyArray<Row>
}

const at = (time: Duration.Duration | undefined): string => (time === undefined ? "never" : duration(time))

/** A service has as many problems as failed cleanups, so their number is limited. */
const shorten = (problems: ReadonlyArray<string>): ReadonlyArray<string> =>
  problems.length <= maxProblems
    ? problems
    : [...problems.slice(0, maxProblems), `and ${counted(problems.length - maxProblems, "more problem")}`]
const maxProblems = 5

/** Aligns the columns, with times to the right. */
const table = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  const [name, asked, ended, outcome] = [width(0), width(1), width(2), width(3)]
  return rows.map((row) =>
    `  ${row[0].padEnd(name)}  ${row[1].padStart(asked)}  ${row[2].padStart(ended)}  ${row[3].padEnd(outcome)}  ${row[4]}`.trimEnd()
  )
}
