/** One listener of one event or several: delivers emitted events at once, and published ones from its mailbox. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import type { OwnedListener } from "../lifecycle/Lifetime.ts"
import * as Work from "../lifecycle/Work.ts"
import type { ListenerStatus } from "../status/ServiceStatus.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import * as Delivery from "./Delivery.ts"
import type { Dispatcher, Ready } from "./Dispatcher.ts"
import * as Mailbox from "./Mailbox.ts"

/** Where a listener listens. */
export interface Topic {
  /** The name of its event, or of several. */
  readonly event: string
  /** The listeners that emitted events go to. */
  readonly listeners: Record<"add" | "delete", (listener: Listener<any, any, any>) => unknown>
  /** The mailbox of a listener with these settings. */
  readonly mailbox: (settings: Mailbox.Settings) => Mailbox.Mailbox
  /** What was sent during the boot, before the listener was there. */
  readonly boot: ReadonlyArray<Delivery.Envelope>
  readonly dispatcher: Dispatcher
}

/** What `listen` needs to know of the service besides what is delivered. */
export interface Spec<Payload, E, R> extends Delivery.Spec<Payload, E, R> {
  readonly answers: Delivery.Answers<E, R> & {
    /** Registers the listener. Throws when the service takes none any more. */
    readonly own: (listener: OwnedListener) => void
  }
}

export class Listener<Payload, E, R>
  implements OwnedListener, Mailbox.Subscriber, Delivery.Recipient<Payload, E, R>, Ready
{
  readonly spec: Spec<Payload, E, R>
  readonly runtime: Work.RunRuntime<R>
  readonly record: Counters
  private readonly topic: Topic
  private readonly subscription: Mailbox.Subscription
  private state: "open" | "closed" | "abandoned" = "open"
  /** One for all deliveries that the same work waits for: most are awaited by none. */
  private work: Work.Work | undefined = undefined
  /** How many deliveries have not ended, and those of them that wait, for something or for their turn. */
  private active = 0
  private deliveries: Set<Delivery.Delivery> | undefined = undefined
  private handledAtOnce: Delivery.Outcome | undefined = undefined
  /** How many deliveries have not begun. */
  private unbegun = 0
  /** How many published events are being handled, or about to be. */
  private consuming = 0
  /** Published events that wait, in order. A `PubSub` shows nothing before it is taken. */
  private waiting: Set<Delivery.Envelope> | undefined = undefined
  /** Events to deliver before those of the mailbox: of the boot, or what the mailbox held when it was left. */
  private backlog: Array<Delivery.Envelope> = []
  /** Events whose ordering key is busy, by key. */
  private busy: Map<unknown, Array<Delivery.Envelope>> | undefined = undefined
  private heldCount = 0
  /** Whether it waits for a turn of the dispatcher to take more. */
  private isPulling = false
  private backpressure: Mailbox.Backpressure | undefined = undefined
  /** Opens when it is closed and has handled all. */
  private finished: Latch.Latch | undefined = undefined

  /** Subscribes. What was sent during the boot is handled first. */
  constructor(spec: Spec<Payload, E, R>, topic: Topic, runtime: Work.RunRuntime<R>) {
    this.spec = spec
    this.topic = topic
    this.runtime = runtime
    this.record = new Counters(spec.lifetime, spec.lifetime.metrics.listener(topic.event))
    // In one synchronous step, so that no event and no stop comes in between.
    spec.answers.own(this)
    topic.listeners.add(this)
    const { capacity = 256, onFull = "wait" } = spec.options
    this.subscription = topic.mailbox({ capacity, onFull }).subscribe(this)
    if (topic.boot.length > 0) {
      for (const envelope of topic.boot) this.expect(envelope)
      this.backlog = topic.boot.toReversed()
      this.pullLater()
    }
  }

  get source(): object {
    return this
  }

  /** Accepts an emitted event. `isNext` tells whether the delivery is to begin now; otherwise it will in its turn. */
  emit(envelope: Delivery.Envelope): { readonly delivery: Delivery.Delivery; readonly isNext: boolean } {
    const isNext = this.unbegun === 0
    const delivery = this.deliver(envelope, false, undefined)
    // What was published to it before begins first.
    if (!isNext) {
      this.waits(delivery)
      this.topic.dispatcher.beginLater(delivery)
    }
    return { delivery, isNext }
  }

  // As a subscriber of its mailbox.

  expect(envelope: Delivery.Envelope): void {
    this.waiting ??= new Set()
    this.waiting.add(envelope)
    if (!this.isFree()) this.record.queued(this.waiting.size)
  }

  lose(which: Delivery.Envelope | "oldest"): void {
    const [oldest] = this.waiting ?? []
    const envelope = which === "oldest" ? oldest : which
    if (envelope === undefined) return
    this.withdraw(envelope)
    this.record.dropped(1)
    this.spec.lifetime.run(this.reporting().lost)
  }

  withdraw(envelope: Delivery.Envelope): void {
    if (this.waiting?.delete(envelope) !== true) return
    // Of what is held back, the oldest goes first.
    if (this.heldCount > 0) this.unhold(envelope)
    this.record.queued(this.waiting.size)
  }

  held(): number {
    return this.heldCount
  }

  isFull(capacity: number): boolean {
    return (this.waiting?.size ?? 0) > capacity
  }

  isFree(): boolean {
    return !this.isPulling && this.mayTake > 0 && this.state !== "abandoned"
  }

  waitsForRoom<A>(wait: Effect.Effect<A>): Effect.Effect<A> {
    return this.reporting().waiting(wait)
  }

  get pull(): Effect.Effect<void> {
    return Effect.suspend(
      () => this.take((delivery) => this.topic.dispatcher.beginLater(delivery)) ?? Effect.void
    )
  }

  /** A turn of the dispatcher. */
  begin(): Effect.Effect<void> | undefined {
    return this.take((delivery) => delivery.begin())
  }

  // As the recipient of its deliveries.

  get isAbandoned(): boolean {
    return this.state === "abandoned"
  }

  begins(): void {
    this.unbegun--
  }

  waits(delivery: Delivery.Delivery): void {
    this.deliveries ??= new Set()
    this.deliveries.add(delivery)
  }

  handledIn(millis: number): Delivery.Outcome {
    const { service } = this.spec
    // Most take no time.
    if (millis > 0) return Delivery.handled(service, millis)
    return (this.handledAtOnce ??= Delivery.handled(service, 0))
  }

  ended(delivery: Delivery.Delivery): void {
    this.active--
    this.deliveries?.delete(delivery)
    if (delivery.isPublished) {
      this.consuming--
      this.free(delivery.key)
      if ((this.waiting?.size ?? 0) > 0) this.pullLater()
    }
    this.finishIfDone()
  }

  // As owned by its service.

  close(): void {
    this.topic.listeners.delete(this)
    if (this.state !== "open") return
    this.state = "closed"
    const left = this.subscription.leave().filter((envelope) => this.waiting?.has(envelope) === true)
    this.backlog = [...left.toReversed(), ...this.backlog]
    if (left.length > 0) this.pullLater()
    this.finishIfDone()
  }

  get drain(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      const isDone = this.isDone
      return Effect.zipRight(isDone ? Effect.void : (this.finished ??= Latch.make()).await, this.reported)
    })
  }

  abandon(caller?: Work.Work): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      const isCaller = Work.isOf(caller, this)
      // Only once: a later call finds nothing left to count.
      const unhandled =
        this.state === "abandoned" ? 0 : (this.waiting?.size ?? 0) + (isCaller ? 0 : this.consuming)
      this.state = "abandoned"
      this.waiting = undefined
      this.backlog = []
      this.busy = undefined
      this.heldCount = 0
      if (unhandled > 0) this.record.dropped(unhandled)
      this.record.queued(0)
      for (const delivery of this.deliveries ?? []) {
        delivery.abandon()
        if (!isCaller) delivery.interrupt()
      }
      const told = unhandled === 0 ? Effect.void : this.reporting().abandoned(unhandled)
      return Effect.zipRight(this.reported, told)
    })
  }

  unfinished(): ReadonlyArray<string> {
    return this.isDone ? [] : [`listener ${this.topic.event}`]
  }

  status(): ListenerStatus {
    const [oldest] = this.waiting ?? []
    return this.record.status(this.topic.event, oldest?.at)
  }

  private get isDone(): boolean {
    return this.active === 0 && (this.waiting?.size ?? 0) === 0
  }

  private finishIfDone(): void {
    if (this.state !== "open" && this.isDone) this.finished?.unsafeOpen()
  }

  private pullLater(): void {
    if (this.isPulling || this.mayTake <= 0 || this.state === "abandoned") return
    this.isPulling = true
    this.topic.dispatcher.beginLater(this)
  }

  /** How many published events it may take now. What an ordering key holds back is bounded by `capacity`. */
  private get mayTake(): number {
    const { capacity = 256, concurrency = 1 } = this.spec.options
    return Math.min(concurrency - this.consuming, capacity - this.heldCount)
  }

  /** Takes what it may handle now, and has it begun. */
  private take(begin: (delivery: Delivery.Delivery) => void): Effect.Effect<void> | undefined {
    this.isPulling = false
    this.consumeBacklog(begin)
    if (this.mayTake <= 0 || this.subscription.isEmpty) return this.taken()
    return Effect.map(this.subscription.take(Math.max(this.batchSize, this.mayTake)), (taken) => {
      this.backlog = [...taken].toReversed()
      this.consumeBacklog(begin)
      // Of what was taken, some may have ended already, or be held back for its key.
      if (this.backlog.length > 0 || !this.subscription.isEmpty) this.pullLater()
      this.taken()
    })
  }

  /** Handlers that do not wait are run in batches. What a batch leaves over has left the mailbox, which then has room for more. */
  private get batchSize(): number {
    const { capacity = 256, onFull = "wait", orderingKey } = this.spec.options
    return onFull === "wait" && orderingKey === undefined ? Math.floor(capacity / 16) : 1
  }

  private consumeBacklog(begin: (delivery: Delivery.Delivery) => void): void {
    while (this.mayTake > 0) {
      const envelope = this.backlog.pop()
      if (envelope === undefined) return
      this.consume(envelope, begin)
    }
  }

  private taken(): undefined {
    this.record.queued(this.waiting?.size ?? 0)
    this.finishIfDone()
    return undefined
  }

  /** Begins with a published event, or holds it back while its key is busy. */
  private consume(envelope: Delivery.Envelope, begin: (delivery: Delivery.Delivery) => void): void {
    // Its publisher may have withdrawn it.
    if (this.waiting?.has(envelope) !== true) return
    const { orderingKey } = this.spec.options
    if (orderingKey === undefined) return begin(this.published(envelope, undefined))
    const key = keyOf(orderingKey, envelope)
    const held = (this.busy ??= new Map()).get(key)
    if (held === undefined) {
      this.busy.set(key, [])
      return begin(this.published(envelope, key))
    }
    held.push(envelope)
    this.heldCount++
  }

  private published(envelope: Delivery.Envelope, key: unknown): Delivery.Delivery {
    this.waiting?.delete(envelope)
    this.consuming++
    return this.deliver(envelope, true, key)
  }

  /** The key is free: the next event that it held back follows. */
  private free(key: unknown): void {
    const held = this.busy?.get(key)
    if (held === undefined) return
    let next = held.shift()
    while (next !== undefined && this.waiting?.has(next) !== true) next = held.shift()
    if (next === undefined) return void this.busy?.delete(key)
    this.heldCount--
    this.topic.dispatcher.beginLater(this.published(next, key))
  }

  private unhold(envelope: Delivery.Envelope): void {
    for (const held of this.busy?.values() ?? []) {
      const index = held.indexOf(envelope)
      if (index < 0) continue
      held.splice(index, 1)
      this.heldCount--
      return
    }
  }

  private deliver(envelope: Delivery.Envelope, isPublished: boolean, key: unknown): Delivery.Delivery {
    const work = this.workFor(isPublished ? undefined : envelope.sender)
    this.active++
    this.unbegun++
    return new Delivery.Delivery(this, envelope, work, isPublished, key)
  }

  private workFor(awaitedBy: Work.Work | undefined): Work.Work {
    if (this.work !== undefined && this.work.awaitedBy === awaitedBy) return this.work
    const { owner } = this.spec.lifetime
    return (this.work = new Work.Work(this.spec.service, owner, this, awaitedBy))
  }

  private reporting(): Mailbox.Backpressure {
    return (this.backpressure ??= new Mailbox.Backpressure(this.spec.lifetime, this.topic.event))
  }

  private get reported(): Effect.Effect<void> {
    return this.backpressure?.end ?? Effect.void
  }
}

/** The key of an event or, where it cannot be computed, one of its own: the delivery then fails. */
const keyOf = (orderingKey: (payload: any) => unknown, envelope: Delivery.Envelope): unknown => {
  try {
    return orderingKey(envelope.payload)
  } catch {
    return envelope
  }
}

/** The counters of a listener, which its metrics follow. */
class Counters {
  private readonly lifetime: Spec<any, any, any>["lifetime"]
  private readonly metrics: Metrics.OfListener
  private countHandled = 0
  private countFailed = 0
  private countDropped = 0
  private countQueued = 0

  constructor(lifetime: Spec<any, any, any>["lifetime"], metrics: Metrics.OfListener) {
    this.lifetime = lifetime
    this.metrics = metrics
  }

  status(event: string, oldestAt: number | undefined): ListenerStatus {
    const lag =
      oldestAt === undefined ? 0 : this.waited(oldestAt, Monotonic.unsafeMillis(this.lifetime.clock))
    return {
      event,
      handled: this.countHandled,
      failed: this.countFailed,
      queued: this.countQueued,
      dropped: this.countDropped,
      lag: Duration.millis(lag)
    }
  }

  handled(): void {
    this.countHandled++
    this.metrics.handled()
    this.changed()
  }

  failed(): void {
    this.countFailed++
    this.metrics.failed()
    this.changed()
  }

  dropped(events: number): void {
    this.countDropped += events
    this.metrics.dropped(events)
    this.changed()
  }

  queued(size: number): void {
    if (size === this.countQueued) return
    this.metrics.queued(size - this.countQueued)
    this.countQueued = size
    this.changed()
  }

  taken(sentAt: number, now: number): void {
    this.metrics.waited(this.waited(sentAt, now))
  }

  private waited(sentAt: number, now: number): number {
    return Math.max(0, Math.round(now - sentAt))
  }

  private changed(): void {
    this.lifetime.owner.shared.changes.note()
  }
}
