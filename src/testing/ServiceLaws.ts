/**
 * Checks services against the laws of their lifecycle: starts and stops them
 * under all the trouble that can be, and shows the shortest course of events in
 * which a law is broken.
 */
import type * as DateTime from "effect/DateTime"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as App from "../App.ts"
import type * as EventBus from "../EventBus.ts"
import * as Input from "../internal/Input.ts"
import * as Laws from "./Laws.ts"
import * as Plan from "./Plan.ts"
import * as Rehearsal from "./Rehearsal.ts"
import * as Scenario from "./Scenario.ts"
import * as Shape from "./Shape.ts"
import type * as Stub from "./Stub.ts"
import type * as TestEventBus from "./TestEventBus.ts"

export { laws } from "./Laws.ts"
export type { Law } from "./Laws.ts"
export { open, UsedAfterCloseError } from "./Resource.ts"
export type { Resource } from "./Resource.ts"
export type { Fault, Scenario, Trouble } from "./Scenario.ts"

/** What services are given when they are checked. */
export type Provided = App.Provided | EventBus.EventBus | TestEventBus.TestEventBus

/** Options of `check`. */
export interface Options<A> {
  /** What is asked of the services while they are up, in each scenario: calls, events. By default nothing. */
  readonly during?: Effect.Effect<unknown, unknown, A | Provided> | undefined
  /** Stand-ins for services, made by `TestApp.stub` and `TestApp.override`. */
  readonly replace?: ReadonlyArray<Stub.Replacing> | undefined
  /** Laws that are not asked for: `works`, where something is meant to fail. By default none. */
  readonly except?: ReadonlyArray<Laws.Law> | undefined
  /** When it is, as each scenario begins. Defaults to the first moment of 1970, UTC. */
  readonly startsAt?: DateTime.DateTime.Input | undefined
  /**
   * At how many moments something comes due while the services are up, before
   * they are stopped. Defaults to 20. What was due rarely and has not run is
   * told in the report.
   */
  readonly moments?: number | undefined
  /** How many scenarios are made up at random, beside those that are always tried. Defaults to 50. */
  readonly runs?: number | undefined
  /** What those are made from. Defaults to 1, so that each check is the same. */
  readonly seed?: number | undefined
  /** As that of `TestApp.make`; but by default `50 millis`, since it is waited for in each scenario. */
  readonly patience?: Duration.DurationInput | undefined
  /** Tries only this scenario, as an error has told it. */
  readonly only?: Scenario.Scenario | undefined
}

/** All laws were kept. */
export interface Report {
  /** How many scenarios were tried. */
  readonly scenarios: number
  /** The steps that were reached. Each was made to go wrong, unless it was `only` one scenario. */
  readonly steps: ReadonlyArray<string>
  /** Work that never came due, and so was not tried; and with `only`, its steps that were not reached. */
  readonly missed: ReadonlyArray<string>
}

/** A law was broken. */
export class LawBrokenError extends Data.TaggedError("LawBrokenError")<{
  readonly law: Laws.Law
  /** What was seen: of this law first, and then of others. */
  readonly breaches: ReadonlyArray<string>
  /** The shortest course of events that was found to break it: `check(layer, { only: scenario })` tries it again. */
  readonly scenario: Scenario.Scenario
  /** All that happened in it. */
  readonly timeline: ReadonlyArray<string>
}> {
  override get message(): string {
    return [
      `A law of services is broken: ${Laws.laws[this.law]}.`,
      ...this.breaches.slice(0, mostLines).map((what) => `  ${what}.`),
      `When ${Scenario.describe(this.scenario)}:`,
      ...this.timeline.map((line) => `  ${line}`),
      `To try it again: ServiceLaws.check(layer, { only: ${JSON.stringify(this.scenario)} })`
    ].join("\n")
  }
}

/**
 * Starts and stops the services of a layer in virtual time, again and again:
 * with nothing wrong; with a failure, a defect, an interruption and a hang at
 * each step of their start, of their work and of their stop; stopped after any
 * number of steps, by two at once, from their own work; restarted as children;
 * and with several of these at random. Each listener is sent an event that its
 * schema makes up. They are given an `EventBus`.
 *
 * Fails with `LawBrokenError` and the shortest scenario that breaks a law.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Service } from "effect-services"
 * import { ServiceLaws } from "effect-services/testing"
 *
 * class Metrics extends Service.make<Metrics>()("Metrics", {
 *   onStart: Service.interval(Effect.log("flush"), "1 minute")
 * }) {}
 *
 * const test = ServiceLaws.check(Metrics.layer)
 * ```
 */
export const check = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  options: Options<A> = {}
): Effect.Effect<Report, LawBrokenError, Exclude<R, Provided>> =>
  Effect.gen(function* () {
    const { except = [], only, runs = 50, seed = 1 } = Input.options(where, options)
    for (const law of except) Input.oneOf(where, "except", Laws.names, law)
    Input.positiveInteger(where, "seed", seed)
    if (runs !== 0) Input.positiveInteger(where, "runs", runs)
    if (!Layer.isLayer(layer)) {
      const expected = "a layer, as that of a service"
      throw new Input.InputError({ where, input: "layer", expected, actual: layer })
    }
    if (only !== undefined) Scenario.check(where, only)
    if (options.during !== undefined) Input.effect(where, "during", options.during)
    const play = playOf(layer, options)
    let scenarios = 0
    const rehearsed = (how: Rehearsal.Play, scenario: Scenario.Scenario) =>
      Effect.map(Rehearsal.run(how, scenario), (rehearsal): Tried => ({
        rehearsal,
        breaches: Laws.judge(rehearsal, except)
      }))
    const tried = (scenario: Scenario.Scenario) =>
      Effect.gen(function* () {
        scenarios++
        const it = yield* rehearsed(play, scenario)
        if (it.breaches.length === 0 || !it.rehearsal.isHasty) return it
        // Nobody is accused because the machine is slow.
        return yield* rehearsed(
          { ...play, patienceMillis: Math.max(play.patienceMillis, longPatience) },
          scenario
        )
      })
    const kept = (scenario: Scenario.Scenario) =>
      Effect.gen(function* () {
        const { breaches, rehearsal } = yield* tried(scenario)
        const law = breaches[0]?.law
        if (law === undefined) return rehearsal
        const shows = (shorter: Scenario.Scenario) =>
          Effect.map(tried(shorter), (it) => (it.breaches[0]?.law === law ? it : undefined))
        return yield* broken(law, yield* Plan.shortest(scenario, { breaches, rehearsal }, shows))
      })
    const first = yield* kept(only ?? {})
    const unreached = (only?.faults ?? []).map(({ at }) => at).filter((at) => !first.reached.has(at))
    const report = () => ({
      scenarios,
      steps: [...first.reached.keys()],
      missed: [...new Set([...first.missed, ...unreached])]
    })
    if (only !== undefined) return report()
    // What is there once may be in the way the next time.
    const again = yield* kept({})
    const law = "restarts as it was"
    const changed = except.includes(law)
      ? []
      : Shape.differences([...first.reached.keys()], [...again.reached.keys()])
    const breaches = changed.map((what) => ({ law, what }) as const)
    if (breaches.length > 0) return yield* broken(law, { breaches, rehearsal: again })
    for (const scenario of Plan.each(first)) yield* kept(scenario)
    for (const scenario of Plan.atRandom(first, runs, seed)) yield* kept(scenario)
    return report()
  })

const where = "ServiceLaws.check"

const playOf = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  { during = Effect.void, moments = 20, patience = "50 millis", replace = [], startsAt = 0 }: Options<A>
): Rehearsal.Play => ({
  where,
  // What it needs comes from who checks it.
  layer: layer as Layer.Layer<A, E>,
  // The app offers what it uses.
  during: during as Effect.Effect<unknown, unknown>,
  moments: Input.positiveInteger(where, "moments", moments),
  patienceMillis: Input.positiveMillis(where, "patience", patience),
  replace,
  startsAt
})

/** How long, in milliseconds, something real is waited for before a law is said to be broken. */
const longPatience = 1_000

/** The first few tell what is wrong. */
const mostLines = 5

interface Tried {
  readonly rehearsal: Rehearsal.Rehearsal
  readonly breaches: ReadonlyArray<Laws.Breach>
}

const broken = (law: Laws.Law, { breaches, rehearsal }: Tried) =>
  new LawBrokenError({
    law,
    breaches: [
      ...breaches.filter((one) => one.law === law),
      ...breaches.filter((one) => one.law !== law)
    ].map(({ what }) => what),
    // Without what it does not have.
    scenario: JSON.parse(JSON.stringify(rehearsal.scenario)) as Scenario.Scenario,
    timeline: rehearsal.timeline
  })
