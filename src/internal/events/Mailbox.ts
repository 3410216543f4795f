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
import type { Envelope } from "./Delivery.ts"

/** How many events may wait, and what happens when as many do. */
export interface Settings {
  readonly capacity: number
  readonly onFull: "wait" | "dropOldest" | "dropNewest"
}

/** A listener, as its mailbox sees it. */
export interface Subscriber {
  /** Events wait for their turn that it has taken already: they count for `capacity`. */
  readonly held: () => number
  /** An event waits for it. */
  readonly expect: (envelope: Envelope) => void
  /** An event that waited for it was dropped: the oldest, or this one. */
  readonly lose: (envelope: Envelope | "oldest") => void
  /** A publisher no longer waits for room for this event. */
  readonly withdraw: (envelope: Envelope) => void
  /** Takes what it can handle now. */
  readonly pull: Effect.Effect<void>
  /** Whether it can handle an event now. */
  readonly isFree: () => boolean
  /** Whether so many events wait for it. */
  readonly isFull: (capacity: number) => boolean
  /** Runs a publisher's wait, and reports one that takes long. */
  readonly waitsForRoom: <A>(wait: Effect.Effect<A>) => Effect.Effect<A>
}

export class Mailbox {
  readonly subscribers = new Set<Subscriber>()
  private readonly settings: Settings
  private readonly runtime: Runtime.Runtime<never>
  /** Opened with the first event: most listeners only ever receive emitted ones. */
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
   * Offers an event to the subscribers. Decided at once, in the order in which
   * events are offered. Gives how to wait for room, if the publisher has to.
   */
  offer(envelope: Envelope): Effect.Effect<void> | undefined {
    if (this.subscribers.size === 0) return undefined
    for (const subscriber of this.subscribers) subscriber.expect(envelope)
    const pubsub = this.open()
    const isFull = this.isFullWithHeld(pubsub)
    if (!isFull && pubsub.unsafeOffer(envelope)) return undefined
    switch (this.settings.onFull) {
      case "dropNewest":
        for (const subscriber of this.subscribers) subscriber.lose(envelope)
        return undefined
      case "dropOldest":
        for (const subscriber of this.subscribers) subscriber.lose("oldest")
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

  /** Whether what an ordering key holds back leaves no room, where a full mailbox drops. */
  private isFullWithHeld(pubsub: PubSub.PubSub<Envelope>): boolean {
    if (this.settings.onFull === "wait") return false
    let held = 0
    for (const subscriber of this.subscribers) held = Math.max(held, subscriber.held())
    if (held === 0) return false
    const size = pubsub.unsafeSize()
    return held + (size._tag === "Some" ? size.value : 0) >= this.settings.capacity
  }

  /** The publisher's place in the queue of those that wait is taken now, and given up when it is interrupted. */
  private waitForRoom(pubsub: PubSub.PubSub<Envelope>, envelope: Envelope): Effect.Effect<void> {
    this.surplus.add(envelope)
    const publishing = Runtime.runFork(this.runtime, Effect.interruptible(PubSub.publish(pubsub, envelope)))
    publishing.addObserver(() => {
      this.surplus.delete(envelope)
      for (const subscriber of this.subscribers) if (subscriber.isFree()) this.runPull(subscriber)
    })
    const withdraw = Effect.suspend(() => {
      for (const subscriber of this.subscribers) subscriber.withdraw(envelope)
      return Fiber.interrupt(publishing)
    })
    const wait = Effect.onInterrupt(Effect.asVoid(Fiber.await(publishing)), () => withdraw)
    const full = [...this.subscribers].filter((subscriber) => subscriber.isFull(this.settings.capacity))
    return full.reduce((effect, subscriber) => subscriber.waitsForRoom(effect), wait)
  }

  private runPull({ pull }: Subscriber): void {
    Runtime.runFork(this.runtime, Effect.uninterruptible(pull))
  }

  /** What a subscriber has not taken, also of what waits for room, which then does no more. */
  private leave(subscriber: Subscriber, subscription: Subscription): ReadonlyArray<Envelope> {
    this.subscribers.delete(subscriber)
    this.unopened.delete(subscription)
    if (this.subscribers.size === 0) this.onEmpty()
    return [...subscription.close(), ...this.surplus]
  }
}

/** A listener's subscription to a mailbox. */
export class Subscription {
  /** Ends the subscription, and gives what it had accepted and not been taken. */
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

  /** Takes up to so many events, without waiting. */
  take(most: number): Effect.Effect<Iterable<Envelope>> {
    return this.queue === undefined ? noEvents : Queue.takeUpTo(this.queue, most)
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

/** A publisher that has waited this long is more than a burst: a third of the stop deadline of a service. */
const longWait = Duration.seconds(3)

/** Reports what the mailbox of one listener has no room for. */
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

  /** An event was dropped from a full mailbox: the first is journaled at once, then a sum each second. */
  get lost(): Effect.Effect<void> {
    return this.drops.add(1)
  }

  /** Events were dropped because the service has stopped. */
  abandoned(count: number): Effect.Effect<void> {
    return this.dropped("service stopped", count)
  }

  /** Journals what is not journaled yet. */
  get end(): Effect.Effect<void> {
    return this.drops.end
  }

  /** Runs a wait for room, and journals once for as long as any publisher has waited long. */
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
