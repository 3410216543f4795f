/** Small texts that many lines are made of. */

/** A number of things: `1 run`, `2 runs`. */
export const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** A text in one line, and not longer: names may come from outside, as those of files, and reasons from anywhere. */
export const cut = (text: string, longest: number): string => {
  // oxlint-disable-next-line no-control-regex
  const line = text.replaceAll(/[\s\u0000-\u001F\u007F-\u009F]+/g, " ").trim()
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`
}
