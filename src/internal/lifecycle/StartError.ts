/** What the layer of a service fails with. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Reason from "../Reason.ts"

/**
 * A service did not start. What it had begun has been undone. `E` is the error
 * of its `onStart`, or of the `onStart` of a child that it adopts. In the second
 * case `cause` holds the `StartError` of the child, whose `cause` holds the error.
 */
export class StartError<out E> extends Data.TaggedError("StartError")<{
  /** The path of the service, as `Shop > Inbox`. */
  readonly service: string
  readonly step: "onStart" | "startTimeout"
  readonly cause: Cause.Cause<unknown>
}> {
  declare readonly cause: Cause.Cause<E | StartError<E> | Cause.TimeoutException>
  override get message(): string {
    const what = this.step === "onStart" ? "failed in onStart" : "passed its startTimeout"
    return `Service "${this.service}" ${what}, so what it had begun was undone: ${Reason.ofCause(this.cause)}`
  }
}

/**
 * What went wrong first, below all the services that did not start because of
 * it, and at which step of which service; without that, where it was no start.
 */
export const rootOf = (
  cause: Cause.Cause<unknown>,
  at?: Pick<StartError<unknown>, "service" | "step">
): { readonly cause: Cause.Cause<unknown>; readonly at: typeof at } => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  const error = errors.find((each) => Reason.isA(each, StartError))
  return error === undefined ? { cause, at } : rootOf(error.cause, error)
}
