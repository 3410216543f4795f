/**
 * A whole app in a test, run as by `App.launch`, in virtual time that the test
 * moves: boot, intervals, crons, backoff, deadlines and the stop.
 *
 * Works with any test runner.
 */
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as App from "../App.ts"
import * as Input from "../internal/Input.ts"
import type * as Journal from "../Journal.ts"
import type { Snapshot } from "../internal/status/ServiceStatus.ts"
import * as StopReport from "../internal/status/StopReport.ts"
import * as AppUnderTest from "./AppUnderTest.ts"
import * as Drive from "./Drive.ts"
import type * as Stub from "./Stub.ts"
import type * as TestEventBus from "./TestEventBus.ts"

export { NeverEndsError } from "./Drive.ts"
export { override, stub } from "./Stub.ts"
export type { Replacing } from "./Stub.ts"

/** Options of `make`. */
export interface Options extends App.Options {
  /** The time at which the app begins. Defaults to the first moment of 1970, UTC. */
  readonly startsAt?: DateTime.DateTime.Input | undefined
  /** Stand-ins for services, made by `stub` and `override`. */
  readonly replace?: ReadonlyArray<Stub.Replacing> | undefined
  /**
   * With a seed, fibers yield at random points and run in random order, the
   * same for the same seed. Shows races that the usual order hides.
   */
  readonly seed?: number | undefined
  /**
   * How long, in real time, a fiber may wait for something real, such as a
   * promise, before time moves on without it. Defaults to `1 second`, longer
   * than a file or a local database takes.
   */
  readonly patience?: Duration.DurationInput | undefined
}

/** An app has stopped, but a fiber, timer, socket or listener that it began has not ended. */
export class LeftBehindError extends Data.TaggedError("LeftBehindError")<{
  readonly left: ReadonlyArray<string>
}> {
  override get message(): string {
    return `The app has stopped, but left behind: ${this.left.join("; ")}. What a service begins is to end with it.`
  }
}

/** What an app provides to the effects that a test runs in it. */
export type Provided = App.Provided | TestEventBus.TestEventBus

/** An app that is up. */
export interface TestApp<A> {
  /**
   * Moves time, and runs all that comes due on the way, each at its moment.
   * A fiber that waits for something real gets `patience` to go on. After that,
   * the timeline has a line for a run of a task: `Mailer: greeting waits for
   * something that is not time`.
   */
  readonly advance: (duration: Duration.DurationInput) => Effect.Effect<void>
  /**
   * Runs an effect with the services of the app, in its time, which moves as
   * far as the effect needs. The effect must not itself call `advance` or `stop`.
   */
  readonly run: <B, E, R>(
    effect: Effect.Effect<B, E, R>
  ) => Effect.Effect<B, E | Drive.NeverEndsError, Exclude<R, A | Provided>>
  /** Stops the app, as a signal does, and gives its report. Time moves as far as the stop needs. */
  readonly stop: Effect.Effect<StopReport.StopReport, Drive.NeverEndsError>
  /**
   * What the app has left behind, once it has stopped: fibers that its services
   * forked, real timers, sockets, listeners of the process. Closing the scope
   * dies with `LeftBehindError` if a clean stop has left something.
   */
  readonly leftovers: Effect.Effect<ReadonlyArray<string>>
  /** The status of all services. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** All that has happened, including healthy ticks and events. */
  readonly journal: Effect.Effect<ReadonlyArray<Journal.Entry>>
  /** The journal as lines, with the time since the app began: `00:01:00.000 Metrics ticked (interval 1m)`. */
  readonly timeline: Effect.Effect<ReadonlyArray<string>>
}

/**
 * Launches an app and waits until it is up. Time moves as far as the boot needs,
 * at most a day, as for `run` and `stop`. Closing the scope stops the app, and
 * dies if the stop is not clean, unless the test has called `stop` itself. Fails
 * with the layer's error if the app does not start.
 *
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Service } from "effect-services"
 * import { TestApp } from "effect-services/testing"
 *
 * class Uptime extends Service.make<Uptime>()("Uptime", {
 *   onStart: Effect.gen(function*() {
 *     const minutes = yield* Ref.make(0)
 *     yield* Service.interval(Ref.update(minutes, (n) => n + 1), "1 minute")
 *     return { minutes: Ref.get(minutes) }
 *   })
 * }) {}
 *
 * const test = Effect.gen(function*() {
 *   const app = yield* TestApp.make(Uptime.layer)
 *   yield* app.advance("1 day")
 *   return yield* app.run(Effect.flatMap(Uptime, (uptime) => uptime.minutes)) // 1440
 * })
 * ```
 */
export const make = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  options: Options = {}
): Effect.Effect<
  TestApp<A>,
  E | App.ServiceFailedError | App.UncleanStopError | Drive.NeverEndsError,
  Exclude<R, App.Provided> | Scope.Scope
> =>
  Effect.gen(function* () {
    const { patience, replace = [], seed, startsAt = 0, ...app } = Input.options(where, options)
    const patienceMillis = Input.positiveMillis(where, "patience", patience ?? "1 second")
    if (seed !== undefined) Input.positiveInteger(where, "seed", seed)
    const launched = yield* AppUnderTest.launch(layer, {
      where,
      app,
      startsAt,
      seed,
      replace,
      patienceMillis
    })
    const { built, fiber, isOver, time, timeline } = launched

    let isAsked = false
    const stop = Effect.gen(function* () {
      isAsked = true
      launched.app.stop("the test stops it")
      yield* Drive.until(launched, "The stop of the app", isOver)
      // An app that is over has a report.
      return Option.getOrThrow(yield* launched.app.report)
    })
    // Nobody else looks at the end of an app that came up, unless the test has.
    const end = Effect.gen(function* () {
      const wasAsked = isAsked
      // `stop` has failed: it does not end.
      if (wasAsked && !isOver()) return
      const report = yield* stop
      if (!timeline.isUp()) return
      if (!wasAsked && !isGood(report)) return yield* Effect.die(badEnd(report))
      const left = isGood(report) ? yield* launched.leftovers : []
      if (left.length > 0) return yield* Effect.die(new LeftBehindError({ left }))
    })
    yield* Effect.addFinalizer(() => Effect.orDie(end))
    yield* Drive.until(launched, "The boot of the app", launched.isSettled)
    const over = fiber.unsafePoll()
    // An app that stops itself as soon as it is built was never up, and is no failure.
    const wentWell = over !== null && Exit.isInterrupted(over) && (yield* Deferred.isDone(built))
    // A launch fails with the errors of the layer, or of the app itself.
    const ended = fiber as Launched<E>
    if (over !== null && !timeline.isUp() && !wentWell) return yield* Effect.flatten(Fiber.await(ended))
    for (const name of launched.unused()) {
      timeline.write(name, "stands in for nothing that has started with the app")
    }
    const context = yield* Deferred.await(built)

    const run = <B, E2, R2>(effect: Effect.Effect<B, E2, R2>) =>
      Effect.gen(function* () {
        // The rest of what it needs comes from the caller.
        const provided = Effect.provide(effect, context) as Effect.Effect<B, E2, Exclude<R2, A | Provided>>
        const running = yield* time.fork(provided)
        yield* Effect.onError(
          Drive.until(launched, "What was run", () => running.unsafePoll() !== null),
          () => Effect.sync(() => running.unsafeInterruptAsFork(running.id()))
        )
        return yield* Effect.flatten(Fiber.await(running))
      })
    return {
      advance: (duration) =>
        Effect.suspend(() =>
          Effect.orDie(Drive.by(launched, Input.millisOrZero("TestApp.advance", "duration", duration)))
        ),
      run,
      stop,
      leftovers: launched.leftovers,
      snapshot: Effect.map(launched.app.snapshot, Option.getOrThrow),
      journal: Effect.sync(timeline.entries),
      timeline: Effect.sync(timeline.lines)
    }
  })

const where = "TestApp.make"

const isGood = ({ exitCode }: StopReport.StopReport): boolean => exitCode === 0
const badEnd = (report: StopReport.StopReport) =>
  new Error(`The app did not end well:\n${StopReport.render(report)}`)

type Launched<E> = Fiber.RuntimeFiber<never, E | App.ServiceFailedError | App.UncleanStopError>
