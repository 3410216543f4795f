// Testing: a service is a layer, and TestApp runs it in time that moves when the test says so.
import { it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema } from "effect"
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

// The smallest test: it starts and stops, and neither fails.
it.scoped("starts", () => TestApp.make(Museum))

it.scoped("counts the visitors of a day", () =>
  Effect.gen(function* () {
    const app = yield* TestApp.make(Museum)
    const visitors = yield* app.run(Visitors)
    yield* app.run(EventBus.emit(VisitorCame, { name: "Ada" }))
    yield* app.advance("23 hours")
    expect(yield* visitors.today).toBe(1)
    yield* app.advance("1 hour")
    expect(yield* visitors.today).toBe(0)
  })
)
