/**
 * Renders the reason of a failure in one line.
 *
 * A failure may be any value, and its text may come from outside. So this never
 * throws, whatever a getter, a Proxy or `toString` does; it looks at a limited
 * number of errors, at a limited depth; and it cuts each text before it looks
 * into it. The line has no control characters.
 */
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import { cut, inOneLine } from "./Format.ts"

/**
 * The most characters of a reason: a few sentences with an address or a
 * statement. Each service, task and check keeps its last one, and `/status` shows
 * them all.
 */
export const maxLength = 2_000

/** How many causes of causes are followed. Deeper ones say no more. */
const maxDepth = 8

/** How many errors are looked at in all: more are the same error many times. */
const maxErrors = 50

/** The most characters of the name of an error. */
export const maxName = 100

/** The distinct failures and defects of a cause, or `interrupted` if it has neither. */
export const ofCause = (cause: Cause.Cause<unknown>): string => causeIn(cause, begin())

/** The reason of one error. */
export const ofError = (error: unknown): string => errorIn(error, begin())

/** The message of an error in one line, without its causes; undefined if it has none. */
export const messageOf = (error: unknown): string | undefined => {
  const message = read(error, "message")
  const line = typeof message === "string" ? lineOf(message) : ""
  return line === "" ? undefined : line
}

/** A property of any value; undefined if there is none, or reading it throws. */
export const read = (value: unknown, key: PropertyKey): unknown => {
  if (value === null || value === undefined) return undefined
  try {
    return (value as Record<PropertyKey, unknown>)[key]
  } catch {
    return undefined
  }
}

/** As `instanceof`, which throws for some Proxies. */
export const isA = <A>(value: unknown, type: abstract new (...args: any) => A): value is A =>
  attempt(() => value instanceof type) ?? false

/** As `Cause.isCause`, which throws for some Proxies. */
export const isCause = (value: unknown): value is Cause.Cause<unknown> =>
  attempt(() => Cause.isCause(value)) ?? false

/** Text from outside in one line, cut before anything else is done with it. */
export const lineOf = (text: string, limit = maxLength): string => inOneLine(cut(text, limit))

/**
 * Any value in one line, much like JSON. Unlike `JSON.stringify` it never throws,
 * and shows bigints, circles and values that cannot be read as what they are.
 */
export const show = (value: unknown): string => {
  // Each value that is written takes from it, so that not even a wide and deep one takes long.
  let left = maxLength
  const text = (value: unknown, within: ReadonlyArray<unknown>): string => {
    if (typeof value === "string") return quoted(value)
    if (typeof value === "bigint") return quoted(`${value}n`)
    if (typeof value === "function" || typeof value === "symbol") return quoted(primitive(value))
    if (typeof value !== "object" || value === null) return String(value)
    if (within.includes(value)) return quoted("(circular)")
    if (within.length === 4) return quoted("…")
    const inner = [...within, value]
    const plain = attempt(() => plainOf(value))
    if (plain === undefined) return quoted(unreadable)
    if (plain.value !== value) return text(plain.value, inner)
    if (Array.isArray(value)) return `[${members(value, (each) => text(each, inner)).join(",")}]`
    const keys = Object.keys(value)
    return `{${members(keys, (key) => `${quoted(key)}:${text(read(value, key), inner)}`).join(",")}}`
  }
  const quoted = (value: string) => {
    const line = JSON.stringify(lineOf(value, 500))
    left -= line.length
    return line
  }
  const members = <A>(all: ReadonlyArray<A>, f: (a: A) => string) => {
    const shown: Array<string> = []
    for (const each of all) {
      if (shown.length === 50 || left <= 0) return [...shown, "…"]
      left--
      shown.push(f(each))
    }
    return shown
  }
  return attempt(() => cut(text(value, []), maxLength)) ?? unreadable
}

/** How far one reason has been looked for. */
interface Walk {
  /** The errors above this one, so that a circle ends. */
  readonly above: ReadonlyArray<object>
  readonly count: { looked: number }
}

const begin = (): Walk => ({ above: [], count: { looked: 0 } })

const causeIn = (cause: Cause.Cause<unknown>, walk: Walk): string => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  return errors.length === 0 ? "interrupted" : joined(errors, walk)
}

/** The first that exists: the message with what caused it, the cause, the tag, the code, the value as text. */
const errorIn = (error: unknown, walk: Walk): string => {
  if (typeof error === "string") return lineOf(error)
  if (typeof error !== "object" || error === null) return lineOf(primitive(error))
  const { above, count } = walk
  if (++count.looked > maxErrors || above.length > maxDepth || above.includes(error)) return leftOut
  // A Proxy may throw at any question.
  return attempt(() => objectIn(error, { above: [...above, error], count })) ?? unreadable
}

const objectIn = (error: object, walk: Walk): string => {
  if (Cause.isCause(error)) return causeIn(error, walk)
  if (ConfigError.isConfigError(error)) return configErrorIn(error, walk)
  const message = messageOf(error)
  const below = belowOf(error, walk)
  if (message !== undefined) {
    // Such as `fetch failed`, which says nothing without its cause. Many messages quote it already.
    if (below === undefined || message.includes(below)) return message
    return cut(/[.!?]$/.test(message) ? `${message} (${below})` : `${message}: ${below}`, maxLength)
  }
  if (below !== undefined) return below
  for (const key of ["_tag", "code"]) {
    const value = read(error, key)
    if (typeof value === "string" && value.trim() !== "") return lineOf(value)
  }
  return textOf(error) ?? show(error)
}

/** The reasons of what an error is made of or was caused by. */
const belowOf = (error: object, walk: Walk): string | undefined => {
  const errors = read(error, "errors")
  if (isA(error, AggregateError) && Array.isArray(errors) && errors.length > 0) return joined(errors, walk)
  const cause = read(error, "cause")
  if (cause === undefined || cause === null) return undefined
  const below = errorIn(cause, walk)
  return below === "" || below === leftOut ? undefined : below
}

/** The distinct reasons of several errors. */
const joined = (errors: ReadonlyArray<unknown>, walk: Walk): string => {
  const reasons = new Set<string>()
  let length = 0
  for (const error of errors) {
    const reason = errorIn(error, walk)
    if (!reasons.has(reason)) length += reason.length
    reasons.add(reason)
    if (length > maxLength || walk.count.looked > maxErrors) break
  }
  return cut([...reasons].join("; "), maxLength)
}

/** Adds the path of the setting, which the message leaves out. */
const configErrorIn = (error: ConfigError.ConfigError, walk: Walk): string => {
  if (error._op === "And" || error._op === "Or") return joined([error.left, error.right], walk)
  const path = attempt(() => error.path.join(".")) ?? ""
  return lineOf([cut(path, maxLength), messageOf(error) ?? ""].filter((part) => part !== "").join(": "))
}

/** The result of an object's own `toString`; for an error without a message, its name and fields. */
const textOf = (value: object): string | undefined => {
  if (isA(value, Error)) {
    const name = read(value, "name")
    const fields = Object.keys(value).length === 0 ? "" : ` ${show(value)}`
    return lineOf(`${typeof name === "string" && name !== "" ? cut(name, maxName) : "Error"}${fields}`)
  }
  const toString = read(value, "toString")
  // That of arrays and plain objects says nothing.
  if (typeof toString !== "function" || toString === Object.prototype.toString || Array.isArray(value))
    return undefined
  const text = attempt((): unknown => toString.call(value))
  const line = typeof text === "string" ? lineOf(text) : ""
  return line === "" ? undefined : line
}

/** What JSON would show: a secret, such as `Redacted`, and a date say so themselves. */
const plainOf = (value: object): { readonly value: unknown } => {
  const toJSON = (value as { readonly toJSON?: unknown }).toJSON
  return { value: typeof toJSON === "function" ? toJSON.call(value) : value }
}

const primitive = (value: unknown): string => {
  if (typeof value !== "function") return String(value)
  const name = read(value, "name")
  return typeof name === "string" && name !== "" ? `function ${name}` : "a function"
}

const attempt = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

const unreadable = "a value that cannot be read"

/** Stands for an error that is not looked at. */
const leftOut = "…"
