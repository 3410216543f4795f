// Testing: a service is a layer, so Effect's own means test it; TestApp runs a whole app.
import { it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema, TestClock } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { TestApp } from "effect-services/testing"
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

const Museum = Visitors.layer.pipe(Layer.provideMerge(EventBus.layer))

// With Effect's TestClock: provide the layer, and move the clock.
it.effect("counts the visitors of a day", () =>
  Effect.gen(function* () {
    const visitors = yield* Visitors
    yield* EventBus.emit(VisitorCame, { name: "Ada" })
    yield* TestClock.adjust("23 hours")
    expect(yield* visitors.today).toBe(1)
    yield* TestClock.adjust("1 hour")
    expect(yield* visitors.today).toBe(0)
  }).pipe(Effect.provide(Museum))
)

// With TestApp: as App.launch runs it. It starts and stops, neither fails, and nothing is left behind.
it.scoped("starts", () => TestApp.make(Museum))

it.scoped("is empty each midnight of a year", () =>
  Effect.gen(function* () {
    const app = yield* TestApp.make(Museum)
    const visitors = yield* app.run(Visitors)
    yield* app.run(EventBus.emit(VisitorCame, { name: "Ada" }))
    yield* app.advance("365 days")
    expect(yield* visitors.today).toBe(0)
    expect(yield* app.timeline).toContain("364d 00:00:00.000 Visitors ticked (cron 0 0 * * *)")
  })
)
