/** Simulates an app through one scenario, from its boot until after its end, and records all that the laws speak of. */
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
import * as Utils from "effect/Utils"
import type * as Event from "../Event.ts"
import * as EventBus from "../EventBus.ts"
import * as Latch from "../internal/Latch.ts"
import type * as Bus from "../internal/events/Bus.ts"
import type { ServiceStatus } from "../internal/status/ServiceStatus.ts"
import type * as Journal from "../Journal.ts"
import * as Service from "../Service.ts"
import type { Forgotten } from "./AppFibers.ts"
import * as AppUnderTest from "./AppUnderTest.ts"
import * as Drive from "./Drive.ts"
import * as Faults from "./Faults.ts"
import * as Resource from "./Resource.ts"
import { appName, nameOf, parentName, type Scenario } from "./Scenario.ts"
import * as Step from "./Step.ts"
import type * as Stub from "./Stub.ts"

/** What is simulated. */
export interface Subject {
  /** The public function that was called, named in its errors. */
  readonly where: string
  /** What it needs comes from whoever runs the simulation. */
  readonly layer: Layer.Layer<any, unknown>
  /** Runs while the app is up, with what the app provides. */
  readonly during: Effect.Effect<unknown, unknown>
  readonly replace: ReadonlyArray<Stub.Replacing>
  readonly startsAt: DateTime.DateTime.Input
  readonly moments: number
  readonly patienceMillis: number
}

/** What was seen in a simulation. */
export interface Simulation {
  readonly scenario: Scenario
  /** Whether the app came up. */
  readonly isUp: boolean
  /** The exit of the app, if it ended. */
  readonly exit: Exit.Exit<never, unknown> | undefined
  /** What does not end. */
  readonly stuck: string | undefined
  readonly reached: Faults.Faults["reached"]
  readonly injected: Faults.Faults["injected"]
  readonly handled: Faults.Faults["handled"]
  /** Whether something real was waited for in vain. It may come with more patience. */
  readonly isHasty: boolean
  /** Work that is due at times, or with an event, and never ran. */
  readonly missed: ReadonlyArray<string>
  /** How many steps its fibers took until it was up, and in all. */
  readonly steps: { readonly boot: number; readonly all: number }
  readonly entries: ReadonlyArray<Journal.Entry>
  readonly timeline: ReadonlyArray<string>
  /** The failure of `during`. */
  readonly asked: Cause.Cause<unknown> | undefined
  /** Messages that were logged as warnings or errors with an interruption as their only cause. */
  readonly interruptionsLogged: ReadonlyArray<string>
  /** Fibers that failed unnoticed. */
  readonly forgotten: ReadonlyArray<Forgotten>
  /** What went wrong with resources. */
  readonly resources: ReadonlyArray<string>
  readonly leftovers: ReadonlyArray<string>
  /** The listeners that handled an event which was sent after the end. */
  readonly handledAfter: ReadonlyArray<string>
  /** What a service had only before or only after it was restarted. */
  readonly changed: ReadonlyArray<string>
}

/** Simulates a scenario. */
export const run = (subject: Subject, scenario: Scenario): Effect.Effect<Simulation> =>
  Effect.suspend(() => {
    const faults = Faults.make(scenario.faults ?? [])
    const ledger: Resource.Ledger["Type"] = { open: new Set(), problems: [] }
    const interruptionsLogged: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const isLoud = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)
      if (isLoud && Cause.isInterrupted(cause) && Cause.isInterruptedOnly(cause)) {
        interruptionsLogged.push(String(message))
      }
    })
    return Effect.map(course(subject, scenario, faults), ({ under, ...seen }) => ({
      scenario,
      ...seen,
      exit: under.fiber.unsafePoll() ?? undefined,
      reached: faults.reached,
      injected: faults.injected,
      handled: faults.handled,
      isHasty: under.patience.vain.size > 0,
      entries: under.timeline.entries(),
      timeline: under.timeline.lines(),
      interruptionsLogged,
      forgotten: under.time.fibers.forgotten(),
      resources: [...ledger.problems, ...Array.from(ledger.open, ({ text }) => `${text} was never closed`)]
    })).pipe(
      Effect.provideService(Resource.Ledger, ledger),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })

/** How often something may come due after the end of the app, for what goes on to show itself. */
const momentsAfter = 10

/** From the boot of the app until after its end. */
const course = (subject: Subject, scenario: Scenario, faults: Faults.Faults) =>
  Effect.gen(function* () {
    const launched = yield* launch(subject, scenario, faults)
    const { requestStop, steps, under } = launched
    const { isOver, isSettled } = under
    const operator = makeOperator(under)
    const { drive } = operator

    const hangs = (scenario.faults ?? []).some(({ trouble }) => trouble === "hang")
    yield* drive(
      hangs ? Drive.through(under, subject.moments, isSettled) : Drive.until(under, "The boot", isSettled)
    )
    const isUp = under.timeline.isUp()
    const boot = steps()
    const seen = isUp && !isOver() ? yield* whileUp(subject, launched, operator) : nothing
    const missed = seen.due.filter((step) => !faults.reached.has(step))
    if (!isOver()) requestStop()
    yield* drive(Drive.until(under, "The stop", isOver))
    const leftovers = isOver() ? yield* under.leftovers : []
    const handledAfter = isOver() ? yield* emitAfter(subject, launched, operator) : []
    yield* drive(Drive.through(under, momentsAfter, () => false))
    const all = steps()
    const waiting = operator.dismiss()
    under.time.settle()
    return {
      under,
      isUp,
      stuck: operator.stuck(),
      steps: { boot, all },
      asked: seen.asked,
      changed: seen.changed,
      missed,
      handledAfter,
      leftovers: [...leftovers, ...waiting]
    }
  })

/** An app that was launched for a scenario. */
interface Launched {
  readonly under: AppUnderTest.AppUnderTest<any>
  /** The events that services listen to, with the bus of each. */
  readonly heard: ReadonlyMap<Event.Event<string, any>, Bus.Bus>
  /** The services as a child, if they are adopted. */
  readonly child: Effect.Effect<Service.Child<unknown>> | undefined
  /** Asks the app to stop, as the scenario has it. */
  readonly requestStop: () => void
  /** How many steps its fibers have taken. */
  readonly steps: () => number
}

/** Launches the app. Nothing of it runs before time settles. */
const launch = (subject: Subject, scenario: Scenario, faults: Faults.Faults): Effect.Effect<Launched> =>
  Effect.gen(function* () {
    const heard = new Map<Event.Event<string, any>, Bus.Bus>()
    const hearing = (bus: Bus.Bus): Bus.Bus => ({
      ...bus,
      listen: (events, spec) => {
        for (const event of events) heard.set(event, bus)
        return bus.listen(events, spec)
      }
    })
    const child = Deferred.unsafeMake<Service.Child<unknown>>(Latch.internal)
    class Parent extends Service.make<Parent>()(parentName, {
      onStart: Effect.flatMap(Service.adopt(subject.layer), (adopted) => Deferred.succeed(child, adopted))
    }) {}
    const isAdopted = scenario.isAdopted === true
    const layer: Layer.Layer<any, unknown> = isAdopted ? Parent.layer : subject.layer
    let count = 0
    const requestStop = () => {
      under.app.stop("asked")
      if (scenario.stop === "twice") under.fiber.unsafeInterruptAsFork(under.fiber.id())
    }
    const under: AppUnderTest.AppUnderTest<any> = yield* AppUnderTest.launch(
      Layer.provideMerge(layer, EventBus.layer),
      {
        ...subject,
        // Longer than the deadlines of its services add up to: each of them counts, and this does not.
        app: { name: appName, stopTimeout: "1 day" },
        seed: scenario.seed,
        decorateWork: faults.decorateWork,
        decorateBus: hearing,
        onStep: () => {
          if (++count === scenario.stopAfter) requestStop()
        }
      }
    )
    return {
      under,
      heard,
      child: isAdopted ? Deferred.await(child) : undefined,
      requestStop,
      steps: () => count
    }
  })

/** Moves the time of an app, and calls it from outside. */
interface Operator {
  /** Moves time. Records when that does not end. */
  readonly drive: (moves: Effect.Effect<void, Drive.NeverEndsError>) => Effect.Effect<void>
  /** What did not end first. */
  readonly stuck: () => string | undefined
  /** Forks a call in the time of the app. */
  readonly call: <B>(
    what: string,
    effect: Effect.Effect<B, unknown>
  ) => Effect.Effect<Fiber.RuntimeFiber<B, unknown>>
  /** Interrupts the calls that have not returned, and names them. */
  readonly dismiss: () => ReadonlyArray<string>
}

const makeOperator = (under: AppUnderTest.AppUnderTest<any>): Operator => {
  let stuck: string | undefined
  const calls = new Map<Fiber.RuntimeFiber<unknown, unknown>, string>()
  return {
    drive: (moves) => Effect.catchAll(moves, (error) => Effect.sync(() => void (stuck ??= error.message))),
    stuck: () => stuck,
    call: (what, effect) => Effect.tap(under.time.fork(effect), (fiber) => calls.set(fiber, what)),
    dismiss: () => {
      const waiting = [...calls].filter(([fiber]) => fiber.unsafePoll() === null)
      for (const [fiber] of waiting) fiber.unsafeInterruptAsFork(fiber.id())
      return waiting.map(([, what]) => `${what}, which still waits`)
    }
  }
}

/** What is seen while the app is up. */
interface Seen extends Pick<Simulation, "asked" | "changed"> {
  /** The steps that are due at times, or with an event. */
  readonly due: ReadonlyArray<string>
}

const nothing: Seen = { asked: undefined, changed: [], due: [] }

/** Runs `during`, sends events to the listeners, restarts the services if they are adopted, and lets time pass. */
const whileUp = (
  { during, moments }: Subject,
  { child, heard, under }: Launched,
  { call, drive }: Operator
): Effect.Effect<Seen> =>
  Effect.gen(function* () {
    const { isOver, services } = under
    const context = yield* Deferred.await(under.built)
    // Adopted services are not provided by the app.
    const asking = yield* call(
      "what it is asked",
      child === undefined ? Effect.provide(during, context) : Effect.void
    )
    for (const [event, bus] of heard) {
      for (const payload of sampleOf(event)) {
        yield* call(`an emit of ${event.name}`, bus.emit(event, payload))
        yield* call(`a publish of ${event.name}`, bus.publish(event, payload))
      }
    }
    let changed: ReadonlyArray<string> = []
    if (child !== undefined) {
      const before = allOf(yield* services)
      const restart = yield* call(
        "the restart",
        Effect.flatMap(child, (it) => it.restart)
      )
      yield* drive(Drive.through(under, moments, () => isOver() || restart.unsafePoll() !== null))
      changed = isOver() ? [] : differences(before, allOf(yield* services))
    }
    yield* drive(Drive.through(under, moments, isOver))
    const exit = asking.unsafePoll()
    const asked = exit !== null && Exit.isFailure(exit) ? exit.cause : undefined
    return { asked, changed, due: dueOf(yield* services) }
  })

/** Emits each event again after the end of the app. Gives the listeners that handled one. */
const emitAfter = ({ moments }: Subject, { heard, under }: Launched, { call, drive }: Operator) =>
  Effect.gen(function* () {
    const listeners: Array<string> = []
    for (const [event, bus] of heard) {
      for (const payload of sampleOf(event)) {
        const late = yield* call(`a late emit of ${event.name}`, bus.emit(event, payload))
        yield* drive(Drive.through(under, moments, () => late.unsafePoll() !== null))
        const exit = late.unsafePoll()
        for (const { service } of exit !== null && Exit.isSuccess(exit) ? exit.value.outcomes : []) {
          listeners.push(Step.name({ service: nameOf(service), work: `listener ${event.name}` }))
        }
      }
    }
    return listeners
  })

/** The steps of services that are due at times, or with an event. */
const dueOf = (services: ReadonlyArray<ServiceStatus>): ReadonlyArray<string> =>
  services.flatMap(({ listeners, path, tasks }) =>
    [
      ...tasks.filter(({ kind }) => kind !== "spawn").map(({ name }) => name),
      ...listeners.map(({ event }) => `listener ${event}`)
    ].map((work) => Step.name({ service: nameOf(path), work }))
  )

/** Services with all that they own, as text. */
const allOf = (services: ReadonlyArray<ServiceStatus>): ReadonlyArray<string> =>
  services.flatMap(({ checks, listeners, path, tasks }) => {
    const service = nameOf(path)
    const work = [
      ...tasks.map(({ name }) => name),
      ...checks.map(({ name }) => `health check ${name ?? ""}`),
      ...listeners.map(({ event }) => `listener ${event}`)
    ]
    return [service, ...work.map((name) => Step.name({ service, work: name }))]
  })

/** What is in only one of two lists. */
export const differences = (
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const added = [...after]
  const gone = before.filter((one) => {
    const index = added.indexOf(one)
    if (index >= 0) added.splice(index, 1)
    return index < 0
  })
  return [...gone.map((one) => `${one} is gone`), ...added.map((one) => `${one} is new`)]
}

/** A payload that fits an event, the same each time; none where its schema cannot generate one. */
const sampleOf = (event: Event.Event<string, any>): ReadonlyArray<unknown> => {
  const known = samples.get(event)
  if (known !== undefined) return known
  const sample = generate(event)
  samples.set(event, sample)
  return sample
}

/** Kept, as a schema with filters may take a second to sample. */
const samples = new WeakMap<object, ReadonlyArray<unknown>>()

const generate = (event: Event.Event<string, any>): ReadonlyArray<unknown> => {
  try {
    return FastCheck.sample(Arbitrary.make(event.schema), { numRuns: 1, seed: 1, randomType: limited })
  } catch {
    // The law's report names the listener of an event that has no sample.
    return []
  }
}

/** How many random numbers a sample may take: enough for large payloads, about a second's worth. */
const mostNumbers = 1_000_000

/** Random numbers, up to a limit: a filter that rejects nearly everything asks for ever. */
const limited = (seed: number): RandomGenerator => {
  const random = new Utils.PCGRandom(seed)
  let count = 0
  const unsafeNext = () => {
    if (++count > mostNumbers) throw new Error("the schema cannot be sampled")
    return Math.floor(random.number() * 2 ** 32) - 2 ** 31
  }
  const generator: RandomGenerator = {
    clone: () => generator,
    next: () => [unsafeNext(), generator],
    unsafeNext
  }
  return generator
}

/** What fast-check takes as a source of random numbers. */
interface RandomGenerator {
  readonly clone: () => RandomGenerator
  readonly next: () => [number, RandomGenerator]
  readonly unsafeNext: () => number
}
