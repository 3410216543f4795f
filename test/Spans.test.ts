import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Schema, TestClock, Tracer } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { build, leavesNothing } from "./support.ts"

const Ping = Event.make("ping", { n: Schema.Number })

/** A tracer that keeps the spans that have ended: `name (service) < parent, linked to …: outcome`. */
const recorder = () => {
  const lines: Array<string> = []
  const tracer = Tracer.make({
    context: (f) => f(),
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, any>()
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      const span: Tracer.Span = {
        _tag: "Span",
        spanId: name,
        traceId: Option.match(parent, { onNone: () => name, onSome: (above) => above.traceId }),
        name,
        parent,
        context,
        links,
        kind,
        sampled: true,
        attributes,
        get status() {
          return status
        },
        attribute: (key, value) => void attributes.set(key, value),
        addLinks: () => {},
        event: () => {},
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
          const above = Option.match(parent, { onNone: () => "", onSome: ({ spanId }) => ` < ${spanId}` })
          const linked = links.map(({ span }) => ` ~ ${span.spanId}`).join("")
          const failed = Exit.isFailure(exit) ? `: ${Cause.pretty(exit.cause).split("\n")[0]}` : ""
          const step = attributes.has("failed") ? ` failed in ${attributes.get("failed")}` : ""
          lines.push(`${name} (${attributes.get("service") ?? ""})${above}${linked}${step}${failed}`)
        }
      }
      return span
    }
  })
  return { lines, layer: Layer.setTracer(tracer) }
}

class Worker extends Service.make<Worker>()("Worker", {
  onStart: Effect.gen(function* () {
    yield* Service.interval(Effect.withSpan(EventBus.emit(Ping, { n: 1 }), "query"), "1 second")
    yield* Service.interval(Effect.fail("no"), "1 second", { name: "broken" })
    yield* Service.spawn(Effect.forever(Effect.delay(Effect.withSpan(Effect.void, "poll"), "900 millis")))
    yield* Service.listen(Ping, () => Effect.withSpan(Effect.void, "save"))
    // What others start in it is not ours to take out of its span.
    yield* Effect.forkScoped(Effect.delay(Effect.withSpan(Effect.void, "accept"), "900 millis"))
    yield* Effect.withSpan(Effect.void, "connect")
  }),
  onStop: () => Effect.withSpan(Effect.void, "disconnect")
}) {}

describe("spans", () => {
  it.effect("are of starts, ticks, handlers and stops, with what happens in each below it", () =>
    Effect.gen(function* () {
      const { layer, lines } = recorder()
      const running = yield* Effect.withSpan(
        build(Worker.layer.pipe(Layer.provide(EventBus.layer))),
        "boot"
      ).pipe(Effect.provide(layer))
      assert.deepStrictEqual(lines.splice(0), [
        "connect () < Worker start",
        "Worker start (Worker) < boot",
        "boot ()"
      ])
      yield* TestClock.adjust("1 second")
      // What runs for long is in no trace that has long ended.
      assert.deepStrictEqual(lines.splice(0).toSorted(), [
        "Worker broken (Worker): Error: no",
        "Worker interval 1s (Worker)",
        "Worker ping (Worker) ~ query",
        "accept ()",
        "poll ()",
        "query () < Worker interval 1s",
        "save () < Worker ping"
      ])
      yield* running.stop
      assert.deepStrictEqual(lines, ["disconnect () < Worker stop", "Worker stop (Worker)"])
    }).pipe(leavesNothing)
  )

  it.effect("of handlers are there only for events sent in a span, unless a listener wants them always", () =>
    Effect.gen(function* () {
      const { layer, lines } = recorder()
      class Listens extends Service.make<Listens>()("Listens", {
        onStart: Effect.all([
          Service.listen(Ping, () => Effect.void),
          Service.listen(Ping, () => Effect.void, { spans: "always" })
        ])
      }) {}
      const running = yield* Effect.provide(build(Layer.provideMerge(Listens.layer, EventBus.layer)), layer)
      lines.length = 0
      yield* Effect.provide(EventBus.emit(Ping, { n: 1 }), running.context)
      assert.deepStrictEqual(lines.splice(0), ["Listens ping (Listens)"])
      const sent = Effect.provide(EventBus.publish(Ping, { n: 1 }), running.context)
      yield* sent.pipe(Effect.withSpan("request"), Effect.provide(layer))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(lines.splice(0), [
        "request ()",
        "Listens ping (Listens) ~ request",
        "Listens ping (Listens) ~ request"
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("fail with what failed: a start, a handler that took too long; a stop says which step", () =>
    Effect.gen(function* () {
      const { layer, lines } = recorder()
      class NoStart extends Service.make<NoStart>()("NoStart", { onStart: Effect.fail("no disk") }) {}
      class Late extends Service.make<Late>()("Late", { onStart: Effect.never, startTimeout: "1 second" }) {}
      class NoStop extends Service.make<NoStop>()("NoStop", {
        onStart: Service.listen(Ping, () => Effect.never, { timeout: "1 second", spans: "always" }),
        onStop: () => Effect.fail("no disk")
      }) {}
      const starting = yield* Effect.fork(
        Effect.provide(Effect.all([Effect.exit(build(NoStart.layer)), Effect.exit(build(Late.layer))]), layer)
      )
      yield* TestClock.adjust("1 second")
      yield* starting
      const running = yield* Effect.provide(build(Layer.provideMerge(NoStop.layer, EventBus.layer)), layer)
      yield* Effect.fork(Effect.provide(EventBus.emit(Ping, { n: 1 }), running.context))
      yield* TestClock.adjust("1 second")
      yield* running.stop
      assert.deepStrictEqual(lines, [
        "NoStart start (NoStart): Error: no disk",
        "NoStart stop (NoStart)",
        "Late start (Late): TimeoutException: it took longer than 1s",
        "Late stop (Late)",
        "NoStop start (NoStop)",
        "NoStop ping (NoStop): All fibers interrupted without errors.",
        "NoStop stop (NoStop) failed in onStop"
      ])
    }).pipe(leavesNothing)
  )

  it.effect("are never below, nor linked to, one that has ended", () =>
    Effect.gen(function* () {
      const { layer, lines } = recorder()
      class Leaf extends Service.make<Leaf>()("Leaf", {
        onStart: Effect.gen(function* () {
          yield* Service.listen(Ping, () => Effect.void)
          yield* Service.addCleanup(Effect.withSpan(Effect.void, "cleanup"))
          // What is not owned by a function of ours goes on in the span it began in.
          const beat = Effect.delay(Effect.withSpan(EventBus.emit(Ping, { n: 1 }), "beat"), "10 seconds")
          yield* Effect.forkScoped(Effect.forever(beat))
          yield* Effect.forkScoped(Effect.delay(EventBus.emit(Ping, { n: 2 }), "15 seconds"))
        })
      }) {}
      const server = Layer.scopedDiscard(
        Effect.forkScoped(Effect.delay(Effect.withSpan(Effect.void, "request"), "10 seconds"))
      )
      let child: Service.Child<unknown> | undefined
      class Top extends Service.make<Top>()("Top", {
        onStart: Service.timeout(
          Effect.gen(function* () {
            child = yield* Service.adopt(Leaf)
            yield* Service.adopt(server, { name: "server" })
          }),
          "1 second",
          { name: "adopt" }
        )
      }) {}
      const running = yield* Effect.provide(
        Effect.withSpan(build(Layer.provide(Top.layer, EventBus.layer)), "boot"),
        layer
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        lines.splice(0).slice(2),
        ["Leaf start (Leaf) < Top adopt", "Top adopt (Top)"].map((line) =>
          line.replace("(Leaf)", "(Top > Leaf)")
        )
      )
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(lines.splice(0).toSorted(), [
        "Leaf ping (Top > Leaf) ~ beat",
        "beat ()",
        "request ()"
      ])
      yield* child!.restart
      assert.deepStrictEqual(lines.splice(0), [
        "cleanup () < Leaf stop",
        "Leaf stop (Top > Leaf)",
        "Leaf start (Top > Leaf)"
      ])
      yield* running.stop
    }).pipe(leavesNothing)
  )

  it.effect("are none where nobody has installed a tracer", () =>
    Effect.gen(function* () {
      const seen: Array<boolean> = []
      const look = Effect.map(
        Effect.option(Effect.currentSpan),
        (span) => void seen.push(Option.isSome(span))
      )
      class Quiet extends Service.make<Quiet>()("Quiet", {
        onStart: Effect.all([
          look,
          Service.interval(look, "1 second"),
          Service.listen(Ping, () => look, { spans: "always" })
        ]),
        onStop: () => look
      }) {}
      const running = yield* build(Layer.provideMerge(Quiet.layer, EventBus.layer))
      yield* Effect.withSpan(Effect.provide(EventBus.emit(Ping, { n: 1 }), running.context), "sent")
      yield* TestClock.adjust("1 second")
      yield* running.stop
      assert.deepStrictEqual(seen, [false, false, false, false])
    }).pipe(leavesNothing)
  )
})
