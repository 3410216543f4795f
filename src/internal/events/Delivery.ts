/** The delivery of one event to one listener: a run of its handler, and the outcome. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type * as Event from "../../Event.ts"
import * as Fork from "../Fork.ts"
import * as Input from "../Input.ts"
import * as Monotonic from "../Monotonic.ts"
import type { Lifetime } from "../lifecycle/Lifetime.ts"
import * as Work from "../lifecycle/Work.ts"
import * as Spans from "../telemetry/Spans.ts"
import type { Ready } from "./Dispatcher.ts"

/** An event on its way to its listeners. */
export interface Envelope {
  readonly event: Event.Event<string, any>
  readonly payload: any
  /** The span in which it was sent. */
  readonly span: Option.Option<Tracer.AnySpan>
  /** The work that sent it. */
  readonly sender: Work.Work | undefined
  /** Its number among all that the bus has accepted. */
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

/** How published events reach a listener, and how long a handler may take. */
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

/** What a listener runs, and for which service. */
export interface Spec<Payload, E, R> {
  readonly lifetime: Lifetime
  /** The path of the service. */
  readonly service: string
  readonly options: Options
  /** What it acquires is released when it ends. */
  readonly handler: (payload: Payload, event?: string) => Effect.Effect<unknown, E, R | Scope.Scope>
  /** Whether it listens to several events, so the handler is given the name of each. */
  readonly isOfSeveral: boolean
  readonly answers: Answers<E, R>
}

/** How a listener's service answers failures of its handler. */
export interface Answers<E, R> {
  /** Answers the failures of one delivery, and gives after each whether to run the handler again. */
  readonly respond: (event: string) => Respond<E, R>
  /** Journals a failure of what the handler does when it is interrupted. */
  readonly leaked: (event: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

type Respond<E, R> = (
  cause: Cause.Cause<E | Cause.TimeoutException>,
  ranMillis: number
) => Effect.Effect<boolean, never, R>

/** The listener, as a delivery sees it. */
export interface Recipient<Payload, E, R> {
  readonly spec: Spec<Payload, E, R>
  readonly runtime: Work.RunRuntime<R>
  readonly record: {
    readonly handled: () => void
    readonly failed: () => void
    /** A published event is about to be handled. */
    readonly taken: (sentAt: number, now: number) => void
  }
  /** Whether nothing of it is to be handled any more. */
  readonly isAbandoned: boolean
  /** The outcome of a handler that succeeded. */
  readonly handledIn: (millis: number) => Outcome
  /** A delivery begins. */
  readonly begins: () => void
  /** A delivery has begun, and waits for something. */
  readonly waits: (delivery: Delivery) => void
  /** A delivery has ended. */
  readonly ended: (delivery: Delivery) => void
}

export class Delivery implements Ready, Work.Interrupter {
  readonly envelope: Envelope
  readonly isPublished: boolean
  /** The ordering key of a published event. */
  readonly key: unknown
  isInterrupted = false
  private readonly recipient: Recipient<any, any, any>
  private readonly work: Work.Work
  /** Receives the outcome of an emitted event, once. */
  private tell: ((outcome: Outcome) => void) | undefined
  private outcome: Outcome | undefined = undefined
  private fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined

  constructor(
    recipient: Recipient<any, any, any>,
    envelope: Envelope,
    work: Work.Work,
    key: unknown,
    tell: ((outcome: Outcome) => void) | undefined
  ) {
    this.recipient = recipient
    this.envelope = envelope
    this.work = work
    this.key = key
    this.tell = tell
    this.isPublished = tell === undefined
  }

  /** Forks the run, in a fiber of the listener's service, and runs it until it first waits. */
  begin(): undefined {
    const { recipient } = this
    const { lifetime } = recipient.spec
    recipient.begins()
    const now = Monotonic.unsafeMillis(lifetime.clock)
    if (this.isPublished) recipient.record.taken(this.envelope.at, now)
    const run = new Work.Run(this.work, recipient.runtime.runtime.context, this)
    const { context } = run
    const fiber = recipient.runtime.fork(context, this.handle(run, now))
    const exit = fiber.unsafePoll()
    if (exit !== null) return this.ended(exit)
    this.fiber = fiber
    recipient.waits(this)
    fiber.addObserver((exit) => this.ended(exit))
    return undefined
  }

  /** Interrupts the handler; one that has not begun ends as soon as it does. Does not wait. */
  interrupt(): void {
    this.isInterrupted = true
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  /** Lets the emitter go on, who waits no longer for the handler. */
  abandon(): void {
    this.tell?.(interrupted(this.recipient.spec.service))
    this.tell = undefined
  }

  private ended(exit: Exit.Exit<unknown, unknown>): undefined {
    const { recipient } = this
    const { answers, lifetime, service } = recipient.spec
    // A failure of the handler is answered within the run: this is one of its interruption.
    if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
      lifetime.run(answers.leaked(this.envelope.event.name, exit.cause))
    this.tell?.(this.outcome ?? interrupted(service))
    recipient.ended(this)
    return undefined
  }

  private handle(run: Work.Run, startedAt: number): Effect.Effect<unknown, unknown, any> {
    if (this.isInterrupted || this.recipient.isAbandoned) return Effect.interrupt
    return run.perform(handlerOf(this.recipient.spec, this.envelope), (exit) =>
      this.settle(run, exit, startedAt, undefined)
    )
  }

  private settle(
    run: Work.Run,
    exit: Exit.Exit<unknown, any>,
    startedAt: number,
    responded: Respond<any, any> | undefined
  ): Effect.Effect<unknown, unknown, any> {
    const { record, spec } = this.recipient
    const { clock } = spec.lifetime
    const millis = Math.round(Monotonic.unsafeMillis(clock) - startedAt)
    if (Exit.isSuccess(exit)) return this.handled(millis)
    if (this.isInterrupted) return Fork.told(exit)
    const { cause } = exit
    const at = { service: spec.service, took: Duration.millis(millis) }
    this.outcome = hasTimedOut(cause)
      ? Outcome.TimedOut(at)
      : Cause.isInterruptedOnly(cause)
        ? Outcome.Interrupted(at)
        : Outcome.Failed({ ...at, cause })
    if (this.outcome._tag !== "Interrupted") record.failed()
    const respond = responded ?? spec.answers.respond(this.envelope.event.name)
    return Effect.flatMap(run.afterwards(respond(cause, millis)), (isAgain) => {
      if (!isAgain) return Effect.void
      const again = Monotonic.unsafeMillis(clock)
      return run.again(handlerOf(spec, this.envelope), (next) => this.settle(run, next, again, respond))
    })
  }

  private handled(millis: number): Effect.Effect<void> {
    const { record, spec } = this.recipient
    const { event, payload } = this.envelope
    const { journal } = spec.lifetime.owner.shared
    record.handled()
    const outcome = this.recipient.handledIn(millis)
    this.outcome = outcome
    return journal.reads("EventHandled")
      ? journal.append({
          _tag: "EventHandled",
          service: spec.service,
          event: event.name,
          took: outcome.took,
          payload
        })
      : Effect.void
  }
}

/** The outcome of a delivery that was interrupted, or did not begin, because the listener's service stops. */
export const interrupted = (service: string): Outcome => Outcome.Interrupted({ service, took: Duration.zero })

/** The outcome of a handler that succeeded. */
export const handled = (service: string, millis: number): Outcome =>
  Outcome.Handled({ service, took: Duration.millis(millis) })

const handlerOf = <Payload, E, R>(
  { answers, handler, isOfSeveral, lifetime, options, service }: Spec<Payload, E, R>,
  { event, payload, span }: Envelope
): Effect.Effect<unknown, E | Cause.TimeoutException, R | Scope.Scope> => {
  let effect: ReturnType<typeof handler>
  try {
    // A key that cannot be computed fails the delivery.
    options.orderingKey?.(payload)
    effect = Input.returned(
      "Service.listen",
      "handler",
      isOfSeveral ? handler(payload, event.name) : handler(payload)
    )
  } catch (defect) {
    effect = Effect.die(defect)
  }
  if (options.spans === "always" || Option.isSome(span))
    effect = Spans.linked(`${lifetime.key} ${event.name}`, span, { service, event: event.name })(effect)
  return options.timeout === undefined
    ? effect
    : within(options.timeout, effect, (cause) => answers.leaked(event.name, cause))
}

/** Fails with `tookTooLong` past a timeout. What the handler fails with while it is interrupted for that is `leaked`. */
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

const tookTooLong = new Cause.TimeoutException("the handler passed its timeout")

/** `Cause.contains` compares by `Equal`, which asks the error, and that may throw. */
const hasTimedOut = (cause: Cause.Cause<unknown>): boolean => {
  for (const error of Cause.failures(cause)) if (isTimeout(error)) return true
  return false
}

/** Whether it is `tookTooLong`, which Effect wraps where it fails inside a span. */
const isTimeout = (error: unknown): boolean => {
  try {
    return Cause.originalError(error) === tookTooLong
  } catch {
    return false
  }
}
