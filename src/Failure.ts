/**
 * What a service does when work it owns fails.
 *
 * A failure is an error or a defect. Interruption is how work is ended, and is
 * never treated as a failure.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Input from "./Input.ts"

/** The answer to a failure of type `E`. `R` is what a `handle` function needs. */
export type Failure<E, R = never> = Log | Escalate | Handle<E, R>

/** Journal it, log it as an error, and go on. */
export interface Log {
  readonly _tag: "Log"
}

/** Journal it, and fail the service that owns the work. */
export interface Escalate {
  readonly _tag: "Escalate"
}

/** Run an effect. What it does is up to it; the failure is journaled first. */
export interface Handle<in E, out R> {
  readonly _tag: "Handle"
  readonly handle: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
}

/** Where a failure happened. */
export interface Source {
  /** The service, with those it belongs to: `Shop > Inbox > CsvImport[orders.csv]`. */
  readonly service: string
  /** The work: `interval 1m`, `listener order:completed`, or the name it was given. */
  readonly work: string
}

/** Journals the failure, logs it as an error, and goes on. */
export const log: Failure<unknown> = { _tag: "Log" }

/**
 * Fails the service that owns the work. The one that adopted it decides what
 * follows; for a service of the app, the app stops in order and exits with 1.
 */
export const escalate: Failure<unknown> = { _tag: "Escalate" }

/**
 * Journals the failure and runs an effect with it. When that effect fails, its
 * failure is journaled and logged.
 */
export const handle = <E, R = never>(
  f: (cause: Cause.Cause<E>, source: Source) => Effect.Effect<unknown, unknown, R>
): Failure<E, R> => ({ _tag: "Handle", handle: Input.callable("Failure.handle", "f", f) })

/** The policy that was given, if one was. Throws `InputError` when it was not made by this module. */
export const check = <F extends Failure<never, unknown>>(
  where: string,
  policy: F | undefined
): F | undefined => {
  const tags: ReadonlyArray<unknown> = ["Log", "Escalate", "Handle"]
  if (policy !== undefined && !tags.includes((policy as { readonly _tag?: unknown } | null)?._tag)) {
    const expected = "Failure.log, Failure.escalate or Failure.handle(f)"
    throw new Input.InputError({ where, input: "onFailure", expected, actual: policy })
  }
  return policy
}
