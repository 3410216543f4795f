/** Why an app ends, and how. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Printable from "../Printable.ts"
import * as Reason from "../Reason.ts"
import { StartError } from "./StartError.ts"

/** A service of the app failed, and nothing was to handle it. The app has stopped. */
export class ServiceFailedError extends Data.TaggedError("ServiceFailedError")<{
  /** The path down to what failed: `Shop > Inbox > CsvImport[orders.csv] > rows`. */
  readonly origin: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    return `${this.origin} failed, so the app was stopped: ${Reason.ofCause(this.cause)}`
  }
}

/** The app has stopped, but not all of it did so in time and without failing. */
export class UncleanStopError extends Data.TaggedError("UncleanStopError")<{
  /** One line for each step that failed or hung. */
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `The app did not stop cleanly: ${this.problems.join("; ")}`
  }
}

/** Why an app ends, when it is not interrupted. */
export type End =
  | { readonly _tag: "Failed"; readonly origin: string; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "Asked"; readonly reason: string }

/** The boot has ended, one way or the other. */
export interface Booted<E> {
  readonly _tag: "Booted"
  readonly exit: Exit.Exit<unknown, E>
}
export const asBooted = <E>(exit: Exit.Exit<unknown, E>): Booted<E> => ({ _tag: "Booted", exit })

/** Why, in words. */
export const reasonOf = (exit: Exit.Exit<End | Booted<unknown>>): string => {
  if (Exit.isFailure(exit)) return "it was interrupted"
  switch (exit.value._tag) {
    case "Failed":
      return `${exit.value.origin} failed`
    case "Asked":
      return exit.value.reason
    case "Booted":
      return "it did not start"
  }
}

/** What went wrong; nothing when the app was asked to stop. */
export const causeOf = <E>(
  exit: Exit.Exit<End | Booted<E>>
): Cause.Cause<E | ServiceFailedError> | undefined => {
  if (Exit.isFailure(exit)) return exit.cause
  if (exit.value._tag === "Asked") return undefined
  if (exit.value._tag === "Failed") return Cause.fail(new ServiceFailedError(exit.value))
  if (Exit.isSuccess(exit.value.exit)) return undefined
  const { cause } = exit.value.exit
  return Cause.isInterruptedOnly(cause)
    ? Cause.die(new Cause.InterruptedException("The app did not start: a layer of it interrupted itself."))
    : cause
}

/** How the app ends: interrupted, when nothing went wrong. */
export const outcome = <E>(cause: Cause.Cause<E> | undefined, problems: ReadonlyArray<string>) =>
  Effect.fiberIdWith((id): Effect.Effect<never, E | UncleanStopError> => {
    const why = cause === undefined ? Cause.interrupt(id) : printable(cause)
    return Effect.failCause(
      problems.length === 0 ? why : Cause.sequential(why, Cause.fail(new UncleanStopError({ problems })))
    )
  })

/**
 * As it is, if it can be printed. Effect's `runPromise` and a fiber that nobody
 * observes print what they fail with; where that throws, the promise is never
 * settled, or the process ends without a reason. `Cause.originalError` gives what
 * an error stands for, and the journal has it.
 */
const printable = <E>(cause: Cause.Cause<E>): Cause.Cause<E> => {
  if (Printable.isPrintable(cause)) return cause
  const rebuilt = (error: unknown) => {
    if (Reason.isA(error, StartError))
      return new StartError({
        service: error.service,
        step: error.step,
        cause: Printable.ofCause(error.cause)
      })
    if (Reason.isA(error, ServiceFailedError))
      return new ServiceFailedError({ origin: error.origin, cause: Printable.ofCause(error.cause) })
    return undefined
  }
  // An error of the layer that cannot be printed is given as one that can: no type says that.
  return Printable.ofCause(cause, rebuilt) as Cause.Cause<E>
}
