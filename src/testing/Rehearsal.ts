/** Runs an app through one scenario, from its boot to after its end, and notes all that the laws speak of. */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import type * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import type * as Event from "../Event.ts"
import * as EventBus from "../EventBus.ts"
import type * as Journal from "../Journal.ts"
import * as Gate from "../Gate.ts"
import { below } from "../Labels.ts"
import * as Service from "../Service.ts"
import * as Drive from "./Drive.ts"
import * as Faults from "./Faults.ts"
import * as Resource from "./Resource.ts"
import type { Scenario } from "./Scenario.ts"
import * as Shape from "./Shape.ts"
import * as Stage from "./Stage.ts"
import * as Step from "./Step.ts"
import type * as Stub from "./Stub.ts"

/** What is rehearsed. */
export interface Play {
  /** What it needs has to be there, where it is run. */
  readonly layer: Layer.Layer<any, unknown>
  /** What is asked of the app while it is up. It may use what the app offers. */
  readonly during: Effect.Effect<unknown, unknown>
  readonly replace: ReadonlyArray<Stub.Replacing>
  readonly startsAt: DateTime.DateTime.Input
  readonly moments: number
  readonly patienceMillis: number
}

/** How a scenario went. */
export interface Rehearsal {
  readonly scenario: Scenario
  /** Whether the app came up. */
  readonly isUp: boolean
  /** What the app ended with, if it ended. */
  readonly exit: Exit.Exit<never, unknown> | undefined
  /** What does not end. */
  readonly stuck: string | undefined
  /** The steps of services that were reached. */
  readonly reached: Faults.Faults["reached"]
  readonly injected: Faults.Faults["injected"]
  /** Work that is due at times, and never was. */
  readonly missed: ReadonlyArray<string>
  /** How many steps its fibers took, until it was up and in all. */
  readonly steps: { readonly boot: number; readonly all: number }
  readonly entries: ReadonlyArray<Journal.Entry>
  readonly timeline: ReadonlyArray<string>
  /** What `during` failed with. */
  readonly asked: Cause.Cause<unknown> | undefined
  /** Messages that were logged as warnings or errors, with nothing but an interruption as their cause. */
  readonly interruptionsLogged: ReadonlyArray<string>
  readonly unheard: ReadonlyArray<{ readonly step: Step.Step; readonly cause: Cause.Cause<unknown> }>
  /** What went wrong with resources, those not closed among it. */
  readonly resources: ReadonlyArray<string>
  readonly left: ReadonlyArray<string>
  /** What handled an event that was sent when the app was over. */
  readonly handledAfter: ReadonlyArray<string>
  /** What a service had before it was restarted, and not after, or the other way. */
  readonly changed: ReadonlyArray<string>
}

/** Runs a scenario. */
export const run = (play: Play, scenario: Scenario): Effect.Effect<Rehearsal> =>
  Effect.suspend(() => {
    const faults = Faults.make(scenario.faults ?? [], nameOf)
    const ledger: Resource.Ledger["Type"] = { open: new Set(), wrongs: [] }
    const interruptionsLogged: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const isLoud = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)
      if (isLoud && Cause.isInterrupted(cause) && Cause.isInterruptedOnly(cause)) {
        interruptionsLogged.push(String(message))
      }
    })
    return Effect.map(course(play, scenario, faults), ({ on, ...seen }) => ({
      scenario,
      ...seen,
      exit: on.fiber.unsafePoll() ?? undefined,
      reached: faults.reached,
      injected: faults.injected,
      entries: on.timeline.entries(),
      timeline: on.timeline.lines(),
      interruptionsLogged,
      unheard: on.time.fibers
        .unheard()
        .flatMap(({ cause, fiber }) =>
          Option.match(Step.of(fiber), { onNone: () => [], onSome: (step) => [{ step, cause }] })
        ),
      resources: [...ledger.wrongs, ...Array.from(ledger.open, ({ text }) => `${text} was never closed`)]
    })).pipe(
      Effect.provideService(Resource.Ledger, ledger),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })

/** The app from its boot to after its end. */
const course = (play: Play, scenario: Scenario, faults: Faults.Faults) =>
  Effect.gen(function* () {
    const { during, moments } = play
    const isAdopted = scenario.isAdopted === true
    /** The events that services listen to, each with a bus that it comes by. */
    const heard = new Map<Event.Event<string, any>, EventBus.EventBus["Type"]>()
    const listened = (bus: EventBus.EventBus["Type"]): EventBus.EventBus["Type"] => ({
      ...bus,
      listen: (events, spec) => {
        for (const event of events) heard.set(event, bus)
        return bus.listen(events, spec)
      }
    })
    const child = Deferred.unsafeMake<Service.Child<unknown>>(Gate.ours)
    class Parent extends Service.make<Parent>()(parent, {
      onStart: Effect.flatMap(Service.adopt(play.layer), (adopted) => Deferred.succeed(child, adopted))
    }) {}
    const layer: Layer.Layer<any, unknown> = isAdopted ? Parent.layer : play.layer
    let count = 0
    const ask = () => {
      on.app.stop("asked")
      if (scenario.stop === "twice") on.fiber.unsafeInterruptAsFork(on.fiber.id())
    }
    // Nothing of it runs before time is moved.
    const on: Stage.Stage<any> = yield* Stage.launch(Layer.provideMerge(layer, EventBus.layer), {
      ...play,
      // Longer than all deadlines of its services add up to: each is to be kept.
      app: { name: "App", stopTimeout: "1 day" },
      seed: scenario.seed,
      around: faults.around,
      decorate: (bus: EventBus.EventBus["Type"]) => listened(faults.decorate(bus)),
      onStep: () => {
        if (++count === scenario.stopAfter) ask()
      }
    })
    const { isOver, time } = on
    let stuck: string | undefined
    const drive = (moves: Effect.Effect<void, Drive.NeverEndsError>) =>
      Effect.catchAll(moves, (error) => Effect.sync(() => void (stuck ??= error.message)))
    const callers = new Map<Fiber.RuntimeFiber<unknown, unknown>, string>()
    const call = <B>(what: string, effect: Effect.Effect<B, unknown>) =>
      Effect.tap(time.fork(effect), (fiber) => callers.set(fiber, what))

    const hangs = (scenario.faults ?? []).some(({ trouble }) => trouble === "hang")
    const boot = hangs ? Drive.through(on, moments, on.isSettled) : Drive.until(on, "The boot", on.isSettled)
    yield* drive(boot)
    const isUp = on.timeline.isUp()
    const steps = { boot: count, all: count }
    let asked: Cause.Cause<unknown> | undefined
    let changed: ReadonlyArray<string> = []
    let missed: ReadonlyArray<string> = []
    if (isUp && !isOver()) {
      const context = yield* Deferred.await(on.built)
      const asking = yield* call(
        "what it is asked",
        isAdopted ? Effect.void : Effect.provide(during, context)
      )
      for (const [event, bus] of heard) {
        for (const payload of sampleOf(event)) {
          yield* call(`an emit of ${event.name}`, bus.emit(event, payload))
          yield* call(`a publish of ${event.name}`, bus.publish(event, payload))
        }
      }
      if (isAdopted) {
        const before = yield* Shape.of(on.app, nameOf)
        const restart = yield* call(
          "the restart",
          Effect.flatMap(Deferred.await(child), (it) => it.restart)
        )
        yield* drive(Drive.through(on, moments, () => isOver() || restart.unsafePoll() !== null))
        changed = isOver() ? [] : Shape.differences(before, yield* Shape.of(on.app, nameOf))
      }
      yield* drive(Drive.through(on, moments, isOver))
      const exit = asking.unsafePoll()
      asked = exit !== null && Exit.isFailure(exit) ? exit.cause : undefined
      missed = (yield* Shape.tasks(on.app, nameOf)).filter((step) => !faults.reached.has(step))
    }
    if (!isOver()) ask()
    yield* drive(Drive.until(on, "The stop", isOver))
    const left = isOver() ? [...(yield* on.left)] : []

    const handledAfter: Array<string> = []
    for (const [event, bus] of isOver() ? heard : []) {
      for (const payload of sampleOf(event)) {
        const late = yield* call(`a late emit of ${event.name}`, bus.emit(event, payload))
        yield* drive(Drive.through(on, moments, () => late.unsafePoll() !== null))
        const exit = late.unsafePoll()
        for (const { service } of exit !== null && Exit.isSuccess(exit) ? exit.value.outcomes : []) {
          handledAfter.push(Step.name({ service: nameOf(service), work: `listener ${event.name}` }))
        }
      }
    }
    // What goes on all the same shows itself.
    yield* drive(Drive.through(on, afterwards, () => false))
    steps.all = count
    const waiting = [...callers].filter(([fiber]) => fiber.unsafePoll() === null)
    for (const [fiber] of waiting) fiber.unsafeInterruptAsFork(fiber.id())
    if (!isOver()) on.fiber.unsafeInterruptAsFork(on.fiber.id())
    time.settle()
    left.push(...waiting.map(([, what]) => `${what}, which still waits`))
    return { on, isUp, stuck, steps, asked, changed, missed, handledAfter, left }
  })

/** What adopts the services. */
const parent = "Laws"

/** How many things may come due when the app is over: what goes on shows itself in the first few. */
const afterwards = 10

/** What a service is called, be it adopted or not. */
const nameOf = (path: string): string => below(parent, below("App", path))

/** A payload that fits an event, the same each time; none where its schema does not say how to make one. */
const sampleOf = (event: Event.Event<string, any>): ReadonlyArray<unknown> => {
  const known = samples.get(event)
  if (known !== undefined) return known
  const sample = ((): ReadonlyArray<unknown> => {
    try {
      return FastCheck.sample(Arbitrary.make(event.schema), { numRuns: 1, seed: 1 })
    } catch {
      return []
    }
  })()
  samples.set(event, sample)
  return sample
}

/** A schema with filters may take a second to sample. */
const samples = new WeakMap<object, ReadonlyArray<unknown>>()
