/** The journal behind the public module: its tag, how it is made, and its layer. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Input from "../Input.ts"
import { type Entry, type Frequent, frequent, type Unstamped } from "./Entry.ts"
import * as EntryText from "./EntryText.ts"
import * as Repeats from "./Repeats.ts"

export type { Answered, Entry, Unstamped } from "./Entry.ts"
export { format } from "./EntryText.ts"

/** The journal of an app. */
export class Journal extends Context.Tag("effect-services/Journal")<
  Journal,
  {
    /** Adds the timestamp, stores and logs the entry, and passes it to readers. Frequent entries only go to readers. */
    readonly append: (entry: Unstamped) => Effect.Effect<void>
    /** Whether this kind has a reader. If not, it need not be appended. */
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
  /** Whether entries of events carry the event's payload. Defaults to false: it may be personal or secret. */
  readonly payloads?: boolean | undefined
}

/** Entries kept for `recent`, and how far a reader may fall behind. A few hundred kilobytes. */
const capacity = 1_000

/** A running stream of entries. */
interface Reader {
  readonly wants: (kind: Entry["_tag"]) => boolean
  readonly payloads: boolean
  readonly queue: Queue.Queue<Entry>
}

/** Creates an empty journal. */
export const make: Effect.Effect<Journal["Type"]> = Effect.sync(() => {
  const entries: Array<Entry> = []
  const readers = new Set<Reader>()
  const log = Repeats.make()

  const read = (wants: Reader["wants"], payloads: boolean): Stream.Stream<Entry> =>
    Stream.unwrapScoped(
      Effect.acquireRelease(
        Effect.map(Queue.sliding<Entry>(capacity), (queue): Reader => {
          const reader = { wants, payloads, queue }
          readers.add(reader)
          return reader
        }),
        // The queue is not shut down: an offer to it at this moment would interrupt the writer.
        (reader) => Effect.sync(() => readers.delete(reader))
      ).pipe(Effect.map(({ queue }) => Stream.fromQueue(queue)))
    )
  const offer = (entry: Entry): Effect.Effect<unknown> | undefined => {
    let slides: Effect.Effect<unknown> | undefined
    for (const { payloads, queue, wants } of readers) {
      if (!wants(entry._tag)) continue
      const seen = payloads ? entry : withoutPayload(entry)
      // Synchronous while there is room, so that readers see entries in the order of `recent`.
      if (queue.unsafeOffer(seen)) continue
      const slide = Queue.offer(queue, seen)
      slides = slides === undefined ? slide : Effect.zipRight(slides, slide)
    }
    return slides
  }

  return {
    append: (unstamped) =>
      Effect.withFiberRuntime((fiber) => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const entry = { ...unstamped, at: clock.unsafeCurrentTimeMillis() } as Entry
        const slides = offer(entry)
        if (isFrequent(entry._tag)) return slides === undefined ? Effect.void : Effect.asVoid(slides)
        entries.push(entry)
        if (entries.length >= capacity * 2) entries.splice(0, entries.length - capacity)
        const done = log.entry(entry, fiber) ?? Effect.void
        return slides === undefined ? done : Effect.zipRight(slides, done)
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
      // `wanted` admits these kinds only.
      return read((kind) => wanted.has(kind), options?.payloads ?? false) as Stream.Stream<Of<Kind>>
    }
  }
})

/** The journal in the context, or a new one. */
export const inherited: Effect.Effect<Journal["Type"]> = Effect.flatMap(
  Effect.serviceOption(Journal),
  Option.match({ onNone: () => make, onSome: Effect.succeed })
)

/** Provides the journal in the context, such as inside `App.launch`, or a new one. */
export const layer: Layer.Layer<Journal> = Layer.effect(Journal, inherited)

const isFrequent = (kind: Entry["_tag"]): kind is Frequent =>
  (frequent as ReadonlyArray<string>).includes(kind)

const withoutPayload = (entry: Entry): Entry => {
  if (!("payload" in entry)) return entry
  const { payload: _, ...rest } = entry
  return rest
}
