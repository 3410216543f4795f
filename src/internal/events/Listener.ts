/**
 * One listener of one event: runs its handler for emitted events at once, and
 * for published events from a bounded queue of its own, since each listener gives
 * its own answer to a full one.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Backlog from "./Backlog.ts"
import * as Captured from "../Captured.ts"
import * as Delivery from "./Delivery.ts"
import type { Envelope } from "./Envelope.ts"
import * as Latch from "../Latch.ts"
import * as Handling from "./Handling.ts"
import { ListenerRecord } from "./ListenerRecord.ts"
import * as Keys from "./Keys.ts"
import * as Overflow from "./Overflow.ts"
import type { ListenerStatus } from "../status/ServiceStatus.ts"
import * as Work from "../lifecycle/Work.ts"
import type * as Worker from "../lifecycle/Worker.ts"

/** What a listener does, and for whom. */
export interface Spec<Payload, E, R> extends Handling.Spec<Payload, E, R> {
  readonly answers: Handling.Answers<E, R> & {
    /** Notes the listener. Throws when the service takes none any more. */
    readonly own: (listener: Listener) => void
  }
}

/** A listener that has subscribed. */
export interface Listener {
  /**
   * Takes the event, for the handler to be run in the listener's service. Says
   * once what became of it. Gives what is to begin at once, if it was taken and
   * nothing of this listener is to begin before.
   */
  readonly handle: (envelope: Envelope, tell: (outcome: Delivery.Outcome) => void) => Worker.Job | undefined
  /** Queues a published event, as `onFull` says. Gives how to wait for room, if there is none. */
  readonly queue: (envelope: Envelope) => Backlog.Waiting | undefined
  /** Takes no more events. */
  readonly close: () => void
  /** Takes no more events, and waits until those it has taken are handled. */
  readonly drain: Effect.Effect<void>
  /** Ends what a drain has left: interrupts handlers, unless one of them is the caller, and drops the queue. */
  readonly abandon: (caller?: Work.Work) => Effect.Effect<void>
  /** What it has not finished, by name. */
  readonly unfinished: () => ReadonlyArray<string>
  readonly status: () => ListenerStatus
  /** The source of its work. */
  readonly source: object
}

/** Where a listener listens: the others there, and what was sent while the boot is held. */
export interface Topic {
  /** The name of its event, or of several. */
  readonly event: string
  readonly listeners: Record<"add" | "delete", (listener: Listener) => unknown>
  readonly boot: ReadonlyArray<Envelope>
}

/**
 * Starts a listener. What was sent in the boot is handled first, and does not
 * count as queued. Dies with `InputError` when an option cannot be used.
 */
export const make = <Payload, E, R>(
  spec: Spec<Payload, E, R>,
  topic: Topic
): Effect.Effect<Listener, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => {
    Delivery.validate("Service.listen", spec.options)
    return new Subscribed(spec, topic, runtime)
  })

/** A class whose parts are made when they are needed, as there may be very many, to which little comes. */
class Subscribed<Payload, E, R> implements Listener, Handling.Handler<Payload, E, R> {
  readonly runtime: Runtime.Runtime<R>
  readonly spec: Spec<Payload, E, R>
  private readonly topic: Topic
  readonly record: ListenerRecord
  atOnce: Delivery.Outcome | undefined
  private state: "open" | "closed" | "abandoned" = "open"
  private work: Work.Work | undefined
  /** How many have been taken, and not begun yet. */
  unbegun = 0
  /** How many events are being handled, and how many of them are published ones. */
  private handling = 0
  private consuming = 0
  /** Those of published events that are being handled, if their order is to be kept. */
  private readonly keys: Keys.Keys<Envelope> | undefined
  /** Published events that wait for their turn. */
  private backlog: Backlog.Backlog<Envelope> | undefined
  private overflow: Overflow.Overflow | undefined
  /** Opens when it is closed and has handled all. */
  private finished: Latch.Latch | undefined

  constructor(spec: Spec<Payload, E, R>, topic: Topic, runtime: Runtime.Runtime<R>) {
    this.spec = spec
    this.topic = topic
    this.runtime = runtime
    this.record = new ListenerRecord(spec)
    const { orderingKey } = spec.options
    this.keys = orderingKey && Keys.make(({ payload }) => orderingKey(payload))
    // In one step with what it is noted in, so that no event and no stop can come in between.
    spec.answers.own(this)
    topic.listeners.add(this)
    if (topic.boot.length > 0) {
      this.queued().seed(topic.boot)
      this.next()
    }
  }

  get source(): object {
    return this
  }

  handle(envelope: Envelope, tell: (outcome: Delivery.Outcome) => void) {
    if (this.state !== "open") {
      tell(Handling.interrupted(this.spec.service))
      return undefined
    }
    const isNext = this.unbegun === 0
    const handling = this.make(envelope, tell)
    if (isNext) return handling
    this.spec.crew.ready.beginLater(handling)
    return undefined
  }

  queue(envelope: Envelope): Backlog.Waiting | undefined {
    if (this.state !== "open") return undefined
    // Then nothing is queued that must come before it.
    if (this.isFree() && this.keys?.isFree(envelope) !== false) {
      this.spec.crew.ready.beginLater(this.make(envelope, undefined))
      return undefined
    }
    const backlog = this.queued()
    const became = backlog.offer(envelope)
    this.record.queued(backlog.size())
    if (became === "dropped") {
      this.record.dropped(1)
      // In a fiber of its own: the publisher may wait for other listeners first, or be interrupted.
      return void Runtime.runFork(this.runtime)(this.overflowing().lost)
    }
    if (typeof became === "string") return undefined
    const withdraw = () => {
      became.withdraw()
      this.record.queued(backlog.size())
    }
    return { room: this.overflowing().waiting(became.room), withdraw }
  }

  close(): void {
    this.topic.listeners.delete(this)
    if (this.state !== "open") return
    this.state = "closed"
    this.backlog?.end()
    this.finishIfDone()
  }

  get drain(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      const handled = this.handling === 0 ? Effect.void : (this.finished ??= Latch.make()).await
      return Effect.zipRight(handled, this.toldDrops())
    })
  }

  abandon(caller?: Work.Work): Effect.Effect<void> {
    return Effect.fiberIdWith((id) => {
      this.close()
      const isCaller = Work.isOf(caller, this)
      // Once, however often it is asked for: what is left is counted only then.
      const unhandled =
        this.state === "abandoned" ? 0 : (this.backlog?.clear() ?? 0) + (isCaller ? 0 : this.consuming)
      this.state = "abandoned"
      if (unhandled > 0) this.record.dropped(unhandled)
      this.record.queued(0)
      for (const handling of this.handlings()) {
        handling.tell?.(Handling.interrupted(this.spec.service))
        handling.tell = undefined
        if (!isCaller) this.spec.crew.cut(handling, id)
      }
      const told = unhandled === 0 ? Effect.void : this.overflowing().abandoned(unhandled)
      return Effect.zipRight(this.toldDrops(), told)
    })
  }

  unfinished(): ReadonlyArray<string> {
    return this.handling > 0 ? [`listener ${this.topic.event}`] : []
  }

  status(): ListenerStatus {
    return this.record.status(this.topic.event, this.backlog?.peek())
  }

  ended(
    { envelope, isBegun, isPublished, key, tell }: Handling.Handling,
    exit: Exit.Exit<Delivery.Outcome>
  ): void {
    if (!isBegun) this.unbegun--
    // What a handler fails in when it is cut is nowhere else to be seen.
    if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
      Runtime.runFork(this.runtime)(this.spec.answers.leaked(envelope.event.name, exit.cause))
    this.handling--
    tell?.(Exit.isSuccess(exit) ? exit.value : Handling.interrupted(this.spec.service))
    if (isPublished) {
      this.consuming--
      this.keys?.free(key)
      this.next()
    }
    this.finishIfDone()
  }

  private make(envelope: Envelope, tell: Handling.Handling["tell"]): Handling.Handling {
    const isPublished = tell === undefined
    this.handling++
    this.unbegun++
    if (isPublished) this.consuming++
    const key = isPublished ? this.keys?.take(envelope) : undefined
    const work = this.workFor(isPublished ? undefined : envelope.sender)
    return new Handling.Handling(this, { envelope, key, tell, work })
  }

  /** Those that have not ended. */
  private handlings(): ReadonlyArray<Handling.Handling> {
    if (this.handling === 0) return []
    const all = this.spec.crew.jobs().filter((job) => job instanceof Handling.Handling)
    return all.filter(({ handler }) => handler === this)
  }

  /** One for all that the same work waits for: mostly that is none. */
  private workFor(awaitedBy: Work.Work | undefined): Work.Work {
    if (this.work !== undefined && this.work.awaitedBy === awaitedBy) return this.work
    return (this.work = new Work.Work(this.spec.service, this.spec.owner, this, awaitedBy))
  }

  /** Begins with the published events that can be handled by now. */
  private next(): void {
    const { backlog } = this
    if (backlog === undefined || backlog.isEmpty()) return
    while (this.isFree()) {
      const envelope = backlog.take(this.keys?.isFree)
      if (envelope === undefined) break
      this.spec.crew.ready.beginLater(this.make(envelope, undefined))
    }
    this.record.queued(backlog.size())
  }

  private finishIfDone(): void {
    if (this.state === "open" || this.handling > 0) return
    this.finished?.unsafeOpen()
  }

  private isFree(): boolean {
    return this.consuming < (this.spec.options.concurrency ?? 1)
  }

  private queued(): Backlog.Backlog<Envelope> {
    const { capacity = 256, onFull = "wait" } = this.spec.options
    return (this.backlog ??= Backlog.make<Envelope>(capacity, onFull))
  }

  private overflowing(): Overflow.Overflow {
    return (this.overflow ??= Overflow.make(this.spec, this.topic.event))
  }

  private toldDrops(): Effect.Effect<void> {
    return this.overflow?.end ?? Effect.void
  }
}
