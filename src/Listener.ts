/**
 * One listener of one event: runs its handler for emitted events at once, and
 * for published events from a bounded queue of its own.
 *
 * It has a queue of its own because a `PubSub` has one answer to a full buffer
 * for all its subscribers, and here each listener gives its own.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
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
import * as Worker from "./Worker.ts"

/** What a listener does, and for whom. */
export interface Spec<Payload, E, R> extends Delivery.Options {
  readonly service: string
  /** The name of its class. */
  readonly name: string
  readonly clock: Clock.Clock
  readonly metrics: OfListener
  /** The owner of the service. */
  readonly owner: Owner.Owner
  /** What it acquires is released when it ends. */
  readonly handler: (payload: Payload) => Effect.Effect<unknown, E, R | Scope.Scope>
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

/** What is left to do about an event that is queued: to wait for room, or to tell of a drop. */
interface Queued {
  readonly rest: Effect.Effect<void>
  /** Takes the event back, if it still waits for room. */
  readonly withdraw: () => void
}

/** A listener that has subscribed. */
export interface Listener {
  /** Runs the handler in the listener's service. Says once what became of the event, in a later turn or at once. */
  readonly handle: (envelope: Envelope, done: (outcome: Delivery.Outcome) => void) => void
  /** Queues a published event, as `onFull` says. Gives what is left to do, if something is. */
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
  /** The idle workers of all listeners of the bus. */
  readonly spares: Worker.Spares
}

/** The handling of an event. */
interface Handling extends Worker.Job {
  readonly envelope: Envelope
  readonly isPublished: boolean
  /** Hears once what became of an emitted event; nobody waits for a published one. */
  tell: ((outcome: Delivery.Outcome) => void) | undefined
}

type HandlingWorker<R> = Worker.Worker<Handling, Delivery.Outcome, R>

/**
 * Starts a listener. What was sent in the boot is handled first, and does not
 * count as queued. Dies with `InputError` when an option cannot be used.
 */
export const make = <Payload, E, R>(
  spec: Spec<Payload, E, R>,
  topic: Topic
): Effect.Effect<Listener, never, R> =>
  Effect.map(Effect.runtime<R>(), (ambient) => {
    const { capacity = 256, clock, concurrency = 1, metrics, onFull = "wait", owner, service } = spec
    const { changes, journal } = owner.shared
    const { event } = topic
    Delivery.validate("Service.listen", spec)
    const source = {}
    const backlog = Backlog.make<Envelope>(capacity, onFull)
    const record = ListenerRecord.make(event, backlog, { clock, metrics, changed: changes.note })
    const dropped = (reason: "queue full" | "service stopped") => (count: number) =>
      journal.append({ _tag: "EventsDropped", service, event, count, reason })
    const drops = Tally.make(dropped("queue full"))
    /** How many events are being handled, and how many of them are published ones. */
    let handling = 0
    let consuming = 0
    const finished = Gate.make()
    let state: "open" | "closed" | "abandoned" = "open"

    const limited =
      spec.timeout === undefined
        ? identity
        : Effect.timeoutFail({ duration: spec.timeout, onTimeout: () => tookTooLong })
    const isTraced = (envelope: Envelope) => spec.spans === "always" || Option.isSome(envelope.span)
    const traced = (envelope: Envelope) =>
      Spans.linked(`${spec.name} ${event}`, envelope.span, { service, event })

    const handle = (payload: Payload): ReturnType<typeof spec.handler> => {
      try {
        return spec.handler(payload)
      } catch (defect) {
        return Effect.die(defect)
      }
    }
    /** Handles an event, again for as long as the service's answer to failures says so. */
    const run = (
      envelope: Envelope,
      worker: HandlingWorker<R>,
      respond?: Respond<E, R>
    ): Effect.Effect<Delivery.Outcome, never, R | Scope.Scope> => {
      const start = Monotonic.unsafeMillis(clock)
      const settled = (exit: Exit.Exit<unknown, E | Cause.TimeoutException>) => {
        const released = worker.released(exit)
        const settle = (end: typeof exit) =>
          Exit.isSuccess(end)
            ? succeeded(start, envelope)
            : failed(end.cause, start, envelope, worker, respond)
        return released === undefined ? settle(exit) : Effect.flatMap(released, settle)
      }
      const handled = handle(envelope.payload)
      return Effect.matchCauseEffect(limited(isTraced(envelope) ? traced(envelope)(handled) : handled), {
        onFailure: (cause) => settled(Exit.failCause(cause)),
        onSuccess: () => settled(Exit.void)
      })
    }

    const took = (start: number) => {
      const millis = Math.round(Monotonic.unsafeMillis(clock) - start)
      return millis === 0 ? Duration.zero : Duration.millis(millis)
    }
    /** What becomes of most events. */
    const atOnce = Delivery.Outcome.Handled({ service, took: Duration.zero })
    const interrupted = Delivery.Outcome.Interrupted({ service, took: Duration.zero })

    const succeeded = (start: number, { payload }: Envelope): Effect.Effect<Delivery.Outcome> => {
      record.handled()
      const time = took(start)
      const outcome = time === Duration.zero ? atOnce : Delivery.Outcome.Handled({ service, took: time })
      return journal.reads("EventHandled")
        ? Effect.as(
            journal.append({ _tag: "EventHandled", service, event, took: outcome.took, payload }),
            outcome
          )
        : Effect.succeed(outcome)
    }

    const failed = (
      cause: Cause.Cause<E | Cause.TimeoutException>,
      start: number,
      envelope: Envelope,
      worker: HandlingWorker<R>,
      respond = spec.respond()
    ): Effect.Effect<Delivery.Outcome, never, R | Scope.Scope> => {
      const at = { service, took: took(start) }
      const outcome = Cause.contains(cause, timedOut)
        ? Delivery.Outcome.TimedOut(at)
        : Cause.isInterruptedOnly(cause)
          ? Delivery.Outcome.Interrupted(at)
          : Delivery.Outcome.Failed({ ...at, cause })
      if (outcome._tag !== "Interrupted") record.failed()
      return Effect.flatMap(respond(cause, Duration.toMillis(at.took)), (isAgain) =>
        isAgain ? run(envelope, worker, respond) : Effect.succeed(outcome)
      )
    }

    const begin = (envelope: Envelope, tell: Handling["tell"]): void => {
      const isPublished = tell === undefined
      handling++
      if (isPublished) consuming++
      Worker.begin(crew, {
        envelope,
        isPublished,
        tell,
        awaitedBy: isPublished ? undefined : envelope.sender
      })
    }
    const end = ({ isPublished, tell }: Handling, outcome: Delivery.Outcome): void => {
      handling--
      tell?.(outcome)
      if (isPublished) {
        consuming--
        next()
      }
      if (state !== "open" && handling === 0) finish()
    }
    const crew: Worker.Crew<Handling, Delivery.Outcome, R> = {
      runtime: Spans.runtimeOutside(ambient),
      workOf: (awaitedBy) => ({ service, owner, source, awaitedBy }),
      perform: ({ envelope, isPublished }, worker) => {
        if (isPublished) record.taken(envelope)
        return run(envelope, worker)
      },
      done: end,
      cut: (handling, cause) => {
        // What a handler fails in when it is cut is nowhere else to be seen.
        if (!Cause.isInterruptedOnly(cause)) Runtime.runFork(crew.runtime)(spec.onLeak(cause))
        end(handling, interrupted)
      },
      workers: new Set(),
      spare: undefined,
      spares: topic.spares
    }

    /** Begins with the published events that can be handled by now. */
    const next = (): void => {
      while (consuming < concurrency) {
        const envelope = backlog.take()
        if (envelope === undefined) return
        begin(envelope, undefined)
      }
    }

    const close = () => {
      topic.listeners.delete(listener)
      if (state !== "open") return
      state = "closed"
      backlog.end()
      if (handling === 0) finish()
    }
    const finish = () => {
      Worker.dismiss(crew)
      finished.unsafeOpen()
    }

    const warned = LongWait.make(
      journal.append({ _tag: "PublishWaiting", service, event, waited: longWait }),
      longWait
    )
    const queue = (envelope: Envelope): Queued | undefined => {
      if (state !== "open") return undefined
      // Then nothing is queued before it.
      if (consuming < concurrency) return void begin(envelope, undefined)
      const became = backlog.offer(envelope)
      record.requeued()
      if (became === "dropped") {
        record.dropped(1)
        return { rest: drops.add(1), withdraw: () => {} }
      }
      if (typeof became === "string") return undefined
      const withdraw = () => {
        became.withdraw()
        record.requeued()
      }
      return { rest: warned(became.room), withdraw }
    }

    const listener: Listener = {
      source,
      handle: (envelope, done) => (state === "open" ? begin(envelope, done) : done(interrupted)),
      queue,
      close,
      drain: Effect.suspend(() => {
        close()
        return Effect.zipRight(finished.await, drops.end)
      }),
      abandon: (caller) =>
        Effect.fiberIdWith((id) => {
          close()
          // Once, however often it is asked for: what is left is counted only then.
          const isCaller = Work.isOf(caller, source)
          const unhandled = state === "abandoned" ? 0 : backlog.clear() + (isCaller ? 0 : consuming)
          state = "abandoned"
          record.dropped(unhandled)
          record.requeued()
          for (const worker of crew.workers) {
            const { job } = worker
            if (job === undefined) continue
            job.tell?.(interrupted)
            job.tell = undefined
            if (!isCaller) worker.interrupt(id)
          }
          return Effect.zipRight(
            drops.end,
            unhandled === 0 ? Effect.void : dropped("service stopped")(unhandled)
          )
        }),
      status: record.status,
      unfinished: () => (handling > 0 ? [`listener ${event}`] : [])
    }
    // In one step with what it is noted in, so that no event and no stop can come in between.
    spec.own(listener)
    backlog.seed(topic.boot)
    record.requeued()
    topic.listeners.add(listener)
    next()
    return listener
  })

const tookTooLong = new Cause.TimeoutException("the handler passed its timeout")
const timedOut = Cause.fail(tookTooLong)
