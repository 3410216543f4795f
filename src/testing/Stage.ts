/** An app launched in virtual time, as `App.launch` does it, with what a test sees of it and does to it. */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as App from "../App.ts"
import * as BusDecorator from "../internal/BusDecorator.ts"
import type * as EventBus from "../EventBus.ts"
import * as Latch from "../internal/Latch.ts"
import * as EventCheck from "../internal/events/EventCheck.ts"
import * as Input from "../internal/Input.ts"
import * as Journal from "../internal/journal/Journal.ts"
import { below } from "../internal/Format.ts"
import { Replacements } from "../internal/Replacements.ts"
import * as WorkDecorator from "../internal/WorkDecorator.ts"
import type * as Drive from "./Drive.ts"
import * as Leftovers from "./Leftovers.ts"
import * as Step from "./Step.ts"
import * as Stub from "./Stub.ts"
import * as TestEventBus from "./TestEventBus.ts"
import * as Timeline from "./Timeline.ts"
import * as VirtualTime from "./VirtualTime.ts"

/** How an app is launched. */
export interface Setting {
  /** The function that was called, for what it refuses. */
  readonly where: string
  readonly app: App.Options
  readonly startsAt: DateTime.DateTime.Input
  readonly seed: number | undefined
  readonly replace: ReadonlyArray<Stub.Replacing>
  readonly patienceMillis: number
  /** What else is put around work; nothing by default. */
  readonly around?: WorkDecorator.Decorate
  /** What else is put around buses. */
  readonly decorate?: BusDecorator.Decorate<any>
  /** Called before each run of a fiber. */
  readonly onStep?: () => void
}

/** An app that has been launched. */
export interface Stage<A> extends Drive.Driven {
  readonly fiber: Fiber.RuntimeFiber<never, unknown>
  /** Stand-ins that nothing has asked for. */
  readonly unused: () => ReadonlyArray<string>
  /** What the app offers, when it has been built. */
  readonly built: Deferred.Deferred<Context.Context<A | TestEventBus.TestEventBus>>
  /** Whether the app has come to its end. */
  readonly isOver: () => boolean
  /** Whether it is up, or has ended before. */
  readonly isSettled: () => boolean
  /** What it has left behind, when it is over. */
  readonly left: Effect.Effect<ReadonlyArray<string>>
}

/** Launches an app. Nothing of it runs before time is moved. */
export const launch = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  setting: Setting
): Effect.Effect<Stage<A>, never, Exclude<R, App.Provided>> =>
  Effect.gen(function* () {
    const app = App.make(setting.app)
    const name = setting.app.name ?? "App"
    const time = VirtualTime.make(momentOf(setting.where, setting.startsAt), setting.seed, setting.onStep)
    const left = Leftovers.watch(time)
    const timeline = Timeline.make(yield* Journal.make, time, name)
    const events = TestEventBus.make()
    const { replacements, unused } = Stub.all(setting.where, setting.replace)
    const around: WorkDecorator.Decorate = (service, kind, work, effect) =>
      Step.within({ service: below(name, service.path), work })(
        setting.around?.(service, kind, work, effect) ?? effect
      )
    const recorded = TestEventBus.decorating(events)
    const decorate: BusDecorator.Decorate<EventBus.EventBus["Type"]> = (bus) => {
      const inner = stepped(around, recorded(bus))
      return setting.decorate === undefined ? inner : setting.decorate(inner)
    }

    const built = Deferred.unsafeMake<Context.Context<A | TestEventBus.TestEventBus>>(Latch.ours)
    // What else it needs comes from who launches it.
    const noting = Effect.flatMap(Effect.context<A>(), (all) => {
      const offered = Context.omit(Scope.Scope)(all as Context.Context<A | Scope.Scope>)
      // A bus from outside has its own recorder.
      const recorder = Context.make(TestEventBus.TestEventBus, events)
      return Deferred.succeed(built, Context.merge(recorder, offered as Context.Context<A>))
    })
    // Not `Layer.tap`, which in Effect 3.22 may wait for ever when layers that are built at once fail in some order.
    const noted = Layer.provideMerge(Layer.effectDiscard(noting), layer as Layer.Layer<A, E, App.Provided>)
    const fiber = yield* app
      .launch(noted)
      .pipe(
        Effect.provideService(Journal.Journal, timeline.journal),
        Effect.provideService(Replacements, replacements),
        Effect.provideService(BusDecorator.BusDecorator, decorate),
        Effect.provideService(WorkDecorator.WorkDecorator, around),
        time.fork
      )
    const isOver = () => fiber.unsafePoll() !== null
    return {
      app,
      time,
      timeline,
      patienceMillis: setting.patienceMillis,
      known: new Set(),
      vain: new Map(),
      fiber,
      unused,
      built,
      isOver,
      isSettled: () => timeline.isUp() || isOver(),
      left
    }
  })

/** Has something put around the handlers of listeners, too. */
const stepped = (
  around: WorkDecorator.Decorate,
  bus: EventBus.EventBus["Type"]
): EventBus.EventBus["Type"] => ({
  ...bus,
  listen: (events, spec) => {
    const work = `listener ${EventCheck.namesOf(events)}`
    return bus.listen(events, {
      ...spec,
      handler: (payload, name) =>
        around(
          { path: spec.service },
          "handler",
          work,
          Effect.suspend(() => spec.handler(payload, name))
        )
    })
  }
})

const momentOf = (where: string, startsAt: DateTime.DateTime.Input): number => {
  const moment = DateTime.make(startsAt)
  if (Option.isSome(moment)) return DateTime.toEpochMillis(moment.value)
  const expected = 'a moment, like "2026-03-28T12:00:00Z"'
  throw new Input.InputError({ where, input: "startsAt", expected, actual: startsAt })
}
