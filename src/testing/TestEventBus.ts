/**
 * Records the events of an app for a test, and makes listeners slow, failing or
 * absent.
 *
 * `TestApp` records the buses of its app. For a bus that several apps share, use
 * `layer` in place of `EventBus.layer`.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as HashSet from "effect/HashSet"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Event from "../Event.ts"
import * as EventBus from "../EventBus.ts"
import * as Latch from "../internal/Latch.ts"
import * as Input from "../internal/Input.ts"
import { BusDecorator } from "../internal/TestHooks.ts"
import type * as Bus from "../internal/events/Bus.ts"
import * as Work from "../internal/lifecycle/Work.ts"

/** The recorded events of an app, or of a bus that apps share. */
export class TestEventBus extends Context.Tag("effect-services/TestEventBus")<TestEventBus, Recorder>() {}

/** An event that was sent. */
export interface Emitted<out A> {
  readonly verb: "emit" | "publish"
  readonly payload: A
  /** The path of the service that sent it, if a service did. */
  readonly sender: string | undefined
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The receipt of an emit that is complete. */
  readonly receipt: EventBus.Receipt | undefined
}

/** What goes wrong with a listener. */
export type Trouble =
  | { readonly _tag: "Slow"; readonly by: Duration.DurationInput }
  | { readonly _tag: "Failing"; readonly error: unknown }
  | { readonly _tag: "Absent" }

/** An expected event was not sent in time. */
export class NotEmittedError extends Data.TaggedError("NotEmittedError")<{
  readonly event: string
  readonly within: Duration.Duration
  /** The last 20 events that were sent instead, as lines. */
  readonly happened: ReadonlyArray<string>
}> {
  override get message(): string {
    const happened = this.happened.length === 0 ? "Nothing was." : `But:\n  ${this.happened.join("\n  ")}`
    return `No such ${this.event} was sent within ${Duration.format(this.within)}. ${happened}`
  }
}

/** What was sent of an event so far, emitted and published alike. */
export const emitted = <A>(
  event: Event.Event<string, A>
): Effect.Effect<ReadonlyArray<Emitted<A>>, never, TestEventBus> =>
  Effect.map(TestEventBus, ({ sent }) => sent.filter((one) => one.event === event))

/** Which payloads of an event are expected, and how soon. */
export interface Expected<A> {
  /** Matches the payload. By default each does. */
  readonly where?: ((payload: A) => boolean) | undefined
  /** Only what is sent after another event, or from now on. By default also what was sent before. */
  readonly after?: Emitted<unknown> | "now" | undefined
  /** How long to wait. Defaults to `1 minute`, which costs nothing in virtual time. */
  readonly within?: Duration.DurationInput | undefined
}

/**
 * Waits until an event is sent; gives the first match that was sent already, if
 * there is one. Fails after `within` with `NotEmittedError`, which shows what was
 * sent instead.
 */
export const expect = <A>(
  event: Event.Event<string, A>,
  options: Expected<A> = {}
): Effect.Effect<Emitted<A>, NotEmittedError, TestEventBus> =>
  Effect.flatMap(TestEventBus, (recorder) => {
    const at = "TestEventBus.expect"
    const { after, where = () => true, within = "1 minute" } = Input.options(at, options)
    const limit = Duration.millis(Input.positiveMillis(at, "within", within))
    const before = new Set(untilAfter(recorder, after))
    const since = () => recorder.sent.filter((one) => !before.has(one))
    const find = () => since().find((one) => one.event === event && where(one.payload))
    const found = Effect.suspend((): Effect.Effect<Sent> => {
      const one = find()
      return one === undefined ? Effect.zipRight(recorder.next.await, found) : Effect.succeed(one)
    })
    const notEmitted = () =>
      new NotEmittedError({
        event: event.name,
        within: limit,
        happened: since().slice(-mostLines).map(line)
      })
    // One that is sent at the deadline is in time.
    return Effect.flatMap(Effect.timeoutOption(found, limit), (one) =>
      Effect.mapError(
        Option.orElse(one, () => Option.fromNullable(find())),
        notEmitted
      )
    )
  })

/**
 * Makes listeners of an event go wrong until the scope closes: those of one
 * service, given by the end of its path, or all. An absent listener does
 * nothing, and is in no receipt. Closing the scope dies if there was no such
 * listener, as when the service is misspelt.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Event } from "effect-services"
 * import { TestEventBus } from "effect-services/testing"
 *
 * const Paid = Event.make("paid", { id: Schema.String })
 * const slow = TestEventBus.trouble(Paid, { _tag: "Slow", by: "5 seconds" }, "Mailer")
 * ```
 */
export const trouble = (
  event: Event.Event<string, any>,
  what: Trouble,
  service?: string
): Effect.Effect<void, never, TestEventBus | Scope.Scope> =>
  Effect.flatMap(TestEventBus, ({ listeners, troubles }) => {
    const at = "TestEventBus.trouble"
    Input.oneOf(at, "what._tag", ["Slow", "Failing", "Absent"], what._tag)
    if (what._tag === "Slow") Input.positiveMillis(at, "what.by", what.by)
    const one: Troubled = {
      what,
      isFor: (other, path) =>
        other === event && (service === undefined || ` > ${path}`.endsWith(` > ${service}`))
    }
    const end = Effect.suspend(() => {
      troubles.delete(one)
      const paths = [...(listeners.get(event) ?? [])]
      if (paths.some((path) => one.isFor(event, path))) return Effect.void
      const whose = service === undefined ? "" : ` in a service "${service}"`
      const others = paths.length === 0 ? "" : ` Those that listened: ${paths.join(", ")}.`
      return Effect.die(new Error(`${at}: nothing has listened to ${event.name}${whose}.${others}`))
    })
    return Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => troubles.add(one)),
        () => end
      )
    )
  })

/** A bus that records its events, in place of `EventBus.layer`. */
export const layer: Layer.Layer<EventBus.EventBus | TestEventBus> = Layer.unwrapEffect(
  Effect.sync(() => {
    const recorder = make()
    return Layer.merge(
      Layer.provide(
        EventBus.layer,
        Layer.succeed(
          BusDecorator,
          decorator((bus) => recording(recorder, bus))
        )
      ),
      Layer.succeed(TestEventBus, recorder)
    )
  })
)

/** What was recorded, and what goes wrong. */
export interface Recorder {
  readonly sent: Array<Sent>
  /** Opens and closes again when an event is sent. */
  readonly next: Latch.Latch
  readonly troubles: Set<Troubled>
  /** The paths of the services that have listened, by event. */
  readonly listeners: Map<Event.Event<string, any>, Set<string>>
}

interface Sent extends Emitted<any> {
  readonly event: Event.Event<string, any>
  receipt: EventBus.Receipt | undefined
}

interface Troubled {
  readonly what: Trouble
  readonly isFor: (event: Event.Event<string, any>, service: string) => boolean
}

/** An empty recorder. */
export const make = (): Recorder => ({
  sent: [],
  next: Latch.make(),
  troubles: new Set(),
  listeners: new Map()
})

/** Wraps a bus. */
export type DecorateBus = (bus: Bus.Bus) => Bus.Bus

/** A decorator as the toolkit takes it. */
export const decorator = (decorate: DecorateBus): BusDecorator["Type"] =>
  // It is given nothing but buses.
  decorate as BusDecorator["Type"]

/** Wraps a bus with a recorder. */
export const recording = (recorder: Recorder, bus: Bus.Bus): Bus.Bus => {
  const troubleOf = (event: Event.Event<string, any>, service: string) =>
    [...recorder.troubles].find(({ isFor }) => isFor(event, service))?.what
  /** Records an event, unless the bus refuses it. */
  const noted = <A, B>(
    verb: Emitted<A>["verb"],
    event: Event.Event<string, A>,
    payload: A,
    send: (sent: Sent) => Effect.Effect<B>
  ): Effect.Effect<B> =>
    Effect.flatMap(Effect.zip(Clock.currentTimeMillis, Work.current), ([at, work]) => {
      const sent: Sent = { event, verb, payload, sender: work?.service, at, receipt: undefined }
      recorder.sent.push(sent)
      recorder.next.unsafeOpen()
      recorder.next.unsafeClose()
      return Effect.tapDefect(send(sent), () =>
        Effect.sync(() => void recorder.sent.splice(recorder.sent.indexOf(sent), 1))
      )
    })
  return {
    ...bus,
    emit: (event, payload) =>
      noted("emit", event, payload, (sent) =>
        Effect.map(bus.emit(event, payload), (receipt) => {
          const isThere = ({ service }: EventBus.Outcome) => troubleOf(event, service)?._tag !== "Absent"
          sent.receipt = { ...receipt, outcomes: receipt.outcomes.filter(isThere) }
          return sent.receipt
        })
      ),
    publish: (event, payload) => noted("publish", event, payload, () => bus.publish(event, payload)),
    listen: (events, spec) => {
      for (const event of events) {
        const known = recorder.listeners.get(event) ?? new Set()
        recorder.listeners.set(event, known.add(spec.lifetime.path))
      }
      return bus.listen(events, {
        ...spec,
        answers: {
          leaked: (event, cause) => spec.answers.leaked(event, cause),
          respond: (event) => {
            const respond = spec.answers.respond(event)
            const unlessAbsent: typeof respond = (cause, ran) =>
              HashSet.has(Cause.interruptors(cause), absent) ? Effect.succeed(false) : respond(cause, ran)
            return unlessAbsent
          }
        },
        handler: (payload, name) => {
          // The name is given to listeners of several events only. There is always a first.
          const event = events.find((one) => one.name === name) ?? events[0]!
          const what = troubleOf(event, spec.lifetime.path)
          switch (what?._tag) {
            case "Slow":
              return Effect.delay(spec.handler(payload, name), what.by)
            case "Failing":
              // The listener's policy answers it like an error of the handler, whatever its type.
              return Effect.fail(what.error) as Effect.Effect<never>
            case "Absent":
              // An interruption is no failure, and `respond` above does not answer this one.
              return Effect.failCause(Cause.interrupt(absent))
            default:
              return spec.handler(payload, name)
          }
        }
      })
    }
  }
}

/** Interrupts the handlers of absent listeners. */
const absent = FiberId.runtime(-3, 0)

/** What was sent up to an event, or until now. */
const untilAfter = ({ sent }: Recorder, after: Expected<never>["after"]): ReadonlyArray<Sent> => {
  if (after === undefined) return []
  if (after === "now") return sent
  const index = sent.findIndex((one) => one === after)
  if (index >= 0) return sent.slice(0, index + 1)
  const expected = '"now", or what `emitted` or `expect` has given'
  throw new Input.InputError({ where: "TestEventBus.expect", input: "after", expected, actual: after })
}

/** How many events an error shows: enough to see what went wrong. */
const mostLines = 20

const line = ({ event, payload, sender, verb }: Sent): string => {
  const by = Option.match(Option.fromNullable(sender), { onNone: () => "", onSome: (path) => ` by ${path}` })
  return `${event.name} ${Inspectable.toStringUnknown(payload, 0)} (${verb}${by})`
}
