/** The handling of one event by a listener: how its handler is run, and what is made of how that ends. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { Crew } from "../lifecycle/Crew.ts"
import * as Delivery from "./Delivery.ts"
import type { Envelope } from "./Envelope.ts"
import * as Input from "../Input.ts"
import type { ListenerRecord } from "./ListenerRecord.ts"
import * as Monotonic from "../Monotonic.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import type { OfListener } from "../telemetry/Metrics.ts"
import * as Spans from "../telemetry/Spans.ts"
import type * as Work from "../lifecycle/Work.ts"
import type * as Worker from "../lifecycle/Worker.ts"

/** What a listener does, and for whom. */
export interface Spec<Payload, E, R> {
  readonly service: string
  /** The name of its class. */
  readonly name: string
  readonly clock: Clock.Clock
  readonly metrics: OfListener
  /** The owner of the service. */
  readonly owner: Owner.Owner
  readonly crew: Crew
  readonly options: Delivery.Options
  /** What it acquires is released when it ends. */
  readonly handler: (payload: Payload, event?: string) => Effect.Effect<unknown, E, R | Scope.Scope>
  /** Whether it listens to several events, and so is told of which one each payload is. */
  readonly isOfSeveral: boolean
  readonly answers: Answers<E, R>
}

/** What the listener's service does with failures. */
export interface Answers<E, R> {
  /** Answers those of one handling of an event, and gives each time whether to run it again. */
  readonly respond: (event: string) => Respond<E, R>
  /** The handler has failed in what it does when it is interrupted. */
  readonly leaked: (event: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

type Respond<E, R> = (
  cause: Cause.Cause<E | Cause.TimeoutException>,
  ranMillis: number
) => Effect.Effect<boolean, never, R>

/** Who handles. */
export interface Handler<Payload, E, R> {
  readonly spec: Spec<Payload, E, R>
  readonly runtime: Runtime.Runtime<R>
  readonly record: ListenerRecord
  /** The outcome of what takes no time, which is most. */
  atOnce: Delivery.Outcome | undefined
  /** How many it has taken, and not begun with. */
  unbegun: number
  /** It has ended. A failure is an interruption, or a defect of what it does when it is interrupted. */
  readonly ended: (handling: Handling, exit: Exit.Exit<Delivery.Outcome>) => void
}

/** An event to handle. */
export class Handling implements Worker.Job {
  readonly handler: Handler<any, any, any>
  readonly envelope: Envelope
  readonly work: Work.Work
  /** No other published event of this key is handled meanwhile. */
  readonly key: unknown
  readonly isPublished: boolean
  /** Hears once what became of an emitted event; nobody waits for a published one. */
  tell: ((outcome: Delivery.Outcome) => void) | undefined
  worker: Worker.Worker | undefined = undefined
  isBegun = false

  constructor(
    handler: Handler<any, any, any>,
    { envelope, key, tell, work }: Pick<Handling, "envelope" | "key" | "tell" | "work">
  ) {
    this.handler = handler
    this.envelope = envelope
    this.work = work
    this.key = key
    this.isPublished = tell === undefined
    this.tell = tell
  }

  get crew(): Crew {
    return this.handler.spec.crew
  }

  get runtime(): Runtime.Runtime<any> {
    return this.handler.runtime
  }

  perform(worker: Worker.Worker): Effect.Effect<Delivery.Outcome, never, any> {
    const { envelope, handler } = this
    this.isBegun = true
    handler.unbegun--
    const now = Monotonic.unsafeMillis(handler.spec.clock)
    if (this.isPublished) handler.record.taken(envelope, now)
    return run(handler, envelope, worker, now)
  }

  ended(exit: Exit.Exit<Delivery.Outcome>): void {
    this.handler.ended(this, exit)
  }
}

/** Handles an event that is begun with now, again for as long as the service's answer to failures says so. */
const run = <Payload, E, R>(
  handler: Handler<Payload, E, R>,
  envelope: Envelope,
  worker: Worker.Worker,
  start: number,
  respond?: Respond<E, R>
): Effect.Effect<Delivery.Outcome, never, R | Scope.Scope> => {
  const settle = (exit: Exit.Exit<unknown, E | Cause.TimeoutException>) => {
    const took = Math.round(Monotonic.unsafeMillis(handler.spec.clock) - start)
    return Exit.isSuccess(exit)
      ? succeeded(handler, envelope, took)
      : failed(handler, envelope, exit.cause, took, respond, worker, (next) =>
          run(handler, envelope, worker, Monotonic.unsafeMillis(handler.spec.clock), next)
        )
  }
  return worker.settled(handling(handler, envelope), settle)
}

/** The outcome of one that was cut, or not begun, since its listener's service stops. */
export const interrupted = (service: string): Delivery.Outcome =>
  Delivery.Outcome.Interrupted({ service, took: Duration.zero })

const handling = <Payload, E, R>(
  { spec }: Handler<Payload, E, R>,
  { event, payload, span }: Envelope
): Effect.Effect<unknown, E | Cause.TimeoutException, R | Scope.Scope> => {
  const { isOfSeveral, name, options, service } = spec
  let effect: ReturnType<typeof spec.handler>
  try {
    // Where it cannot tell the key, that fails the handling.
    options.orderingKey?.(payload)
    effect = Input.returned(
      "Service.listen",
      "handler",
      isOfSeveral ? spec.handler(payload, event.name) : spec.handler(payload)
    )
  } catch (defect) {
    effect = Effect.die(defect)
  }
  if (options.spans === "always" || Option.isSome(span))
    effect = Spans.linked(`${name} ${event.name}`, span, { service, event: event.name })(effect)
  return options.timeout === undefined
    ? effect
    : within(options.timeout, effect, (cause) => spec.answers.leaked(event.name, cause))
}

/** Who is late, and fails in what it does about that, is heard by nobody else. */
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
      if (error !== tookTooLong || Exit.isSuccess(late) || Cause.isInterruptedOnly(late.cause))
        return Effect.void
      return leaked(late.cause)
    })
  )
}

const handled = (service: string, millis: number): Delivery.Outcome =>
  Delivery.Outcome.Handled({ service, took: Duration.millis(millis) })

const succeeded = <Payload, E, R>(
  handler: Handler<Payload, E, R>,
  { event: { name: event }, payload }: Envelope,
  millis: number
): Effect.Effect<Delivery.Outcome> => {
  const { record, spec } = handler
  const { owner, service } = spec
  const { journal } = owner.shared
  record.handled()
  const outcome = millis === 0 ? (handler.atOnce ??= handled(service, 0)) : handled(service, millis)
  return journal.reads("EventHandled")
    ? Effect.as(
        journal.append({ _tag: "EventHandled", service, event, took: outcome.took, payload }),
        outcome
      )
    : Effect.succeed(outcome)
}

const failed = <Payload, E, R>(
  { record, spec }: Handler<Payload, E, R>,
  { event }: Envelope,
  cause: Cause.Cause<E | Cause.TimeoutException>,
  millis: number,
  begun: Respond<E, R> | undefined,
  worker: Worker.Worker,
  again: (respond: Respond<E, R>) => Effect.Effect<Delivery.Outcome, never, R | Scope.Scope>
): Effect.Effect<Delivery.Outcome, never, R | Scope.Scope> => {
  const at = { service: spec.service, took: Duration.millis(millis) }
  const outcome = Cause.contains(cause, timedOut)
    ? Delivery.Outcome.TimedOut(at)
    : Cause.isInterruptedOnly(cause)
      ? Delivery.Outcome.Interrupted(at)
      : Delivery.Outcome.Failed({ ...at, cause })
  if (outcome._tag !== "Interrupted") record.failed()
  const respond = begun ?? spec.answers.respond(event.name)
  return Effect.flatMap(worker.afterwards(respond(cause, millis)), (isAgain) =>
    isAgain ? again(respond) : Effect.succeed(outcome)
  )
}

const tookTooLong = new Cause.TimeoutException("the handler passed its timeout")
const timedOut = Cause.fail(tookTooLong)
