/** How an app has stopped: which service when, what was not clean about it, and the exit code that follows. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import { below } from "../Format.ts"
import { counted, cut, duration, listed } from "../Format.ts"

/** The stop of an app. */
export interface StopReport {
  readonly app: string
  /** Why it stopped: `SIGTERM`, `Shop > Db > rows failed`. */
  readonly reason: string
  readonly took: Duration.Duration
  /** How long it might have taken. */
  readonly stopTimeout: Duration.Duration
  /** What a process should end with, and why: 0 when the app was asked to stop and did so cleanly. */
  readonly exitCode: 0 | 1
  readonly exitReason: string
  /** In the order in which they were asked to stop, adopted children too, and those that a boot that failed had started. */
  readonly services: ReadonlyArray<StoppedService>
  /** What else was not clean: a layer that is no service hung, a start failed while the boot was interrupted. */
  readonly problems: ReadonlyArray<string>
}

/** The stop of a service. Times are from the begin of the app's stop; of a boot that failed, from when its undoing began. */
export interface StoppedService {
  readonly service: string
  readonly outcome: Outcome
  /** None when it was never asked. */
  readonly askedAt: Duration.Duration | undefined
  /** None when it never ended. */
  readonly endedAt: Duration.Duration | undefined
  /** What failed or hung; most services have none. */
  readonly problems: ReadonlyArray<Problem>
  /** Its work that had not ended when a deadline passed, by name. */
  readonly alive: ReadonlyArray<string>
}

/**
 * How a stop went: something failed, something passed a deadline and was left,
 * or it had not come to its end when the app had, and was left as a whole.
 */
export type Outcome = "clean" | "failed" | "timedOut" | "abandoned"

/** Something that was not clean about the stop of a service. */
export type Problem = Data.TaggedEnum<{
  /** A step failed, and the next one was run. */
  StepFailed: { readonly step: string; readonly reason: string }
  /** A step hung, and was left. */
  StepHung: {
    readonly step: string
    readonly after: Duration.Duration
    readonly alive: ReadonlyArray<string>
  }
  /** It is a server, and had requests in flight that had no answer in time. */
  RequestsCut: {
    readonly after: Duration.Duration
    readonly requests: ReadonlyArray<{ readonly route: string; readonly count: number }>
  }
  /** Its work failed while it stopped. */
  WorkFailed: { readonly work: string; readonly reason: string }
  /** Its start was not to be interrupted. */
  StartHung: { readonly after: Duration.Duration }
  /** It had not stopped when the app's deadline passed. `doing` is its state then, as `stopping: work`. */
  Late: {
    readonly after: Duration.Duration
    readonly doing: string
    readonly alive: ReadonlyArray<string>
  }
}>
export const Problem = Data.taggedEnum<Problem>()

/** What is known of a stop. */
export interface Facts extends Omit<StopReport, "exitCode" | "exitReason" | "services"> {
  readonly services: ReadonlyArray<Omit<StoppedService, "outcome" | "alive">>
  /** Why the app failed, if it did. */
  readonly failure: string | undefined
  /** What has crashed it, if something did. */
  readonly crash: string | undefined
}

/** What is to be said of a stop. */
export const make = ({ crash, failure, ...facts }: Facts): StopReport => {
  const services = facts.services.map((service): StoppedService => {
    const alive = service.problems.flatMap((problem) => ("alive" in problem ? problem.alive : []))
    return { ...service, outcome: outcomeOf(service), alive: [...new Set(alive)] }
  })
  const reasons = [
    ...(crash === undefined ? [] : [`it crashed (${crash})`]),
    ...(failure === undefined ? [] : [failure]),
    ...unclean(services, facts.problems)
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

const unclean = (
  services: ReadonlyArray<StoppedService>,
  problems: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const troubled = services.filter(({ outcome }) => outcome !== "clean").length
  if (troubled > 0) return [`${troubled} of ${counted(services.length, "service")} did not stop cleanly`]
  return problems.length > 0 ? ["it did not stop cleanly"] : []
}

/** Whether all has stopped without failing and in time. Why it stopped does not matter. */
export const isClean = (report: StopReport): boolean => problemsOf(report).length === 0

/** Requests that a server has cut, by route: `3 requests that had no answer after 20s: GET /a, 2 of POST /b`. */
export const unanswered = (
  requests: ReadonlyArray<{ readonly route: string; readonly count: number }>,
  after: Duration.Duration
): string => {
  const all = requests.reduce((sum, { count }) => sum + count, 0)
  const routes = requests.map(({ count, route }) => (count === 1 ? route : `${count} of ${route}`))
  return `${counted(all, "request")} that had no answer after ${duration(after)}: ${listed(routes)}`
}

/** What was not clean, a line for each. */
export const problemsOf = ({ problems, services }: StopReport): ReadonlyArray<string> => [
  ...problems,
  ...services.flatMap(({ problems, service }) => problems.map((problem) => `${service} ${describe(problem)}`))
]

/** A problem of a service, as what follows its name. */
const describe = Problem.$match({
  StepFailed: ({ reason, step }) => `failed in ${step}: ${reason}`,
  StepHung: ({ after, alive, step }) =>
    `hung in ${step}, and was left after ${duration(after)}${still(alive)}`,
  RequestsCut: ({ after, requests }) => `cut ${unanswered(requests, after)}`,
  WorkFailed: ({ reason, work }) => `failed, because ${work} failed: ${reason}`,
  StartHung: ({ after }) =>
    `could not be interrupted while it started, and was left after ${duration(after)}`,
  Late: ({ after, alive, doing }) => `had not stopped after ${duration(after)} (${doing})${still(alive)}`
})

const still = (alive: ReadonlyArray<string>): string =>
  alive.length === 0 ? "" : `, with ${listed(alive)} still running`

/** A stop as a table: a row for each service, those in trouble first. Fifty lines at most. */
export const render = (report: StopReport): string => {
  const { app, exitCode, exitReason, problems, reason, services, stopTimeout, took } = report
  const lines = [
    `${app} stopped in ${duration(took)}, ${isClean(report) ? "clean" : "not clean"}`,
    `  stopped because: ${cut(reason, longestText)}`,
    `  deadline: ${duration(stopTimeout)}`,
    `  exit code: ${exitCode}, because ${cut(exitReason, longestText)}`,
    ...some(problems).map((problem) => `  ${cut(problem, longestText)}`)
  ]
  const ranked = services.toSorted((one, other) => rank[one.outcome] - rank[other.outcome])
  const blocks = ranked.map((service) => rows(app, service))
  const shown: Array<Row> = []
  let left = blocks.length
  for (const block of blocks) {
    const isLast = left === 1
    if (lines.length + 1 + shown.length + block.length + (isLast ? 0 : 1) > mostLines) break
    shown.push(...block)
    left--
  }
  if (shown.length > 0) lines.push(...table([["service", "asked", "ended", "outcome", ""], ...shown]))
  if (left > 0) {
    const isCalm = ranked.at(-left)?.outcome === "clean"
    lines.push(`  and ${counted(left, "more service")}${isCalm ? ", clean" : ""}`)
  }
  return lines.join("\n")
}

/** A screen. */
const mostLines = 50

/** Where names, reasons and problems are cut, so that a line stays a line. */
const longestName = 40
const longestText = 100

/** What is read first. */
const rank: Record<Outcome, number> = { abandoned: 0, timedOut: 1, failed: 2, clean: 3 }

const words: Record<Outcome, string> = {
  abandoned: "abandoned",
  timedOut: "timed out",
  failed: "failed",
  clean: "clean"
}

type Row = readonly [name: string, asked: string, ended: string, outcome: string, problem: string]

/** A row for a service, and one for each further problem of it. */
const rows = (app: string, { askedAt, endedAt, outcome, problems, service }: StoppedService) => {
  const [first = "", ...others] = some(problems.map(describe))
  const name = cut(below(app, service), longestName)
  return [
    [name, at(askedAt), at(endedAt), words[outcome], cut(first, longestText)],
    ...others.map((problem): Row => ["", "", "", "", cut(problem, longestText)])
  ] satisfies ReadonlyArray<Row>
}

const at = (time: Duration.Duration | undefined): string => (time === undefined ? "never" : duration(time))

/** A service may have as many problems as it has cleanups. */
const some = (problems: ReadonlyArray<string>): ReadonlyArray<string> =>
  problems.length <= mostAlike
    ? problems
    : [...problems.slice(0, mostAlike), `and ${counted(problems.length - mostAlike, "more problem")}`]
const mostAlike = 5

/** Columns of one width; times to the right, as numbers are. */
const table = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  const [name, asked, ended, outcome] = [width(0), width(1), width(2), width(3)]
  return rows.map((row) =>
    `  ${row[0].padEnd(name)}  ${row[1].padStart(asked)}  ${row[2].padStart(ended)}  ${row[3].padEnd(outcome)}  ${row[4]}`.trimEnd()
  )
}
