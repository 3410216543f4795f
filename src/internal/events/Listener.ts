/**
 * A listener of one event or several, and its deliveries: each is one run of the
 * handler, in a fiber of its own. Published events reach it through its `Consumer`.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Fork from "../Fork.ts"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as Work from "../lifecycle/Work.ts"
import type { ListenerStatus } from "../status/ServiceStatus.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import { Consumer, type KeyQueue } from "./Consumer.ts"
import type { Dispatcher, Job } from "./Dispatcher.ts"
import * as Handler from "./Handler.ts"
import type * as Mailbox from "./Mailbox.ts"

/** One topic, or several as one, as a listener sees it. */
export interface Topic {
  /** The name of its event, or of several. */
  readonly event: string
  /** The listeners that emitted events go to. */
  readonly listeners: Record<"add" | "delete", (listener: Listener<any, any, any>) => unknown>
  /** The mailbox for listeners with these settings. */
  readonly mailbox: (settings: Mailbox.Settings) => Mailbox.Mailbox
  /** Events sent earlier in the boot. */
  readonly boot: ReadonlyArray<Handler.Envelope>
  readonly dispatcher: Dispatcher
}

export class Listener<Payload, E, R> implements Lifetime.OwnedListener {
  readonly spec: Handler.Spec<Payload, E, R>
  readonly runtime: Work.RunRuntime<R>
  readonly counters: Counters
  readonly topic: Topic
  private readonly consumer: Consumer
  private state: "open" | "closed" | "abandoned" = "open"
  /** Shared by consecutive deliveries that the same work waits for. Most are awaited by none. */
  private work: Work.Work | undefined = undefined
  /** Deliveries that have not started. */
  private queued = 0
  /** Deliveries that have not ended. */
  private active = 0
  /** Those of them that do not end in the turn in which they were made. */
  private suspended: Set<Delivery> | undefined = undefined
  private handledAtOnce: Handler.Outcome | undefined = undefined
  /** Opens when the listener is closed and has handled all it had accepted. */
  private finished: Latch.Latch | undefined = undefined

  /** Registers the listener with its service, and subscribes it. Throws `ServiceStoppedError`. */
  constructor(spec: Handler.Spec<Payload, E, R>, topic: Topic, runtime: Work.RunRuntime<R>) {
    const { lifetime } = spec
    this.spec = spec
    this.topic = topic
    this.runtime = runtime
    this.counters = new Counters(lifetime, lifetime.metrics.listener(topic.event))
    // One synchronous step, so that no event and no stop comes in between.
    Lifetime.admit(lifetime, "listeners", Handler.nameOf(topic.event))
    lifetime.listeners.add(this)
    topic.listeners.add(this)
    this.consumer = new Consumer(this)
  }

  get source(): object {
    return this
  }

  get isAbandoned(): boolean {
    return this.state === "abandoned"
  }

  /** Accepts an emitted event. Unless `startsNow`, its delivery is queued: events published earlier start first. */
  accept(envelope: Handler.Envelope): { readonly delivery: Delivery; readonly startsNow: boolean } {
    const startsNow = this.queued === 0
    const delivery = this.deliver(envelope, envelope.sender, undefined)
    if (!startsNow) {
      this.suspends(delivery)
      this.topic.dispatcher.enqueue(delivery)
    }
    return { delivery, startsNow }
  }

  /** Makes the delivery of an event that has been accepted. A published one is in the queue of its ordering key. */
  deliver(
    envelope: Handler.Envelope,
    awaitedBy: Work.Work | undefined,
    published: KeyQueue | undefined
  ): Delivery {
    if (this.work === undefined || this.work.awaitedBy !== awaitedBy) {
      const { owner, path } = this.spec.lifetime
      this.work = new Work.Work(path, owner, this, awaitedBy)
    }
    this.active++
    this.queued++
    return new Delivery(this, envelope, this.work, published)
  }

  // For its deliveries.

  starts(): void {
    this.queued--
  }

  suspends(delivery: Delivery): void {
    this.suspended ??= new Set()
    this.suspended.add(delivery)
  }

  /** Counts a success, and returns its outcome. */
  handled(millis: number): Handler.Outcome {
    this.counters.handled()
    // Most handlers take less than a millisecond: they share one outcome.
    if (millis > 0) return handledIn(this.spec.lifetime.path, millis)
    return (this.handledAtOnce ??= handledIn(this.spec.lifetime.path, 0))
  }

  ended(delivery: Delivery): void {
    this.active--
    this.suspended?.delete(delivery)
    if (delivery.published !== undefined) this.consumer.ended(delivery.published)
    this.finishIfDone()
  }

  // For its service.

  close(): void {
    this.topic.listeners.delete(this)
    if (this.state !== "open") return
    this.state = "closed"
    this.consumer.close()
    this.finishIfDone()
  }

  get drain(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      const done = this.isDone ? Effect.void : (this.finished ??= Latch.make()).await
      return Effect.zipRight(done, this.consumer.report(0))
    })
  }

  abandon(caller?: Work.Work): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.close()
      const isCaller = Work.isOf(caller, this)
      const unhandled = this.isAbandoned ? 0 : this.consumer.abandon(isCaller)
      this.state = "abandoned"
      for (const delivery of this.suspended ?? []) {
        delivery.abandon()
        if (!isCaller) delivery.interrupt()
      }
      return this.consumer.report(unhandled)
    })
  }

  unfinished(): ReadonlyArray<string> {
    return this.isDone ? [] : [Handler.nameOf(this.topic.event)]
  }

  status(): ListenerStatus {
    return this.counters.status(this.topic.event, this.consumer.oldestAt)
  }

  finishIfDone(): void {
    if (this.state !== "open" && this.isDone) this.finished?.unsafeOpen()
  }

  private get isDone(): boolean {
    return this.active === 0 && this.consumer.size === 0
  }
}

/** The delivery of one event to one listener. */
export class Delivery implements Job, Work.RunOwner {
  /** The queue of a published event's ordering key. Undefined for an emitted event, whose emitter waits. */
  readonly published: KeyQueue | undefined
  /** Undefined until it is settled. */
  outcome: Handler.Outcome | undefined = undefined
  /** Called once, when the outcome is set. */
  onOutcome: (() => void) | undefined = undefined
  isInterrupted = false
  private readonly listener: Listener<any, any, any>
  private readonly envelope: Handler.Envelope
  private readonly work: Work.Work
  /** The outcome of the last attempt. */
  private attempted: Handler.Outcome | undefined = undefined
  private fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined

  constructor(
    listener: Listener<any, any, any>,
    envelope: Handler.Envelope,
    work: Work.Work,
    published: KeyQueue | undefined
  ) {
    this.listener = listener
    this.envelope = envelope
    this.work = work
    this.published = published
  }

  /** Forks the run into the listener's service, and runs it until it first waits. */
  start(): undefined {
    const { listener } = this
    listener.starts()
    const now = Monotonic.unsafeMillis(listener.spec.lifetime.clock)
    if (this.published !== undefined) listener.counters.waited(this.envelope.at, now)
    const run = new Work.Run(this.work, listener.runtime.runtime.context, this)
    const { context } = run
    const fiber = listener.runtime.fork(context, this.handle(run, now))
    const exit = fiber.unsafePoll()
    if (exit !== null) return this.ended(exit)
    this.fiber = fiber
    listener.suspends(this)
    fiber.addObserver((exit) => this.ended(exit))
    return undefined
  }

  /** Interrupts the handler, or ends a delivery that has not started as soon as it does. Does not wait. */
  interrupt(): void {
    this.isInterrupted = true
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  /** Settles the outcome, so that an emitter no longer waits for the handler. */
  abandon(): void {
    this.settleAs(interrupted(this.listener.spec.lifetime.path))
  }

  private ended(exit: Exit.Exit<unknown, unknown>): undefined {
    const { answers, lifetime } = this.listener.spec
    // The run answers failures of the handler: what is left is a failure of its cleanup after an interruption.
    if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
      lifetime.run(answers.leaked(this.envelope.event.name, exit.cause))
    this.settleAs(this.attempted ?? interrupted(lifetime.path))
    this.listener.ended(this)
    return undefined
  }

  private settleAs(outcome: Handler.Outcome): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    this.onOutcome?.()
  }

  private handle(run: Work.Run, startedAt: number): Effect.Effect<unknown, unknown, any> {
    if (this.isInterrupted || this.listener.isAbandoned) return Effect.interrupt
    return run.perform(Handler.effectOf(this.listener.spec, this.envelope), (exit) =>
      this.settle(run, exit, startedAt, undefined)
    )
  }

  private settle(
    run: Work.Run,
    exit: Exit.Exit<unknown, any>,
    startedAt: number,
    responded: Handler.Respond<any, any> | undefined
  ): Effect.Effect<unknown, unknown, any> {
    const { counters, spec } = this.listener
    const { clock } = spec.lifetime
    const millis = Math.round(Monotonic.unsafeMillis(clock) - startedAt)
    if (Exit.isSuccess(exit)) return this.handled(millis)
    if (this.isInterrupted) return Fork.told(exit)
    const { cause } = exit
    this.attempted = outcomeOf(spec.lifetime.path, millis, cause)
    if (this.attempted._tag !== "Interrupted") counters.failed()
    const respond = responded ?? spec.answers.respond(this.envelope.event.name)
    return Effect.flatMap(run.afterwards(respond(cause, millis)), (isAgain) => {
      if (!isAgain) return Effect.void
      const again = Monotonic.unsafeMillis(clock)
      return run.again(Handler.effectOf(spec, this.envelope), (next) =>
        this.settle(run, next, again, respond)
      )
    })
  }

  private handled(millis: number): Effect.Effect<void> {
    const { event, payload } = this.envelope
    const { owner, path } = this.listener.spec.lifetime
    const { journal } = owner.shared
    const outcome = this.listener.handled(millis)
    this.attempted = outcome
    if (!journal.reads("EventHandled")) return Effect.void
    const { took } = outcome
    return journal.append({ _tag: "EventHandled", service: path, event: event.name, took, payload })
  }
}

/** The outcome of a handler that failed. */
const outcomeOf = (service: string, millis: number, cause: Cause.Cause<unknown>): Handler.Outcome => {
  const at = { service, took: Duration.millis(millis) }
  if (Handler.hasTimedOut(cause)) return Handler.Outcome.TimedOut(at)
  return Cause.isInterruptedOnly(cause)
    ? Handler.Outcome.Interrupted(at)
    : Handler.Outcome.Failed({ ...at, cause })
}

const handledIn = (service: string, millis: number): Handler.Outcome =>
  Handler.Outcome.Handled({ service, took: Duration.millis(millis) })

/** The outcome of a delivery that was interrupted, or did not start, because the service stops. */
const interrupted = (service: string): Handler.Outcome =>
  Handler.Outcome.Interrupted({ service, took: Duration.zero })

/** The counters of a listener, and the metrics that follow them. */
class Counters {
  private readonly lifetime: Lifetime.Lifetime
  private readonly metrics: Metrics.OfListener
  private countHandled = 0
  private countFailed = 0
  private countDropped = 0
  private countQueued = 0

  constructor(lifetime: Lifetime.Lifetime, metrics: Metrics.OfListener) {
    this.lifetime = lifetime
    this.metrics = metrics
  }

  status(event: string, oldestAt: number | undefined): ListenerStatus {
    const now = Monotonic.unsafeMillis(this.lifetime.clock)
    return {
      event,
      handled: this.countHandled,
      failed: this.countFailed,
      queued: this.countQueued,
      dropped: this.countDropped,
      lag: Duration.millis(oldestAt === undefined ? 0 : lagOf(oldestAt, now))
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

  waited(sentAt: number, now: number): void {
    this.metrics.waited(lagOf(sentAt, now))
  }

  private changed(): void {
    this.lifetime.owner.shared.changes.note()
  }
}

const lagOf = (sentAt: number, now: number): number => Math.max(0, Math.round(now - sentAt))
