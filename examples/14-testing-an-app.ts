// Testing an app: boot, a day and the stop in virtual time, with a stub for what it must not touch.
import { it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { TestApp, TestEventBus } from "effect-services/testing"
import { expect } from "vitest"

const OrderCompleted = Event.make("order:completed", { id: Schema.String })

class Mail extends Service.make<Mail>()("Mail", {
  onStart: Effect.succeed({ send: (_to: string): Effect.Effect<void> => Effect.die("no mail in tests") })
}) {}

class Orders extends Service.make<Orders>()("Orders", {
  onStart: Effect.gen(function* () {
    const today = yield* Ref.make(0)
    const mail = yield* Mail
    yield* Service.listen(OrderCompleted, () => Ref.update(today, (n) => n + 1))
    const report = Effect.flatMap(Ref.getAndSet(today, 0), (n) => mail.send(`${n} orders today`))
    yield* Service.cron(report, "0 18 * * *", { name: "report", timeZone: "UTC" })
    return { today: Ref.get(today) }
  })
}) {}

const Shop = Orders.layer.pipe(Layer.provide(Mail.layer), Layer.provideMerge(EventBus.layer))

// The smallest test: the app starts and stops, and neither fails.
it.scoped("starts", () => TestApp.make(Shop, { replace: [TestApp.stub(Mail, {})] }))

it.scoped("reports the orders of each day at six", () =>
  Effect.gen(function* () {
    const mails: Array<string> = []
    const app = yield* TestApp.make(Shop, {
      name: "Shop",
      startsAt: "2026-11-25T09:00:00Z",
      replace: [TestApp.stub(Mail, { send: (to) => Effect.sync(() => void mails.push(to)) })]
    })
    // Runs with the services of the app, in its time.
    const receipt = yield* app.run(EventBus.emit(OrderCompleted, { id: "A1" }))
    expect(receipt.handled).toBe(1)
    expect(yield* app.run(TestEventBus.emitted(OrderCompleted))).toHaveLength(1)

    yield* app.advance("1 day")
    expect(mails).toEqual(["1 orders today"])

    const report = yield* app.stop
    expect(report.exitCode).toBe(0)
    // All that happened, the same in each run.
    expect(yield* app.timeline).toEqual([
      "00:00:00.000 Mail is starting",
      "00:00:00.000 Mail started in 0ms",
      "00:00:00.000 Orders is starting",
      "00:00:00.000 Orders started in 0ms",
      "00:00:00.000 Shop started in 0ms, with 2 services",
      "00:00:00.000 order:completed was emitted to 1 listener",
      "00:00:00.000 Orders handled order:completed in 0ms",
      "09:00:00.000 Orders ticked (report)",
      "1d 00:00:00.000 Shop is stopping: the test stops it",
      "1d 00:00:00.000 Orders is stopping",
      "1d 00:00:00.000 Orders stopped in 0ms",
      "1d 00:00:00.000 Mail is stopping",
      "1d 00:00:00.000 Mail stopped in 0ms",
      "1d 00:00:00.000 Shop stopped in 0ms, clean"
    ])
  })
)
