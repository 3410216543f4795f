/**
 * Where published events wait for their listeners: Effect's `PubSub`, whose
 * capacity and strategy are those of the listeners. Listeners with the default
 * options share the mailbox of their event. A listener with options of its own,
 * or of several events, has a mailbox to itself: a `PubSub` has one answer to a
 * full buffer for all its subscribers.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Throttle from "../journal/Throttle.ts"
import type { Lifetime } from "../lifecycle/Lifetime.ts"
import type { Envelope } from "./Handler.ts"

/** How many events may wait, and what happens when as many do. */
export interface Settings {
  readonly capacity: number
  readonly onFull: "wait" | "dropOldest" | "dropNewest"
}

/** The settings of listeners that set neither option. */
export const defaultSettings: Settings = { capacity: 256, onFull: "wait" }

/** The settings of a listener: `defaultSettings` itself, unless its options differ. */
export const settingsOf = (options: {
  readonly [Name in keyof Settings]?: Settings[Name] | undefined
}): Settings => {
  const { capacity = defaultSettings.capacity, onFull = defaultSettings.onFull } = options
  const isDefault = capacity === defaultSettings.capacity && onFull === defaultSettings.onFull
  return isDefault ? defaultSettings : { capacity, onFull }
}

/** The consumer of a listener, as its mailbox sees it. */
export interface Subscriber {
  /** How many events wait for it, in the mailbox or outside. */
  readonly size: number
  /** How many events it has taken and holds back for an ordering key: they count towards `capacity`. */
  readonly heldBack: number
  /** Whether it can handle an event now. */
  readonly isReady: boolean
  /** An event is offered to it. */
  readonly expect: (envelope: Envelope) => void
  /** An event that waited for it is dropped: the oldest, or this one. */
  readonly drop: (envelope: Envelope | "oldest") => void
  /** The publisher was interrupted before there was room for this event. */
  readonly withdraw: (envelope: Envelope) => void
  /** Takes as many events as it can handle now. */
  readonly pull: () => Effect.Effect<void>
  /** Runs a publisher's wait for room, and reports a long one. */
  readonly reportWait: <A>(wait: Effect.Effect<A>) => Effect.Effect<A>
}

export class Mailbox {
  readonly subscribers = new Set<Subscriber>()
  private readonly settings: Settings
  private readonly runtime: Runtime.Runtime<never>
  /** Made for the first published event: most listeners only receive emitted ones. */
  private pubsub: PubSub.PubSub<Envelope> | undefined = undefined
  private readonly unopened = new Set<Subscription>()
  /** Events whose publishers wait for room, in order. */
  private readonly surplus = new Set<Envelope>()

  private readonly onEmpty: () => void

  /** Publishers wait in fibers of this runtime. `onEmpty` runs when the last subscriber has left. */
  constructor(settings: Settings, runtime: Runtime.Runtime<never>, onEmpty: () => void) {
    this.settings = settings
    this.runtime = runtime
    this.onEmpty = onEmpty
  }

  /**
   * Offers an event to all subscribers. Whether it is accepted, dropped or has to
   * wait is decided synchronously, in the order of the calls. Returns the wait for
   * room, if the publisher has to wait.
   */
  offer(envelope: Envelope): Effect.Effect<void> | undefined {
    if (this.subscribers.size === 0) return undefined
    for (const subscriber of this.subscribers) subscriber.expect(envelope)
    const pubsub = this.open()
    const isFull = this.isFullWithHeldBack(pubsub)
    if (!isFull && pubsub.unsafeOffer(envelope)) return undefined
    switch (this.settings.onFull) {
      case "dropNewest":
        for (const subscriber of this.subscribers) subscriber.drop(envelope)
        return undefined
      case "dropOldest":
        for (const subscriber of this.subscribers) subscriber.drop("oldest")
        // A sliding PubSub takes it at once.
        Effect.runSync(PubSub.publish(pubsub, envelope))
        return undefined
      case "wait":
        return this.waitForRoom(pubsub, envelope)
    }
  }

  /** Subscribes to what is offered from now on. */
  subscribe(subscriber: Subscriber): Subscription {
    this.subscribers.add(subscriber)
    const subscription = new Subscription(this.runtime, () => this.leave(subscriber, subscription))
    if (this.pubsub !== undefined) subscription.open(this.pubsub)
    else this.unopened.add(subscription)
    return subscription
  }

  private open(): PubSub.PubSub<Envelope> {
    if (this.pubsub !== undefined) return this.pubsub
    const { capacity, onFull } = this.settings
    const make = { wait: PubSub.bounded, dropOldest: PubSub.sliding, dropNewest: PubSub.dropping }[onFull]
    this.pubsub = Effect.runSync(make<Envelope>(capacity))
    for (const subscription of this.unopened) subscription.open(this.pubsub)
    this.unopened.clear()
    return this.pubsub
  }

  /** Whether the events that subscribers hold back leave no room. Only asked where a full mailbox drops events. */
  private isFullWithHeldBack(pubsub: PubSub.PubSub<Envelope>): boolean {
    if (this.settings.onFull === "wait") return false
    let held = 0
    for (const subscriber of this.subscribers) held = Math.max(held, subscriber.heldBack)
    if (held === 0) return false
    const size = pubsub.unsafeSize()
    return held + (size._tag === "Some" ? size.value : 0) >= this.settings.capacity
  }

  /** Queues the publisher now. Interrupting the returned wait withdraws the event. */
  private waitForRoom(pubsub: PubSub.PubSub<Envelope>, envelope: Envelope): Effect.Effect<void> {
    this.surplus.add(envelope)
    const publishing = Runtime.runFork(this.runtime, Effect.interruptible(PubSub.publish(pubsub, envelope)))
    publishing.addObserver(() => {
      this.surplus.delete(envelope)
      for (const subscriber of this.subscribers) if (subscriber.isReady) this.runPull(subscriber)
    })
    const withdraw = Effect.suspend(() => {
      for (const subscriber of this.subscribers) subscriber.withdraw(envelope)
      return Fiber.interrupt(publishing)
    })
    const wait = Effect.onInterrupt(Effect.asVoid(Fiber.await(publishing)), () => withdraw)
    const full = [...this.subscribers].filter((subscriber) => subscriber.size > this.settings.capacity)
    return full.reduce((effect, subscriber) => subscriber.reportWait(effect), wait)
  }

  private runPull(subscriber: Subscriber): void {
    Runtime.runFork(this.runtime, Effect.uninterruptible(Effect.suspend(() => subscriber.pull())))
  }

  /** Unsubscribes. Returns what the subscriber has not taken, with the events whose publishers still wait for room. */
  private leave(subscriber: Subscriber, subscription: Subscription): ReadonlyArray<Envelope> {
    this.subscribers.delete(subscriber)
    this.unopened.delete(subscription)
    if (this.subscribers.size === 0) this.onEmpty()
    return [...subscription.close(), ...this.surplus]
  }
}

/** A listener's subscription to a mailbox. */
export class Subscription {
  /** Ends the subscription, and returns the events that were not taken. */
  readonly leave: () => ReadonlyArray<Envelope>
  private readonly runtime: Runtime.Runtime<never>
  private queue: Queue.Dequeue<Envelope> | undefined = undefined
  private scope: Scope.CloseableScope | undefined = undefined

  constructor(runtime: Runtime.Runtime<never>, leave: () => ReadonlyArray<Envelope>) {
    this.runtime = runtime
    this.leave = leave
  }

  open(pubsub: PubSub.PubSub<Envelope>): void {
    this.scope = Effect.runSync(Scope.make())
    this.queue = Effect.runSync(Scope.extend(PubSub.subscribe(pubsub), this.scope))
  }

  /** Takes up to `max` events, without waiting. */
  take(max: number): Effect.Effect<Iterable<Envelope>> {
    return this.queue === undefined ? noEvents : Queue.takeUpTo(this.queue, max)
  }

  /** Whether there is nothing to take. */
  get isEmpty(): boolean {
    const size = this.queue?.unsafeSize()
    return size?._tag !== "Some" || size.value === 0
  }

  close(): ReadonlyArray<Envelope> {
    if (this.queue === undefined || this.scope === undefined) return []
    const left = [...Effect.runSync(Queue.takeAll(this.queue))]
    Runtime.runFork(this.runtime, Scope.close(this.scope, Exit.void))
    this.queue = undefined
    return left
  }
}

const noEvents = Effect.succeed<Iterable<Envelope>>([])

/** A wait this long is more than a burst: about a third of the default `stopTimeout`. */
const longWait = Duration.seconds(3)

/** Reports the backpressure of one listener: dropped events, and publishers that wait long. */
export class Backpressure {
  private readonly lifetime: Lifetime
  private readonly event: string
  private readonly drops: Throttle.Throttle
  private waits = 0
  private warning: Fiber.Fiber<void> | undefined = undefined

  constructor(lifetime: Lifetime, event: string) {
    this.lifetime = lifetime
    this.event = event
    this.drops = Throttle.make((count) => this.dropped("queue full", count))
  }

  /** Reports an event that was dropped because the mailbox is full: the first at once, then a sum each second. */
  get lost(): Effect.Effect<void> {
    return this.drops.add(1)
  }

  /** Reports events that were dropped because the service has stopped. */
  abandoned(count: number): Effect.Effect<void> {
    return this.dropped("service stopped", count)
  }

  /** Reports the drops since the last report. */
  get end(): Effect.Effect<void> {
    return this.drops.end
  }

  /** Runs a wait for room. While waits overlap, only the first long one is reported. */
  waiting<A>(wait: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.acquireUseRelease(
      Effect.suspend(() => {
        if (++this.waits > 1) return Effect.void
        const warn = this.lifetime.owner.shared.journal.append({
          _tag: "PublishWaiting",
          service: this.lifetime.path,
          event: this.event,
          waited: longWait
        })
        return Effect.map(Effect.forkDaemon(Effect.interruptible(Effect.delay(warn, longWait))), (fiber) => {
          this.warning = fiber
        })
      }),
      () => wait,
      () =>
        Effect.suspend(() =>
          --this.waits > 0 || this.warning === undefined ? Effect.void : Fiber.interruptFork(this.warning)
        )
    )
  }

  private dropped(reason: "queue full" | "service stopped", count: number): Effect.Effect<void> {
    return this.lifetime.owner.shared.journal.append({
      _tag: "EventsDropped",
      service: this.lifetime.path,
      event: this.event,
      count,
      reason
    })
  }
}
