/** How events reach a listener, and what becomes of them there. */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Input from "../Input.ts"

/** What became of an event at one listener. `service` is the listener's, `took` the handler's time. */
export type Outcome = Data.TaggedEnum<{
  Handled: AtListener
  Failed: AtListener & { readonly cause: Cause.Cause<unknown> }
  /** The handler passed its `timeout`, and was interrupted. */
  TimedOut: AtListener
  /** The listener's service stopped, or its handler interrupted itself. */
  Interrupted: AtListener
}>

interface AtListener {
  readonly service: string
  readonly took: Duration.Duration
}

/** How published events reach a listener, and how long a handler may take. */
export interface Options<in Payload = any> {
  /** How many published events may wait. Defaults to 256: a burst, and still little memory. */
  readonly capacity?: number | undefined
  /**
   * What happens to a published event when the queue is full. `"wait"`, the
   * default: its publisher waits for room. `"dropOldest"`, `"dropNewest"`: an
   * event is dropped, counted and journaled.
   */
  readonly onFull?: "wait" | "dropOldest" | "dropNewest" | undefined
  /** How many published events are handled at once. Defaults to 1, which keeps their order. */
  readonly concurrency?: number | undefined
  /**
   * Of which published events the order is kept, where several are handled at
   * once: of those with the same key, as a customer's id, one is handled after
   * the other. Keys are compared as those of a Map.
   */
  readonly orderingKey?: ((payload: Payload) => unknown) | undefined
  /**
   * Which events are handled in a span, linked to the sender's. `"traced"`, the
   * default: those sent inside of a span. `"always"`: all, though a span costs
   * more than a small handler.
   */
  readonly spans?: "traced" | "always" | undefined
  /** How long the handler may take before it is interrupted. Without it there is no limit. */
  readonly timeout?: Duration.DurationInput | undefined
}

// Taken out of the enum once: it makes a constructor each time it is asked for one.
const { Failed, Handled, Interrupted, TimedOut } = Data.taggedEnum<Outcome>()
export const Outcome = { Failed, Handled, Interrupted, TimedOut }

/** Throws `InputError` when an option cannot be used. */
export const validate = (where: string, options: Options<never>): void => {
  const { capacity, concurrency, onFull, orderingKey, spans, timeout } = options
  if (capacity !== undefined) Input.positiveInteger(where, "capacity", capacity)
  if (concurrency !== undefined) Input.positiveInteger(where, "concurrency", concurrency)
  if (orderingKey !== undefined) Input.callable(where, "orderingKey", orderingKey)
  if (spans !== undefined) Input.oneOf(where, "spans", ["traced", "always"], spans)
  if (timeout !== undefined) Input.positiveMillis(where, "timeout", timeout)
  if (onFull !== undefined) Input.oneOf(where, "onFull", ["wait", "dropOldest", "dropNewest"], onFull)
}
