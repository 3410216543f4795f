/** Renders the reason of a failure in one line. */
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import * as Inspectable from "effect/Inspectable"

/** The distinct failures and defects of a cause, or `interrupted` if it has neither. */
export const ofCause = (cause: Cause.Cause<unknown>): string => {
  const reasons = [...Cause.failures(cause), ...Cause.defects(cause)].map(ofError)
  return reasons.length === 0 ? "interrupted" : [...new Set(reasons)].join("; ")
}

/** The first that exists: the message, the reason of `cause`, the tag, the value as text. */
const ofError = (error: unknown): string => {
  if (Cause.isCause(error)) return ofCause(error)
  if (typeof error !== "object" || error === null) return inOneLine(String(error))
  if (ConfigError.isConfigError(error)) return ofConfigError(error)
  if ("message" in error && typeof error.message === "string" && error.message !== "") {
    return inOneLine(error.message)
  }
  if ("cause" in error && error.cause !== undefined) return ofError(error.cause)
  if ("_tag" in error) return String(error._tag)
  return Inspectable.toStringUnknown(error, 0)
}

/** Adds the path of the setting, which the message leaves out. */
const ofConfigError = (error: ConfigError.ConfigError): string =>
  error._op === "And" || error._op === "Or"
    ? `${ofConfigError(error.left)}; ${ofConfigError(error.right)}`
    : [error.path.join("."), error.message].filter((part) => part !== "").join(": ")

const inOneLine = (text: string): string => text.replaceAll(/\s*[\n\r]\s*/g, " ")
