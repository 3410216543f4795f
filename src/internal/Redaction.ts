/**
 * Removes credentials from text that leaves the process. A failure reason may
 * quote anything: a driver's error often contains its connection string.
 *
 * The text may come from outside, so each pattern here takes time linear in its
 * length. A repetition without a limit is only followed by what it cannot match
 * itself, and begins only where no earlier attempt has passed: after a fixed word,
 * or behind a lookbehind that excludes its own characters.
 */

/** Replaces with `***` the credentials in URLs, known tokens, and whatever is labelled a password, secret, token or key. */
export const redact = (text: string): string =>
  redactBlocks(text)
    .replaceAll(/\S+/g, redactUrl)
    .replaceAll(headers, "$1***")
    .replaceAll(elements, "$1***")
    .replaceAll(assignments, redactAssignment)
    .replaceAll(keys, (all, name: string, separator: string, value: string, at: number, whole: string) =>
      isHarmless(whole.slice(Math.max(0, at - 20), at)) ? all : redactAssignment(all, name, separator, value)
    )
    .replaceAll(options, (all, option: string, value: string) =>
      isProse(value) ? all : `${option}${redactValue(value)}`
    )
    .replaceAll(/\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi, "$1 ***")
    .replaceAll(/[\w.-]+/g, redactJsonWebToken)
    .replaceAll(knownTokens, "***")

/** The contents of PEM blocks, up to the end of the text where the end of the block is cut off. */
const redactBlocks = (text: string): string => {
  if (!text.includes("-----BEGIN ")) return text
  const parts: Array<string> = []
  let done = 0
  for (const begin of text.matchAll(/-----BEGIN [A-Z0-9 ]{1,60}-----/g)) {
    const from = begin.index + begin[0].length
    // It lies within the block before.
    if (begin.index < done) continue
    const end = text.indexOf("-----END ", from)
    parts.push(text.slice(done, from), "***")
    done = end === -1 ? text.length : end
    if (end === -1) break
  }
  return parts.join("") + text.slice(done)
}

/** A word that contains a URL: `postgres://shop:hunter2@db/orders`. The password may contain any character. */
const redactUrl = (word: string): string => {
  if (!word.includes("://")) return word
  const begin = word.indexOf("://") + "://".length
  const end = word.lastIndexOf("@")
  const [authority = ""] = word.slice(begin).split(/[/?#]/, 1)
  if (end > begin && /[:@]/.test(authority)) return `${word.slice(0, begin)}***${word.slice(end)}`
  // Cut off, perhaps within the password.
  return word.endsWith("…") && authority.includes(":") ? `${word.slice(0, begin)}***…` : word
}

/** Headers whose value is secret up to the end of the line: `Cookie: sid=abc; other=def`. */
const headers = /\b((?:authorization|(?:set-)?cookie)\s*:\s*)(?!["'\\])[^\n]+/gi

/** Names of what is secret. */
const secret =
  "passw(?:or)?d|pwd|passphrase|passcode|\\bpass|\\bpw|signature|\\bsig|secret|token|authorization|credentials?|cookie|" +
  "(?:account|api|access|private|encryption|decryption|encrypt|master|signing|sign|session|shared|storage|service|root|" +
  "hmac|aes|ssh|license|auth|webhook|deploy|cipher|crypto|symmetric|wrapping|data)[-_ ]?key"

/** Of JSON, a URL, an assignment, a shell, or as a form has it. */
const separator = String.raw`\\?["']?\s*(?:[:=：]|%3D)>?\s*`

/** Quoted, or to the next space. */
const value = String.raw`"(?:[^"\\]|\\.)*"?|\\"[^"]*"?|'[^']*'?|(?:(?:Bearer|Basic|Digest)\s+)?[^\s,;&"')}\]]+`

/** A name, a separator, and a value that is quoted or ends at a space: `password=…`, `"apiKey": "…"`. */
const assignments = new RegExp(`(${secret})([\\w-]{0,20}${separator})(${value})`, "gi")

/** Any other key that an identifier names, such as `STRIPE_KEY=…` or `"hashKey": "…"`. */
const keys = new RegExp(`((?<=[A-Za-z0-9][_-])(?:key|Key|KEY)|(?<=[a-z0-9])Key)(${separator})(${value})`, "g")

/** Whether such a key is known to be none that opens anything: what a database or a cache calls so. */
const isHarmless = (before: string): boolean => harmless.test(before)
const harmless =
  /(?:primary|foreign|partition|sort|cache|public|ordering|routing|unique|object|index|candidate|duplicate|row|range|lookup|idempotency|such|invalid|unknown|missing|translation|message|i18n)[_-]?$/i

/** An element: `<password>…</password>`. */
const elements = new RegExp(`(<[\\w:.-]{0,40}(?:${secret})[\\w.-]{0,20}(?:\\s[^<>]{0,200})?>)[^<]+`, "gi")

/** An option of a command: `--password …`, `-token …`. */
const options = new RegExp(
  `((?<![\\w-])--?[\\w-]{0,30}(?:${secret}|\\bkey)\\s+)("(?:[^"\\\\]|\\\\.)*"?|'[^']*'?|[^\\s"'-][^\\s]*)`,
  "gi"
)

/** Whether what follows an option is the rest of a sentence about it. */
const isProse = (word: string): boolean =>
  /^(?:is|are|was|were|has|have|must|may|can|cannot|needs?|requires?|required|missing|not|and|or|for|with|without|to|in|of|option|flag)\b/i.test(
    word
  )

/** JSON Web Tokens: three parts of base64, of which the first begins as `{"` does. */
const redactJsonWebToken = (word: string): string => {
  if (!word.includes("eyJ")) return word
  const parts = word.split(".")
  const masked: Array<string> = []
  for (let index = 0; index < parts.length; index++) {
    // There is one at each index.
    const part = parts[index]!
    const begin = part.search(/\beyJ/)
    if (begin === -1 || part.length - begin < 11 || !parts[index + 1]) {
      masked.push(part)
      continue
    }
    masked.push(`${part.slice(0, begin)}***`)
    index += 2
  }
  return masked.join(".")
}

/** Keys and tokens with the prefix of who gives them out. Shorter ones are words. */
const knownTokens = new RegExp(
  `(?<![A-Za-z0-9])(?:${[
    "[spr]k_(?:live|test)_\\w+", // Stripe
    "whsec_\\w{8,}",
    "(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{8,}", // AWS
    "gh[opsur]_\\w{8,}", // GitHub
    "github_pat_\\w{8,}",
    "gl(?:pat|ptt|dt|rt|cbt|soat|ft)-[\\w.-]{8,}", // GitLab
    "xox[a-z]-[\\w-]{8,}", // Slack
    "xapp-[\\w-]{8,}",
    "sk-[\\w-]{12,}", // OpenAI, Anthropic
    "AIza[\\w-]{16,}", // Google
    "ya29\\.[\\w.-]{8,}",
    "GOCSPX-[\\w-]{8,}",
    "npm_[A-Za-z0-9]{16,}",
    "pypi-[\\w-]{16,}",
    "SG\\.[\\w-]{8,}(?:\\.[\\w-]+)?", // SendGrid
    "do[opr]_v1_[a-z0-9]{8,}", // DigitalOcean
    "hf_[A-Za-z0-9]{16,}", // Hugging Face
    "shp(?:at|ca|pa|ss)_[A-Za-z0-9]{8,}" // Shopify
  ].join("|")})`,
  "g"
)

const redactAssignment = (_: string, name: string, separator: string, value: string): string =>
  `${name}${separator}${redactValue(value)}`

/** Keeps the quotes, so that the surrounding text still parses. */
const redactValue = (value: string): string => {
  const [quote = ""] = /^\\?["']?/.exec(value) ?? []
  return `${quote}***${quote}`
}
