/**
 * Makes failures safe to print, for loggers.
 *
 * Loggers print a cause with `Cause.pretty`, which throws on some values (a
 * bigint, an error that is its own cause, a getter that throws) and copies the
 * text as it is, line breaks and escape sequences included. So each error is
 * replaced with a plain one that prints safely. The journal has the cause itself,
 * and `Cause.originalError` gives the error behind its stand-in.
 */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { cut, inOneLine } from "./Format.ts"
import * as Reason from "./Reason.ts"

/** A failure without a stack, which is expected, and a defect, which is a bug, with its stack. */
export const ofCause = (
  cause: Cause.Cause<unknown>,
  /** Gives another error instead of a stand-in. */
  instead: (error: unknown) => unknown = () => undefined
): Cause.Cause<unknown> => {
  const failures = [...Cause.failures(cause)].slice(0, maxErrors)
  const defects = [...Cause.defects(cause)].slice(0, maxErrors)
  const parts = [
    ...failures.map((error) =>
      Cause.fail(instead(error) ?? new StandIn(error, { message: sayingOf(error) }))
    ),
    ...defects.map((defect) => Cause.die(instead(defect) ?? withStack(defect, [])))
  ]
  const [first, ...others] = parts
  // Only interrupted, or empty.
  if (first === undefined) return cause
  return others.reduce((all: Cause.Cause<unknown>, part) => Cause.parallel(all, part), first)
}

/** Whether `Cause.pretty` prints it, and that in no time. */
export const isPrintable = (cause: Cause.Cause<unknown>): boolean => {
  if (!isShort(cause, 0)) return false
  // It shortens stacks, and where it throws, they stay so.
  const { stackTraceLimit } = Error
  try {
    Cause.pretty(cause, { renderErrorCause: true })
    return true
  } catch {
    Error.stackTraceLimit = stackTraceLimit
    return false
  }
}

/** Whether an error, and what caused it, has short texts: `Cause.pretty` takes quadratic time for some long ones. */
const isShort = (error: unknown, depth: number): boolean => {
  if (depth > maxCauses) return false
  if (Reason.isCause(error)) {
    const errors = [...Cause.failures(error), ...Cause.defects(error)]
    return errors.length <= maxErrors && errors.every((each) => isShort(each, depth + 1))
  }
  const texts = [error, Reason.read(error, "message"), Reason.read(error, "stack")]
  if (texts.some((text) => typeof text === "string" && text.length > maxText)) return false
  const cause = Reason.read(error, "cause")
  return cause === undefined || isShort(cause, depth + 1)
}

/** The longest text that `Cause.pretty` is given. */
const maxText = 10_000

/** How many errors of one cause are printed. */
const maxErrors = 10

/** How many causes of a defect are printed below it. */
const maxCauses = 5

/** The longest stack, in lines and in characters of a line. Node makes ten lines. */
const maxFrames = 50
const maxFrame = 500

const withStack = (defect: unknown, above: ReadonlyArray<unknown>): StandIn => {
  const cause = Reason.read(defect, "cause")
  const within = [...above, defect]
  const isShown =
    typeof cause === "object" && cause !== null && within.length <= maxCauses && !within.includes(cause)
  return new StandIn(defect, {
    message: Reason.messageOf(defect) ?? sayingOf(defect),
    frames: framesOf(defect),
    cause: isShown ? withStack(cause, within) : undefined,
    span: spanOf(defect)
  })
}

/** Its reason; with the fields of an error that says no more than its tag. */
const sayingOf = (error: unknown): string => {
  const reason = Reason.ofError(error)
  const fields = reason === Reason.read(error, "_tag") ? Reason.show(error) : ""
  return fields === "" || fields === `{"_tag":${JSON.stringify(reason)}}`
    ? reason
    : cut(`${reason} ${fields}`, Reason.maxLength)
}

const nameOf = (error: unknown): string => {
  const name = Reason.read(error, "name")
  return (
    (typeof name === "string" && Reason.isA(error, Error) && Reason.lineOf(name, Reason.maxName)) || "Error"
  )
}

/** The lines of the stack that name places, without the message above them, which may hold anything. */
const framesOf = (defect: unknown): ReadonlyArray<string> => {
  const stack = Reason.read(defect, "stack")
  if (typeof stack !== "string") return []
  const message = Reason.read(defect, "message")
  const header = `${nameOf(defect)}: ${typeof message === "string" ? message : ""}`
  const begin = stack.startsWith(header) ? header.length : 0
  return stack
    .slice(begin, begin + maxFrames * maxFrame)
    .split("\n", maxFrames)
    .filter((line) => line.trimStart().startsWith("at "))
    .map((line) => `    ${cut(inOneLine(line).trim(), maxFrame)}`)
}

/** The span of an error, unless a name of it or above it could forge a line. */
const spanOf = (defect: unknown): Tracer.AnySpan | undefined => {
  const span = Reason.read(defect, spanSymbol) as Tracer.AnySpan | undefined
  for (let next = span; next?._tag === "Span"; next = Option.getOrUndefined(next.parent)) {
    if (inOneLine(next.name) !== next.name) return undefined
  }
  return span
}

/** Where Effect keeps the span of an error, and the error behind another, as `Cause.originalError` reads it. */
const spanSymbol = Symbol.for("effect/SpanAnnotation")
const originalSymbol = Symbol.for("effect/OriginalAnnotation")

/** A plain error that prints as another one should. */
class StandIn extends Error {
  readonly [originalSymbol]: unknown
  /** `Cause.pretty` adds the spans in which a defect was made. */
  readonly [spanSymbol]: Tracer.AnySpan | undefined
  readonly #name: string

  constructor(
    original: unknown,
    shown: {
      readonly message: string
      readonly frames?: ReadonlyArray<string>
      readonly cause?: StandIn | undefined
      readonly span?: Tracer.AnySpan | undefined
    }
  ) {
    const { cause, frames = [], message, span } = shown
    super(message, cause === undefined ? undefined : { cause })
    this.#name = nameOf(original)
    this.stack = [`${this.#name}: ${message}`, ...frames].join("\n")
    this[originalSymbol] = original
    this[spanSymbol] = span
  }

  // Not a field, which a logger would print.
  override get name(): string {
    return this.#name
  }
}
