/**
 * Services that talk: a random case, which prints as one reads it, and the
 * story of what happened when it was lived through in virtual time.
 */
import { Cause, Data, Effect, Exit, FastCheck, Fiber, Layer, Option, Schedule, Schema } from "effect"
import { App, Event, EventBus, Failure, Journal, Service, type ServiceRegistry } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { advance, policies } from "./support.ts"

/** What is done, in words: `emit a`, `publish b`, `burst c`, `sleep 20`, and others of `act`. */
export type Step = string
export type EventName = "a" | "b" | "c"

export interface Listening {
  readonly on: EventName
  readonly does: ReadonlyArray<Step>
  readonly capacity?: number
  readonly onFull?: "wait" | "dropOldest" | "dropNewest"
  readonly concurrency?: number
  readonly timeout?: number
  readonly onFailure?: "again" | "escalate"
}

interface Life {
  /** What `onStart` does, in order. */
  readonly start: ReadonlyArray<Part>
  readonly stop: ReadonlyArray<Step>
  readonly stopTimeout?: number
}
type Part =
  | Step
  | Listening
  | { readonly after: number; readonly does: ReadonlyArray<Step | Listening> }
  | { readonly every: number; readonly does: ReadonlyArray<Step> }
  | ({ readonly onFailure?: keyof typeof policies } & Life)

/** A case. */
export interface Chatter {
  /** Each needs some of those before it, by their index. */
  readonly services: ReadonlyArray<Life & { readonly needs: ReadonlyArray<number> }>
  readonly stopAt: number
  /** Without, in the usual order; with, in a random one, with interruptions anywhere. */
  readonly seed?: number
  /** What is sent from outside of the app, over a bus from outside. Without, the bus is the app's. */
  readonly outside?: ReadonlyArray<{ readonly after: number; readonly does: ReadonlyArray<Step> }>
  /** Whether somebody reads what happens often. */
  readonly isRead?: boolean
}

const again = Failure.restart({
  backoff: Schedule.spaced("10 millis"),
  budget: { restarts: 3, within: "1 second" },
  onExhausted: Failure.log
})

/** One of so many has it: so a case is short. */
const sometimes = <T>(arbitrary: FastCheck.Arbitrary<T>, oneOf = 4) =>
  FastCheck.oneof({ weight: oneOf - 1, arbitrary: FastCheck.constant(undefined) }, { weight: 1, arbitrary })
const without = <T extends object>(record: T): T =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T

const event = FastCheck.constantFrom<EventName>("a", "b", "c")
const sends = FastCheck.tuple(
  FastCheck.constantFrom("emit", "emit", "publish", "publish", "burst"),
  event
).map((words) => words.join(" "))
const sleeps = FastCheck.integer({ min: 1, max: 40 }).map((millis) => `sleep ${millis}`)
const does = (...rare: ReadonlyArray<Step>) =>
  FastCheck.array(
    FastCheck.oneof(
      { weight: 6, arbitrary: sends },
      { weight: 4, arbitrary: sleeps },
      { weight: 2, arbitrary: FastCheck.constantFrom(...rare) }
    ),
    { maxLength: 3 }
  )
const ofOwned = ["stop child", "restart child", "cancel a", "cancel b", "stop"]
const ofHandlers = [
  "fail",
  "fail",
  "fail",
  "die",
  "interrupt",
  "kill",
  "hang",
  "shield 30",
  "shield 1500",
  "grudge 20",
  ...ofOwned
]
const listening = FastCheck.record({
  on: event,
  does: does(...ofHandlers),
  capacity: sometimes(FastCheck.integer({ min: 1, max: 3 }), 2),
  onFull: sometimes(FastCheck.constantFrom("wait", "dropOldest", "dropNewest"), 2),
  concurrency: sometimes(FastCheck.integer({ min: 2, max: 3 })),
  timeout: sometimes(FastCheck.integer({ min: 1, max: 50 })),
  onFailure: sometimes(FastCheck.constantFrom("again", "escalate"))
}).map(without) as FastCheck.Arbitrary<Listening>
const life = (parts: ReadonlyArray<FastCheck.WeightedArbitrary<unknown>>) => ({
  start: FastCheck.array(
    FastCheck.oneof(
      { weight: 6, arbitrary: listening },
      { weight: 2, arbitrary: sends },
      { weight: 2, arbitrary: sleeps },
      {
        weight: 4,
        arbitrary: FastCheck.record({
          after: FastCheck.integer({ min: 1, max: 150 }),
          does: FastCheck.oneof(
            { weight: 6, arbitrary: does("fail", ...ofOwned) },
            { weight: 1, arbitrary: FastCheck.tuple(listening) }
          )
        })
      },
      {
        weight: 3,
        arbitrary: FastCheck.record({ every: FastCheck.integer({ min: 10, max: 40 }), does: does("fail") })
      },
      ...parts
    ),
    { minLength: 1, maxLength: 4, size: "max" }
  ),
  stop: does("fail", "hang", "shield 30"),
  stopTimeout: FastCheck.oneof(
    { weight: 9, arbitrary: FastCheck.constantFrom(300, 60, 20) },
    { weight: 1, arbitrary: FastCheck.constant(undefined) }
  )
})
const child = FastCheck.record({
  onFailure: FastCheck.constantFrom("log", "escalate", "restart", "restart"),
  ...life([{ weight: 1, arbitrary: FastCheck.constant("fail") }])
}).map(without)
const service = FastCheck.record({
  needs: FastCheck.uniqueArray(FastCheck.nat(3), { maxLength: 2 }),
  ...life([{ weight: 3, arbitrary: child }])
}).map(without)
export const arbitrary = FastCheck.record({
  services: FastCheck.array(service, { minLength: 1, maxLength: 4 }),
  stopAt: FastCheck.oneof(
    { weight: 5, arbitrary: FastCheck.nat(200) },
    { weight: 1, arbitrary: FastCheck.nat(1_500) }
  ),
  seed: sometimes(FastCheck.integer({ min: 1, max: 2_000_000_000 }), 2),
  outside: sometimes(
    FastCheck.array(FastCheck.record({ after: FastCheck.nat(150), does: does("sleep 5") }), { maxLength: 3 })
  ),
  isRead: sometimes(FastCheck.constant(true), 2)
}).map(without) as FastCheck.Arbitrary<Chatter>

/** When something happened: `n` counts all that did, `at` is in milliseconds. */
export interface Moment {
  readonly n: number
  readonly at: number
}

/** A listener, as long as its service lives once. */
export interface Ear {
  readonly path: string
  readonly spec: Listening
  readonly asked: Moment
  /** `Service.listen` has returned. */
  since?: Moment
  cancelling?: Moment
  cancelled?: Moment
}

export interface Send {
  readonly id: number
  readonly by: string
  readonly verb: "emit" | "publish"
  readonly event: EventName
  readonly begun: Moment
  over?: Moment
  isDone: boolean
  receipt?: EventBus.Receipt
}

/** One run of a handler. */
export interface Run {
  readonly ear: Ear
  readonly send: Send
  readonly begun: Moment
  /** When it was last seen to do something. */
  seen: Moment
  over?: Moment | undefined
  end?: "done" | "failed" | "interrupted"
  /** What it failed with. */
  boom?: number
  /** It has interrupted itself. */
  isOwnDoing?: "interrupt" | "kill"
  /** It is in what cannot be interrupted. */
  isShielded: boolean
}

/** An entry of the journal, or what has no entry. */
type Note =
  | Journal.Unstamped
  | { readonly _tag: "OnStopOver"; readonly service: string }
  | { readonly _tag: "CleanedUp"; readonly service: string }
export type Told = Note & { readonly when: Moment }

/** All that happened. */
export interface Story {
  readonly chatter: Chatter
  readonly ears: ReadonlyArray<Ear>
  readonly sends: ReadonlyArray<Send>
  readonly runs: ReadonlyArray<Run>
  readonly told: ReadonlyArray<Told>
  /** How all was just before the test asked for the stop, and when that was. */
  readonly before: { readonly when: Moment; readonly snapshot: ServiceRegistry.Snapshot }
  /** What became of an event of each kind, sent when the app was over. */
  readonly after: ReadonlyArray<EventBus.Receipt>
  readonly isOver: boolean
  readonly sleepers: number
  readonly render: () => string
}

/** What a step fails with: each time another, so that it is known again. */
export class Boom extends Data.TaggedError("Boom")<{ readonly id: number }> {}

/** Those that a cause tells of. */
export const boomsIn = (cause: Cause.Cause<unknown>): ReadonlyArray<number> =>
  [...Cause.failures(cause), ...Cause.defects(cause)].flatMap((error) =>
    error instanceof Boom ? [error.id] : []
  )

/** Cycles of events end when this many were sent in a case. */
const mostSends = 120

/** One life of a service. */
interface Who {
  readonly path: string
  readonly ears: Map<EventName, { readonly ear: Ear; readonly cancel: Effect.Effect<void> }>
  readonly children: Array<{
    readonly stop: Effect.Effect<void>
    readonly restart: Effect.Effect<unknown, unknown>
  }>
}

const childOf = ({ path }: Who, index: number) => `${path} > ${path.split(" > ").at(-1)}.${index}`

/** Lives through a case. */
export const live = (chatter: Chatter): Effect.Effect<Story> =>
  Effect.gen(function* () {
    const time = VirtualTime.make(0, chatter.seed)
    const lines: Array<[Moment, () => string]> = []
    const moment = (line: () => string): Moment => {
      const when = { n: lines.length, at: time.now() }
      lines.push([when, line])
      return when
    }
    const ears: Array<Ear> = []
    const sends: Array<Send> = []
    const runs: Array<Run> = []
    const told: Array<Told> = []
    // Events of a case are its own, since a bus knows them by their names.
    const Payload = Schema.Struct({ id: Schema.Number, hops: Schema.Number })
    const events = { a: Event.make("a", Payload), b: Event.make("b", Payload), c: Event.make("c", Payload) }
    let booms = 0

    const note = (what: Note) =>
      Effect.sync(() => {
        const when = moment(() =>
          what._tag === "OnStopOver" || what._tag === "CleanedUp"
            ? `${what.service} ${what._tag}`
            : `  ${what._tag}: ${Journal.format({ ...what, at: 0 } as Journal.Entry)}`
        )
        told.push({ ...what, when })
      })

    const send = (by: string, verb: "emit" | "publish", event: EventName, hops: number) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          if (sends.length >= mostSends) return Effect.void
          const id = sends.length + 1
          const begun = moment(() => `${by} ${verb}s ${event}#${id}`)
          const sent: Send = { id, by, verb, event, begun, isDone: false }
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
              sent.over = moment(
                () => `${event}#${id} ${sent.isDone ? "sent" : "interrupted"} ${became ?? ""}`
              )
            })
          )
        })
      )

    const listen = (who: Who, spec: Listening): Effect.Effect<void, never, any> =>
      Effect.suspend(() => {
        // One each, so that a receipt tells which.
        if (who.ears.has(spec.on)) return Effect.void
        const { does, on, onFailure, ...options } = spec
        const ear: Ear = {
          path: who.path,
          spec,
          asked: moment(() => `${who.path} is about to listen to ${on}`)
        }
        ears.push(ear)
        const mine = { ear, cancel: Effect.void }
        who.ears.set(on, mine)
        const handler = ({ hops, id }: { readonly id: number; readonly hops: number }) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.suspend(() => {
              const named = `${who.path} on ${on}#${id}`
              const begun = moment(() => `${named} begins`)
              const run: Run = { ear, send: sends[id - 1]!, begun, seen: begun, isShielded: false }
              runs.push(run)
              return Effect.onExit(restore(perform(who, does, hops - 1, run)), (exit) =>
                Effect.sync(() => {
                  run.end = Exit.isSuccess(exit)
                    ? "done"
                    : Cause.isInterrupted(exit.cause)
                      ? "interrupted"
                      : "failed"
                  run.over = moment(() => `${named} is ${run.end}`)
                })
              )
            })
          )
        const policy =
          onFailure === "again" ? again : onFailure === "escalate" ? Failure.escalate : Failure.log
        return Effect.map(
          Service.listen(events[on], handler, { ...options, onFailure: policy }),
          ({ cancel }) => {
            ear.since = moment(() => `${who.path} listens to ${on}`)
            mine.cancel = Effect.suspend(() => {
              ear.cancelling ??= moment(() => `${who.path} cancels ${on}`)
              return Effect.map(
                cancel,
                () => (ear.cancelled ??= moment(() => `${who.path} has cancelled ${on}`))
              )
            })
          }
        )
      })

    const boom = (run: Run | undefined) => {
      const made = new Boom({ id: ++booms })
      if (run !== undefined) run.boom = made.id
      return made
    }
    const shielded = (millis: number, run: Run | undefined) => {
      const set = (isShielded: boolean) =>
        Effect.sync(() => {
          if (run !== undefined) run.isShielded = isShielded
        })
      return Effect.uninterruptible(
        Effect.zipRight(set(true), Effect.zipLeft(Effect.sleep(millis), set(false)))
      )
    }

    /** Does one step of a script. */
    const act = (who: Who, part: Part, hops: number, run?: Run): Effect.Effect<unknown, unknown, any> => {
      if (typeof part !== "string") {
        if ("on" in part) return listen(who, part)
        if ("after" in part)
          return Service.timeout(perform(who, part.does, 2), part.after, { onFailure: Failure.log })
        if ("every" in part) return Service.interval(perform(who, part.does, 1), part.every)
        const path = childOf(who, who.children.length)
        const adopted = Service.adopt(make(path.split(" > ").at(-1)!, path, part), {
          onFailure: policies[part.onFailure ?? "log"]
        })
        return Effect.map(adopted, (child) => who.children.push(child))
      }
      const [verb, what] = part.split(" ")
      const millis = Number(what)
      const ofChild = (ask: (child: Who["children"][number]) => Effect.Effect<unknown, unknown>) =>
        Effect.suspend(() => {
          const child = who.children[0]
          if (child === undefined) return Effect.void
          moment(() => `${who.path} asks its child: ${part}`)
          return Effect.exit(ask(child))
        })
      switch (verb) {
        case "emit":
        case "publish":
          return hops < 0 ? Effect.void : send(who.path, verb, what as EventName, hops)
        case "burst":
          return hops < 0
            ? Effect.void
            : Effect.repeatN(send(who.path, "publish", what as EventName, hops), 3)
        case "sleep":
          return Effect.sleep(millis)
        case "shield":
          return shielded(millis, run)
        case "hang":
          return Effect.never
        case "grudge":
          return Effect.onInterrupt(Effect.sleep(millis), () => Effect.suspend(() => Effect.die(boom(run))))
        case "fail":
          return Effect.suspend(() => Effect.fail(boom(run)))
        case "die":
          return Effect.suspend(() => Effect.die(boom(run)))
        case "interrupt":
          if (run !== undefined) run.isOwnDoing = "interrupt"
          return Effect.interrupt
        case "kill":
          return Effect.withFiberRuntime<void>((fiber) => {
            if (run !== undefined) run.isOwnDoing = "kill"
            fiber.unsafeInterruptAsFork(fiber.id())
            return Effect.yieldNow()
          })
        case "cancel":
          return Effect.suspend(() => who.ears.get(what as EventName)?.cancel ?? Effect.void)
        case "stop":
          return what === "child" ? ofChild(({ stop }) => stop) : Service.stop
        case "restart":
          return ofChild(({ restart }) => restart)
        default:
          throw new Error(`no such step: ${part}`)
      }
    }
    const perform = (
      who: Who,
      parts: ReadonlyArray<Part>,
      hops: number,
      run?: Run
    ): Effect.Effect<void, any, any> =>
      Effect.forEach(
        parts,
        (part) =>
          Effect.map(
            Effect.suspend(() => act(who, part, hops, run)),
            () => {
              if (run !== undefined)
                run.seen = moment(() => `  (${run.ear.path} on #${run.send.id}: ${JSON.stringify(part)})`)
            }
          ),
        { discard: true }
      )

    const make = (name: string, path: string, life: Life) => {
      class Made extends Service.make<Made>()(name, {
        onStart: Effect.suspend(() => {
          const who: Who = { path, ears: new Map(), children: [] }
          return Effect.zipRight(
            Service.addCleanup(note({ _tag: "CleanedUp", service: path })),
            Effect.as(perform(who, life.start, 2), who)
          )
        }),
        onStop: (who) =>
          Effect.ensuring(perform(who, life.stop, 1), note({ _tag: "OnStopOver", service: path })),
        stopTimeout: life.stopTimeout
      }) {}
      // Steps are not typed by what they need: a service, and a bus.
      return Made as unknown as Service.Class<any, string, Who, unknown, EventBus.EventBus>
    }

    const layers: Array<Layer.Layer<never, unknown, EventBus.EventBus>> = []
    for (const [index, { needs, ...life }] of chatter.services.entries()) {
      const [first, ...rest] = needs.filter((need) => need < index).map((need) => layers[need]!)
      const layer = Layer.discard(make(`s${index}`, `App > s${index}`, life).layer)
      layers.push(first === undefined ? layer : layer.pipe(Layer.provide(Layer.mergeAll(first, ...rest))))
    }
    const [first, ...rest] = layers
    const services = Layer.mergeAll(first!, ...rest)
    const app = App.make({ stopTimeout: "10 minutes" })
    const after: Array<EventBus.Receipt> = []
    const outside = { path: "outside", ears: new Map(), children: [] }
    const all =
      chatter.outside === undefined
        ? Effect.exit(app.launch(Layer.provide(services, EventBus.layer)))
        : Effect.gen(function* () {
            const senders = yield* Effect.forEach(chatter.outside!, ({ after, does }) =>
              Effect.fork(Effect.delay(perform(outside, does, 2), after))
            )
            yield* Effect.exit(app.launch(services))
            // The app is over, and lets them go.
            yield* Fiber.awaitAll(senders)
            for (const event of Object.values(events))
              after.push(yield* EventBus.emit(event, { id: 0, hops: 0 }))
          }).pipe(Effect.provide(EventBus.layer))

    const inner = yield* Effect.provide(Journal.Journal, Journal.layer)
    const journal: Journal.Journal["Type"] = {
      ...inner,
      reads: () => chatter.isRead === true,
      append: (entry) => Effect.zipRight(note(entry), inner.append(entry))
    }
    const fiber = yield* time.fork(
      Effect.provideService(all as Effect.Effect<unknown>, Journal.Journal, journal)
    )
    advance(time, chatter.stopAt)
    const when = moment(() => "the test asks the app to stop")
    const snapshot = Option.getOrThrow(yield* app.snapshot)
    app.stop("the test asks")
    advance(time, 600_000)
    const render = () => lines.map(([{ at }, line]) => `${String(at).padStart(6)} ${line()}`).join("\n")
    const isOver = fiber.unsafePoll() !== null
    const sleepers = time.sleepers()
    if (!isOver) fiber.unsafeInterruptAsFork(fiber.id())
    return { chatter, ears, sends, runs, told, before: { when, snapshot }, after, isOver, sleepers, render }
  })
