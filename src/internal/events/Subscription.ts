/** How a service listens to events. */
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
import type * as Delivery from "./Delivery.ts"
import * as EventCheck from "./EventCheck.ts"
import type * as Listener from "./Listener.ts"

/** Options of `listen`. */
export interface Options<E, out R = never, in Payload = any> extends Delivery.Options<Payload> {
  /** What to do when the handler fails or passes its `timeout`. Defaults to `Failure.log`. */
  readonly onFailure?: Failure.Policy<Failures<E>, R> | undefined
}

/**
 * What a handler fails with, or its timeout. A conditional type, because
 * TypeScript looks at `onFailure` before it knows a handler that takes the
 * payload: of a plain union it would then see the timeout only.
 */
type Failures<E> = [E] extends [infer Error] ? Error | Cause.TimeoutException : never

type Events = readonly [Event.Event<string, any>, ...Array<Event.Event<string, any>>]

/** What a handler of several events is given: each payload, and the name of its event, by which it is known. */
type Sent<E> = E extends Event.Event<infer Name, infer Payload> ? [payload: Payload, event: Name] : never

/**
 * Runs `handler` for each event, as work of this service: its logs and spans
 * are the service's, and the sender's interruption does not cut it. Emitted
 * events are handled at once; published ones one after another, from a queue.
 * A handler that fails is journaled, and listening goes on. When the service
 * stops, what it has accepted is handled first.
 *
 * Of several events, given as a list, the handler is told which one each
 * payload is of. They share a queue, and so the order in which they were sent.
 *
 * Dies with `InputError` on options that cannot be used, and with
 * `DuplicateEventError` when the bus knows another event of this name.
 */
export const listen: {
  <const All extends Events, B, E, R, R2 = never>(
    events: All,
    handler: (...sent: Sent<All[number]>) => Effect.Effect<B, E, R>,
    options?: Options<NoInfer<E>, R2, Sent<All[number]>[0]>
  ): Effect.Effect<Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope | Bus.EventBus>
  // The common overload comes last: TypeScript 7 reports the errors of the last one only.
  <A, B, E, R, R2 = never>(
    event: Event.Event<string, A>,
    handler: (payload: A) => Effect.Effect<B, E, R>,
    options?: Options<NoInfer<E>, R2, NoInfer<A>>
  ): Effect.Effect<Handle, never, Exclude<R, Scope.Scope> | R2 | Lifetime.ServiceScope | Bus.EventBus>
  // `any`: no single signature is assignable to both overloads. Each gives `subscribed` what it takes.
} = (event: any, handler: any, options: any = noOptions): any =>
  Array.isArray(event)
    ? subscribed(event, handler, options, true)
    : subscribed([event], handler, options, false)

/** One for all, as each is kept. */
const noOptions = {}

const subscribed = <A, B, E, R, R2>(
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
    // `Failures<E>` is what it is said to be here.
    const policy = (Policy.check("Service.listen", options.onFailure) ?? Failure.log) as Failure.Policy<
      E | Cause.TimeoutException,
      R2
    >
    const of = EventCheck.namesOf(events)
    const name = workOf(of)
    const listener = yield* bus.listen<A, E, Exclude<R, Scope.Scope> | R2>(events, {
      lifetime: service,
      service: service.path,
      options,
      // `R` is the scope, if it has one, and the rest.
      handler: handler as (payload: A) => Effect.Effect<B, E, Exclude<R, Scope.Scope> | Scope.Scope>,
      isOfSeveral,
      answers: new Answers(service, of, policy)
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
      cancel: Effect.flatMap(Work.current, (caller) => {
        listener.close()
        // A fiber of its own: who cancels may be interrupted, and what still runs is the service's.
        const ending = Runtime.runFork(service.runtime)(end)
        // A handler waits for nothing, and the rest ends when it has.
        return Work.isOf(caller, listener.source) ? Effect.void : Fiber.join(ending)
      })
    }
  })

type Answering<E, R> = Listener.Spec<never, E, R>["answers"]

/** How a service answers for a listener. A class, as there may be very many. */
class Answers<E, R> implements Answering<E, R> {
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

  own(listener: Lifetime.OwnedListener): void {
    Lifetime.admit(this.service, "listeners", workOf(this.event))
    this.service.listeners.add(listener)
  }

  /** Each event has a backoff of its own, and all have one budget. */
  respond(event: string) {
    const { policy, service } = this
    this.budget ??= Restarts.budgetOf(policy)
    const answer = Restarts.answerOf(policy, this.budget)
    const answered = {
      service,
      work: workOf(this.event),
      answer,
      isOwed: true,
      entry: (cause: Cause.Cause<unknown>, answered: Journal.Answered["answer"]) =>
        handlerFailed(service, event, cause, answered)
    }
    return (cause: Cause.Cause<E | Cause.TimeoutException>, ranMillis: number) =>
      Escalation.respond(answered, cause, ranMillis)
  }

  leaked(event: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return ServiceFailure.record(
      this.service,
      workOf(this.event),
      cause,
      handlerFailed(this.service, event, cause, "Log")
    )
  }
}

/** What the work of a listener is called, of one event or of several. */
const workOf = (event: string): string => `listener ${event}`

const handlerFailed = (
  { path }: Lifetime.Lifetime,
  event: string,
  cause: Cause.Cause<unknown>,
  answer: Journal.Answered["answer"]
): Journal.Unstamped => ({ _tag: "HandlerFailed", service: path, event, cause, answer })
