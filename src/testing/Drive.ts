/** Moves the time of an app that is tested from one thing that comes due to the next, and gives what is real its time. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as App from "../App.ts"
import type { ServiceStatus } from "../ServiceStatus.ts"
import type * as Timeline from "./Timeline.ts"
import type * as VirtualTime from "./VirtualTime.ts"

/** Something does not end, however far time moves: it waits for what does not come. */
export class NeverEndsError extends Data.TaggedError("NeverEndsError")<{
  /** The boot, the stop, or what was run. */
  readonly what: string
  readonly reason: string
  /** The services that are there, with what they are doing. */
  readonly services: ReadonlyArray<string>
}> {
  override get message(): string {
    const services = this.services.length === 0 ? "" : ` Still there: ${this.services.join(", ")}.`
    return `${this.what} does not end: ${this.reason}.${services}`
  }
}

/** What is driven. */
export interface Driven {
  readonly app: App.App
  readonly time: VirtualTime.VirtualTime
  readonly timeline: Timeline.Timeline
  readonly patienceMillis: number
  /** The runs that have been waited for, and are not again. */
  readonly told: Set<string>
}

/** How far time is moved for what has no limit of its own: longer than backoffs and deadlines add up to. */
const longest = Duration.toMillis("1 hour")

/** Moves time until something is done. It is moved no farther than that needs. */
export const until = (
  driven: Driven,
  what: string,
  isDone: () => boolean
): Effect.Effect<void, NeverEndsError> =>
  Effect.gen(function* () {
    const { app, patienceMillis, time } = driven
    const fail = (reason: string) => new NeverEndsError({ what, reason, services: app.unfinished() })
    const limit = time.now() + longest
    const sleepers = time.sleepers()
    while (!isDone()) {
      if (!time.settle()) return yield* fail("it runs round and round, and never waits")
      // Nobody sleeps for it, so it waits for something real, or for others.
      const waits = () => !isDone() && time.sleepers() <= sleepers
      if (waits()) yield* realTime(time, patienceMillis, waits)
      if (isDone()) return
      const next = time.next()
      if (next === undefined) return yield* fail("nothing is left to happen in virtual time")
      if (next > limit) return yield* fail(`an hour of virtual time has passed`)
      time.moveTo(next)
    }
  })

/** Moves time by so many milliseconds, through each moment at which something comes due. */
export const by = (driven: Driven, millis: number): Effect.Effect<void, NeverEndsError> =>
  Effect.gen(function* () {
    const { app, time } = driven
    const target = time.now() + millis
    const settled = Effect.suspend(() =>
      time.settle()
        ? Effect.void
        : new NeverEndsError({
            what: "What the app does",
            reason: "it runs round and round, and never waits",
            services: app.unfinished()
          })
    )
    yield* settled
    for (let next = time.next(); next !== undefined && next <= target; next = time.next()) {
      const before = time.sleepers()
      time.moveTo(next)
      yield* settled
      if (time.sleepers() < before) yield* giveTime(driven)
    }
    time.moveTo(target)
    yield* settled
  })

/** Gives runs that have begun and do not sleep the time that something real may need. */
const giveTime = (driven: Driven): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { patienceMillis, time, timeline, told } = driven
    const busy = yield* runsOf(driven)
    const isNew = busy.filter(({ key }) => !told.has(key))
    if (isNew.length === 0) return
    const sleepers = time.sleepers()
    yield* realTime(time, patienceMillis, () => time.sleepers() <= sleepers)
    const left = new Set((yield* runsOf(driven)).map(({ key }) => key))
    for (const { key, service, task } of isNew) {
      if (!left.has(key)) continue
      told.add(key)
      timeline.tell(service, `${task} waits for something that is not time`)
    }
  })

/** Runs of tasks that have begun and not ended. Spawned work runs for as long as it likes. */
const runsOf = ({ app }: Driven) =>
  Effect.map(app.snapshot, (snapshot) => {
    const runs = ({ children, path, tasks }: ServiceStatus): ReadonlyArray<Run> => [
      ...tasks
        .filter(({ isRunning, kind }) => isRunning && kind !== "spawn")
        .map(({ lastStart, name }) => ({ key: `${path}: ${name} ${lastStart}`, service: path, task: name })),
      ...children.flatMap(runs)
    ]
    return Option.match(snapshot, { onNone: () => [], onSome: ({ services }) => services.flatMap(runs) })
  })

interface Run {
  readonly key: string
  readonly service: string
  readonly task: string
}

/** Lets the event loop turn while something waits, up to so many milliseconds. */
const realTime = (time: VirtualTime.VirtualTime, millis: number, waits: () => boolean): Effect.Effect<void> =>
  Effect.promise(async () => {
    const end = performance.now() + millis
    // Most of what is real comes with the next turns.
    for (let turn = 0; waits() && performance.now() < end; turn++) {
      // oxlint-disable-next-line no-await-in-loop
      await new Promise((resolve) => setTimeout(resolve, turn < 10 ? 0 : 2))
      time.settle()
    }
  })
