/** Buses with listeners of one event: the toolkit's, and two written by hand in plain Effect. */
import { Context, Effect, type Exit, Fiber, Layer, PubSub, Runtime, Schema, Stream } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch, times } from "./app.ts"
import { type Count, Counter, handler, range, until } from "./count.ts"

export interface Setting {
  readonly count: Count
  /** Of the event that is sent. */
  readonly listeners: number
  /** Listeners of other events, each of an event of its own. Defaults to none. */
  readonly others?: number
}

/** Of each listener's queue, and of the `PubSub` by hand. */
const capacity = 1_024

const Ping = Event.make("ping", { n: Schema.Number })

/** Listeners of the toolkit, each in a service of its own or all in one. */
export const toolkit = async (services: "a service each" | "one service", setting: Setting) => {
  const { count, listeners, others = 0 } = setting
  const listening = (name: string, n: number) => {
    class Listening extends Service.make<Listening>()(name, {
      onStart: Effect.forEach(range(n), () => Service.listen(Ping, handler(), { capacity }), {
        discard: true
      })
    }) {}
    return Listening.layer
  }
  class Others extends Service.make<Others>()("Others", {
    onStart: Effect.forEach(
      range(others),
      (i) => Service.listen(Event.make(`other:${i}`, { n: Schema.Number }), handler()),
      { discard: true }
    )
  }) {}
  class Sender extends Service.make<Sender>()("Sender", {
    onStart: Effect.map(Effect.runtime<EventBus.EventBus>(), (runtime) => (sender = runtime))
  }) {}
  let sender!: Runtime.Runtime<EventBus.EventBus>
  const all =
    services === "one service"
      ? [listening("Listeners", listeners)]
      : range(listeners).map((i) => listening(`Listener${i}`, 1))
  const { stop } = await launch(
    Layer.mergeAll(Sender.layer, Others.layer, ...all).pipe(
      Layer.provide(EventBus.layer),
      Layer.provide(Layer.succeed(Counter, count))
    )
  )
  const run: <A, E>(effect: Effect.Effect<A, E, EventBus.EventBus>) => Promise<A> = Runtime.runPromise(sender)
  const publish = (n: number) => EventBus.publish(Ping, { n })
  return {
    emit: (n: number) => run(times(n, (n) => EventBus.emit(Ping, { n }))),
    publishOne: (n: number) => run(times(n, (n) => until(count, listeners, publish(n)))),
    publishAll: (n: number) => run(until(count, n * listeners, times(n, publish))),
    stop
  }
}

/** One `PubSub` for all events, and for each listener a fiber that runs a filtered `Stream`. */
export const pubSub = async ({ count, listeners, others = 0 }: Setting) => {
  const bus = await Effect.runPromise(PubSub.bounded<{ readonly _tag: string; readonly n: number }>(capacity))
  const listen = (tag: string, handle: ReturnType<typeof handler>) =>
    Effect.flatMap(Stream.fromPubSub(bus, { scoped: true }), (events) =>
      events.pipe(
        Stream.filter((event) => event._tag === tag),
        Stream.runForEach(handle),
        Effect.forkScoped
      )
    )
  const fiber = Effect.runFork(
    Effect.forEach(range(listeners), () => listen("ping", handler())).pipe(
      Effect.zipRight(Effect.forEach(range(others), (i) => listen(`other:${i}`, handler()))),
      Effect.zipRight(Effect.never),
      Effect.scoped,
      Effect.provideService(Counter, count)
    )
  )
  const publish = (n: number) => PubSub.publish(bus, { _tag: "ping", n })
  return {
    publishOne: (n: number) => Effect.runPromise(times(n, (n) => until(count, listeners, publish(n)))),
    publishAll: (n: number) => Effect.runPromise(until(count, n * listeners, times(n, publish))),
    stop: () => Effect.runPromise(Fiber.interrupt(fiber))
  }
}

/** Emit by hand: a loop over the listeners that provides the context of each and takes its exit. */
export const byHand = ({ count, listeners }: Setting) => {
  // About as many entries as a service has.
  const others = Context.unsafeMake<never>(new Map(["A", "B", "C", "D", "E"].map((key) => [key, key])))
  const context = Context.add(others, Counter, count)
  const all = range(listeners).map(() => ({
    handle: handler(),
    context: Context.merge(context, Context.empty())
  }))
  const emit = (event: { readonly n: number }): Effect.Effect<Array<Exit.Exit<void>>> =>
    Effect.forEach(all, ({ context, handle }) => Effect.exit(Effect.provide(handle(event), context)))
  return { emit: (n: number) => Effect.runPromise(times(n, (n) => emit({ n }))) }
}
