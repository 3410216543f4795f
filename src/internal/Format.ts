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

/** The units in which a person reads a time, the largest first. */
export const units = [
  { name: "day", short: "d", millis: 86_400_000 },
  { name: "hour", short: "h", millis: 3_600_000 },
  { name: "minute", short: "m", millis: 60_000 },
  { name: "second", short: "s", millis: 1_000 }
] as const

/** The path of a service below its app. */
export const below = (app: string, path: string): string =>
  path.startsWith(`${app} > `) ? path.slice(app.length + 3) : path
