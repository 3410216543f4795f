/** Moves the time of an app that is tested from one thing that comes due to the next, and gives what is real its time. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as App from "../App.ts"
import * as ServiceScope from "../internal/lifecycle/Lifetime.ts"
import * as Work from "../internal/lifecycle/Work.ts"
import type * as Fibers from "./Fibers.ts"
import * as RealTime from "./RealTime.ts"
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
  /** The fibers that have been waited for in vain, and are not again while they wait for the same. */
  readonly known: Set<Fibers.AnyFiber>
  /** How often work was waited for in vain, by name: each time it is waited for half as long. */
  readonly vain: Map<string, number>
}

/** How far time is moved for what has no limit of its own: longer than backoffs and deadlines add up to. */
const longest = Duration.toMillis("1 day")

/** How often something may come due at one and the same moment: a loop without a pause does so for ever. */
const mostAtOnce = 10_000

/** How long, in real milliseconds, the event loop is kept from all else. */
const longestTurn = 50

/** Moves time until something is done. It is moved no farther than that needs. */
export const until = (
  driven: Driven,
  what: string,
  isDone: () => boolean
): Effect.Effect<void, NeverEndsError> =>
  Effect.gen(function* () {
    const { time } = driven
    const limit = time.now() + longest
    const step = stepping(driven, what)
    while (true) {
      yield* step(isDone)
      if (isDone()) return
      const next = time.next()
      if (next === undefined) return yield* never(driven, what, "nothing is left to happen in virtual time")
      if (next > limit) return yield* never(driven, what, "a day of virtual time has passed")
      time.moveTo(next)
    }
  })

/** Moves time by so many milliseconds, through each moment at which something comes due. */
export const by = (driven: Driven, millis: number): Effect.Effect<void, NeverEndsError> =>
  Effect.gen(function* () {
    const { time } = driven
    const target = time.now() + millis
    const step = stepping(driven, "What the app does")
    yield* step(() => false)
    for (let next = time.next(); next !== undefined && next <= target; next = time.next()) {
      time.moveTo(next)
      yield* step(() => false)
    }
    time.moveTo(target)
    yield* step(() => false)
  })

/** Moves time from one thing that comes due to the next, until something is done, nothing is left, or so often. */
export const through = (
  driven: Driven,
  moments: number,
  isDone: () => boolean
): Effect.Effect<void, NeverEndsError> =>
  Effect.gen(function* () {
    const { time } = driven
    const step = stepping(driven, "What the app does")
    yield* step(isDone)
    for (let n = 0; n < moments && !isDone(); n++) {
      const next = time.next()
      if (next === undefined) return
      time.moveTo(next)
      yield* step(isDone)
    }
  })

const never = ({ app }: Driven, what: string, reason: string) =>
  new NeverEndsError({ what, reason, services: app.unfinished() })

/** Runs all that can run at this moment, and what that needs of the real world. */
const stepping = (driven: Driven, what: string) => {
  const { time } = driven
  let moment = time.now()
  let steps = 0
  let turnedAt = RealTime.now()
  return (isDone: () => boolean): Effect.Effect<void, NeverEndsError> =>
    Effect.gen(function* () {
      if (time.now() > moment) steps = 0
      moment = time.now()
      if (++steps > mostAtOnce || !time.settle()) {
        return yield* never(driven, what, "it runs round and round, and time does not move")
      }
      if (!isDone()) yield* giveTime(driven, isDone)
      if (RealTime.now() - turnedAt < longestTurn) return
      yield* RealTime.turn(0)
      turnedAt = RealTime.now()
    })
}

/** Gives those that wait for something real the time that it may need, and tells of ticks that still wait. */
const giveTime = (driven: Driven, isDone: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { known, patienceMillis, time, timeline, vain } = driven
    const left = () => {
      const waiting = time.waiting()
      // One that went on, and waits again, waits for something else.
      for (const fiber of known) if (!waiting.includes(fiber)) known.delete(fiber)
      return waiting.filter((fiber) => !known.has(fiber))
    }
    const first = left()
    if (first.length === 0) return
    const patience = Math.max(...first.map((fiber) => patienceMillis / 2 ** (vain.get(keyOf(fiber)) ?? 0)))
    const end = RealTime.now() + patience
    // Most of what is real comes with the next turns.
    for (let turns = 0; !isDone() && left().length > 0 && RealTime.now() < end; turns++) {
      yield* RealTime.turn(turns < 10 ? 0 : 2)
      time.settle()
    }
    if (isDone()) return
    for (const fiber of left()) {
      known.add(fiber)
      vain.set(keyOf(fiber), (vain.get(keyOf(fiber)) ?? 0) + 1)
      const run = runOf(fiber)
      if (run !== undefined) timeline.tell(run.service, `${run.work} waits for something that is not time`)
    }
  })

const keyOf = (fiber: Fibers.AnyFiber): string => {
  const run = runOf(fiber)
  return run === undefined ? String(fiber.id().id) : `${run.service} ${run.work}`
}

/** The work of a service that a fiber is in, by name. What was spawned may wait as long as it likes. */
const runOf = (fiber: Fibers.AnyFiber) => {
  // What runs in a service has both in its context.
  const context = fiber.currentContext as Context.Context<any>
  const work = Work.of(context)
  if (work === undefined || !context.unsafeMap.has(ServiceScope.ServiceScope.key)) return undefined
  const service = Context.unsafeGet(context, ServiceScope.ServiceScope) as ServiceScope.Lifetime
  const owned = [...service.work].find(({ source }) => source === work.source)
  const task = owned?.shown.task?.()
  return task === undefined || task.kind === "spawn" ? undefined : { service: service.path, work: task.name }
}
