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

/** Whether a path is that of a service of the app itself, and not of a child. */
export const isOfApp = (app: string, path: string): boolean => !below(app, path).includes(" > ")

/** One line of at most `limit` characters. Untrusted text, such as a file name, may contain line breaks. */
export const truncate = (text: string, limit: number): string =>
  // Cut before as well, with room for blanks: a name may be of any length.
  cut(
    cut(text, 10 * limit)
      .replaceAll(blank, " ")
      .trim(),
    limit
  )

/** At most `limit` characters; the last is an ellipsis if there were more. */
export const cut = (text: string, limit: number): string =>
  text.length <= limit ? text : `${text.slice(0, limit - 1)}…`

/**
 * The text in one line: each line break, with the blanks around it, becomes a
 * space, and so does each other character that could change how a terminal or a
 * log viewer shows the rest of the line.
 */
export const inOneLine = (text: string): string =>
  text.search(control) === -1
    ? text
    : text
        .split(control)
        .map((part) => part.trim())
        .filter((part) => part !== "")
        .join(" ")

/** The text with a space for each run of control characters; with `lines`, line breaks stay. */
export const withoutControls = (text: string, kept?: "lines"): string =>
  text.replaceAll(kept === undefined ? control : controlInLine, " ")

// All of these are single classes: linear, whatever the text. A pattern such as /\s*\n\s*/ is not.

/** Marks that change the direction of writing, or separate lines. */
const marks = "\\u007F-\\u009F\\u061C\\u200E\\u200F\\u2028-\\u202E\\u2066-\\u2069"

/** The controls C0 and C1, such as line breaks, ESC and BEL, and `marks`. */
const control = new RegExp(`[\\u0000-\\u001F${marks}]+`, "g")

const controlInLine = new RegExp(`[\\u0000-\\u0009\\u000B-\\u001F${marks}]+`, "g")

const blank = new RegExp(`[\\s\\u0000-\\u001F${marks}]+`, "g")

/** Units for relative times, largest first. */
export const units = [
  { name: "day", short: "d", millis: 86_400_000 },
  { name: "hour", short: "h", millis: 3_600_000 },
  { name: "minute", short: "m", millis: 60_000 },
  { name: "second", short: "s", millis: 1_000 }
] as const
