// Testing an app: events, stand-ins, a whole day, races, and two apps on one bus.
import { it } from "@effect/vitest"
import { Effect, Layer, Ref, Schedule, Schema } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { TestApp, TestEventBus } from "effect-services/testing"
import { expect } from "vitest"

// #region app
const OrderCompleted = Event.make("order:completed", { id: Schema.String })
const DayClosed = Event.make("day:closed", { orders: Schema.Number })

class Mail extends Service.make<Mail>()("Mail", {
  onStart: Effect.succeed({ send: (text: string): Effect.Effect<void, "unreachable"> => Effect.log(text) })
}) {}

class Orders extends Service.make<Orders>()("Orders", {
  onStart: Effect.gen(function* () {
    const today = yield* Ref.make(0)
    yield* Service.listen(OrderCompleted, () => Ref.update(today, (n) => n + 1))
    const close = Effect.flatMap(Ref.getAndSet(today, 0), (orders) => EventBus.emit(DayClosed, { orders }))
    yield* Service.cron(close, "0 18 * * *", { name: "close", timeZone: "UTC" })
    return { today: Ref.get(today) }
  })
}) {}

class Report extends Service.make<Report>()("Report", {
  onStart: Effect.gen(function* () {
    const mail = yield* Mail
    yield* Service.listen(DayClosed, ({ orders }) =>
      Effect.retry(mail.send(`${orders} orders today`), Schedule.spaced("1 minute"))
    )
  })
}) {}

const Office = Report.layer.pipe(Layer.provide(Mail.layer))
const Shop = Layer.merge(Orders.layer, Office).pipe(Layer.provideMerge(EventBus.layer))
// #endregion

// #region events
it.scoped("closes the day at six", () =>
  Effect.gen(function* () {
    const app = yield* TestApp.make(Shop, { startsAt: "2026-11-25T09:00:00Z" })
    const receipt = yield* app.run(EventBus.emit(OrderCompleted, { id: "A1" }))
    expect(receipt.handled).toBe(1)
    // For one test, a listener is slow, failing or absent.
    yield* app.run(TestEventBus.trouble(OrderCompleted, { _tag: "Absent" }, "Orders"))
    yield* app.run(EventBus.emit(OrderCompleted, { id: "A2" }))
    expect(yield* app.run(TestEventBus.emitted(OrderCompleted))).toHaveLength(2)
    // Waits in virtual time; in vain, it fails with what was sent instead.
    const closed = yield* app.run(TestEventBus.expect(DayClosed, { within: "10 hours" }))
    expect(closed).toMatchObject({ sender: "App > Orders", payload: { orders: 1 } })
  })
)
// #endregion

// #region stand-ins
it.scoped("tries again until the report is sent", () =>
  Effect.gen(function* () {
    let tries = 0
    const flaky = TestApp.override(Mail, (mail) => ({
      send: (text) => Effect.suspend(() => (++tries < 3 ? Effect.fail("unreachable") : mail.send(text)))
    }))
    const app = yield* TestApp.make(Shop, { replace: [flaky] })
    // Runs with the services of the app, and in its time, which moves on as far as this needs: two minutes.
    const receipt = yield* app.run(EventBus.emit(DayClosed, { orders: 7 }))
    expect([receipt.handled, tries]).toEqual([1, 3])
    expect((yield* app.timeline).at(-1)).toBe("00:02:00.000 Report handled day:closed in 2m")
  })
)
// #endregion

// #region day
it.scoped("has a day", () =>
  Effect.gen(function* () {
    const mails: Array<string> = []
    const mail = TestApp.stub(Mail, { send: (text) => Effect.sync(() => void mails.push(text)) })
    const app = yield* TestApp.make(Shop, {
      name: "Shop",
      startsAt: "2026-11-25T09:00:00Z",
      replace: [mail]
    })
    yield* app.advance("1 hour")
    yield* app.run(EventBus.emit(OrderCompleted, { id: "A1" }))
    yield* app.advance("23 hours")
    expect((yield* app.stop).exitCode).toBe(0)
    expect(mails).toEqual(["1 orders today"])
    // All that happened, the same in each run.
    expect(yield* app.timeline).toEqual([
      "00:00:00.000 Orders is starting",
      "00:00:00.000 Orders started in 0ms",
      "00:00:00.000 Mail is starting",
      "00:00:00.000 Mail started in 0ms",
      "00:00:00.000 Report is starting",
      "00:00:00.000 Report started in 0ms",
      "00:00:00.000 Shop started in 0ms, with 3 services",
      "01:00:00.000 order:completed was emitted to 1 listener",
      "01:00:00.000 Orders handled order:completed in 0ms",
      "09:00:00.000 day:closed was emitted to 1 listener by Shop > Orders",
      "09:00:00.000 Report handled day:closed in 0ms",
      "09:00:00.000 Orders ticked (close)",
      "1d 00:00:00.000 Shop is stopping: the test stops it",
      "1d 00:00:00.000 Report is stopping",
      "1d 00:00:00.000 Report stopped in 0ms",
      "1d 00:00:00.000 Mail is stopping",
      "1d 00:00:00.000 Mail stopped in 0ms",
      "1d 00:00:00.000 Orders is stopping",
      "1d 00:00:00.000 Orders stopped in 0ms",
      "1d 00:00:00.000 Shop stopped in 0ms, clean"
    ])
  })
)
// #endregion

// #region seeds
it.effect("counts each order once, in whatever order fibers run", () =>
  Effect.forEach([1, 2, 3, 4, 5], (seed) =>
    Effect.gen(function* () {
      const app = yield* TestApp.make(Shop, { seed })
      const order = (id: string) => EventBus.emit(OrderCompleted, { id })
      yield* app.run(Effect.forEach(["A1", "A2", "A3"], order, { concurrency: "unbounded" }))
      expect(yield* app.run(Effect.flatMap(Orders, (orders) => orders.today))).toBe(3)
    }).pipe(Effect.scoped)
  )
)
// #endregion

// #region two-apps
it.effect("hears of a day that another app has closed", () =>
  Effect.gen(function* () {
    const office = yield* TestApp.make(Office, { name: "Office" })
    const orders = yield* TestApp.make(Orders.layer, { name: "Orders" })
    yield* orders.advance("1 day")
    // Each has a clock of its own.
    expect((yield* office.timeline).at(-1)).toBe("00:00:00.000 Report handled day:closed in 0ms")
    expect(yield* TestEventBus.emitted(DayClosed)).toHaveLength(1)
  }).pipe(Effect.scoped, Effect.provide(TestEventBus.layer))
)
// #endregion
