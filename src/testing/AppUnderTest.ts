/** An app in virtual time, launched as by `App.launch`: what a test does to it, and sees of it. */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as App from "../App.ts"
import * as EventCheck from "../internal/events/EventCheck.ts"
import * as Handler from "../internal/events/Handler.ts"
import { below } from "../internal/Format.ts"
import * as Input from "../internal/Input.ts"
import * as Latch from "../internal/Latch.ts"
import { BusDecorator, type DecorateWork, Replacements, WorkDecorator } from "../internal/TestHooks.ts"
import type * as Bus from "../internal/events/Bus.ts"
import type { ServiceStatus } from "../internal/status/ServiceStatus.ts"
import * as Journal from "../internal/journal/Journal.ts"
import type { AnyFiber } from "./AppFibers.ts"
import * as RealWorld from "./RealWorld.ts"
import * as Step from "./Step.ts"
import * as Stub from "./Stub.ts"
import * as TestEventBus from "./TestEventBus.ts"
import * as VirtualTime from "./VirtualTime.ts"

/** How an app is launched. */
export interface Options {
  /** The public function that was called, named in its errors. */
  readonly where: string
  readonly app: App.Options
  readonly startsAt: DateTime.DateTime.Input
  readonly seed: number | undefined
  readonly replace: ReadonlyArray<Stub.Replacing>
  readonly patienceMillis: number
  /** Wraps the work of services. */
  readonly decorateWork?: DecorateWork
  /** Wraps each bus. */
  readonly decorateBus?: TestEventBus.DecorateBus
  /** Called before each run of a fiber. */
  readonly onStep?: () => void
}

/** An app in virtual time. */
export interface AppUnderTest<A> {
  readonly app: App.App
  readonly time: VirtualTime.VirtualTime
  readonly timeline: Timeline
  readonly patience: Patience
  readonly fiber: Fiber.RuntimeFiber<never, unknown>
  /** Names of replacements that nothing has asked for. */
  readonly unused: () => ReadonlyArray<string>
  /** What the app provides, once it is built. */
  readonly built: Deferred.Deferred<Context.Context<A | TestEventBus.TestEventBus>>
  /** Whether the app has ended. */
  readonly isOver: () => boolean
  /** Whether the app is up, or has ended. */
  readonly isSettled: () => boolean
  /** Its services, with their children. Their paths are those below the app. */
  readonly services: Effect.Effect<ReadonlyArray<ServiceStatus>>
  /** What the app has left behind since its launch, once it is over: fibers, timers, sockets, listeners of the process. */
  readonly leftovers: Effect.Effect<ReadonlyArray<string>>
}

/** How long real things are waited for, and what was waited for in vain. */
interface Patience {
  readonly millis: number
  /** The fibers that were waited for in vain. They are waited for again when they have run since. */
  readonly givenUp: Set<AnyFiber>
  /** How often a step was waited for in vain. Each time halves its patience. */
  readonly vain: Map<string, number>
}

/** Launches an app. Nothing of it runs before time settles. */
export const launch = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  options: Options
): Effect.Effect<AppUnderTest<A>, never, Exclude<R, App.Provided>> =>
  Effect.gen(function* () {
    const app = App.make(options.app)
    const name = options.app.name ?? "App"
    const time = VirtualTime.make(momentOf(options.where, options.startsAt), options.seed, options.onStep)
    const leftovers = watchLeftovers(time)
    const timeline = makeTimeline(yield* Journal.make, time, name)
    const events = TestEventBus.make()
    const { replacements, unused } = Stub.all(options.where, options.replace)
    const decorateWork: DecorateWork = (service, kind, work, effect) =>
      time.fibers.during(
        { service: below(name, service.path), work },
        options.decorateWork?.(service, kind, work, effect) ?? effect
      )
    const decorateBus = (bus: Bus.Bus) => {
      const inner = withSteps(decorateWork, TestEventBus.recording(events, bus))
      return options.decorateBus?.(inner) ?? inner
    }

    const built = Deferred.unsafeMake<Context.Context<A | TestEventBus.TestEventBus>>(Latch.internal)
    const whenBuilt = Effect.flatMap(Effect.context<A>(), (all) => {
      // The layer is built in a scope, which is not the app's to provide.
      const provided = Context.omit(Scope.Scope)(all as Context.Context<A | Scope.Scope>)
      // A bus from outside has a recorder of its own, which comes first.
      const recorder = Context.make(TestEventBus.TestEventBus, events)
      return Deferred.succeed(built, Context.merge(recorder, provided as Context.Context<A>))
    })
    // Not `Layer.tap`: in Effect 3.22 it may wait for ever when layers that are built in parallel fail.
    // The rest of what the layer needs comes from the caller.
    const noted = Layer.provideMerge(Layer.effectDiscard(whenBuilt), layer as Layer.Layer<A, E, App.Provided>)
    const fiber = yield* app
      .launch(noted)
      .pipe(
        Effect.provideService(Journal.Journal, timeline.journal),
        Effect.provideService(Replacements, replacements),
        Effect.provideService(BusDecorator, TestEventBus.decorator(decorateBus)),
        Effect.provideService(WorkDecorator, decorateWork),
        time.fork
      )
    const isOver = () => fiber.unsafePoll() !== null
    return {
      app,
      time,
      timeline,
      patience: { millis: options.patienceMillis, givenUp: new Set(), vain: new Map() },
      fiber,
      unused,
      built,
      isOver,
      isSettled: () => timeline.isUp() || isOver(),
      services: servicesOf(app, name),
      leftovers
    }
  })

const momentOf = (where: string, startsAt: DateTime.DateTime.Input): number => {
  const moment = DateTime.make(startsAt)
  if (Option.isSome(moment)) return DateTime.toEpochMillis(moment.value)
  const expected = 'a moment, like "2026-03-28T12:00:00Z"'
  throw new Input.InputError({ where, input: "startsAt", expected, actual: startsAt })
}

/** Decorates the handlers of a bus, as the rest of the work of services. */
const withSteps = (decorate: DecorateWork, bus: Bus.Bus): Bus.Bus => ({
  ...bus,
  listen: (events, spec) => {
    const work = Handler.nameOf(EventCheck.namesOf(events))
    return bus.listen(events, {
      ...spec,
      handler: (payload, name) =>
        decorate(
          spec.lifetime,
          "handler",
          work,
          Effect.suspend(() => spec.handler(payload, name))
        )
    })
  }
})

const servicesOf = (app: App.App, name: string): Effect.Effect<ReadonlyArray<ServiceStatus>> => {
  const withChildren = (status: ServiceStatus): ReadonlyArray<ServiceStatus> => [
    { ...status, path: below(name, status.path) },
    ...status.children.flatMap(withChildren)
  ]
  return Effect.map(
    app.snapshot,
    Option.match({ onNone: () => [], onSome: ({ services }) => services.flatMap(withChildren) })
  )
}

/** All that happened in an app: as entries, and as lines that are the same in each run. */
interface Timeline {
  /** The journal of the app. */
  readonly journal: Journal.Journal["Type"]
  readonly entries: () => ReadonlyArray<Journal.Entry>
  readonly lines: () => ReadonlyArray<string>
  /** Whether the app has come up. */
  readonly isUp: () => boolean
  /** Adds a line about a service. */
  readonly write: (service: string, text: string) => void
}

const makeTimeline = (
  inner: Journal.Journal["Type"],
  time: VirtualTime.VirtualTime,
  app: string
): Timeline => {
  const beginsAt = time.now()
  const entries: Array<Journal.Entry> = []
  /** Formatted when they are read. */
  const written: Array<{ readonly at: number; readonly what: Journal.Unstamped | string }> = []
  const write = (what: Journal.Unstamped | string) => void written.push({ at: time.now() - beginsAt, what })
  let isUp = false
  return {
    journal: {
      ...inner,
      // Also the frequent entries, which a journal leaves out where nobody reads them.
      reads: () => true,
      append: (unstamped) =>
        Effect.suspend(() => {
          // The time is what an unstamped entry lacks.
          const entry = { ...unstamped, at: time.now() } as Journal.Entry
          entries.push(entry)
          write(unstamped)
          isUp ||= entry._tag === "AppStarted"
          return inner.append(unstamped)
        })
    },
    entries: () => [...entries],
    lines: () =>
      written.map(({ at, what }) => `${clock(at)} ${typeof what === "string" ? what : line(app, what)}`),
    isUp: () => isUp,
    write: (service, text) => write(`${below(app, service)}: ${text}`)
  }
}

/** An entry as one line, without the name of the app. */
export const line = (app: string, entry: Journal.Unstamped): string => {
  if (entry._tag === "TaskTicked") return `${below(app, entry.service)} ticked (${entry.task})`
  const [first = ""] = Journal.format(entry).split("\n", 1)
  return "service" in entry ? below(app, first) : first
}

/** `00:01:00.000`, and after a day `3d 00:01:00.000`. */
const clock = (millis: number): string => {
  const { days, hours, millis: rest, minutes, seconds } = Duration.parts(Duration.millis(millis))
  const time = [hours, minutes, seconds].map((n) => String(n).padStart(2, "0")).join(":")
  return `${days > 0 ? `${days}d ` : ""}${time}.${String(Math.floor(rest)).padStart(3, "0")}`
}

/** How many turns of the event loop a closed socket or a short timer may need to go: some tenths of a second. */
const mostTurns = 200

/** Watches what the process holds from now on. The effect tells, once the app is over, what is left. */
const watchLeftovers = (time: VirtualTime.VirtualTime): Effect.Effect<ReadonlyArray<string>> => {
  const before = RealWorld.resources()
  const real = () => [...time.timers.pending(), ...RealWorld.grown(before)]
  const turn = RealWorld.turn(1)
  return Effect.gen(function* () {
    yield* turn
    for (let turns = 0; turns < mostTurns; turns++) {
      if (real().length === 0 && !time.fibers.hasOutsiders()) break
      yield* turn
    }
    const fibers = time.fibers.alive().flatMap(
      Option.match({
        onNone: () => [],
        onSome: (step) => [`a fiber, forked by ${Step.name(step)}`]
      })
    )
    return [...fibers, ...real()]
  })
}
