/** Moves the time of an app under test from one event in time to the next, and waits in real time for what is real. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AnyFiber } from "./AppFibers.ts"
import type { AppUnderTest } from "./AppUnderTest.ts"
import * as RealWorld from "./RealWorld.ts"
import * as Step from "./Step.ts"

/** Something does not end, however far time moves: it waits for what does not come. */
export class NeverEndsError extends Data.TaggedError("NeverEndsError")<{
  /** The boot, the stop, or what was run. */
  readonly what: string
  readonly reason: string
  /** The services that have not stopped, with what they are doing. */
  readonly services: ReadonlyArray<string>
}> {
  override get message(): string {
    const services = this.services.length === 0 ? "" : ` Still there: ${this.services.join(", ")}.`
    return `${this.what} does not end: ${this.reason}.${services}`
  }
}

/** An app with a clock to move. */
type Driven = Pick<AppUnderTest<never>, "app" | "time" | "timeline" | "services" | "patience">

/** How far time moves for what has no limit of its own: longer than backoffs and deadlines add up to. */
const longest = Duration.toMillis("1 day")

/** How often something may come due at the same moment. A loop without a pause does so for ever. */
const mostAtOnce = 10_000

/** How long, in real milliseconds, the event loop may be blocked. */
const longestTurn = 50

/** How many turns of the event loop are taken at once before turns are spaced: most real answers come within them. */
const quickTurns = 10

/** The pause, in real milliseconds, between later turns. */
const turnPause = 2

/** Moves time until `isDone`, and no further. */
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

/** Moves time through so many moments at which something comes due, or until `isDone` or nothing is left. */
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

/** Runs all that can run at this moment, with the real time that it needs. */
const stepping = (driven: Driven, what: string) => {
  const { time } = driven
  let moment = time.now()
  let steps = 0
  let turnedAt = RealWorld.now()
  return (isDone: () => boolean): Effect.Effect<void, NeverEndsError> =>
    Effect.gen(function* () {
      if (time.now() > moment) steps = 0
      moment = time.now()
      // A bus that apps share delivers published events in a fiber of the test's scheduler: it gets a turn.
      const isAtRest = time.settle() && (yield* Effect.as(Effect.yieldNow(), true)) && time.settle()
      if (++steps > mostAtOnce || !isAtRest) {
        return yield* never(driven, what, "it runs round and round, and time does not move")
      }
      if (!isDone()) yield* waitForReal(driven, isDone)
      if (RealWorld.now() - turnedAt < longestTurn) return
      yield* RealWorld.turn(0)
      turnedAt = RealWorld.now()
    })
}

/** Waits for fibers that wait for something real, and writes the runs of tasks that go on waiting into the timeline. */
const waitForReal = (driven: Driven, isDone: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { patience, time, timeline } = driven
    const { givenUp, millis, vain } = patience
    const left = () => {
      const waiting = time.fibers.waiting()
      for (const fiber of givenUp) if (!waiting.includes(fiber)) givenUp.delete(fiber)
      return waiting.filter((fiber) => !givenUp.has(fiber))
    }
    const first = left()
    if (first.length === 0) return
    const longest = Math.max(...first.map((fiber) => millis / 2 ** (vain.get(keyOf(fiber)) ?? 0)))
    const end = RealWorld.now() + longest
    for (let turns = 0; !isDone() && left().length > 0 && RealWorld.now() < end; turns++) {
      yield* RealWorld.turn(turns < quickTurns ? 0 : turnPause)
      time.settle()
    }
    if (isDone()) return
    for (const fiber of left()) {
      givenUp.add(fiber)
      vain.set(keyOf(fiber), (vain.get(keyOf(fiber)) ?? 0) + 1)
      const step = Step.of(fiber)
      if (Option.isSome(step) && (yield* isTimed(driven, step.value))) {
        timeline.write(step.value.service, `${step.value.work} waits for something that is not time`)
      }
    }
  })

const keyOf = (fiber: AnyFiber): string =>
  Option.match(Step.of(fiber), { onNone: () => String(fiber.id().id), onSome: Step.name })

/** Whether a step is a run of a task that is due at times. A spawned one may wait as long as it likes. */
const isTimed = ({ services }: Driven, { service, work }: Step.Step): Effect.Effect<boolean> =>
  Effect.map(services, (all) =>
    all.some(
      ({ path, tasks }) =>
        path === service && tasks.some(({ kind, name }) => name === work && kind !== "spawn")
    )
  )
