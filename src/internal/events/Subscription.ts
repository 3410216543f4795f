/** `Service.listen`: how a service listens to events, and answers failures of its handlers. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type * as Event from "../../Event.ts"
import * as Failure from "../../Failure.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Input from "../Input.ts"
import type { Handle } from "../lifecycle/Handle.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as ServiceFailure from "../lifecycle/ServiceFailure.ts"
import * as Shutdown from "../lifecycle/Shutdown.ts"
import * as Work from "../lifecycle/Work.ts"
import * as Escalation from "../supervision/Escalation.ts"
import * as Restarts from "../supervision/Restarts.ts"
import * as Policy from "../supervision/Policy.ts"
import * as Bus from "./Bus.ts"
import * as EventCheck from "./EventCheck.ts"
import * as Handler from "./Handler.ts"

/** Options of `listen`. */
export interface Options<E, out R = never, in Payload = any> extends Handler.Options<Payload> {
  /** The policy for a handler that fails or exceeds its `timeout`. Defaults to `Failure.log`. */
  readonly onFailure?: Failure.Policy<Failures<E>, R> | undefined
}

/**
 * The error of a handler, or its timeout. A conditional type, because TypeScript
 * checks `onFailure` before it has inferred a handler that takes the payload, and
 * would infer only the timeout from a plain union.
 */
type Failures<E> = [E] extends [infer Error] ? Error | Cause.TimeoutException : never

type Events = readonly [Event.Event<string, any>, ...Array<Event.Event<string, any>>]

/** Parameters of a handler of several events: a payload with the name of its event, as a discriminated union. */
type Delivered<E> = E extends Event.Event<infer Name, infer Payload> ? [payload: Payload, event: Name] : never

/**
 * Runs `handler` for each event, as work of this service: with its logs and spans,
 * and independent of the sender's interruption. Emitted events are handled at
 * once, published ones one after another from a queue.
 *
 * A handler that fails is journaled, and the listener goes on, unless the policy
 * escalates. When the service stops, it handles accepted events first, within its
 * `stopTimeout`.
 *
 * For a list of events, the handler receives the name of the event as its second
 * parameter. They share one queue, in the order in which they were published.
 *
 * Dies with `InputError` on invalid options, and with `DuplicateEventError` when
 * the bus knows a different event of the same name.
 */
export const listen: {
  <const All extends Events, B, E, R, R2 = never>(
    events: All,
    handler: (...delivered: Delivered<All[number]>) => Effect.Effect<B, E, R>,
    options?: Options<NoInfer<E>, R2, Delivered<All[number]>[0]>
  ): Effect.Effect<Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope | Bus.EventBus>
  // The common overload comes last: TypeScript 7 reports the errors of the last one only.
  <A, B, E, R, R2 = never>(
    event: Event.Event<string, A>,
    handler: (payload: A) => Effect.Effect<B, E, R>,
    options?: Options<NoInfer<E>, R2, NoInfer<A>>
  ): Effect.Effect<Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope | Bus.EventBus>
  // `any`: no single signature is assignable to both overloads. Both pass what `subscribe` takes.
} = (event: any, handler: any, options: any = noOptions): any =>
  Array.isArray(event)
    ? subscribe(event, handler, options, true)
    : subscribe([event], handler, options, false)

/** A shared object, because each listener keeps its options. */
const noOptions = {}

const subscribe = <A, B, E, R, R2>(
  events: ReadonlyArray<Event.Event<string, A>>,
  handler: (payload: A, event?: string) => Effect.Effect<B, E, R>,
  options: Options<NoInfer<E>, R2>,
  isOfSeveral: boolean
): Effect.Effect<Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope | Bus.EventBus> =>
  Effect.gen(function* () {
    const service = yield* Lifetime.lifetime
    const bus = Bus.whole(yield* Bus.EventBus)
    if (events.length === 0) {
      const expected = "a list of at least one event"
      throw new Input.InputError({ where: "Service.listen", input: "events", expected, actual: events })
    }
    for (const event of events) EventCheck.check("Service.listen", event)
    Input.callable("Service.listen", "handler", handler)
    Input.options("Service.listen", options)
    // TypeScript cannot resolve the conditional type `Failures<E>`; it is this union, or `never` for `never`.
    const policy = (Policy.check("Service.listen", options.onFailure) ?? Failure.log) as Failure.Policy<
      E | Cause.TimeoutException,
      R2
    >
    const names = EventCheck.namesOf(events)
    const name = Handler.nameOf(names)
    const listener = yield* bus.listen<A, E, Exclude<R, Scope.Scope> | R2>(events, {
      lifetime: service,
      options,
      // The cast splits `R` into the scope, if it has one, and the rest.
      handler: handler as (payload: A) => Effect.Effect<B, E, Exclude<R, Scope.Scope> | Scope.Scope>,
      isOfSeveral,
      answers: new Answers(service, names, policy)
    })
    const end = Shutdown.step(service, name, listener.drain, {
      limitMillis: service.stopTimeout,
      alive: () => listener.unfinished()
    }).pipe(
      Effect.zipRight(listener.abandon()),
      Effect.ensuring(Effect.sync(() => service.listeners.delete(listener)))
    )
    return {
      name,
      cancel: Effect.suspend(() => {
        listener.close()
        // A fiber of the service, so that interrupting the caller does not end it early.
        const ending = Runtime.runFork(service.runtime)(end)
        return Work.unlessCircular((caller) => Work.isOf(caller, listener.source), Fiber.join(ending))
      })
    }
  })

/** Answers the failures of a listener's handler by its policy. A class, to save memory with many listeners. */
class Answers<E, R> implements Handler.Answers<E, R> {
  private readonly service: Lifetime.Lifetime
  private readonly event: string
  private readonly policy: Failure.Policy<E | Cause.TimeoutException, R>
  private budget: ReturnType<typeof Restarts.budgetOf> | undefined

  constructor(
    service: Lifetime.Lifetime,
    event: string,
    policy: Failure.Policy<E | Cause.TimeoutException, R>
  ) {
    this.service = service
    this.event = event
    this.policy = policy
  }

  /** Starts the answers for one delivery: backoff is per delivery, the budget per listener. */
  respond(event: string) {
    const { policy, service } = this
    this.budget ??= Restarts.budgetOf(policy)
    const answer = Restarts.answerOf(policy, this.budget)
    const delivery = {
      service,
      work: Handler.nameOf(this.event),
      answer,
      isOwed: true,
      entry: (cause: Cause.Cause<unknown>, tag: Journal.Answered["answer"]) =>
        handlerFailed(service, event, cause, tag)
    }
    return (cause: Cause.Cause<E | Cause.TimeoutException>, ranMillis: number) =>
      Escalation.respond(delivery, cause, ranMillis)
  }

  leaked(event: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return ServiceFailure.record(
      this.service,
      Handler.nameOf(this.event),
      cause,
      handlerFailed(this.service, event, cause, "Log")
    )
  }
}

const handlerFailed = (
  { path }: Lifetime.Lifetime,
  event: string,
  cause: Cause.Cause<unknown>,
  answer: Journal.Answered["answer"]
): Journal.Unstamped => ({ _tag: "HandlerFailed", service: path, event, cause, answer })
