/** Buses of one kind of event, as a service has them and as one would write them by hand. */
import { Context, Effect, type Exit, Fiber, Layer, PubSub, Runtime, Schema, Stream } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch, times } from "./app.ts"
import { type Count, Counter, handler, range, until } from "./count.ts"

export interface Setting {
  readonly count: Count
  /** Of the event that is sent. */
  readonly listeners: number
  /** Each of another event. */
  readonly others: number
}

/** As much as a listener's queue holds, and a `PubSub`. */
const capacity = 1_024

const Ping = Event.make("ping", { n: Schema.Number })

export const toolkit = async ({
  count,
  listeners,
  others,
  validate = true
}: Setting & { readonly validate?: boolean }) => {
  class Listeners extends Service.make<Listeners>()("Listeners", {
    onStart: Effect.forEach(range(listeners), () => Service.listen(Ping, handler(), { capacity }), {
      discard: true
    })
  }) {}
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
  const { stop } = await launch(
    Layer.mergeAll(Listeners.layer, Others.layer, Sender.layer).pipe(
      Layer.provide(EventBus.layerWith({ validate })),
      Layer.provide(Layer.succeed(Counter, count))
    )
  )
  const run: <A, E>(effect: Effect.Effect<A, E, EventBus.EventBus>) => Promise<A> = Runtime.runPromise(sender)
  const publish = (n: number) => EventBus.publish(Ping, { n })
  return {
    emit: (n: number) => run(times(n, (n) => EventBus.emit(Ping, { n }))),
    publishOne: (n: number) => run(times(n, (n) => until(count, listeners, publish(n)))),
    publishAll: (n: number) => run(until(count, n * listeners, times(n, publish))),
    publish,
    run,
    stop
  }
}

/** One `PubSub` for all events, and for each listener a fiber that runs a filtered `Stream`. */
export const pubSub = async ({ count, listeners, others }: Setting) => {
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
    publish,
    run: <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect),
    stop: () => Effect.runPromise(Fiber.interrupt(fiber))
  }
}

/** Emit as it is written by hand: the environment of each listener, no failure reaches another, and their exits. */
export const byHand = ({ count, listeners }: Omit<Setting, "others">) => {
  // Of about the size that a service has.
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
