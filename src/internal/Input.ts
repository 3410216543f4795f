/**
 * Run-time validation of arguments that types cannot check: a zero duration, an
 * empty name, a value from JavaScript.
 *
 * `InputError` is a defect: invalid input is a bug in the calling program, so it
 * stays out of error types.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { cut, withoutControls } from "./Format.ts"

/** An invalid option or argument. */
export class InputError extends Data.TaggedError("InputError")<{
  /** The function that was called, such as `Service.interval`. */
  readonly where: string
  /** The argument or option, such as `every`. */
  readonly input: string
  /** The expected value, such as `a duration above zero and below infinity`. */
  readonly expected: string
  readonly actual: unknown
}> {
  override get message(): string {
    return `${this.where}: \`${this.input}\` must be ${this.expected}, but it is ${show(this.actual)}.`
  }
}

/** The milliseconds of a finite duration above zero. Throws `InputError` otherwise. */
export const positiveMillis = (where: string, input: string, value: unknown): number => {
  const expected = 'a duration above zero and below infinity, like "5 seconds"'
  const millis = attempt(() => Duration.toMillis(Duration.decode(value as Duration.DurationInput)))
  // `Duration.decode` turns NaN and negative numbers into zero.
  if (millis === undefined || !(millis > 0) || !Number.isFinite(millis)) {
    throw new InputError({ where, input, expected, actual: value })
  }
  return millis
}

/** Like `positiveMillis`, but accepts zero. */
export const millisOrZero = (where: string, input: string, value: unknown): number => {
  // `Duration.decode` turns negative input into zero.
  const isBelow =
    typeof value === "number" ? !(value >= 0) : attempt(() => String(value).trim().startsWith("-")) !== false
  const isZero =
    !isBelow && attempt(() => Duration.toMillis(Duration.decode(value as Duration.DurationInput))) === 0
  return isZero ? 0 : positiveMillis(where, input, value)
}

/**
 * A non-blank string, with line breaks and control characters replaced: a name
 * may come from outside, such as a file name. Throws `InputError` otherwise.
 */
export const name = (where: string, input: string, value: unknown): string => {
  if (typeof value !== "string" || value.trim() === "") {
    throw new InputError({ where, input, expected: "a name that is not empty", actual: value })
  }
  return withoutControls(value)
}

/** A positive integer. Throws `InputError` otherwise. */
export const positiveInteger = (where: string, input: string, value: unknown): number => {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
    throw new InputError({ where, input, expected: "a whole number of at least 1", actual: value })
  }
  return value
}

/** One of the given literals. Throws `InputError` otherwise. */
export const oneOf = <A extends string | boolean>(
  where: string,
  input: string,
  literals: ReadonlyArray<A>,
  value: A
): A => {
  if (!literals.includes(value)) {
    throw new InputError({
      where,
      input,
      expected: literals.map((literal) => show(literal)).join(" or "),
      actual: value
    })
  }
  return value
}

/** An object or undefined. Throws `InputError` otherwise. */
export const options = <A>(where: string, value: A): A => {
  if (value !== undefined && (typeof value !== "object" || value === null)) {
    throw new InputError({ where, input: "options", expected: "an object, or left out", actual: value })
  }
  return value
}

/** Throws `InputError` unless the value is an Effect. */
export const effect = (where: string, input: string, value: unknown): void => {
  if (!Effect.isEffect(value)) throw new InputError({ where, input, expected: "an Effect", actual: value })
}

/** The Effect returned by a callback. Throws `InputError` otherwise. */
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
  // It may be any text or object, also one of those that cannot be printed.
  if (typeof value === "string") return `"${withoutControls(cut(value, 200))}"`
  if (typeof value === "function") return "a function"
  if (typeof value === "bigint") return `${value}n`
  if (value === null || typeof value !== "object") return String(value)
  return attempt(() => (Duration.isDuration(value) ? Duration.format(value) : undefined)) ?? "an object"
}
