/**
 * Simulates services that exchange events: generates random scenarios, runs
 * one in virtual time, and returns the history of all that happened.
 */
import { Cause, Data, Effect, Exit, FastCheck, Fiber, Layer, Option, Schedule, Schema } from "effect"
import { App, Event, EventBus, Failure, Journal, Service, type ServiceRegistry } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { advance, policies } from "./support.ts"

/** `emit a`, `publish b`, `burst c`, `sleep 20`, and the others in `runAction`. */
export type Step = string
export type EventName = "a" | "b" | "c"

export interface ListenerSpec {
  readonly on: EventName
  readonly steps: ReadonlyArray<Step>
  readonly capacity?: number
  readonly onFull?: "wait" | "dropOldest" | "dropNewest"
  readonly concurrency?: number
  readonly timeout?: number
  readonly onFailure?: "retry" | "escalate"
}

interface ServiceSpec {
  /** The actions of `onStart`, in order. */
  readonly start: ReadonlyArray<Action>
  readonly stop: ReadonlyArray<Step>
  readonly stopTimeout?: number
}
type Action =
  | Step
  | ListenerSpec
  | { readonly after: number; readonly steps: ReadonlyArray<Step | ListenerSpec> }
  | { readonly every: number; readonly steps: ReadonlyArray<Step> }
  | ({ readonly onFailure?: keyof typeof policies } & ServiceSpec)

/** A random case: the services, who sends what and when, and when the app stops. */
export interface Scenario {
  /** Each depends on earlier services, by their index. */
  readonly services: ReadonlyArray<ServiceSpec & { readonly needs: ReadonlyArray<number> }>
  readonly stopAt: number
  /** If given, fibers yield at random points and run in random order. */
  readonly seed?: number
  /** Senders outside the app, over a bus that outlives it. Without them, the bus is the app's own. */
  readonly outside?: ReadonlyArray<{ readonly after: number; readonly steps: ReadonlyArray<Step> }>
  /** Whether the journal has a reader, so that frequent entries are recorded. */
  readonly hasReader?: boolean
}

const retry = Failure.restart({
  backoff: Schedule.spaced("10 millis"),
  budget: { restarts: 3, within: "1 second" },
  onExhausted: Failure.log
})

/** Present in one of `oneOf` cases, which keeps cases short. */
const optional = <T>(arbitrary: FastCheck.Arbitrary<T>, oneOf = 4) =>
  FastCheck.oneof({ weight: oneOf - 1, arbitrary: FastCheck.constant(undefined) }, { weight: 1, arbitrary })
const dropUndefined = <T extends object>(record: T): T =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T

const event = FastCheck.constantFrom<EventName>("a", "b", "c")
const sends = FastCheck.tuple(
  FastCheck.constantFrom("emit", "emit", "publish", "publish", "burst"),
  event
).map((words) => words.join(" "))
const sleeps = FastCheck.integer({ min: 1, max: 40 }).map((millis) => `sleep ${millis}`)
const steps = (...rare: ReadonlyArray<Step>) =>
  FastCheck.array(
    FastCheck.oneof(
      { weight: 6, arbitrary: sends },
      { weight: 4, arbitrary: sleeps },
      { weight: 2, arbitrary: FastCheck.constantFrom(...rare) }
    ),
    { maxLength: 3 }
  )
const ownedSteps = ["stop child", "restart child", "cancel a", "cancel b", "stop"]
const handlerSteps = [
  "fail",
  "fail",
  "fail",
  "die",
  "interrupt",
  "interruptFiber",
  "hang",
  "uninterruptible 30",
  "uninterruptible 1500",
  "failOnInterrupt 20",
  ...ownedSteps
]
const listenerSpec = FastCheck.record({
  on: event,
  steps: steps(...handlerSteps),
  capacity: optional(FastCheck.integer({ min: 1, max: 3 }), 2),
  onFull: optional(FastCheck.constantFrom("wait", "dropOldest", "dropNewest"), 2),
  concurrency: optional(FastCheck.integer({ min: 2, max: 3 })),
  timeout: optional(FastCheck.integer({ min: 1, max: 50 })),
  onFailure: optional(FastCheck.constantFrom("retry", "escalate"))
}).map(dropUndefined) as FastCheck.Arbitrary<ListenerSpec>
const serviceSpec = (actions: ReadonlyArray<FastCheck.WeightedArbitrary<unknown>>) => ({
  start: FastCheck.array(
    FastCheck.oneof(
      { weight: 6, arbitrary: listenerSpec },
      { weight: 2, arbitrary: sends },
      { weight: 2, arbitrary: sleeps },
      {
        weight: 4,
        arbitrary: FastCheck.record({
          after: FastCheck.integer({ min: 1, max: 150 }),
          steps: FastCheck.oneof(
            { weight: 6, arbitrary: steps("fail", ...ownedSteps) },
            { weight: 1, arbitrary: FastCheck.tuple(listenerSpec) }
          )
        })
      },
      {
        weight: 3,
        arbitrary: FastCheck.record({ every: FastCheck.integer({ min: 10, max: 40 }), steps: steps("fail") })
      },
      ...actions
    ),
    { minLength: 1, maxLength: 4, size: "max" }
  ),
  stop: steps("fail", "hang", "uninterruptible 30"),
  stopTimeout: FastCheck.oneof(
    { weight: 9, arbitrary: FastCheck.constantFrom(300, 60, 20) },
    { weight: 1, arbitrary: FastCheck.constant(undefined) }
  )
})
const child = FastCheck.record({
  onFailure: FastCheck.constantFrom("log", "escalate", "restart", "restart"),
  ...serviceSpec([{ weight: 1, arbitrary: FastCheck.constant("fail") }])
}).map(dropUndefined)
const service = FastCheck.record({
  needs: FastCheck.uniqueArray(FastCheck.nat(3), { maxLength: 2 }),
  ...serviceSpec([{ weight: 3, arbitrary: child }])
}).map(dropUndefined)
export const arbitrary = FastCheck.record({
  services: FastCheck.array(service, { minLength: 1, maxLength: 4 }),
  stopAt: FastCheck.oneof(
    { weight: 5, arbitrary: FastCheck.nat(200) },
    { weight: 1, arbitrary: FastCheck.nat(1_500) }
  ),
  seed: optional(FastCheck.integer({ min: 1, max: 2_000_000_000 }), 2),
  outside: optional(
    FastCheck.array(FastCheck.record({ after: FastCheck.nat(150), steps: steps("sleep 5") }), {
      maxLength: 3
    })
  ),
  hasReader: optional(FastCheck.constant(true), 2)
}).map(dropUndefined) as FastCheck.Arbitrary<Scenario>

/** When something happened: `n` counts all that did, `at` is in milliseconds. */
export interface Moment {
  readonly n: number
  readonly at: number
}

/** A listener of one instance of a service. */
export interface Subscription {
  readonly path: string
  readonly spec: ListenerSpec
  readonly registering: Moment
  /** `Service.listen` has returned. */
  registered?: Moment
  cancelling?: Moment
  cancelled?: Moment
}

export interface Send {
  readonly id: number
  readonly by: string
  readonly verb: "emit" | "publish"
  readonly event: EventName
  readonly started: Moment
  ended?: Moment
  isDone: boolean
  receipt?: EventBus.Receipt
}

/** One run of a handler. */
export interface Run {
  readonly subscription: Subscription
  readonly send: Send
  readonly started: Moment
  /** When it last completed a step. */
  lastActive: Moment
  ended?: Moment | undefined
  end?: "done" | "failed" | "interrupted"
  /** The failure it ended with. */
  failureId?: number
  /** How it interrupted itself. */
  selfInterrupt?: "interrupt" | "interruptFiber"
  /** It is inside an uninterruptible step. */
  isUninterruptible: boolean
}

/** An entry of the journal, or a step of a stop that has none. */
type Entry =
  | Journal.Unstamped
  | { readonly _tag: "OnStopOver"; readonly service: string }
  | { readonly _tag: "CleanedUp"; readonly service: string }
export type Recorded = Entry & { readonly when: Moment }

/** All that happened in a scenario. */
export interface History {
  readonly scenario: Scenario
  readonly subscriptions: ReadonlyArray<Subscription>
  readonly sends: ReadonlyArray<Send>
  readonly runs: ReadonlyArray<Run>
  readonly recorded: ReadonlyArray<Recorded>
  /** The state of the app just before the test stopped it. */
  readonly before: { readonly when: Moment; readonly snapshot: ServiceRegistry.Snapshot }
  /** Receipts of one event of each kind, emitted after the app ended. */
  readonly after: ReadonlyArray<EventBus.Receipt>
  readonly isEnded: boolean
  readonly sleepers: number
  readonly render: () => string
}

/** The failure of a step. Each has its own id, to be recognized in causes. */
export class StepFailure extends Data.TaggedError("StepFailure")<{ readonly id: number }> {}

/** The ids of the step failures in a cause. */
export const failureIdsIn = (cause: Cause.Cause<unknown>): ReadonlyArray<number> =>
  [...Cause.failures(cause), ...Cause.defects(cause)].flatMap((error) =>
    error instanceof StepFailure ? [error.id] : []
  )

/** Limit of sends in a scenario, which ends cycles of events. */
const maxSends = 120

/** An instance of a service, from one start to its stop. */
interface Instance {
  readonly path: string
  readonly subscriptions: Map<
    EventName,
    { readonly subscription: Subscription; readonly cancel: Effect.Effect<void> }
  >
  readonly children: Array<{
    readonly stop: Effect.Effect<void>
    readonly restart: Effect.Effect<unknown, unknown>
  }>
}

const childOf = ({ path }: Instance, index: number) => `${path} > ${path.split(" > ").at(-1)}.${index}`

/** Runs a scenario in virtual time. */
export const simulate = (scenario: Scenario): Effect.Effect<History> =>
  Effect.gen(function* () {
    const time = VirtualTime.make(0, scenario.seed)
    const lines: Array<[Moment, () => string]> = []
    const moment = (line: () => string): Moment => {
      const when = { n: lines.length, at: time.now() }
      lines.push([when, line])
      return when
    }
    const subscriptions: Array<Subscription> = []
    const sends: Array<Send> = []
    const runs: Array<Run> = []
    const recorded: Array<Recorded> = []
    // Each scenario has events of its own, since a bus knows them by their names.
    const Payload = Schema.Struct({ id: Schema.Number, hops: Schema.Number })
    const events = { a: Event.make("a", Payload), b: Event.make("b", Payload), c: Event.make("c", Payload) }
    let failureCount = 0

    const record = (what: Entry) =>
      Effect.sync(() => {
        const when = moment(() =>
          what._tag === "OnStopOver" || what._tag === "CleanedUp"
            ? `${what.service} ${what._tag}`
            : `  ${what._tag}: ${Journal.format({ ...what, at: 0 } as Journal.Entry)}`
        )
        recorded.push({ ...what, when })
      })

    const send = (by: string, verb: "emit" | "publish", event: EventName, hops: number) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          if (sends.length >= maxSends) return Effect.void
          const id = sends.length + 1
          const started = moment(() => `${by} ${verb}s ${event}#${id}`)
          const sent: Send = { id, by, verb, event, started, isDone: false }
          sends.push(sent)
          const sending: Effect.Effect<unknown, never, EventBus.EventBus> =
            verb === "emit"
              ? Effect.map(EventBus.emit(events[event], { id, hops }), (receipt) => (sent.receipt = receipt))
              : EventBus.publish(events[event], { id, hops })
          return Effect.onExit(restore(sending), (exit) =>
            Effect.sync(() => {
              sent.isDone = Exit.isSuccess(exit)
              const became = sent.receipt?.outcomes
                .map(({ _tag, service }) => `${_tag} ${service}`)
                .join(", ")
              sent.ended = moment(
                () => `${event}#${id} ${sent.isDone ? "sent" : "interrupted"} ${became ?? ""}`
              )
            })
          )
        })
      )

    const listen = (instance: Instance, spec: ListenerSpec): Effect.Effect<void, never, any> =>
      Effect.suspend(() => {
        // At most one per event, so that a receipt identifies it.
        if (instance.subscriptions.has(spec.on)) return Effect.void
        const { steps, on, onFailure, ...options } = spec
        const subscription: Subscription = {
          path: instance.path,
          spec,
          registering: moment(() => `${instance.path} is about to listen to ${on}`)
        }
        subscriptions.push(subscription)
        const own = { subscription, cancel: Effect.void }
        instance.subscriptions.set(on, own)
        const handler = ({ hops, id }: { readonly id: number; readonly hops: number }) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.suspend(() => {
              const named = `${instance.path} on ${on}#${id}`
              const started = moment(() => `${named} begins`)
              const run: Run = {
                subscription,
                send: sends[id - 1]!,
                started,
                lastActive: started,
                isUninterruptible: false
              }
              runs.push(run)
              return Effect.onExit(restore(runActions(instance, steps, hops - 1, run)), (exit) =>
                Effect.sync(() => {
                  run.end = Exit.isSuccess(exit)
                    ? "done"
                    : Cause.isInterrupted(exit.cause)
                      ? "interrupted"
                      : "failed"
                  run.ended = moment(() => `${named} is ${run.end}`)
                })
              )
            })
          )
        const policy =
          onFailure === "retry" ? retry : onFailure === "escalate" ? Failure.escalate : Failure.log
        return Effect.map(
          Service.listen(events[on], handler, { ...options, onFailure: policy }),
          ({ cancel }) => {
            subscription.registered = moment(() => `${instance.path} listens to ${on}`)
            own.cancel = Effect.suspend(() => {
              subscription.cancelling ??= moment(() => `${instance.path} cancels ${on}`)
              return Effect.map(
                cancel,
                () => (subscription.cancelled ??= moment(() => `${instance.path} has cancelled ${on}`))
              )
            })
          }
        )
      })

    const newFailure = (run: Run | undefined) => {
      const made = new StepFailure({ id: ++failureCount })
      if (run !== undefined) run.failureId = made.id
      return made
    }
    const uninterruptibly = (millis: number, run: Run | undefined) => {
      const set = (isUninterruptible: boolean) =>
        Effect.sync(() => {
          if (run !== undefined) run.isUninterruptible = isUninterruptible
        })
      return Effect.uninterruptible(
        Effect.zipRight(set(true), Effect.zipLeft(Effect.sleep(millis), set(false)))
      )
    }

    /** Runs one action of an instance. */
    const runAction = (
      instance: Instance,
      action: Action,
      hops: number,
      run?: Run
    ): Effect.Effect<unknown, unknown, any> => {
      if (typeof action !== "string") {
        if ("on" in action) return listen(instance, action)
        if ("after" in action)
          return Service.timeout(runActions(instance, action.steps, 2), action.after, {
            onFailure: Failure.log
          })
        if ("every" in action) return Service.interval(runActions(instance, action.steps, 1), action.every)
        const path = childOf(instance, instance.children.length)
        const adopted = Service.adopt(make(path.split(" > ").at(-1)!, path, action), {
          onFailure: policies[action.onFailure ?? "log"]
        })
        return Effect.map(adopted, (child) => instance.children.push(child))
      }
      const [verb, what] = action.split(" ")
      const millis = Number(what)
      const ofChild = (ask: (child: Instance["children"][number]) => Effect.Effect<unknown, unknown>) =>
        Effect.suspend(() => {
          const child = instance.children[0]
          if (child === undefined) return Effect.void
          moment(() => `${instance.path} asks its child: ${action}`)
          return Effect.exit(ask(child))
        })
      switch (verb) {
        case "emit":
        case "publish":
          return hops < 0 ? Effect.void : send(instance.path, verb, what as EventName, hops)
        case "burst":
          return hops < 0
            ? Effect.void
            : Effect.repeatN(send(instance.path, "publish", what as EventName, hops), 3)
        case "sleep":
          return Effect.sleep(millis)
        case "uninterruptible":
          return uninterruptibly(millis, run)
        case "hang":
          return Effect.never
        case "failOnInterrupt":
          return Effect.onInterrupt(Effect.sleep(millis), () =>
            Effect.suspend(() => Effect.die(newFailure(run)))
          )
        case "fail":
          return Effect.suspend(() => Effect.fail(newFailure(run)))
        case "die":
          return Effect.suspend(() => Effect.die(newFailure(run)))
        case "interrupt":
          if (run !== undefined) run.selfInterrupt = "interrupt"
          return Effect.interrupt
        case "interruptFiber":
          return Effect.withFiberRuntime<void>((fiber) => {
            if (run !== undefined) run.selfInterrupt = "interruptFiber"
            fiber.unsafeInterruptAsFork(fiber.id())
            return Effect.yieldNow()
          })
        case "cancel":
          return Effect.suspend(() => instance.subscriptions.get(what as EventName)?.cancel ?? Effect.void)
        case "stop":
          return what === "child" ? ofChild(({ stop }) => stop) : Service.stop
        case "restart":
          return ofChild(({ restart }) => restart)
        default:
          throw new Error(`no such step: ${action}`)
      }
    }
    const runActions = (
      instance: Instance,
      actions: ReadonlyArray<Action>,
      hops: number,
      run?: Run
    ): Effect.Effect<void, any, any> =>
      Effect.forEach(
        actions,
        (action) =>
          Effect.map(
            Effect.suspend(() => runAction(instance, action, hops, run)),
            () => {
              if (run !== undefined)
                run.lastActive = moment(
                  () => `  (${run.subscription.path} on #${run.send.id}: ${JSON.stringify(action)})`
                )
            }
          ),
        { discard: true }
      )

    const make = (name: string, path: string, serviceSpec: ServiceSpec) => {
      class Made extends Service.make<Made>()(name, {
        onStart: Effect.suspend(() => {
          const instance: Instance = { path, subscriptions: new Map(), children: [] }
          return Effect.zipRight(
            Service.addCleanup(record({ _tag: "CleanedUp", service: path })),
            Effect.as(runActions(instance, serviceSpec.start, 2), instance)
          )
        }),
        onStop: (instance) =>
          Effect.ensuring(
            runActions(instance, serviceSpec.stop, 1),
            record({ _tag: "OnStopOver", service: path })
          ),
        stopTimeout: serviceSpec.stopTimeout
      }) {}
      // The requirements of steps are not typed: a service scope and a bus.
      return Made as unknown as Service.Class<any, string, Instance, unknown, EventBus.EventBus>
    }

    const layers: Array<Layer.Layer<never, unknown, EventBus.EventBus>> = []
    for (const [index, { needs, ...serviceSpec }] of scenario.services.entries()) {
      const [first, ...rest] = needs.filter((need) => need < index).map((need) => layers[need]!)
      const layer = Layer.discard(make(`s${index}`, `App > s${index}`, serviceSpec).layer)
      layers.push(first === undefined ? layer : layer.pipe(Layer.provide(Layer.mergeAll(first, ...rest))))
    }
    const [first, ...rest] = layers
    const services = Layer.mergeAll(first!, ...rest)
    const app = App.make({ stopTimeout: "10 minutes" })
    const after: Array<EventBus.Receipt> = []
    const outside = { path: "outside", subscriptions: new Map(), children: [] }
    const all =
      scenario.outside === undefined
        ? Effect.exit(app.launch(Layer.provide(services, EventBus.layer)))
        : Effect.gen(function* () {
            const senders = yield* Effect.forEach(scenario.outside!, ({ after, steps }) =>
              Effect.fork(Effect.delay(runActions(outside, steps, 2), after))
            )
            yield* Effect.exit(app.launch(services))
            // The app has ended, so no sender waits for it.
            yield* Fiber.awaitAll(senders)
            for (const event of Object.values(events))
              after.push(yield* EventBus.emit(event, { id: 0, hops: 0 }))
          }).pipe(Effect.provide(EventBus.layer))

    const inner = yield* Effect.provide(Journal.Journal, Journal.layer)
    const journal: Journal.Journal["Type"] = {
      ...inner,
      reads: () => scenario.hasReader === true,
      append: (entry) => Effect.zipRight(record(entry), inner.append(entry))
    }
    const fiber = yield* time.fork(
      Effect.provideService(all as Effect.Effect<unknown>, Journal.Journal, journal)
    )
    advance(time, scenario.stopAt)
    const when = moment(() => "the test asks the app to stop")
    const snapshot = Option.getOrThrow(yield* app.snapshot)
    app.stop("the test asks")
    advance(time, 600_000)
    const render = () => lines.map(([{ at }, line]) => `${String(at).padStart(6)} ${line()}`).join("\n")
    const isEnded = fiber.unsafePoll() !== null
    const sleepers = time.sleepers()
    if (!isEnded) fiber.unsafeInterruptAsFork(fiber.id())
    return {
      scenario,
      subscriptions,
      sends,
      runs,
      recorded,
      before: { when, snapshot },
      after,
      isEnded,
      sleepers,
      render
    }
  })
