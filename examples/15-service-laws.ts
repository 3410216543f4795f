// The laws: services are started and stopped again and again, under all the trouble that can be.
import { it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Event, Service } from "effect-services"
import { ServiceLaws, TestApp } from "effect-services/testing"
import { expect } from "vitest"

const OrderCompleted = Event.make("order:completed", { id: Schema.String })

class Database extends Service.make<Database>()("Database", {
  onStart: Effect.succeed({ write: (_id: string): Effect.Effect<void> => Effect.die("no database in tests") })
}) {}

class Invoices extends Service.make<Invoices>()("Invoices", {
  onStart: Effect.gen(function* () {
    const database = yield* Database
    yield* Service.listen(OrderCompleted, ({ id }) => database.write(id))
    yield* Service.interval(database.write("summary"), "1 hour")
  })
}) {}

it.live("Invoices keeps the laws", () => {
  const stub = TestApp.stub(Database, { write: () => Effect.sleep("1 second") })
  return ServiceLaws.check(Layer.provide(Invoices.layer, Database.layer), { replace: [stub] })
})

// A daemon belongs to nobody.
class Careless extends Service.make<Careless>()("Careless", {
  onStart: Service.interval(Effect.forkDaemon(Effect.sleep("1 day")), "1 minute")
}) {}

it.live("Careless does not", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ServiceLaws.check(Careless.layer, { moments: 1 }))
    expect(error.law).toBe("leaves nothing")
    expect(error.message.split("\n")).toEqual([
      "A law of services is broken: when it has stopped, or not started, nothing of it is left: no fiber, timer, socket or listener.",
      "  a fiber, forked by Careless: interval 1m.",
      "When nothing goes wrong; the app is stopped:",
      "  00:00:00.000 Careless is starting",
      "  00:00:00.000 Careless started in 0ms",
      "  00:00:00.000 App started in 0ms, with 1 service",
      "  00:01:00.000 Careless ticked (interval 1m)",
      "  00:01:00.000 App is stopping: asked",
      "  00:01:00.000 Careless is stopping",
      "  00:01:00.000 Careless stopped in 0ms",
      "  00:01:00.000 App stopped in 0ms, clean",
      "To try it again: ServiceLaws.check(layer, { only: {} })"
    ])
  })
)

// What is opened and closed by hand: a stand-in for it tells whether it is, and when.
class Files extends Service.make<Files>()("Files", {
  onStart: Effect.gen(function* () {
    const file = yield* ServiceLaws.open("file")
    yield* Effect.sleep("1 second")
    // Too late: a start that is interrupted meanwhile leaves it open.
    yield* Service.addCleanup(file.close)
  })
}) {}

it.live("Files leaves a file open", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ServiceLaws.check(Files.layer))
    expect(error.breaches).toEqual(["file, opened by Files: onStart, was never closed"])
    expect(error.scenario).toEqual({ stopAfter: 1 })
  })
)
