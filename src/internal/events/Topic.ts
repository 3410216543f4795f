/** One event on a bus: its listeners, mailboxes and streams, and the events sent during the boot. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import type * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Journal from "../journal/Journal.ts"
import * as Throttle from "../journal/Throttle.ts"
import type { Envelope } from "./Handler.ts"
import type { Dispatcher } from "./Dispatcher.ts"
import type * as Listener from "./Listener.ts"
import { defaultSettings, Mailbox, type Settings } from "./Mailbox.ts"

/** Shared by all topics of a bus. */
export interface Shared {
  readonly journal: Journal.Journal["Type"]
  readonly runtime: Runtime.Runtime<never>
  readonly dispatcher: Dispatcher
}

export class Topic implements Listener.Topic {
  readonly event: string
  readonly listeners = new Set<Listener.Listener<any, any, any>>()
  private keptOfBoot: Array<Envelope> = []
  /** The shared one first, then those of single listeners. */
  readonly mailboxes = new Set<Mailbox>()
  readonly streams: Streams
  private readonly shared: Shared
  private readonly common: Mailbox
  private readonly bootDrops: Throttle.Throttle

  constructor(event: string, shared: Shared) {
    this.event = event
    this.shared = shared
    this.streams = new Streams(event, shared.journal)
    this.common = new Mailbox(defaultSettings, shared.runtime, () => {})
    this.mailboxes.add(this.common)
    this.bootDrops = dropsOf("EventBus (boot)", event, shared.journal)
  }

  /** Whether it has listeners, readers, or events for either. */
  get isUsed(): boolean {
    return this.listeners.size > 0 || this.streams.isRead || this.keptOfBoot.length > 0
  }

  /** Keeps an event of the boot, in place of the oldest when there are too many. Undefined when none was dropped. */
  keep(envelope: Envelope): Effect.Effect<void> | undefined {
    const kept = this.keptOfBoot
    kept.push(envelope)
    if (kept.length <= bootCapacity) return undefined
    // In halves: to shift a long array each time is dear.
    const dropped = kept.splice(0, bootCapacity / 2).length
    return this.bootDrops.add(dropped)
  }

  /** Forgets the boot, which has ended. Returns the report of what it has dropped. */
  forgetBoot(): Effect.Effect<void> {
    this.keptOfBoot = []
    return this.bootDrops.end
  }

  get boot(): ReadonlyArray<Envelope> {
    return this.keptOfBoot
  }

  get dispatcher(): Dispatcher {
    return this.shared.dispatcher
  }

  mailbox(settings: Settings): Mailbox {
    if (settings === defaultSettings) return this.common
    const own = new Mailbox(settings, this.shared.runtime, () => this.mailboxes.delete(own))
    this.mailboxes.add(own)
    return own
  }
}

/** How many events of a kind are kept for listeners that come later in the boot: some megabytes at worst. */
const bootCapacity = 10_000

/** Several topics as one, for a listener of several events: one mailbox keeps their common order. */
export const joined = (topics: ReadonlyArray<Topic>, shared: Shared): Listener.Topic => ({
  event: topics.map(({ event }) => event).join(", "),
  dispatcher: shared.dispatcher,
  listeners: {
    add: (listener) => topics.forEach(({ listeners }) => listeners.add(listener)),
    delete: (listener) => topics.forEach(({ listeners }) => listeners.delete(listener))
  },
  mailbox: (settings) => {
    const own = new Mailbox(settings, shared.runtime, () => {
      for (const { mailboxes } of topics) mailboxes.delete(own)
    })
    for (const { mailboxes } of topics) mailboxes.add(own)
    return own
  },
  boot: topics.flatMap(({ boot }) => boot).toSorted((one, other) => one.order - other.order)
})

/** How many events a stream may fall behind: a burst of some seconds. */
const streamCapacity = 4_096

/** The streams of an event: a sliding `PubSub`, so a slow reader never slows a sender. */
class Streams {
  private readonly drops: Throttle.Throttle
  private pubsub: PubSub.PubSub<Envelope | typeof end> | undefined = undefined

  constructor(event: string, journal: Shared["journal"]) {
    this.drops = dropsOf("EventBus.stream", event, journal)
  }

  /** Whether anybody has read the event. */
  get isRead(): boolean {
    return this.pubsub !== undefined
  }

  /** Offers an event to the streams, at once. Returns the report of an event that was dropped, if any. */
  send(envelope: Envelope | typeof end): Effect.Effect<unknown> | undefined {
    if (this.pubsub === undefined || this.pubsub.unsafeOffer(envelope)) return undefined
    // Full: a sliding PubSub drops the oldest event, which the slowest reader has not read.
    Effect.runSync(PubSub.publish(this.pubsub, envelope))
    return this.drops.add(1)
  }

  /** Subscribes until the scope closes or the stream ends. */
  get subscribe(): Effect.Effect<Stream.Stream<Envelope>, never, Scope.Scope> {
    return Effect.gen(this, function* () {
      this.pubsub ??= yield* PubSub.sliding<Envelope | typeof end>(streamCapacity)
      const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
      const subscription = yield* Scope.extend(PubSub.subscribe(this.pubsub), scope)
      return Stream.fromQueue(subscription).pipe(
        Stream.takeWhile((one): one is Envelope => one !== end),
        Stream.ensuring(Scope.close(scope, Exit.void))
      )
    })
  }

  /** Ends the streams once they have read what they still hold. */
  get end(): Effect.Effect<unknown> {
    return Effect.zipRight(
      this.drops.end,
      Effect.suspend(() => this.send(end) ?? Effect.void)
    )
  }
}

const end = Symbol.for("effect-services/events/end")

/** Journals events that no listener lost, but the bus itself. */
const dropsOf = (service: string, event: string, journal: Shared["journal"]): Throttle.Throttle =>
  Throttle.make((count) =>
    journal.append({ _tag: "EventsDropped", service, event, count, reason: "queue full" })
  )
