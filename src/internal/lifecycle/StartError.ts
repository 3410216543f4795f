/** The error of a service's layer. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Reason from "../Reason.ts"

/**
 * A service failed to start, and its partial start was rolled back. `E` is the
 * error of its `onStart` or of an adopted child's. For a child, `cause` holds the
 * child's own `StartError`, and that one the error.
 */
export class StartError<out E> extends Data.TaggedError("StartError")<{
  /** Path of the service, such as `Shop > Inbox`. */
  readonly service: string
  readonly step: "onStart" | "startTimeout"
  readonly cause: Cause.Cause<unknown>
}> {
  // A base class expression cannot refer to `E`.
  declare readonly cause: Cause.Cause<E | StartError<E> | Cause.TimeoutException>
  override get message(): string {
    const what = this.step === "onStart" ? "failed in onStart" : "passed its startTimeout"
    return `Service "${this.service}" ${what}, so what it had begun was undone: ${Reason.ofCause(this.cause)}`
  }
}

/**
 * The innermost cause of a failed start, below all nested `StartError`s, with the
 * service and step where it happened. `at` is undefined when there is no `StartError`.
 */
export const rootOf = (
  cause: Cause.Cause<unknown>,
  at?: Pick<StartError<unknown>, "service" | "step">
): { readonly cause: Cause.Cause<unknown>; readonly at: typeof at } => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  const error = errors.find((each) => Reason.isA(each, StartError))
  return error === undefined ? { cause, at } : rootOf(error.cause, error)
}
