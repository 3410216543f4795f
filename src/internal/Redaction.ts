/**
 * Takes out of a text what must not be shown to everybody. A reason may quote
 * anything, as a driver does the address it could not connect to.
 */

/** The text, with `***` for credentials in URLs and for what is said to be a password, secret, token or key. */
export const masked = (text: string): string =>
  text
    .replaceAll(/\S+/g, withoutCredentials)
    .replaceAll(headers, "$1***")
    .replaceAll(values, (_, name: string, is: string, value: string) => `${name}${is}${mask(value)}`)
    .replaceAll(/\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi, "$1 ***")
    .replaceAll(knownKeys, "***")

/** A word with a URL in it: `postgres://shop:hunter2@db/orders`. A password may have any character in it. */
const withoutCredentials = (word: string): string => {
  if (!word.includes("://")) return word
  const begin = word.indexOf("://") + "://".length
  const end = word.lastIndexOf("@")
  const [authority = ""] = word.slice(begin).split(/[/?#]/, 1)
  return end > begin && /[:@]/.test(authority) ? `${word.slice(0, begin)}***${word.slice(end)}` : word
}

/** What these headers say is secret to the end of the line: `Cookie: sid=abc; other=def`. */
const headers = /\b((?:authorization|(?:set-)?cookie)\s*:\s*)(?!["'\\])[^\n]+/gi

/** JSON web tokens, and keys that say what they are. */
const knownKeys = /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\b[spr]k_(?:live|test)_\w+/g

/** `password=…`, `"apiKey": "…"`, `Authorization: Bearer …`: a name, what is between, and a value, in quotes or up to a space. */
const values =
  /(passw(?:or)?d|pwd|passphrase|passcode|\bpass|\bpw|signature|\bsig|account[-_ ]?key|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|authorization|credentials?|cookie)([\w-]{0,20}\\?["']?\s*[:=]>?\s*)("(?:[^"\\]|\\.)*"?|\\"[^"]*"?|'[^']*'?|(?:(?:Bearer|Basic|Digest)\s+)?[^\s,;&"')}\]]+)/gi

/** A quoted value stays quoted, so that what is around it can still be read. */
const mask = (value: string): string => {
  const [quote = ""] = /^\\?["']?/.exec(value) ?? []
  return `${quote}***${quote}`
}
