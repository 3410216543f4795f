/**
 * What happened, as data: one closed union that logs, tests and tools read.
 *
 * Services write to it; nothing needs to be provided for that. To read it, use
 * `Journal.recent` and `Journal.stream`: `App.launch` provides the journal to
 * what it runs, and elsewhere `Journal.layer` in the same composition is the
 * one its services write to.
 *
 * What happens often, each event and each healthy tick, is counted by the
 * `ServiceRegistry`, and journaled only while a `Journal.streamOf` reads it.
 * Payloads of events are there only for a reader that asks for them. A cause
 * may quote one, and what is `Redacted` stays so.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Entry, type Frequent, frequent, type Unstamped } from "./internal/journal/Entry.ts"
import * as EntryText from "./internal/journal/EntryText.ts"
import * as Feed from "./internal/Feed.ts"
import * as Input from "./internal/Input.ts"
import * as LeanStream from "./internal/LeanStream.ts"

export type { Answered, At, Entry, Frequent, OfService, Sent, Unstamped } from "./internal/journal/Entry.ts"
export { format } from "./internal/journal/EntryText.ts"

/** How many entries `recent` keeps: some hundred kilobytes, and more than a screen of trouble. */
const capacity = 1_000

/** The journal of an app. */
export class Journal extends Context.Tag("effect-services/Journal")<
  Journal,
  {
    /** Gives the entry its time, keeps it, and logs it; one that happens often only goes to who reads it. */
    readonly append: (entry: Unstamped) => Effect.Effect<void>
    /** Whether anybody reads this kind; if not, there is no need to append it. */
    readonly reads: (kind: Frequent) => boolean
    readonly recent: Effect.Effect<ReadonlyArray<Entry>>
    readonly stream: Stream.Stream<Entry>
    readonly streamOf: <const Kind extends Entry["_tag"]>(
      kinds: ReadonlyArray<Kind>,
      options?: ReadOptions
    ) => Stream.Stream<Of<Kind>>
  }
>() {}

/** Entries of some kinds. */
export type Of<Kind extends Entry["_tag"]> = Extract<Entry, { readonly _tag: Kind }>

/** Options of `streamOf`. */
export interface ReadOptions {
  /** Whether entries of events carry the event's payload. Defaults to false: it may be personal, or secret. */
  readonly payloads?: boolean | undefined
}

/** The last 1,000 entries, oldest first: the boot, and what was not as usual since. */
export const recent: Effect.Effect<ReadonlyArray<Entry>, never, Journal> = Effect.flatMap(
  Journal,
  (_) => _.recent
)

/**
 * Entries from the moment the stream runs, but those of what happens often. A
 * reader that is 1,000 entries behind loses the oldest of them, so it never
 * slows the app. Never ends.
 */
export const stream: Stream.Stream<Entry, never, Journal> = Stream.unwrap(
  Effect.map(Journal, (_) => _.stream)
)

/**
 * As `stream`, entries of these kinds only, and also of what happens often:
 * `TaskTicked`, `EventEmitted`, `EventPublished`, `EventHandled`. While it is
 * read, each of those costs a little; while it is not, nothing.
 *
 * Dies with `InputError` when there are no entries of such a kind.
 */
export const streamOf = <const Kind extends Entry["_tag"]>(
  kinds: ReadonlyArray<Kind>,
  options?: ReadOptions
): Stream.Stream<Of<Kind>, never, Journal> =>
  Stream.unwrap(Effect.map(Journal, (_) => _.streamOf(kinds, options)))

/** Who reads a journal: the entries it gets, and what is done with them. */
interface Reader {
  readonly wants: (kind: Entry["_tag"]) => boolean
  readonly payloads: boolean
  readonly feed: Feed.Feed<Entry>
}

/** Makes an empty journal that logs what it is told. */
export const make: Effect.Effect<Journal["Type"]> = Effect.sync(() => {
  const entries: Array<Entry> = []
  const readers = new Set<Reader>()

  const read = (wants: Reader["wants"], payloads: boolean): Stream.Stream<Entry> =>
    Effect.suspend(() => {
      const reader = { wants, payloads, feed: Feed.make<Entry>(capacity) }
      return Effect.acquireRelease(
        Effect.sync(() => readers.add(reader)),
        () => Effect.sync(() => readers.delete(reader))
      ).pipe(Effect.as(reader.feed.stream))
    }).pipe(LeanStream.unwrapScoped)
  const tell = (entry: Entry) => {
    for (const { feed, payloads, wants } of readers) {
      if (wants(entry._tag)) feed.offer(payloads ? entry : withoutPayload(entry))
    }
  }

  return {
    append: (unstamped) =>
      Effect.withFiberRuntime((fiber) => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const entry = { ...unstamped, at: clock.unsafeCurrentTimeMillis() } as Entry
        tell(entry)
        if (isFrequent(entry._tag)) return Effect.void
        entries.push(entry)
        if (entries.length >= capacity * 2) entries.splice(0, entries.length - capacity)
        const logged = EntryText.log(entry, fiber)
        // A logger that throws must not stop a stop, and could not be told of by logging.
        return logged === undefined ? Effect.void : Effect.exit(logged)
      }),
    reads: (kind) => {
      for (const reader of readers) {
        if (reader.wants(kind)) return true
      }
      return false
    },
    recent: Effect.sync(() => entries.slice(-capacity)),
    stream: read((kind) => !isFrequent(kind), false),
    streamOf: <Kind extends Entry["_tag"]>(kinds: ReadonlyArray<Kind>, options?: ReadOptions) => {
      const where = "Journal.streamOf"
      Input.options(where, options)
      Input.oneOf(where, "payloads", [true, false], options?.payloads ?? false)
      const expected = "a list of kinds of entries, like TaskTicked"
      if (!Array.isArray(kinds))
        throw new Input.InputError({ where, input: "kinds", expected, actual: kinds })
      for (const kind of kinds as ReadonlyArray<unknown>) {
        if (typeof kind === "string" && EntryText.isKind(kind)) continue
        throw new Input.InputError({
          where,
          input: "kinds",
          expected: "kinds of entries, like TaskTicked",
          actual: kind
        })
      }
      const wanted = new Set<string>(kinds)
      // Only what is wanted is ever put into its queue.
      return read((kind) => wanted.has(kind), options?.payloads ?? false) as Stream.Stream<Of<Kind>>
    }
  }
})

/** The journal of this context, or else a new one. */
export const inherited: Effect.Effect<Journal["Type"]> = Effect.flatMap(
  Effect.serviceOption(Journal),
  Option.match({ onNone: () => make, onSome: Effect.succeed })
)

/** The journal that is already there, as inside `App.launch`, or else a new one. */
export const layer: Layer.Layer<Journal> = Layer.effect(Journal, inherited)

const isFrequent = (kind: Entry["_tag"]): kind is Frequent =>
  (frequent as ReadonlyArray<string>).includes(kind)

const withoutPayload = (entry: Entry): Entry => {
  if (!("payload" in entry)) return entry
  const { payload: _, ...rest } = entry
  return rest
}
