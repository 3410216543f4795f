/**
 * One listener of one event: runs its handler for emitted events at once, and
 * for published events from a bounded queue of its own.
 *
 * It has a queue of its own because a `PubSub` has one answer to a full buffer
 * for all its subscribers, and here each listener gives its own.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { identity } from "effect/Function"
import * as Gate from "./Gate.ts"
import * as Backlog from "./Backlog.ts"
import * as Delivery from "./Delivery.ts"
import type { Envelope } from "./Envelope.ts"
import * as ListenerRecord from "./ListenerRecord.ts"
import * as LongWait from "./LongWait.ts"
import * as Monotonic from "./Monotonic.ts"
import type * as Owner from "./Owner.ts"
import type { ListenerStatus } from "./ServiceStatus.ts"
import type { OfListener } from "./ServiceMetrics.ts"
import * as Spans from "./Spans.ts"
import * as Tally from "./Tally.ts"
import * as Work from "./Work.ts"

/** What a listener does, and for whom. */
export interface Spec<Payload, E, R> extends Delivery.Options {
  readonly service: string
  /** The name of its class. */
  readonly name: string
  readonly clock: Clock.Clock
  readonly metrics: OfListener
  /** The owner of the service. */
  readonly owner: Owner.Owner
  readonly handler: (payload: Payload) => Effect.Effect<unknown, E, R>
  /** What the listener's service does with the failures of one handling; gives each time whether to run it again. */
  readonly respond: () => Respond<E, R>
  /** The handler has failed in what it does when it is interrupted. */
  readonly onLeak: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Notes the listener with its service. Throws when the service takes none any more. */
  readonly own: (listener: Listener) => void
}

type Respond<E, R> = (
  cause: Cause.Cause<E | Cause.TimeoutException>,
  ranMillis: number
) => Effect.Effect<boolean, never, R>

/** An event that waits for room. */
interface Queued {
  readonly room: Effect.Effect<void>
  /** Takes the event back, if it still waits for room. */
  readonly withdraw: () => void
}

/** A listener that has subscribed. */
export interface Listener {
  /** Runs the handler now, in the listener's service. */
  readonly handle: (envelope: Envelope) => Deferred.Deferred<Delivery.Outcome>
  /** Queues a published event, as `onFull` says. Gives how to wait for room, if there is none. */
  readonly queue: (envelope: Envelope) => Queued | undefined
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

/** A publisher that has waited this long is no longer just a burst: a third of the stop deadline of a service. */
const longWait = Duration.seconds(3)

/** Where a listener listens: the others there, and what was sent while the boot is held. */
export interface Topic {
  readonly event: string
  readonly listeners: Set<Listener>
  readonly boot: Array<Envelope>
}

/**
 * Starts a listener. What was sent in the boot is handled first, and does not
 * count as queued. Dies with `InputError` when an option cannot be used.
 */
export const make = <Payload, E, R>(
  spec: Spec<Payload, E, R>,
  topic: Topic
): Effect.Effect<Listener, never, R> =>
  Effect.gen(function* () {
    const { capacity = 256, clock, concurrency = 1, metrics, onFull = "wait", service, timeout } = spec
    const { changes, journal } = spec.owner.shared
    const { event } = topic
    Delivery.validate("Service.listen", spec)
    const source = {}
    const runtime = Spans.runtimeOutside(yield* Effect.runtime<R>())
    /** Runs a handler in the service; `awaitedBy` is the work that has emitted the event, and waits. */
    const runIn = (awaitedBy: Work.Work | undefined) =>
      Runtime.runFork(
        Runtime.provideService(runtime, Work.CurrentWork, { service, owner: spec.owner, source, awaitedBy })
      )
    const backlog = Backlog.make<Envelope>(capacity, onFull)
    const record = ListenerRecord.make(event, backlog, { clock, metrics, changed: changes.note })
    const dropped = (reason: "queue full" | "service stopped") => (count: number) =>
      journal.append({ _tag: "EventsDropped", service, event, count, reason })
    const drops = Tally.make(dropped("queue full"))
    const emitted = new Map<Fiber.RuntimeFiber<Delivery.Outcome>, Deferred.Deferred<Delivery.Outcome>>()
    const consumers = new Set<Fiber.RuntimeFiber<void>>()
    let handling = 0
    const drained = Deferred.unsafeMake<void>(Gate.ours)
    let state: "open" | "closed" | "abandoned" = "open"
    const limited = (handler: Effect.Effect<unknown, E, R>) => {
      if (timeout === undefined) return Effect.asSome(handler)
      let exit: Exit.Exit<unknown, unknown> = Exit.void
      return Effect.onExit(handler, (its) => Effect.sync(() => (exit = its))).pipe(
        Effect.timeoutOption(timeout),
        // Who is late, and fails in what it does about that, is heard by nobody else.
        Effect.tap((inTime) => Effect.sync(() => Option.isNone(inTime) && tellLeak(exit)))
      )
    }
    const isTraced = (envelope: Envelope) => spec.spans === "always" || Option.isSome(envelope.span)
    const traced = (envelope: Envelope) =>
      Spans.linked(`${spec.name} ${event}`, envelope.span, { service, event })

    const run = (envelope: Envelope, respond?: Respond<E, R>): Effect.Effect<Delivery.Outcome, never, R> =>
      Effect.flatMap(Monotonic.millis, (start) =>
        Effect.suspend(() => spec.handler(envelope.payload)).pipe(
          isTraced(envelope) ? traced(envelope) : identity,
          limited,
          Effect.exit,
          Effect.flatMap((exit) => settle(exit, start, envelope, respond))
        )
      )

    const settle = (
      exit: Exit.Exit<Option.Option<unknown>, E>,
      start: number,
      envelope: Envelope,
      begun: Respond<E, R> | undefined
    ) =>
      Effect.flatMap(Monotonic.since(start), (took): Effect.Effect<Delivery.Outcome, never, R> => {
        const at = { service, took }
        if (Exit.isSuccess(exit) && Option.isSome(exit.value)) {
          record.handled()
          const outcome = Delivery.Outcome.Handled(at)
          if (!journal.reads("EventHandled")) return Effect.succeed(outcome)
          const { payload } = envelope
          return Effect.as(journal.append({ _tag: "EventHandled", service, event, took, payload }), outcome)
        }
        const cause: Cause.Cause<E | Cause.TimeoutException> = Exit.isFailure(exit) ? exit.cause : tookTooLong
        const outcome = Exit.isSuccess(exit)
          ? Delivery.Outcome.TimedOut(at)
          : Cause.isInterruptedOnly(cause)
            ? Delivery.Outcome.Interrupted(at)
            : Delivery.Outcome.Failed({ ...at, cause })
        if (outcome._tag !== "Interrupted") record.failed()
        const respond = begun ?? spec.respond()
        return Effect.flatMap(
          respond(cause, Duration.toMillis(took)),
          (isAgain): Effect.Effect<Delivery.Outcome, never, R> =>
            isAgain ? run(envelope, respond) : Effect.succeed(outcome)
        )
      })
    /** What a handler fails in when it is cut is nowhere else to be seen. */
    const tellLeak = (exit: Exit.Exit<unknown, unknown>) => {
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause))
        Runtime.runFork(runtime)(spec.onLeak(exit.cause))
    }

    const handle = (envelope: Envelope): Deferred.Deferred<Delivery.Outcome> => {
      const done = Deferred.unsafeMake<Delivery.Outcome>(Gate.ours)
      if (state !== "open") {
        Deferred.unsafeDone(done, interrupted)
        return done
      }
      // Not at once: a chain of emits would grow the stack.
      const fiber = runIn(envelope.sender)(Effect.interruptible(run(envelope)), { immediate: false })
      emitted.set(fiber, done)
      fiber.addObserver((exit) => {
        emitted.delete(fiber)
        tellLeak(exit)
        Deferred.unsafeDone(done, Exit.isSuccess(exit) ? exit : interrupted)
      })
      return done
    }
    const interrupted = Exit.succeed(Delivery.Outcome.Interrupted({ service, took: Duration.zero }))

    const handlePublished = (envelope: Envelope) =>
      Effect.suspend(() => {
        handling++
        record.taken(envelope)
        return Effect.ensuring(
          run(envelope),
          Effect.sync(() => handling--)
        )
      })
    const consume: Effect.Effect<void, never, R> = Effect.flatMap(
      backlog.take,
      Option.match({
        onNone: () => Effect.void,
        onSome: (envelope) =>
          Effect.zipRight(
            handlePublished(envelope),
            Effect.suspend(() => consume)
          )
      })
    )
    const startConsumer = (): void => {
      const fiber = runIn(undefined)(Effect.interruptible(consume), { immediate: false })
      consumers.add(fiber)
      fiber.addObserver((exit) => {
        consumers.delete(fiber)
        tellLeak(exit)
        // A handler may have interrupted the fiber that it runs in.
        if (state === "open" || (state === "closed" && !backlog.isEmpty())) startConsumer()
        else if (consumers.size === 0) Deferred.unsafeDone(drained, Effect.void)
      })
    }

    const close = () => {
      topic.listeners.delete(listener)
      if (state !== "open") return
      state = "closed"
      backlog.end()
    }

    const warned = LongWait.make(
      journal.append({ _tag: "PublishWaiting", service, event, waited: longWait }),
      longWait
    )
    const queue = (envelope: Envelope): Queued | undefined => {
      const became = backlog.offer(envelope)
      record.requeued()
      if (became === "dropped") {
        record.dropped(1)
        // In a fiber of its own: the publisher may wait for other listeners first, or be interrupted.
        return void Runtime.runFork(runtime)(drops.add(1))
      }
      if (typeof became === "string") return undefined
      const withdraw = () => {
        became.withdraw()
        record.requeued()
      }
      return { room: warned(became.room), withdraw }
    }

    const listener: Listener = {
      source,
      handle,
      queue,
      close,
      drain: Effect.suspend(() => {
        close()
        const handled = Effect.forEach(emitted.values(), Deferred.await)
        return Effect.all([Deferred.await(drained), handled, drops.end], { discard: true })
      }),
      abandon: (caller) =>
        Effect.suspend(() => {
          close()
          // Once, however often it is asked for: what is left is counted only then.
          const isCaller = Work.isOf(caller, source)
          const unhandled = state === "abandoned" ? 0 : backlog.clear() + (isCaller ? 0 : handling)
          state = "abandoned"
          record.dropped(unhandled)
          record.requeued()
          for (const done of emitted.values()) Deferred.unsafeDone(done, interrupted)
          const fibers: ReadonlyArray<Fiber.Fiber<unknown>> = isCaller
            ? []
            : [...consumers, ...emitted.keys()]
          return Effect.all(
            [
              Effect.forEach(fibers, (fiber) => Fiber.interruptFork(fiber)),
              drops.end,
              unhandled === 0 ? Effect.void : dropped("service stopped")(unhandled)
            ],
            { discard: true }
          )
        }),
      status: record.status,
      unfinished: () => (emitted.size > 0 || consumers.size > 0 ? [`listener ${event}`] : [])
    }
    // In one step with what it is noted in, so that no event and no stop can come in between.
    spec.own(listener)
    backlog.seed(topic.boot)
    record.requeued()
    topic.listeners.add(listener)
    for (let n = 0; n < concurrency; n++) startConsumer()
    return listener
  })

const tookTooLong = Cause.fail(new Cause.TimeoutException("the handler passed its timeout"))
