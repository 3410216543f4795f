/** Small texts that many lines are made of. */
import * as Duration from "effect/Duration"

/** A number of things: `1 run`, `2 runs`. */
export const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** `Duration.format` has no unit for nothing. */
export const duration = (took: Duration.Duration): string =>
  Duration.toMillis(took) < 1 ? "0ms" : Duration.format(took)

/** At most five names, so that a line stays a line. */
export const listed = (names: ReadonlyArray<string>): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`

/** A text in one line, and cut there. Names may come from outside, as those of files, and reasons from anywhere. */
export const cut = (text: string, longest: number): string => {
  // oxlint-disable-next-line no-control-regex
  const line = text.replaceAll(/[\s\u0000-\u001F\u007F-\u009F]+/g, " ").trim()
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`
}

/** Requests that were cut, by route: `3 requests that had no answer after 20s: GET /a, 2 of POST /b`. */
export const unanswered = (
  requests: ReadonlyArray<{ readonly route: string; readonly count: number }>,
  after: Duration.Duration
): string => {
  const all = requests.reduce((sum, { count }) => sum + count, 0)
  const routes = requests.map(({ count, route }) => (count === 1 ? route : `${count} of ${route}`))
  return `${counted(all, "request")} that had no answer after ${duration(after)}: ${listed(routes)}`
}

/** What a service is called below its app. */
export const below = (app: string, path: string): string =>
  path.startsWith(`${app} > `) ? path.slice(app.length + 3) : path

/** Services one after another, with the time of each. Of many, those with the longest times. */
export const way = (
  app: string,
  steps: ReadonlyArray<{ readonly service: string; readonly time: Duration.Duration }>
): string => {
  const all = steps.map(({ service, time }, index) => ({ index, time, name: below(app, service) }))
  const shown = all
    .toSorted((one, other) => Duration.toMillis(other.time) - Duration.toMillis(one.time))
    .slice(0, mostOnWay)
    .toSorted((one, other) => one.index - other.index)
  const texts = shown.map(({ name, time }) => `${cut(name, longestOnWay)} ${duration(time)}`)
  const left = steps.length - shown.length
  return `${texts.join(" > ")}${left === 0 ? "" : ` (and ${left} more)`}`
}

/** So that a way stays a line. */
const mostOnWay = 6
const longestOnWay = 40
