/** Short phrases shared by reports, log lines and errors. */
import * as Duration from "effect/Duration"

/** A number with its noun: `1 run`, `2 runs`. */
export const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** Like `Duration.format`, but renders less than a millisecond as `0ms`. */
export const duration = (took: Duration.Duration): string =>
  Duration.toMillis(took) < 1 ? "0ms" : Duration.format(took)

/** Joins at most five names and counts the rest, to keep a line readable. */
export const listed = (names: ReadonlyArray<string>): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`

/** A path without the leading name of its app. */
export const below = (app: string, path: string): string =>
  path.startsWith(`${app} > `) ? path.slice(app.length + 3) : path

/** One line of at most `limit` characters. Untrusted text, such as a file name, may contain line breaks. */
export const truncate = (text: string, limit: number): string => {
  // oxlint-disable-next-line no-control-regex
  const line = text.replaceAll(/[\s\u0000-\u001F\u007F-\u009F]+/g, " ").trim()
  return line.length <= limit ? line : `${line.slice(0, limit - 1)}…`
}

/** Units for relative times, largest first. */
export const units = [
  { name: "day", short: "d", millis: 86_400_000 },
  { name: "hour", short: "h", millis: 3_600_000 },
  { name: "minute", short: "m", millis: 60_000 },
  { name: "second", short: "s", millis: 1_000 }
] as const
