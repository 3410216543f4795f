import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema } from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { TestApp, TestEventBus } from "effect-services/testing"

const Ordered = Event.make("ordered", { id: Schema.String })
const Paid = Event.make("paid", { id: Schema.String })

/** Takes what was ordered for paid, a minute later. */
class Payments extends Service.make<Payments>()("Payments", {
  onStart: Effect.gen(function* () {
    const bus = yield* EventBus.EventBus
    yield* Service.listen(Ordered, ({ id }) => Effect.delay(bus.publish(Paid, { id }), "1 minute"))
  })
}) {}
class Mailer extends Service.make<Mailer>()("Mailer", {
  onStart: Effect.gen(function* () {
    const mails = yield* Ref.make<ReadonlyArray<string>>([])
    yield* Service.listen(Paid, ({ id }) => Ref.update(mails, (all) => [...all, id]))
    yield* Service.listen(Ordered, () => Effect.void)
    return { mails: Ref.get(mails) }
  })
}) {}
const shop = Layer.merge(Payments.layer, Mailer.layer).pipe(Layer.provideMerge(EventBus.layer))
const mails = Effect.flatMap(Mailer, (mailer) => mailer.mails)

describe("TestEventBus", () => {
  it.scoped("tells what was sent, by whom, when, and what became of it", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      yield* app.run(EventBus.emit(Ordered, { id: "A1" }))
      yield* app.advance("1 second")
      const [ordered] = yield* app.run(TestEventBus.emitted(Ordered))
      assert.deepStrictEqual(
        [ordered?.verb, ordered?.payload, ordered?.sender, ordered?.at, ordered?.receipt?.handled],
        ["emit", { id: "A1" }, undefined, 0, 2]
      )
      const paid = yield* app.run(TestEventBus.emitted(Paid))
      assert.deepStrictEqual(
        paid.map(({ at, payload, receipt, sender, verb }) => [verb, payload, sender, at, receipt]),
        [["publish", { id: "A1" }, "Shop > Payments", 60_000, undefined]]
      )
    })
  )

  it.scoped("waits for an event in virtual time, and says what was sent instead of it", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      yield* app.run(Effect.forkDaemon(EventBus.emit(Ordered, { id: "A1" })))
      const paid = yield* app.run(TestEventBus.expect(Paid, { within: "2 minutes" }))
      assert.deepStrictEqual([paid.payload, paid.at], [{ id: "A1" }, 60_000])
      // It is there already.
      assert.strictEqual((yield* app.run(TestEventBus.expect(Paid))).at, 60_000)
      const where = ({ id }: { readonly id: string }) => id === "B2"
      const error = yield* Effect.flip(app.run(TestEventBus.expect(Paid, { where, within: "30 seconds" })))
      assert.strictEqual(
        (error as Error).message,
        `No such paid was sent within 30s. But:
  ordered {"id":"A1"} (emit)
  paid {"id":"A1"} (publish by Shop > Payments)`
      )
    })
  )

  it.scoped("waits for one that is new", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      const order = (id: string) => Effect.flatMap(EventBus.EventBus, (bus) => bus.publish(Ordered, { id }))
      yield* app.run(order("A1"))
      yield* app.advance("1 minute")
      const first = yield* app.run(TestEventBus.expect(Paid))
      yield* app.run(order("A2"))
      const second = yield* app.run(TestEventBus.expect(Paid, { after: first }))
      assert.deepStrictEqual([second.payload, second.at], [{ id: "A2" }, 120_000])
      assert.deepStrictEqual(yield* app.run(TestEventBus.expect(Ordered, { after: first })), {
        ...(yield* app.run(TestEventBus.emitted(Ordered)))[1]!
      })
      const error = yield* Effect.flip(app.run(TestEventBus.expect(Paid, { after: "now" })))
      assert.strictEqual((error as Error).message, "No such paid was sent within 1m. Nothing was.")
      const refused = yield* Effect.flip(
        Effect.sandbox(app.run(TestEventBus.expect(Paid, { after: { ...first } })))
      )
      assert.include(String(refused), 'TestEventBus.expect: `after` must be "now", or what `emitted`')
    })
  )

  it.scoped("makes listeners slow, failing or absent, for as long as a test wants", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      const outcomes = (trouble: TestEventBus.Trouble, service?: string) =>
        app.run(
          Effect.scoped(
            Effect.gen(function* () {
              yield* TestEventBus.trouble(Ordered, trouble, service)
              const receipt = yield* EventBus.emit(Ordered, { id: "A1" })
              return receipt.outcomes.map(({ _tag, service }) => `${service} ${_tag}`).toSorted()
            })
          )
        )
      assert.deepStrictEqual(yield* outcomes({ _tag: "Failing", error: "no disk" }, "Mailer"), [
        "Shop > Mailer Failed",
        "Shop > Payments Handled"
      ])
      assert.deepStrictEqual(yield* outcomes({ _tag: "Absent" }, "Mailer"), ["Shop > Payments Handled"])
      assert.deepStrictEqual(yield* outcomes({ _tag: "Absent" }), [])
      const begun = (yield* app.timeline).length
      yield* outcomes({ _tag: "Slow", by: "10 seconds" }, "Mailer")
      assert.include((yield* app.timeline).slice(begun), "00:02:10.000 Mailer handled ordered in 10s")
      // It was for that long.
      const receipt = yield* app.run(EventBus.emit(Ordered, { id: "A2" }))
      assert.deepStrictEqual([receipt.handled, receipt.failed], [2, 0])
    })
  )

  it.scoped("shows nothing of a listener that is absent, whatever it does about failures", () =>
    Effect.gen(function* () {
      class Strict extends Service.make<Strict>()("Strict", {
        onStart: Service.listen(Ordered, () => Effect.void, {
          onFailure: Failure.escalate,
          timeout: "5 seconds"
        })
      }) {}
      const app = yield* TestApp.make(Strict.layer.pipe(Layer.provideMerge(EventBus.layer)), { name: "Shop" })
      yield* app.run(TestEventBus.trouble(Ordered, { _tag: "Absent" }, "Strict"))
      const begun = (yield* app.timeline).length
      const receipt = yield* app.run(EventBus.emit(Ordered, { id: "A1" }))
      assert.deepStrictEqual([receipt.handled, receipt.failed, receipt.outcomes], [0, 0, []])
      yield* app.run(EventBus.publish(Ordered, { id: "A2" }))
      yield* app.advance("1 minute")
      assert.deepStrictEqual((yield* app.timeline).slice(begun), [
        "00:00:00.000 ordered was emitted to 1 listener",
        "00:00:00.000 ordered was published to 1 listener"
      ])
      const [strict] = (yield* app.snapshot).services
      const [{ failed, handled }] = strict!.listeners as any
      assert.deepStrictEqual([handled, failed], [0, 0])
    })
  )

  it.scoped("fails a test that troubles a listener that is not there", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      const misspelt = Effect.scoped(app.run(TestEventBus.trouble(Ordered, { _tag: "Absent" }, "Mialer")))
      assert.strictEqual(
        String(yield* Effect.flip(Effect.sandbox(misspelt))).split("\n")[0],
        "Error: " +
          'TestEventBus.trouble: nothing has listened to ordered in a service "Mialer". ' +
          "Those that listened: Shop > Payments, Shop > Mailer."
      )
    })
  )

  it.scoped("does not count an event that was refused", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop, { name: "Shop" })
      yield* Effect.exit(app.run(EventBus.emit(Ordered, { id: 1 } as never)))
      assert.deepStrictEqual(yield* app.run(TestEventBus.emitted(Ordered)), [])
    })
  )

  it.scoped("records a bus that two apps share", () =>
    Effect.gen(function* () {
      const one = yield* TestApp.make(Mailer.layer, { name: "Mails" })
      const other = yield* TestApp.make(Payments.layer, { name: "Pays" })
      yield* EventBus.publish(Ordered, { id: "A1" })
      yield* other.advance("1 minute")
      assert.deepStrictEqual(yield* one.run(mails), ["A1"])
      assert.deepStrictEqual(
        (yield* TestEventBus.emitted(Paid)).map(({ sender }) => sender),
        ["Pays > Payments"]
      )
      yield* other.stop
      yield* one.stop
    }).pipe(Effect.provide(TestEventBus.layer))
  )

  it.scoped("refuses troubles that are none", () =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(shop)
      const refusal = (trouble: unknown) =>
        Effect.map(
          Effect.flip(
            Effect.sandbox(
              Effect.scoped(app.run(TestEventBus.trouble(Paid, trouble as TestEventBus.Trouble)))
            )
          ),
          String
        )
      assert.include(yield* refusal({ _tag: "Lazy" }), '`what._tag` must be "Slow" or "Failing" or "Absent"')
      assert.include(yield* refusal({ _tag: "Slow", by: 0 }), "`what.by` must be a duration above zero")
    })
  )
})
