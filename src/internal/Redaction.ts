/**
 * Removes credentials from text that leaves the process. A failure reason may
 * quote anything: a driver's error often contains its connection string.
 */

/** Replaces with `***` the credentials in URLs and whatever is labelled a password, secret, token or key. */
export const redact = (text: string): string =>
  text
    .replaceAll(/\S+/g, redactUrl)
    .replaceAll(headers, "$1***")
    .replaceAll(
      assignments,
      (_, name: string, separator: string, value: string) => `${name}${separator}${redactValue(value)}`
    )
    .replaceAll(/\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi, "$1 ***")
    .replaceAll(knownTokens, "***")

/** A word that contains a URL: `postgres://shop:hunter2@db/orders`. The password may contain any character. */
const redactUrl = (word: string): string => {
  if (!word.includes("://")) return word
  const begin = word.indexOf("://") + "://".length
  const end = word.lastIndexOf("@")
  const [authority = ""] = word.slice(begin).split(/[/?#]/, 1)
  return end > begin && /[:@]/.test(authority) ? `${word.slice(0, begin)}***${word.slice(end)}` : word
}

/** Headers whose value is secret up to the end of the line: `Cookie: sid=abc; other=def`. */
const headers = /\b((?:authorization|(?:set-)?cookie)\s*:\s*)(?!["'\\])[^\n]+/gi

/** JSON Web Tokens, and API keys with a known prefix. */
const knownTokens = /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\b[spr]k_(?:live|test)_\w+/g

/** A name, a separator, and a value that is quoted or ends at a space: `password=…`, `"apiKey": "…"`. */
const assignments =
  /(passw(?:or)?d|pwd|passphrase|passcode|\bpass|\bpw|signature|\bsig|account[-_ ]?key|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|authorization|credentials?|cookie)([\w-]{0,20}\\?["']?\s*[:=]>?\s*)("(?:[^"\\]|\\.)*"?|\\"[^"]*"?|'[^']*'?|(?:(?:Bearer|Basic|Digest)\s+)?[^\s,;&"')}\]]+)/gi

/** Keeps the quotes, so that the surrounding text still parses. */
const redactValue = (value: string): string => {
  const [quote = ""] = /^\\?["']?/.exec(value) ?? []
  return `${quote}***${quote}`
}
