/** Runs an app through one scenario, from its boot to after its end, and notes all that the laws speak of. */
import * as Cause from "effect/Cause"
import type * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import type * as Event from "../Event.ts"
import * as EventBus from "../EventBus.ts"
import type * as Journal from "../Journal.ts"
import * as Latch from "../internal/Latch.ts"
import * as Service from "../Service.ts"
import * as Drive from "./Drive.ts"
import * as Faults from "./Faults.ts"
import * as Resource from "./Resource.ts"
import * as Sample from "./Sample.ts"
import { appName, nameOf, parentName, type Scenario } from "./Scenario.ts"
import * as Shape from "./Shape.ts"
import * as Stage from "./Stage.ts"
import * as Step from "./Step.ts"
import type * as Stub from "./Stub.ts"

/** What is rehearsed. */
export interface Play {
  /** The function that was called, for what it refuses. */
  readonly where: string
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
  readonly handled: Faults.Faults["handled"]
  /** Whether something was waited for in vain that is not time: with more patience it may come. */
  readonly isHasty: boolean
  /** Work that is due at times, or with an event, and never was. */
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
    const faults = Faults.make(scenario.faults ?? [])
    const ledger: Resource.Ledger["Type"] = { open: new Set(), wrongs: [] }
    const interruptionsLogged: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const isLoud = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)
      if (isLoud && Cause.isInterrupted(cause) && Cause.isInterruptedOnly(cause)) {
        interruptionsLogged.push(String(message))
      }
    })
    return Effect.map(course(play, scenario, faults), ({ stage, ...seen }) => ({
      scenario,
      ...seen,
      exit: stage.fiber.unsafePoll() ?? undefined,
      reached: faults.reached,
      injected: faults.injected,
      handled: faults.handled,
      isHasty: stage.vain.size > 0,
      entries: stage.timeline.entries(),
      timeline: stage.timeline.lines(),
      interruptionsLogged,
      unheard: stage.time.fibers
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
    const { moments } = play
    const staged = yield* launched(play, scenario, faults)
    const { ask, stage, steps } = staged
    const { isOver, isSettled } = stage
    const hands = handling(stage)
    const { drive } = hands

    const hangs = (scenario.faults ?? []).some(({ trouble }) => trouble === "hang")
    yield* drive(hangs ? Drive.through(stage, moments, isSettled) : Drive.until(stage, "The boot", isSettled))
    const isUp = stage.timeline.isUp()
    const boot = steps()
    const seen = isUp && !isOver() ? yield* whileUp(play, staged, hands) : nothing
    const missed = seen.due.filter((step) => !faults.reached.has(step))
    if (!isOver()) ask()
    yield* drive(Drive.until(stage, "The stop", isOver))
    const left = isOver() ? yield* stage.left : []
    const handledAfter = isOver() ? yield* heardAfter(play, staged, hands) : []
    // What goes on all the same shows itself.
    yield* drive(Drive.through(stage, afterwards, () => false))
    const all = steps()
    const waiting = hands.dismiss()
    stage.time.settle()
    const { asked, changed } = seen
    return {
      stage,
      isUp,
      stuck: hands.stuck(),
      steps: { boot, all },
      asked,
      changed,
      missed,
      handledAfter,
      left: [...left, ...waiting]
    }
  })

/** An app that has been launched for a scenario. */
interface Staged {
  readonly stage: Stage.Stage<any>
  /** The events that services listen to, each with a bus that it comes by. */
  readonly heard: ReadonlyMap<Event.Event<string, any>, EventBus.EventBus["Type"]>
  /** The services as a child, where they are adopted. */
  readonly child: Effect.Effect<Service.Child<unknown>> | undefined
  /** Asks the app to stop, as the scenario has it. */
  readonly ask: () => void
  /** How many steps its fibers have taken. */
  readonly steps: () => number
}

/** Launches the app. Nothing of it runs before time is moved. */
const launched = (play: Play, scenario: Scenario, faults: Faults.Faults): Effect.Effect<Staged> =>
  Effect.gen(function* () {
    const heard = new Map<Event.Event<string, any>, EventBus.EventBus["Type"]>()
    const listened = (bus: EventBus.EventBus["Type"]): EventBus.EventBus["Type"] => ({
      ...bus,
      listen: (events, spec) => {
        for (const event of events) heard.set(event, bus)
        return bus.listen(events, spec)
      }
    })
    const child = Deferred.unsafeMake<Service.Child<unknown>>(Latch.ours)
    class Parent extends Service.make<Parent>()(parentName, {
      onStart: Effect.flatMap(Service.adopt(play.layer), (adopted) => Deferred.succeed(child, adopted))
    }) {}
    const isAdopted = scenario.isAdopted === true
    const layer: Layer.Layer<any, unknown> = isAdopted ? Parent.layer : play.layer
    let count = 0
    const ask = () => {
      stage.app.stop("asked")
      if (scenario.stop === "twice") stage.fiber.unsafeInterruptAsFork(stage.fiber.id())
    }
    const stage: Stage.Stage<any> = yield* Stage.launch(Layer.provideMerge(layer, EventBus.layer), {
      ...play,
      // Longer than all deadlines of its services add up to: each is to be kept.
      app: { name: appName, stopTimeout: "1 day" },
      seed: scenario.seed,
      around: faults.around,
      decorate: listened,
      onStep: () => {
        if (++count === scenario.stopAfter) ask()
      }
    })
    return { stage, heard, child: isAdopted ? Deferred.await(child) : undefined, ask, steps: () => count }
  })

/** What is done to an app on its stage. */
interface Hands {
  /** Moves time, and notes when that does not end. */
  readonly drive: (moves: Effect.Effect<void, Drive.NeverEndsError>) => Effect.Effect<void>
  /** The first of it that did not end. */
  readonly stuck: () => string | undefined
  /** Forks a caller into the time of the app. */
  readonly call: <B>(
    what: string,
    effect: Effect.Effect<B, unknown>
  ) => Effect.Effect<Fiber.RuntimeFiber<B, unknown>>
  /** Interrupts the callers that still wait, and tells which. */
  readonly dismiss: () => ReadonlyArray<string>
}

const handling = (stage: Stage.Stage<any>): Hands => {
  let stuck: string | undefined
  const callers = new Map<Fiber.RuntimeFiber<unknown, unknown>, string>()
  return {
    drive: (moves) => Effect.catchAll(moves, (error) => Effect.sync(() => void (stuck ??= error.message))),
    stuck: () => stuck,
    call: (what, effect) => Effect.tap(stage.time.fork(effect), (fiber) => callers.set(fiber, what)),
    dismiss: () => {
      const waiting = [...callers].filter(([fiber]) => fiber.unsafePoll() === null)
      for (const [fiber] of waiting) fiber.unsafeInterruptAsFork(fiber.id())
      return waiting.map(([, what]) => `${what}, which still waits`)
    }
  }
}

/** What is seen while the app is up. */
interface Seen {
  readonly asked: Cause.Cause<unknown> | undefined
  readonly changed: ReadonlyArray<string>
  /** Work that is due at times, or with an event. */
  readonly due: ReadonlyArray<string>
}

const nothing: Seen = { asked: undefined, changed: [], due: [] }

/** Asks things of the app, sends events to its listeners, restarts its services where they are adopted, and lets time pass. */
const whileUp = (
  { during, moments }: Play,
  { child, heard, stage }: Staged,
  { call, drive }: Hands
): Effect.Effect<Seen> =>
  Effect.gen(function* () {
    const { app, isOver } = stage
    const context = yield* Deferred.await(stage.built)
    // What is adopted is not offered.
    const asking = yield* call(
      "what it is asked",
      child === undefined ? Effect.provide(during, context) : Effect.void
    )
    for (const [event, bus] of heard) {
      for (const payload of Sample.of(event)) {
        yield* call(`an emit of ${event.name}`, bus.emit(event, payload))
        yield* call(`a publish of ${event.name}`, bus.publish(event, payload))
      }
    }
    let changed: ReadonlyArray<string> = []
    if (child !== undefined) {
      const before = yield* Shape.of(app)
      const restart = yield* call(
        "the restart",
        Effect.flatMap(child, (it) => it.restart)
      )
      yield* drive(Drive.through(stage, moments, () => isOver() || restart.unsafePoll() !== null))
      changed = isOver() ? [] : Shape.differences(before, yield* Shape.of(app))
    }
    yield* drive(Drive.through(stage, moments, isOver))
    const exit = asking.unsafePoll()
    const asked = exit !== null && Exit.isFailure(exit) ? exit.cause : undefined
    return { asked, changed, due: yield* Shape.due(app) }
  })

/** Emits each event again, when the app is over, and gives what has handled it. */
const heardAfter = ({ moments }: Play, { heard, stage }: Staged, { call, drive }: Hands) =>
  Effect.gen(function* () {
    const handlers: Array<string> = []
    for (const [event, bus] of heard) {
      for (const payload of Sample.of(event)) {
        const late = yield* call(`a late emit of ${event.name}`, bus.emit(event, payload))
        yield* drive(Drive.through(stage, moments, () => late.unsafePoll() !== null))
        const exit = late.unsafePoll()
        for (const { service } of exit !== null && Exit.isSuccess(exit) ? exit.value.outcomes : []) {
          handlers.push(Step.name({ service: nameOf(service), work: `listener ${event.name}` }))
        }
      }
    }
    return handlers
  })

/** How many things may come due when the app is over: what goes on shows itself in the first few. */
const afterwards = 10
