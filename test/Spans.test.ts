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
          lines.push(`${name} (${attributes.get("service") ?? ""})${above}${linked}${failed}`)
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

  it.effect("are none where nobody has installed a tracer", () =>
    Effect.gen(function* () {
      const seen: Array<boolean> = []
      const look = Effect.map(
        Effect.option(Effect.currentSpan),
        (span) => void seen.push(Option.isSome(span))
      )
      class Quiet extends Service.make<Quiet>()("Quiet", {
        onStart: Effect.zipRight(look, Service.interval(look, "1 second")),
        onStop: () => look
      }) {}
      const running = yield* build(Quiet.layer)
      yield* TestClock.adjust("1 second")
      yield* running.stop
      assert.deepStrictEqual(seen, [false, false, false])
    }).pipe(leavesNothing)
  )
})
