// Testing: a service is a layer and its time is Effect's Clock, so a test gives it a database and a day.
import { it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema, TestClock } from "effect"
import { Event, EventBus, Journal, Service } from "effect-services"
import { expect } from "vitest"

const VisitorCame = Event.make("visitor:came", { name: Schema.String })

class Visitors extends Service.make<Visitors>()("Visitors", {
  onStart: Effect.gen(function* () {
    const today = yield* Ref.make(0)
    yield* Service.listen(VisitorCame, () => Ref.update(today, (n) => n + 1))
    yield* Service.cron(Ref.set(today, 0), "0 0 * * *", { timeZone: "UTC" })
    return { today: Ref.get(today) }
  })
}) {}

it.effect("counts the visitors of a day", () =>
  Effect.gen(function* () {
    const visitors = yield* Visitors
    yield* EventBus.emit(VisitorCame, { name: "Ada" })
    yield* TestClock.adjust("23 hours")
    expect(yield* visitors.today).toBe(1)
    yield* TestClock.adjust("1 hour")
    expect(yield* visitors.today).toBe(0)
    // What happened is data.
    expect((yield* Journal.recent).map((entry) => Journal.format(entry))).toEqual([
      "Visitors is starting",
      "Visitors started in 0ms"
    ])
  }).pipe(
    Effect.provide(Layer.mergeAll(Visitors.layer, Journal.layer).pipe(Layer.provideMerge(EventBus.layer)))
  )
)
