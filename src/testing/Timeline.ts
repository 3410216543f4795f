/** All that has happened in an app that is tested, as data, and as lines that are the same in each run. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Journal from "../Journal.ts"
import { below } from "../internal/Format.ts"
import type * as VirtualTime from "./VirtualTime.ts"

/** What a test sees of an app. */
export interface Timeline {
  /** What the app writes to. */
  readonly journal: Journal.Journal["Type"]
  readonly entries: () => ReadonlyArray<Journal.Entry>
  readonly lines: () => ReadonlyArray<string>
  /** Whether the app has told that it is up. */
  readonly isUp: () => boolean
  /** Tells of something that no entry tells. */
  readonly tell: (service: string, text: string) => void
}

/** The timeline of an app that begins now. */
export const make = (
  inner: Journal.Journal["Type"],
  time: VirtualTime.VirtualTime,
  app: string
): Timeline => {
  const beginsAt = time.now()
  const entries: Array<Journal.Entry> = []
  /** Entries, and what else was told; made into lines when somebody reads them. */
  const told: Array<{ readonly at: number; readonly what: Journal.Unstamped | string }> = []
  const tell = (what: Journal.Unstamped | string) => void told.push({ at: time.now() - beginsAt, what })
  let isUp = false
  return {
    journal: {
      ...inner,
      // A test wants to see what happens often, too.
      reads: () => true,
      append: (unstamped) =>
        Effect.suspend(() => {
          // What is appended with a time of its own is an entry.
          const entry = { ...unstamped, at: time.now() } as Journal.Entry
          entries.push(entry)
          tell(unstamped)
          isUp ||= entry._tag === "AppStarted"
          return inner.append(unstamped)
        })
    },
    entries: () => [...entries],
    lines: () =>
      told.map(({ at, what }) => `${clock(at)} ${typeof what === "string" ? what : line(app, what)}`),
    isUp: () => isUp,
    tell: (service, what) => tell(`${below(app, service)}: ${what}`)
  }
}

/** An entry in one line, without the name of the app, of which there is one. */
export const line = (app: string, entry: Journal.Unstamped): string => {
  if (entry._tag === "TaskTicked") return `${below(app, entry.service)} ticked (${entry.task})`
  const [first = ""] = Journal.format(entry).split("\n", 1)
  return "service" in entry ? below(app, first) : first
}

/** `00:01:00.000`, and with more than a day `3d 00:01:00.000`. */
const clock = (millis: number): string => {
  const { days, hours, millis: rest, minutes, seconds } = Duration.parts(Duration.millis(millis))
  const time = [hours, minutes, seconds].map((n) => String(n).padStart(2, "0")).join(":")
  return `${days > 0 ? `${days}d ` : ""}${time}.${String(Math.floor(rest)).padStart(3, "0")}`
}
