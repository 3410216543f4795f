/**
 * Carries events from those who send them to those who listen.
 *
 * `emit` runs the listeners now and waits for them; `publish` queues and goes
 * on. Services listen with `Service.listen`; anything else can use `stream`.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Backlog from "./internal/events/Backlog.ts"
import { BusDecorator } from "./internal/BusDecorator.ts"
import type * as Delivery from "./internal/events/Delivery.ts"
import type { Envelope } from "./internal/events/Envelope.ts"
import type * as Event from "./Event.ts"
import type * as Journal from "./Journal.ts"
import * as Latch from "./internal/Latch.ts"
import * as EventCheck from "./internal/events/EventCheck.ts"
import * as Input from "./internal/Input.ts"
import * as LeanStream from "./internal/LeanStream.ts"
import * as Listener from "./internal/events/Listener.ts"
import * as Monotonic from "./internal/Monotonic.ts"
import * as Owner from "./internal/lifecycle/Owner.ts"
import * as RunQueue from "./internal/lifecycle/RunQueue.ts"
import * as Spans from "./internal/telemetry/Spans.ts"
import * as Streams from "./internal/events/Streams.ts"
import * as Work from "./internal/lifecycle/Work.ts"

/** The bus of this context. */
export class EventBus extends Context.Tag("effect-services/EventBus")<
  EventBus,
  {
    readonly emit: <A>(event: Event.Event<string, A>, payload: A) => Effect.Effect<Receipt>
    readonly publish: <A>(event: Event.Event<string, A>, payload: A) => Effect.Effect<void>
    readonly stream: <A>(event: Event.Event<string, A>) => Effect.Effect<Stream.Stream<A>, never, Scope.Scope>
    /** Adds a listener of some events, which gets what was sent while the boot is held. Used by `Service.listen`. */
    readonly listen: <A, E, R>(
      events: ReadonlyArray<Event.Event<string, A>>,
      spec: Listener.Spec<A, E, R>
    ) => Effect.Effect<Listener.Listener, never, R>
    /** Keeps what is sent for listeners to come, until the returned function is called. */
    readonly holdBoot: () => () => void
  }
>() {}

export type { Outcome } from "./internal/events/Delivery.ts"

/** What became of an emitted event, listener by listener in order of subscription. */
export interface Receipt {
  readonly event: string
  readonly handled: number
  /** How many listeners failed or timed out. */
  readonly failed: number
  readonly outcomes: ReadonlyArray<Delivery.Outcome>
}

/** Two different events have one name, so listeners of one would miss the other. */
export class DuplicateEventError extends Data.TaggedError("DuplicateEventError")<{ readonly event: string }> {
  override get message(): string {
    return `Two different events are named "${this.event}". Make it once, export it, and import it where it is used.`
  }
}

/**
 * Tells every listener of the event, at once, and waits until all have handled
 * it. Never fails: what a listener did is in the receipt, and its failure is
 * journaled by its service. Interrupting the emitter does not cut the handlers.
 *
 * Dies with `PayloadError` when the payload does not fit the event's schema.
 */
export const emit = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<Receipt, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.emit(event, payload))

/**
 * Queues the event for every listener and returns. Waits only for listeners
 * whose queue is full and whose `onFull` is `"wait"`. Never fails.
 *
 * Dies with `PayloadError` when the payload does not fit the event's schema.
 */
export const publish = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<void, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.publish(event, payload))

/**
 * The event's payloads, emitted and published alike, from now on: when this
 * returns, the stream is subscribed. It never slows a sender: a reader that is
 * 4,096 events behind loses the oldest, which is journaled. Where every event
 * counts, use `Service.listen`.
 */
export const stream = <A>(
  event: Event.Event<string, A>
): Effect.Effect<Stream.Stream<A>, never, EventBus | Scope.Scope> =>
  Effect.flatMap(EventBus, (bus) => bus.stream(event))

/** A bus with default options. */
export const layer: Layer.Layer<EventBus> = Layer.suspend(() => layerWith({}))

/**
 * A bus.
 *
 * - `validate`: whether payloads are checked against their event's schema when
 *   sent. Defaults to true. The types already say it: switch it off where
 *   senders are typed and events are many.
 */
export const layerWith = (options: { readonly validate?: boolean | undefined }): Layer.Layer<EventBus> =>
  Layer.scoped(
    EventBus,
    Effect.gen(function* () {
      if (options.validate !== undefined)
        Input.oneOf("EventBus.layerWith", "validate", [true, false], options.validate)
      const { shared } = yield* Owner.Owner
      const made = make(options.validate ?? true, shared.journal, yield* Effect.clock)
      const decorator = yield* Effect.serviceOption(BusDecorator)
      const bus = Option.isSome(decorator) ? decorator.value(made) : made
      if (!shared.boot.isOpen) shared.boot.onOpen.push(bus.holdBoot())
      yield* Effect.addFinalizer(() => made.end)
      return bus
    })
  ).pipe(Layer.provide(Owner.layer))

/** All about one event: those who listen, and what was sent while the boot is held. */
interface Topic extends Listener.Topic {
  readonly listeners: Set<Listener.Listener>
  readonly boot: Array<Envelope>
  /** Made for the first stream. */
  streams: Streams.Streams | undefined
}

const make = (validate: boolean, journal: Journal.Journal["Type"], clock: Clock.Clock) => {
  const topics = new Map<Event.Event<string, any>, Topic>()
  const names = new Set<string>()
  let holds = 0
  let taken = 0
  let hasEnded = false

  const topicOf = (where: string, event: Event.Event<string, any>): Topic => {
    const known = topics.get(event)
    if (known !== undefined) return known
    EventCheck.check(where, event)
    if (names.has(event.name)) throw new DuplicateEventError({ event: event.name })
    names.add(event.name)
    const topic: Topic = { event: event.name, listeners: new Set(), boot: [], streams: undefined }
    topics.set(event, topic)
    return topic
  }

  /** Checks the event, keeps it for the boot, and gives it to the streams and to who reads the journal. Then it is delivered. */
  const sent = <A>(
    verb: "emit" | "publish",
    event: Event.Event<string, any>,
    payload: unknown,
    deliver: (envelope: Envelope, listeners: ReadonlyArray<Listener.Listener>) => Effect.Effect<A>
  ): Effect.Effect<A> =>
    Effect.contextWithEffect((context: Context.Context<never>) => {
      const topic = topicOf(`EventBus.${verb}`, event)
      const rejected = validate ? event.reject(payload) : undefined
      if (rejected !== undefined) return Effect.die(rejected)
      const span = Spans.current(context)
      const sender = Work.of(context)
      const envelope: Envelope = {
        event,
        payload,
        span,
        sender,
        before: taken++,
        at: Monotonic.unsafeMillis(clock)
      }
      if (holds > 0) topic.boot.push(envelope)
      const listeners = [...topic.listeners]
      const kind = verb === "emit" ? "EventEmitted" : "EventPublished"
      const told = journal.reads(kind)
        ? journal.append({
            _tag: kind,
            event: event.name,
            sender: sender?.service,
            listeners: topic.listeners.size,
            payload
          })
        : undefined
      const streamed = topic.streams?.send(envelope)
      if (told === undefined && streamed === undefined) return deliver(envelope, listeners)
      return Effect.zipRight(
        Effect.zipRight(streamed ?? Effect.void, told ?? Effect.void),
        Effect.suspend(() => deliver(envelope, listeners))
      )
    })

  return {
    emit: (event: Event.Event<string, any>, payload: unknown): Effect.Effect<Receipt> =>
      sent("emit", event, payload, (envelope, listeners) => {
        const outcomes: Array<Delivery.Outcome> = []
        let left = listeners.length
        const whole = () => Effect.succeed(receipt(event.name, outcomes))
        let resume: ((receipt: Effect.Effect<Receipt>) => void) | undefined
        // All have it before any handles it, so that none can take it from another; and none waits for another.
        const ready: Array<RunQueue.Ready> = []
        listeners.forEach((listener, index) => {
          const handling = listener.handle(envelope, (outcome) => {
            outcomes[index] = outcome
            if (--left === 0) resume?.(whole())
          })
          if (handling !== undefined) ready.push(handling)
        })
        RunQueue.beginNow(ready)
        if (left === 0) return whole()
        return Effect.async<Receipt>((go) => {
          resume = go
          if (left === 0) go(whole())
        }, Latch.ours)
      }),

    publish: (event: Event.Event<string, any>, payload: unknown): Effect.Effect<void> =>
      sent("publish", event, payload, (envelope, listeners) => {
        // All are asked before any is waited for, so a full one does not hold up the others.
        const left: Array<Backlog.Waiting> = []
        for (const listener of listeners) {
          const queued = listener.queue(envelope)
          if (queued !== undefined) left.push(queued)
        }
        if (left.length === 0) return Effect.void
        return Effect.forEach(left, ({ room }) => room, { discard: true }).pipe(
          Effect.onInterrupt(() => Effect.sync(() => left.forEach(({ withdraw }) => withdraw())))
        )
      }),

    stream: (event: Event.Event<string, any>) =>
      Effect.gen(function* () {
        const topic = topicOf("EventBus.stream", event)
        if (hasEnded) return Stream.empty
        const streams = (topic.streams ??= Streams.make(event.name, journal))
        const live = yield* streams.subscribe
        const boot = topic.boot.slice()
        // What was sent between the two lines is in both, first of all that is live.
        const both = new Set(boot)
        const isNew = (sent: Envelope) => {
          if (both.has(sent)) return false
          both.clear()
          return true
        }
        return LeanStream.after(boot, Stream.filter(live, isNew)).pipe(Stream.map((sent) => sent.payload))
      }),

    listen: <A, E, R>(events: ReadonlyArray<Event.Event<string, A>>, spec: Listener.Spec<A, E, R>) =>
      Effect.suspend(() => {
        const [first, ...rest] = Array.from(new Set(events), (event) => topicOf("Service.listen", event))
        // `Service.listen` has seen to it that there is one.
        return Listener.make(spec, rest.length === 0 ? first! : all([first!, ...rest]))
      }),

    holdBoot: () => {
      holds++
      return () => {
        holds--
        if (holds === 0) {
          for (const topic of topics.values()) topic.boot.length = 0
        }
      }
    },

    end: Effect.suspend(() => {
      hasEnded = true
      return Effect.forEach([...topics.values()], (topic) => topic.streams?.end ?? Effect.void)
    })
  }
}

/** Several topics as one, for who listens to all of them. */
const all = (topics: ReadonlyArray<Topic>): Listener.Topic => ({
  event: topics.map(({ event }) => event).join(", "),
  listeners: {
    add: (listener) => topics.forEach(({ listeners }) => listeners.add(listener)),
    delete: (listener) => topics.forEach(({ listeners }) => listeners.delete(listener))
  },
  boot: topics.flatMap(({ boot }) => boot).toSorted((one, other) => one.before - other.before)
})

const receipt = (event: string, outcomes: ReadonlyArray<Delivery.Outcome>): Receipt => {
  let handled = 0
  let failed = 0
  for (const { _tag } of outcomes) {
    if (_tag === "Handled") handled++
    else if (_tag === "Failed" || _tag === "TimedOut") failed++
  }
  return { event, handled, failed, outcomes }
}
