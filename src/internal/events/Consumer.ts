/**
 * The published events of one listener: it takes them from its mailbox in order,
 * as many at once as `concurrency` permits, and holds back those whose ordering
 * key is busy. Emitted events never pass through here.
 */
import * as Effect from "effect/Effect"
import type { Job } from "./Dispatcher.ts"
import type { Envelope } from "./Handler.ts"
import type { Delivery, Listener } from "./Listener.ts"
import * as Mailbox from "./Mailbox.ts"

/** Published events of one ordering key: one of them is being handled, the others are held back in order. */
export interface KeyQueue {
  readonly key: unknown
  readonly held: Array<Envelope>
}

/** For listeners without an ordering key. */
const unordered: KeyQueue = { key: undefined, held: [] }

export class Consumer implements Mailbox.Subscriber, Job {
  private readonly listener: Listener<any, any, any>
  private readonly settings: Mailbox.Settings
  private readonly subscription: Mailbox.Subscription
  /** Events of the boot that wait for their delivery, last first. None of them is ever dropped. */
  private fromBoot: Array<Envelope> = []
  /** Other events that wait for their delivery, in order. A `PubSub` does not show what it holds. */
  private waiting: Set<Envelope> | undefined = undefined
  /** Those of them that are no longer in the mailbox, last first. */
  private prefetched: Array<Envelope> = []
  private keyQueues: Map<unknown, KeyQueue> | undefined = undefined
  /** How many events are held back in `keyQueues`. */
  private held = 0
  /** How many deliveries have not ended. */
  private active = 0
  /** Whether a turn of the dispatcher, or a take that is under way, will take more. */
  private isScheduled = false
  private backpressure: Mailbox.Backpressure | undefined = undefined

  /** Subscribes. Events sent earlier in the boot come first. */
  constructor(listener: Listener<any, any, any>) {
    this.listener = listener
    const { spec, topic } = listener
    this.settings = Mailbox.settingsOf(spec.options)
    this.subscription = topic.mailbox(this.settings).subscribe(this)
    if (topic.boot.length === 0) return
    this.fromBoot = topic.boot.toReversed()
    listener.counters.queued(this.size)
    this.schedule()
  }

  // For its mailbox.

  expect(envelope: Envelope): void {
    this.waiting ??= new Set()
    this.waiting.add(envelope)
    if (!this.isReady) this.listener.counters.queued(this.size)
  }

  drop(which: Envelope | "oldest"): void {
    const [oldest] = this.waiting ?? []
    const envelope = which === "oldest" ? oldest : which
    if (envelope === undefined) return
    this.withdraw(envelope)
    this.listener.counters.dropped(1)
    this.listener.spec.lifetime.run(this.reporting.lost)
  }

  withdraw(envelope: Envelope): void {
    if (this.waiting?.delete(envelope) !== true) return
    if (this.held > 0) this.unhold(envelope)
    this.listener.counters.queued(this.size)
  }

  get heldBack(): number {
    return this.held
  }

  get size(): number {
    return this.fromBoot.length + (this.waiting?.size ?? 0)
  }

  get isReady(): boolean {
    return !this.isScheduled && this.demand > 0
  }

  reportWait<A>(wait: Effect.Effect<A>): Effect.Effect<A> {
    return this.reporting.waiting(wait)
  }

  pull(): Effect.Effect<void> {
    // Since it was seen to be ready, somebody else may have begun to take.
    if (this.isScheduled) return Effect.void
    return this.take((delivery) => this.listener.topic.dispatcher.enqueue(delivery)) ?? Effect.void
  }

  /** A turn of the dispatcher. */
  start(): Effect.Effect<void> | undefined {
    const { dispatcher } = this.listener.topic
    return this.take(
      (delivery) => delivery.start(),
      () => dispatcher.isOver()
    )
  }

  // For its listener.

  /** When the oldest event that waits was sent. */
  get oldestAt(): number | undefined {
    const [oldest] = this.waiting ?? []
    return (this.fromBoot.at(-1) ?? oldest)?.at
  }

  /** A delivery has ended. */
  ended(queue: KeyQueue): void {
    this.active--
    this.releaseNext(queue)
    if (this.size > 0) this.schedule()
  }

  /** Unsubscribes. What the mailbox still had for it is handled. */
  close(): void {
    const left = this.subscription.leave().filter((envelope) => this.waiting?.has(envelope) === true)
    this.prefetched = [...left.toReversed(), ...this.prefetched]
    if (left.length > 0) this.schedule()
  }

  /** Discards all events that wait. Returns how many are unhandled, with those in progress unless the caller is one. */
  abandon(isCaller: boolean): number {
    const unhandled = this.size + (isCaller ? 0 : this.active)
    this.fromBoot = []
    this.waiting = undefined
    this.prefetched = []
    this.keyQueues = undefined
    this.held = 0
    const { counters } = this.listener
    if (unhandled > 0) counters.dropped(unhandled)
    counters.queued(0)
    return unhandled
  }

  /** Journals drops that have not been journaled yet, and events that were abandoned. */
  report(abandoned: number): Effect.Effect<void> {
    const dropped = this.backpressure?.end ?? Effect.void
    return abandoned === 0 ? dropped : Effect.zipRight(dropped, this.reporting.abandoned(abandoned))
  }

  /** How many deliveries it may start now. `capacity` also bounds what ordering keys hold back. */
  private get demand(): number {
    const { isAbandoned, spec } = this.listener
    if (isAbandoned) return 0
    const { concurrency = 1 } = spec.options
    return Math.min(concurrency - this.active, this.settings.capacity - this.held)
  }

  private schedule(): void {
    if (!this.isReady) return
    this.isScheduled = true
    this.listener.topic.dispatcher.enqueue(this)
  }

  /** Takes as many events as it may handle now, and starts their deliveries. */
  private take(
    start: (delivery: Delivery) => void,
    /** Whether it is to leave the rest to another turn. */
    isOver: () => boolean = () => false
  ): Effect.Effect<void> | undefined {
    this.isScheduled = false
    this.consumePrefetched(start, isOver)
    if (this.prefetched.length > 0 || this.fromBoot.length > 0) {
      this.schedule()
      return this.taken()
    }
    if (this.demand <= 0 || this.subscription.isEmpty) return this.taken()
    // A fiber may yield between the take and what follows. A second take meanwhile would overtake it.
    this.isScheduled = true
    return Effect.map(this.subscription.take(Math.max(this.batchSize, this.demand)), (taken) => {
      this.isScheduled = false
      // `close` may have added later ones.
      this.prefetched = [...this.prefetched, ...[...taken].toReversed()]
      this.consumePrefetched(start, isOver)
      // Some deliveries may have ended already, or been held back.
      if (this.prefetched.length > 0 || !this.subscription.isEmpty) this.schedule()
      this.taken()
    })
  }

  /** Handlers that never wait are run in batches, so that a burst costs one take for several events. */
  private get batchSize(): number {
    const { capacity, onFull } = this.settings
    const { orderingKey } = this.listener.spec.options
    // A prefetched event has left the mailbox: where a full one drops, that would add to its capacity.
    return onFull === "wait" && orderingKey === undefined ? Math.floor(capacity * batchShare) : 1
  }

  private consumePrefetched(start: (delivery: Delivery) => void, isOver: () => boolean): void {
    while (this.demand > 0 && !isOver()) {
      const ofBoot = this.fromBoot.pop()
      const envelope = ofBoot ?? this.prefetched.pop()
      if (envelope === undefined) return
      // Its publisher may have withdrawn it.
      if (ofBoot !== undefined || this.waiting?.has(envelope) === true) this.consume(envelope, start)
    }
  }

  private taken(): undefined {
    this.listener.counters.queued(this.size)
    this.listener.finishIfDone()
    return undefined
  }

  /** Starts the delivery of an event, or holds it back while its key is busy. */
  private consume(envelope: Envelope, start: (delivery: Delivery) => void): void {
    const { orderingKey } = this.listener.spec.options
    if (orderingKey === undefined) return start(this.deliver(envelope, unordered))
    const key = keyOf(orderingKey, envelope)
    this.keyQueues ??= new Map()
    const busy = this.keyQueues.get(key)
    if (busy !== undefined) {
      busy.held.push(envelope)
      this.held++
      return
    }
    const queue: KeyQueue = { key, held: [] }
    this.keyQueues.set(key, queue)
    start(this.deliver(envelope, queue))
  }

  private deliver(envelope: Envelope, queue: KeyQueue): Delivery {
    this.waiting?.delete(envelope)
    this.active++
    return this.listener.deliver(envelope, undefined, queue)
  }

  /** Starts the next delivery of a key. */
  private releaseNext(queue: KeyQueue): void {
    // One without a key, or from before the listener was abandoned.
    if (this.keyQueues?.get(queue.key) !== queue) return
    const next = queue.held.shift()
    if (next === undefined) return void this.keyQueues.delete(queue.key)
    this.held--
    this.listener.topic.dispatcher.enqueue(this.deliver(next, queue))
  }

  private unhold(envelope: Envelope): void {
    for (const { held } of this.keyQueues?.values() ?? []) {
      const index = held.indexOf(envelope)
      if (index < 0) continue
      held.splice(index, 1)
      this.held--
      return
    }
  }

  private get reporting(): Mailbox.Backpressure {
    const { spec, topic } = this.listener
    return (this.backpressure ??= new Mailbox.Backpressure(spec.lifetime, topic.event))
  }
}

/** How much of `capacity` a batch may take: little enough that publishers keep their backpressure. */
const batchShare = 1 / 16

/** The key of an event or, where it cannot be computed, one of its own: the delivery then fails. */
const keyOf = (orderingKey: (payload: any) => unknown, envelope: Envelope): unknown => {
  try {
    return orderingKey(envelope.payload)
  } catch {
    return envelope
  }
}
