/**
 * A typed record of what happened, read by logs, tests and tools.
 *
 * Services write to it without any setup. Read it with `Journal.recent` and
 * `Journal.stream`: `App.launch` provides the journal to the effect it runs;
 * elsewhere, add `Journal.layer` to the same composition as the services.
 *
 * Frequent entries, one for each event and each successful tick, are counted by
 * the `ServiceRegistry` and recorded only while a `Journal.streamOf` reads them.
 * An entry of a failure has its cause as it is. The log has one that every logger
 * can print, and sums failures of the same work once a second; the journal does not.
 *
 * Event payloads are included only for readers that ask for them. A cause may
 * still quote a payload; `Redacted` values stay redacted.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Entry } from "./internal/journal/Entry.ts"
import { Journal, type Of, type ReadOptions } from "./internal/journal/Journal.ts"

export type { Answered, At, Entry, Frequent, OfService, Sent, Unstamped } from "./internal/journal/Entry.ts"
export { format } from "./internal/journal/EntryText.ts"
export { Journal, layer, type Of, type ReadOptions } from "./internal/journal/Journal.ts"

/** The last 1,000 entries, oldest first: the boot and later irregularities. */
export const recent: Effect.Effect<ReadonlyArray<Entry>, never, Journal> = Effect.flatMap(
  Journal,
  (_) => _.recent
)

/**
 * Entries from the moment the stream runs, except frequent ones. A reader that
 * falls 1,000 entries behind loses the oldest, so it never slows the app. Never
 * ends.
 */
export const stream: Stream.Stream<Entry, never, Journal> = Stream.unwrap(
  Effect.map(Journal, (_) => _.stream)
)

/**
 * Like `stream`, but only the given kinds, including the frequent ones:
 * `TaskTicked`, `EventEmitted`, `EventPublished`, `EventHandled`. Frequent
 * entries have a small cost while they are read, and none otherwise.
 *
 * Dies with `InputError` on a kind that does not exist.
 */
export const streamOf = <const Kind extends Entry["_tag"]>(
  kinds: ReadonlyArray<Kind>,
  options?: ReadOptions
): Stream.Stream<Of<Kind>, never, Journal> =>
  Stream.unwrap(Effect.map(Journal, (_) => _.streamOf(kinds, options)))
