/**
 * Checks services against the laws of their lifecycle: simulates them under
 * every kind of fault, and shows the shortest scenario that breaks a law.
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
import * as Scenario from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"
import type * as Stub from "./Stub.ts"
import type * as TestEventBus from "./TestEventBus.ts"

export { laws } from "./Laws.ts"
export type { Law } from "./Laws.ts"
export { open, UsedAfterCloseError } from "./Resource.ts"
export type { Resource } from "./Resource.ts"
export type { Fault, Scenario, Trouble } from "./Scenario.ts"

/** What a check provides to services. */
export type Provided = App.Provided | EventBus.EventBus | TestEventBus.TestEventBus

/** Options of `check`. */
export interface Options<A> {
  /** Runs while the services are up, in each scenario: calls, events. By default nothing. */
  readonly during?: Effect.Effect<unknown, unknown, A | Provided> | undefined
  /** Stand-ins for services, made by `TestApp.stub` and `TestApp.override`. */
  readonly replace?: ReadonlyArray<Stub.Replacing> | undefined
  /** Laws that are not checked, such as `works` where something is meant to fail. By default none. */
  readonly except?: ReadonlyArray<Laws.Law> | undefined
  /** The time at which each scenario begins. Defaults to the first moment of 1970, UTC. */
  readonly startsAt?: DateTime.DateTime.Input | undefined
  /**
   * How many moments at which something comes due the services are up for.
   * Defaults to 20. The report names what was due later.
   */
  readonly moments?: number | undefined
  /** How many random scenarios are tried besides the systematic ones. Defaults to 50. */
  readonly runs?: number | undefined
  /** The seed of the random scenarios. Defaults to 1, so each check is the same. */
  readonly seed?: number | undefined
  /** As that of `TestApp.make`, but `50 millis` by default, as each scenario may take that long. */
  readonly patience?: Duration.DurationInput | undefined
  /** Tries only this scenario, such as that of a `LawBrokenError`. */
  readonly only?: Scenario.Scenario | undefined
}

/** The result of a check that found all laws kept. */
export interface Report {
  /** How many scenarios were tried. */
  readonly scenarios: number
  /** The steps that were reached. Each was made to go wrong, unless `only` one scenario was tried. */
  readonly steps: ReadonlyArray<string>
  /** Work that never came due, and so was not tried; with `only`, also the steps of its faults that were not reached. */
  readonly missed: ReadonlyArray<string>
}

/** A law was broken. */
export class LawBrokenError extends Data.TaggedError("LawBrokenError")<{
  readonly law: Laws.Law
  /** What was seen, against this law first. */
  readonly breaches: ReadonlyArray<string>
  /** The shortest scenario that was found to break it. `check(layer, { only: scenario })` tries it again. */
  readonly scenario: Scenario.Scenario
  /** All that happened in that scenario. */
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
 * and with several of these at random. Each listener gets an event generated
 * from its schema. Provides an `EventBus`.
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
    if (only !== undefined) Scenario.validate(where, only)
    if (options.during !== undefined) Input.effect(where, "during", options.during)
    const subject = subjectOf(layer, options)
    let scenarios = 0
    const simulate = (how: Simulation.Subject, scenario: Scenario.Scenario) =>
      Effect.map(Simulation.run(how, scenario), (simulation): Trial => ({
        simulation,
        violations: Laws.violations(simulation, except)
      }))
    const tryOut = (scenario: Scenario.Scenario) =>
      Effect.gen(function* () {
        scenarios++
        const trial = yield* simulate(subject, scenario)
        if (trial.violations.length === 0 || !trial.simulation.isHasty) return trial
        // A slow machine breaks no law.
        const patienceMillis = Math.max(subject.patienceMillis, longPatience)
        return yield* simulate({ ...subject, patienceMillis }, scenario)
      })
    const keepsLaws = (scenario: Scenario.Scenario) =>
      Effect.gen(function* () {
        const trial = yield* tryOut(scenario)
        const law = trial.violations[0]?.law
        if (law === undefined) return trial.simulation
        const shows = (smaller: Scenario.Scenario) =>
          Effect.map(tryOut(smaller), (it) => (it.violations[0]?.law === law ? it : undefined))
        return yield* broken(law, yield* Scenario.shrink(scenario, trial, shows))
      })
    const first = yield* keepsLaws(only ?? {})
    const unreached = (only?.faults ?? []).map(({ at }) => at).filter((at) => !first.reached.has(at))
    const report = () => ({
      scenarios,
      steps: [...first.reached.keys()],
      missed: [...new Set([...first.missed, ...unreached])]
    })
    if (only !== undefined) return report()
    // A second time, as state that is left by the first may get in the way.
    const again = yield* keepsLaws({})
    const law = "restarts as it was"
    const changed = except.includes(law)
      ? []
      : Simulation.differences([...first.reached.keys()], [...again.reached.keys()])
    const violations = changed.map((what) => ({ law, what }) as const)
    if (violations.length > 0) return yield* broken(law, { violations, simulation: again })
    for (const scenario of Scenario.each(first)) yield* keepsLaws(scenario)
    for (const scenario of Scenario.atRandom(first, runs, seed)) yield* keepsLaws(scenario)
    return report()
  })

const where = "ServiceLaws.check"

/** How long, in milliseconds, something real is waited for before a law counts as broken. */
const longPatience = 1_000

/** How many violations an error shows: the first few tell what is wrong. */
const mostLines = 5

const subjectOf = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  { during = Effect.void, moments = 20, patience = "50 millis", replace = [], startsAt = 0 }: Options<A>
): Simulation.Subject => ({
  where,
  // The rest of what it needs comes from the caller of `check`.
  layer: layer as Layer.Layer<A, E>,
  // What it needs is what the app provides.
  during: during as Effect.Effect<unknown, unknown>,
  moments: Input.positiveInteger(where, "moments", moments),
  patienceMillis: Input.positiveMillis(where, "patience", patience),
  replace,
  startsAt
})

interface Trial {
  readonly simulation: Simulation.Simulation
  readonly violations: ReadonlyArray<Laws.Violation>
}

const broken = (law: Laws.Law, { simulation, violations }: Trial) =>
  new LawBrokenError({
    law,
    breaches: [
      ...violations.filter((one) => one.law === law),
      ...violations.filter((one) => one.law !== law)
    ].map(({ what }) => what),
    // Without the options that are undefined.
    scenario: JSON.parse(JSON.stringify(simulation.scenario)) as Scenario.Scenario,
    timeline: simulation.timeline
  })
