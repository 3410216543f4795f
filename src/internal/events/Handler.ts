/** The handler of a listener: the event that it is given, its options, and its outcome. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type * as Event from "../../Event.ts"
import * as Input from "../Input.ts"
import type { Lifetime } from "../lifecycle/Lifetime.ts"
import type * as Work from "../lifecycle/Work.ts"
import * as Spans from "../telemetry/Spans.ts"

/** An event on its way to its listeners. */
export interface Envelope {
  readonly event: Event.Event<string, any>
  readonly payload: any
  /** The span in which it was sent. */
  readonly span: Option.Option<Tracer.AnySpan>
  /** The work that sent it. */
  readonly sender: Work.Work | undefined
  /** Its position among all events that the bus has accepted. */
  readonly order: number
  /** When it was sent, in monotonic milliseconds. */
  readonly at: number
}

/** The outcome of an event at one listener. `service` is the listener's, `took` the handler's time. */
export type Outcome = Data.TaggedEnum<{
  Handled: AtListener
  Failed: AtListener & { readonly cause: Cause.Cause<unknown> }
  /** The handler passed its `timeout`, and was interrupted. */
  TimedOut: AtListener
  /** The listener's service stopped, or the handler was interrupted. */
  Interrupted: AtListener
}>

interface AtListener {
  readonly service: string
  readonly took: Duration.Duration
}

/** How a listener queues published events, and how its handler runs. */
export interface Options<in Payload = any> {
  /**
   * How many published events may wait. Defaults to 256: enough for a burst, and
   * little memory. Listeners with the default `capacity` and `onFull` share the
   * event's `PubSub`; others have one of their own.
   */
  readonly capacity?: number | undefined
  /**
   * What happens to a published event when the queue is full. `"wait"`, the
   * default: the publisher waits for room. `"dropOldest"` and `"dropNewest"`
   * drop an event, which is counted and journaled.
   */
  readonly onFull?: "wait" | "dropOldest" | "dropNewest" | undefined
  /** How many published events are handled at once. Defaults to 1, which keeps their order. */
  readonly concurrency?: number | undefined
  /**
   * Keeps the order of published events with the same key, such as a customer's
   * id, where several are handled at once. Keys are compared as those of a Map.
   */
  readonly orderingKey?: ((payload: Payload) => unknown) | undefined
  /**
   * Which events are handled in a span, linked to the sender's. `"traced"`, the
   * default: those sent inside a span. `"always"`: all, though a span costs more
   * than a small handler.
   */
  readonly spans?: "traced" | "always" | undefined
  /** How long the handler may take before it is interrupted. Without it there is no limit. */
  readonly timeout?: Duration.DurationInput | undefined
}

// Destructured once: the enum makes a constructor at each access.
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

/** A listener's handler, and the service that it runs for. */
export interface Spec<Payload, E, R> {
  readonly lifetime: Lifetime
  readonly options: Options
  /** Acquires resources in the scope of its run. */
  readonly handler: (payload: Payload, event?: string) => Effect.Effect<unknown, E, R | Scope.Scope>
  /** Whether the listener has several events: the handler is then given the name of each. */
  readonly isOfSeveral: boolean
  readonly answers: Answers<E, R>
}

/** How a service answers the failures of a handler. */
export interface Answers<E, R> {
  /** Answers the failures of one delivery, and returns after each whether to run the handler again. */
  readonly respond: (event: string) => Respond<E, R>
  /** Journals a failure of the handler's cleanup after an interruption. */
  readonly leaked: (event: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

export type Respond<E, R> = (
  cause: Cause.Cause<E | Cause.TimeoutException>,
  ranMillis: number
) => Effect.Effect<boolean, never, R>

/** The name of a listener in the journal and in reports. `event` may list several names. */
export const nameOf = (event: string): string => `listener ${event}`

/** The effect that handles one event, in a span and with the timeout of its options. */
export const effectOf = <Payload, E, R>(
  { answers, handler, isOfSeveral, lifetime, options }: Spec<Payload, E, R>,
  { event, payload, span }: Envelope
): Effect.Effect<unknown, E | Cause.TimeoutException, R | Scope.Scope> => {
  let effect: ReturnType<typeof handler>
  try {
    // An ordering key that cannot be computed fails the delivery.
    options.orderingKey?.(payload)
    effect = Input.returned(
      "Service.listen",
      "handler",
      isOfSeveral ? handler(payload, event.name) : handler(payload)
    )
  } catch (defect) {
    effect = Effect.die(defect)
  }
  if (options.spans === "always" || Option.isSome(span)) {
    const attributes = { service: lifetime.path, event: event.name }
    effect = Spans.linked(`${lifetime.key} ${event.name}`, span, attributes)(effect)
  }
  return options.timeout === undefined
    ? effect
    : within(options.timeout, effect, (cause) => answers.leaked(event.name, cause))
}

/** Interrupts an effect at its timeout, and fails. A failure during that interruption goes to `leaked`. */
const within = <A, E, R>(
  timeout: Duration.DurationInput,
  effect: Effect.Effect<A, E, R>,
  leaked: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
): Effect.Effect<A, E | Cause.TimeoutException, R> => {
  let exit: Exit.Exit<unknown, unknown> = Exit.void
  return Effect.onExit(effect, (its) => Effect.sync(() => (exit = its))).pipe(
    Effect.timeoutFail({ duration: timeout, onTimeout: () => tookTooLong }),
    Effect.tapError((error) => {
      const late: Exit.Exit<unknown, unknown> = exit
      if (!isTimeout(error) || Exit.isSuccess(late) || Cause.isInterruptedOnly(late.cause)) return Effect.void
      return leaked(late.cause)
    })
  )
}

/** Whether a handler failed because it passed its timeout. `Cause.contains` would compare by `Equal`, which may throw. */
export const hasTimedOut = (cause: Cause.Cause<unknown>): boolean => {
  for (const error of Cause.failures(cause)) if (isTimeout(error)) return true
  return false
}

const tookTooLong = new Cause.TimeoutException("the handler passed its timeout")

/** Whether it is `tookTooLong`, which Effect wraps where it fails inside a span. */
const isTimeout = (error: unknown): boolean => {
  try {
    return Cause.originalError(error) === tookTooLong
  } catch {
    return false
  }
}
