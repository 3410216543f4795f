/**
 * Checks of what callers pass at run time, where types cannot see: a wrong
 * duration, an empty name, a value from JavaScript.
 *
 * The error is a defect, raised where the value is given: it is a mistake in a
 * program and not a state of the world, so it stays out of error types.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** An option or argument that cannot be used, with what was given and what would do. */
export class InputError extends Data.TaggedError("InputError")<{
  /** The function that was called, as `Service.interval`. */
  readonly where: string
  /** The argument or option, as `every`. */
  readonly input: string
  /** What it must be, as `a duration above zero and below infinity`. */
  readonly expected: string
  readonly actual: unknown
}> {
  override get message(): string {
    return `${this.where}: \`${this.input}\` must be ${this.expected}, but it is ${show(this.actual)}.`
  }
}

/** The milliseconds of a duration that is finite and above zero. Throws `InputError` otherwise. */
export const positiveMillis = (where: string, input: string, value: unknown): number => {
  const expected = 'a duration above zero and below infinity, like "5 seconds"'
  const millis = attempt(() => Duration.toMillis(Duration.decode(value as Duration.DurationInput)))
  // `Duration.decode` reads NaN and negative numbers as zero, so zero covers them.
  if (millis === undefined || !(millis > 0) || !Number.isFinite(millis)) {
    throw new InputError({ where, input, expected, actual: value })
  }
  return millis
}

/** As `positiveMillis`, for what may be left out by giving zero. */
export const millisOrZero = (where: string, input: string, value: unknown): number => {
  // `Duration.decode` reads what is below zero as zero.
  const isBelow = typeof value === "number" ? !(value >= 0) : String(value).trim().startsWith("-")
  const isZero =
    !isBelow && attempt(() => Duration.toMillis(Duration.decode(value as Duration.DurationInput))) === 0
  return isZero ? 0 : positiveMillis(where, input, value)
}

/**
 * A name that can be shown, in one line: it may come from outside, as that of a
 * file. Throws `InputError` when it is not a string or blank.
 */
export const name = (where: string, input: string, value: unknown): string => {
  if (typeof value !== "string" || value.trim() === "") {
    throw new InputError({ where, input, expected: "a name that is not empty", actual: value })
  }
  // oxlint-disable-next-line no-control-regex
  return value.replaceAll(/[\n\r\u0000-\u001F\u007F-\u009F\u2028\u2029]+/g, " ")
}

/** A whole number of at least one. Throws `InputError` otherwise. */
export const positiveInteger = (where: string, input: string, value: unknown): number => {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
    throw new InputError({ where, input, expected: "a whole number of at least 1", actual: value })
  }
  return value
}

/** One of the given words. Throws `InputError` otherwise. */
export const oneOf = <A extends string | boolean>(
  where: string,
  input: string,
  words: ReadonlyArray<A>,
  value: A
): A => {
  if (!words.includes(value)) {
    throw new InputError({
      where,
      input,
      expected: words.map((word) => show(word)).join(" or "),
      actual: value
    })
  }
  return value
}

/** Options, if any. Throws `InputError` when they are neither left out nor an object. */
export const options = <A>(where: string, value: A): A => {
  if (value !== undefined && (typeof value !== "object" || value === null)) {
    throw new InputError({ where, input: "options", expected: "an object, or left out", actual: value })
  }
  return value
}

/** An effect. Throws `InputError` otherwise. */
export const effect = (where: string, input: string, value: unknown): void => {
  if (!Effect.isEffect(value)) throw new InputError({ where, input, expected: "an Effect", actual: value })
}

/** The effect that a callback has returned. Throws `InputError` otherwise. */
export const returned = <A>(where: string, input: string, value: A): A => {
  if (!Effect.isEffect(value)) {
    throw new InputError({ where, input, expected: "a function that returns an Effect", actual: value })
  }
  return value
}

/** A function. Throws `InputError` otherwise. */
export const callable = <A>(where: string, input: string, value: A): A => {
  if (typeof value !== "function")
    throw new InputError({ where, input, expected: "a function", actual: value })
  return value
}

const attempt = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

const show = (value: unknown): string => {
  if (typeof value === "string") return `"${value}"`
  if (Duration.isDuration(value)) return Duration.format(value)
  if (typeof value === "function") return "a function"
  if (typeof value === "bigint") return `${value}n`
  return value !== null && typeof value === "object" ? "an object" : String(value)
}
