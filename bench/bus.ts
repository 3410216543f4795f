/**
 * What an event costs: emitted, published one at a time, and published without
 * a pause, against what others have and against what a user would write by hand.
 *
 * Every listener is a closure of its own, and each bus has 1,000 listeners of
 * other events besides, but for the one of a single `PubSub`, where each of them
 * costs as much as one of the event itself. Handlers of ours are Effects that
 * use the environment of their service; journal, metrics, status and receipts
 * are as they are by default. Each call of a handler is counted.
 */
import { Context, Effect, type Exit, Fiber, Layer, PubSub, Runtime, Schema, Stream } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { launch, times } from "./app.ts"
import { Counter, type Count, handler, makeCount, range, until } from "./count.ts"
import { emittery, moleculer, nest } from "./busPeers.ts"
import type { Suite } from "./main.ts"
import { expectCount, paired, perOperation, ratios } from "./rounds.ts"
import { nanos } from "./report.ts"

export const bus: Suite = async (quick, report) => {
  const [rounds, millis] = quick ? [5, 10] : [25, 50]

  for (const listeners of [1, 10, 100]) {
    const count = makeCount()
    const ours = await toolkit({ count, listeners, others: 1_000 })
    const unchecked = await toolkit({ count, listeners, others: 1_000, validate: false })
    const stream = await pubSub({ count, listeners })
    const hand = byHand({ count, listeners })
    const peers = {
      emittery: await emittery({ count, listeners, others: 1_000 }),
      moleculer: await moleculer({ count, listeners, others: 1_000 }),
      nest: await nest({ count, listeners, others: 1_000 })
    }
    /** Rounds of loops in which every listener is called once for each time. */
    const counted = (run: ((n: number) => Promise<unknown>) | undefined) =>
      run &&
      perOperation(millis, async (n) => {
        const before = count.handled
        await run(n)
        expectCount("handler calls", count.handled - before, n * listeners)
      })
    const awaited = {
      emittery: counted(peers.emittery?.emit),
      "moleculer, broker.emit": counted(peers.moleculer?.emit),
      "@nestjs/event-emitter, emitAsync": counted(peers.nest?.emit)
    }
    const to = `to ${listeners} listener${listeners === 1 ? "" : "s"}`

    const emitted = await paired(rounds, {
      "effect-services": counted(ours.emit),
      "effect-services, without validation": counted(unchecked.emit),
      "by hand: exit and provide per listener": counted(hand.emit),
      ...awaited
    })
    report.variants(`emit ${to}`, nanos, emitted)
    const of = (costs: Readonly<Record<string, ReadonlyArray<number>>>, theirs: string) =>
      ratios(costs["effect-services"]!, costs[theirs]!)
    if (listeners === 1) {
      report.goal({
        goal: "1",
        what: `emit ${to}, of emittery's`,
        atMost: 1.5,
        values: of(emitted, "emittery")
      })
    }
    const handLoop = of(emitted, "by hand: exit and provide per listener")
    report.goal({ goal: "1", what: `emit ${to}, of a loop by hand`, atMost: 0.25, values: handLoop })
    fasterThanOthers(`emit ${to}`, emitted)

    const single = await paired(rounds, {
      "effect-services": counted(ours.publishOne),
      "effect-services, without validation": counted(unchecked.publishOne),
      "one PubSub, a Stream per listener": counted(stream.publishOne),
      ...awaited
    })
    report.variants(`publish one at a time ${to}`, nanos, single)
    const theirs = "one PubSub, a Stream per listener"
    report.goal({
      goal: "2",
      what: `publish one at a time ${to}, of PubSub and Streams`,
      atMost: 1 / 40,
      values: of(single, theirs)
    })
    fasterThanOthers(`publish one at a time ${to}`, single)

    const saturated = await paired(rounds, {
      "effect-services": counted(ours.publishAll),
      "effect-services, without validation": counted(unchecked.publishAll),
      "one PubSub, a Stream per listener": counted(stream.publishAll),
      ...awaited
    })
    report.variants(`publish without a pause ${to}`, nanos, saturated)
    report.goal({
      goal: "2",
      what: `publish without a pause ${to}, of PubSub and Streams`,
      atMost: 1 / { 1: 1.2, 10: 1.8, 100: 2 }[listeners]!,
      values: of(saturated, theirs)
    })
    fasterThanOthers(`publish without a pause ${to}`, saturated)

    for (const { stop } of [ours, unchecked, stream, ...Object.values(peers).flatMap((peer) => peer ?? [])]) {
      await stop()
    }
  }

  function fasterThanOthers(what: string, costs: Readonly<Record<string, ReadonlyArray<number>>>) {
    for (const other of ["moleculer, broker.emit", "@nestjs/event-emitter, emitAsync"]) {
      report.goal({
        goal: "5",
        what: `${what}, of ${other}`,
        atMost: 1,
        values: ratios(costs["effect-services"]!, costs[other]!)
      })
    }
  }

  const count = makeCount()
  const alone = await toolkit({ count, listeners: 1, others: 0 })
  const crowd = await toolkit({ count, listeners: 1, others: 10_000 })
  for (const verb of ["emit", "publishOne"] as const) {
    const what = verb === "emit" ? "emit to 1 listener" : "publish one at a time to 1 listener"
    const costs = await paired(rounds, {
      "10,000 listeners of other events": perOperation(millis, crowd[verb]),
      "no other listeners": perOperation(millis, alone[verb])
    })
    report.variants(what, nanos, costs)
    const values = ratios(costs["10,000 listeners of other events"], costs["no other listeners"])
    report.goal({ goal: "3", what: `${what}, with 10,000 others, of without`, atMost: 2, values })
  }
  await alone.stop()
  await crowd.stop()
}

export interface Setting {
  readonly count: Count
  readonly listeners: number
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
export const pubSub = async ({ count, listeners }: Omit<Setting, "others">) => {
  const bus = await Effect.runPromise(PubSub.bounded<{ readonly _tag: string; readonly n: number }>(capacity))
  const listen = (handle: ReturnType<typeof handler>) =>
    Effect.flatMap(Stream.fromPubSub(bus, { scoped: true }), (events) =>
      events.pipe(
        Stream.filter((event) => event._tag === "ping"),
        Stream.runForEach(handle),
        Effect.forkScoped
      )
    )
  const fiber = Effect.runFork(
    Effect.forEach(range(listeners), () => listen(handler())).pipe(
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
const byHand = ({ count, listeners }: Omit<Setting, "others">) => {
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
