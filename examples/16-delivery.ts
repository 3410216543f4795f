// How events reach a listener: several kinds in one order, customers beside each other, and a second try.
import { Console, Effect, Layer, Schedule, Schema } from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"
import { NodeApp } from "effect-services/node"

const Placed = Event.make("order:placed", { customer: Schema.String, item: Schema.String })
const Cancelled = Event.make("order:cancelled", { customer: Schema.String })

class Accounts extends Service.make<Accounts>()("Accounts", {
  onStart: Effect.gen(function* () {
    let tries = 0
    const bill = (item: string) =>
      // The first call of the bank does not come through.
      Effect.delay(++tries === 1 ? Effect.fail("busy") : Console.log(`billed ${item}`), "20 millis")

    // The name of the event says which payload it is, to the compiler too.
    yield* Service.listen(
      [Placed, Cancelled],
      (order, event) =>
        event === "order:placed" ? bill(order.item) : Console.log(`${order.customer} is paid back`),
      {
        // Four at once, but of each customer one after the other.
        concurrency: 4,
        orderingKey: ({ customer }) => customer,
        // The bank may take this long, each time, and is asked up to three times more.
        timeout: "1 second",
        onFailure: Failure.retry(Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(3)))
      }
    )
  })
}) {}

class Shop extends Service.make<Shop>()("Shop", {
  onStart: Effect.gen(function* () {
    yield* EventBus.publish(Placed, { customer: "Ada", item: "a teapot" })
    yield* EventBus.publish(Cancelled, { customer: "Ada" })
    yield* EventBus.publish(Placed, { customer: "Grace", item: "a lamp" })
    yield* Service.stop
  })
}) {}

const app = Shop.layer.pipe(Layer.provide(Accounts.layer), Layer.provide(EventBus.layer))
NodeApp.runMain(app, { name: "Example" })

// prints:
// INFO Example > Accounts started in 1ms
// INFO Example > Shop started in 1ms
// INFO Example is stopping: Example > Shop asked for it
// INFO Example > Shop stopped in 1ms
// WARN Example > Accounts: listener order:placed, order:cancelled failed, and is retried in 1ms (attempt 2)
// billed a lamp
// billed a teapot
// Ada is paid back
// INFO Example > Accounts stopped in 1ms
// INFO Example stopped in 1ms, clean
