/** The event bus: topics, and how an event is emitted or published to their listeners. */
import * as Context from "effect/Context"
import type * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Event from "../../Event.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import type { OwnedListener } from "../lifecycle/Lifetime.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import * as Work from "../lifecycle/Work.ts"
import * as Spans from "../telemetry/Spans.ts"
import { Dispatcher, type Job } from "./Dispatcher.ts"
import * as EventCheck from "./EventCheck.ts"
import * as Handler from "./Handler.ts"
import { type Delivery, Listener } from "./Listener.ts"
import type * as Mailbox from "./Mailbox.ts"
import * as Topic from "./Topic.ts"

/** The event bus that this context provides. */
export class EventBus extends Context.Tag("effect-services/EventBus")<
  EventBus,
  {
    readonly emit: <A>(event: Event.Event<string, A>, payload: A) => Effect.Effect<Receipt>
    readonly publish: <A>(event: Event.Event<string, A>, payload: A) => Effect.Effect<void>
    readonly stream: <A>(event: Event.Event<string, A>) => Effect.Effect<Stream.Stream<A>, never, Scope.Scope>
  }
>() {}

/** The outcomes of an emitted event, listener by listener in order of subscription. */
export interface Receipt {
  readonly event: string
  readonly handled: number
  /** How many listeners failed or timed out. */
  readonly failed: number
  readonly outcomes: ReadonlyArray<Handler.Outcome>
}

/** Two different events have one name, so listeners of one would miss the other. */
export class DuplicateEventError extends Data.TaggedError("DuplicateEventError")<{ readonly event: string }> {
  override get message(): string {
    return `Two different events are named "${this.event}". Make it once, export it, and import it where it is used.`
  }
}

/** A bus, with the members that only the toolkit uses. */
export interface Bus extends Context.Tag.Service<EventBus>, Owner.Bus {
  /** Adds a listener of some events. During the boot, it also gets events sent earlier. */
  readonly listen: <A, E, R>(
    events: ReadonlyArray<Event.Event<string, A>>,
    spec: Handler.Spec<A, E, R>
  ) => Effect.Effect<OwnedListener, never, R>
  /** Keeps events for listeners and streams to come, until the returned function is called. */
  readonly holdBoot: () => () => void
  /** Ends the streams. */
  readonly end: Effect.Effect<void>
}

/** A bus of the context, with its internal members. */
export const whole = (bus: Context.Tag.Service<EventBus>): Bus =>
  // `make` makes every bus, and a decorator keeps the members that it does not replace.
  bus as Bus

/** Makes a bus of an app. With `validate`, payloads are checked against the schemas of their events. */
export const make = (
  validate: boolean,
  { buses, journal }: Owner.Shared
): Effect.Effect<Bus, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.zipWith(Effect.runtime(), Effect.clock, (runtime, clock) => {
      const bus = new Topics(validate, journal, clock, runtime, buses)
      buses.add(bus)
      return bus
    }),
    (bus) => {
      buses.delete(bus)
      return bus.end
    }
  )

/** More kinds of events than an app has, unless it makes them at run time. */
const sweepsFrom = 1_000

class Topics implements Bus {
  private readonly topics = new Map<Event.Event<string, any>, Topic.Topic>()
  private readonly names = new Set<string>()
  private readonly shared: Topic.Shared
  private readonly clock: Clock.Clock
  private readonly validate: boolean
  private holds = 0
  private accepted = 0
  private hasEnded = false
  /** How many topics there are before unused ones are looked for. */
  private sweepsAt = sweepsFrom
  /** Stands for topics that there are not. */
  private readonly unheard: Topic.Topic
  /** All of the app. */
  private readonly buses: ReadonlySet<Owner.Bus>
  private readonly warned = new Set<string>()

  constructor(
    validate: boolean,
    journal: Journal.Journal["Type"],
    clock: Clock.Clock,
    runtime: Runtime.Runtime<never>,
    buses: ReadonlySet<Owner.Bus>
  ) {
    this.buses = buses
    this.validate = validate
    this.clock = clock
    this.shared = { journal, runtime, dispatcher: new Dispatcher(new Work.RunRuntime(runtime), clock) }
    this.unheard = new Topic.Topic("", this.shared)
  }

  // Bound, because a decorator copies them with `{ ...bus }`.

  readonly emit = (event: Event.Event<string, any>, payload: unknown): Effect.Effect<Receipt> =>
    this.send("emit", event, payload, (envelope, topic) => {
      // All listeners accept it before any handles it, and none waits for another.
      const deliveries: Array<Delivery> = []
      const jobs: Array<Job> = []
      for (const listener of topic.listeners) {
        const { delivery, startsNow } = listener.accept(envelope)
        deliveries.push(delivery)
        if (startsNow) jobs.push(delivery)
      }
      this.shared.dispatcher.startAll(jobs)
      const pending = deliveries.filter(({ outcome }) => outcome === undefined)
      return pending.length === 0
        ? Effect.succeed(receipt(event.name, deliveries))
        : Effect.map(outcomesOf(pending), () => receipt(event.name, deliveries))
    })

  readonly publish = (event: Event.Event<string, any>, payload: unknown): Effect.Effect<void> =>
    this.send("publish", event, payload, (envelope, { mailboxes }) => {
      // The event is offered to all mailboxes before the publisher waits for one, so a full one delays no other.
      const waits: Array<Effect.Effect<void>> = []
      const ready: Array<Mailbox.Subscriber> = []
      for (const mailbox of mailboxes) {
        const wait = mailbox.offer(envelope)
        if (wait !== undefined) waits.push(wait)
        for (const subscriber of mailbox.subscribers) if (subscriber.isReady) ready.push(subscriber)
      }
      const pulled =
        ready.length === 0
          ? Effect.void
          : Effect.uninterruptible(
              Effect.forEach(ready, (subscriber) => subscriber.pull(), { discard: true })
            )
      return waits.length === 0
        ? pulled
        : Effect.zipRight(pulled, Effect.all(waits, { concurrency: waits.length, discard: true }))
    })

  readonly stream = (event: Event.Event<string, any>) =>
    Effect.gen(this, function* () {
      const topic = this.topic("EventBus.stream", event)
      if (this.hasEnded) return Stream.empty
      const live = yield* topic.streams.subscribe
      const boot = topic.boot.slice()
      // Events sent between the two lines above are in both, at the head of `live`.
      const both = new Set(boot)
      const isNew = (sent: Handler.Envelope) => {
        if (both.has(sent)) return false
        both.clear()
        return true
      }
      return Stream.concat(Stream.fromIterable(boot), Stream.filter(live, isNew)).pipe(
        Stream.map((sent) => sent.payload)
      )
    })

  readonly listen = <A, E, R>(
    events: ReadonlyArray<Event.Event<string, A>>,
    spec: Handler.Spec<A, E, R>
  ): Effect.Effect<OwnedListener, never, R> =>
    Effect.map(Work.runtime<R>(), (runtime) => {
      const [first, ...rest] = Array.from(new Set(events), (event) => this.topic("Service.listen", event))
      Handler.validate("Service.listen", spec.options)
      // `Service.listen` refuses an empty list.
      const topic = rest.length === 0 ? first! : Topic.joined([first!, ...rest], this.shared)
      return new Listener(spec, topic, runtime)
    })

  readonly holdBoot = () => {
    this.holds++
    return () => {
      this.holds--
      if (this.holds > 0) return
      this.run(
        Effect.all(
          Array.from(this.topics.values(), (topic) => topic.forgetBoot()),
          { discard: true }
        )
      )
    }
  }

  readonly end = Effect.suspend(() => {
    this.hasEnded = true
    return Effect.forEach([...this.topics.values()], ({ streams }) => streams.end, { discard: true })
  })

  readonly listenersOf = (event: object): ReadonlyArray<string> => {
    // Topics are found by the event itself, whatever it is.
    const topic = this.topics.get(event as Event.Event<string, any>)
    return Array.from(topic?.listeners ?? [], ({ spec }) => spec.lifetime.path)
  }

  /** Warns, once for each event, when what nobody hears here has listeners on another bus of the app. */
  private warnOfOther({ event, sender }: Handler.Envelope): void {
    if (this.warned.has(event.name)) return
    const listeners = [...this.buses].flatMap((bus) => bus.listenersOf(event))
    if (listeners.length === 0) return
    this.warned.add(event.name)
    this.run(
      this.shared.journal.append({
        _tag: "OtherBusListens",
        event: event.name,
        sender: sender?.service,
        listeners
      })
    )
  }

  private run(effect: Effect.Effect<unknown>): void {
    Runtime.runFork(this.shared.runtime, effect)
  }

  /** Keeps the app that the bus belongs to out of a printed context. */
  toJSON(): unknown {
    return { events: [...this.names] }
  }

  /** The topic of an event: one that nobody has used yet is made where it is to be kept. */
  private topic(where: string, event: Event.Event<string, any>, isKept = true): Topic.Topic {
    const known = this.topics.get(event)
    if (known !== undefined) return known
    EventCheck.check(where, event)
    if (this.names.has(event.name)) throw new DuplicateEventError({ event: event.name })
    if (!isKept) return this.unheard
    if (this.topics.size >= this.sweepsAt) this.sweep()
    this.names.add(event.name)
    const topic = new Topic.Topic(event.name, this.shared)
    this.topics.set(event, topic)
    return topic
  }

  /** Forgets topics that nobody uses any more: events may be made at run time. */
  private sweep(): void {
    for (const [event, topic] of this.topics) {
      if (topic.isUsed) continue
      this.topics.delete(event)
      this.names.delete(event.name)
    }
    this.sweepsAt = Math.max(sweepsFrom, 2 * this.topics.size)
  }

  /** Checks and journals an event. Then keeps it during the boot, gives it to streams, and delivers it. */
  private send<A>(
    verb: "emit" | "publish",
    event: Event.Event<string, any>,
    payload: unknown,
    deliver: (envelope: Handler.Envelope, topic: Topic.Topic) => Effect.Effect<A>
  ): Effect.Effect<A> {
    return Effect.contextWithEffect((context: Context.Context<never>) => {
      const isKept = this.holds > 0
      const topic = this.topic(`EventBus.${verb}`, event, isKept)
      const rejected = this.validate ? event.reject(payload) : undefined
      if (rejected !== undefined) return Effect.die(rejected)
      const envelope: Handler.Envelope = {
        event,
        payload,
        span: Spans.current(context),
        sender: Work.of(context),
        order: this.accepted++,
        at: Monotonic.unsafeMillis(this.clock)
      }
      // In one step: a listener or a stream that comes in between would be given the event twice, or not at all.
      const accept = () => {
        const dropped = isKept && this.holds > 0 ? topic.keep(envelope) : undefined
        if (dropped !== undefined) this.run(dropped)
        const slid = topic.streams.send(envelope)
        if (slid !== undefined) this.run(slid)
        return deliver(envelope, topic)
      }
      if (topic.listeners.size === 0 && this.buses.size > 1) this.warnOfOther(envelope)
      const kind = verb === "emit" ? "EventEmitted" : "EventPublished"
      return this.shared.journal.reads(kind)
        ? Effect.zipRight(this.journaled(kind, envelope, topic), Effect.suspend(accept))
        : accept()
    })
  }

  private journaled(
    kind: "EventEmitted" | "EventPublished",
    { event, payload, sender }: Handler.Envelope,
    topic: Topic.Topic
  ): Effect.Effect<void> {
    return this.shared.journal.append({
      _tag: kind,
      event: event.name,
      sender: sender?.service,
      listeners: topic.listeners.size,
      payload
    })
  }
}

/** Waits until all these deliveries have an outcome. */
const outcomesOf = (pending: ReadonlyArray<Delivery>): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    let left = 1
    const settled = () => {
      if (--left === 0) resume(Effect.void)
    }
    for (const delivery of pending) {
      if (delivery.outcome !== undefined) continue
      left++
      delivery.onOutcome = settled
    }
    settled()
  }, Latch.internal)

const receipt = (event: string, deliveries: ReadonlyArray<Delivery>): Receipt => {
  let handled = 0
  let failed = 0
  const outcomes: Array<Handler.Outcome> = []
  for (const { outcome } of deliveries) {
    if (outcome === undefined) continue
    outcomes.push(outcome)
    if (outcome._tag === "Handled") handled++
    else if (outcome._tag === "Failed" || outcome._tag === "TimedOut") failed++
  }
  return { event, handled, failed, outcomes }
}
