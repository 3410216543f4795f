// Events: typed, checked, and with an answer for whoever sends them.
import { Console, Effect, Layer, Schema } from "effect"
import { Event, EventBus, Service } from "effect-services"
import { NodeApp } from "effect-services/node"

const OrderCompleted = Event.make("order:completed", { id: Schema.String, total: Schema.Number })

class Invoices extends Service.make<Invoices>()("Invoices", {
  onStart: Service.listen(OrderCompleted, (order) => Console.log(`invoice for ${order.id}`))
}) {}

class Warehouse extends Service.make<Warehouse>()("Warehouse", {
  // A queue of 100; when it is full, the oldest order is dropped, which is counted and journaled.
  onStart: Service.listen(OrderCompleted, (order) => Effect.fail(`no shelf for ${order.id}`), {
    capacity: 100,
    onFull: "dropOldest"
  })
}) {}

class Shop extends Service.make<Shop>()("Shop", {
  onStart: Effect.gen(function* () {
    // emit: every listener runs now, and the receipt tells what became of it at each.
    const receipt = yield* EventBus.emit(OrderCompleted, { id: "A1", total: 12 })
    yield* Console.log(`A1: ${receipt.handled} handled, ${receipt.failed} failed`)
    // publish: queued, and done with. What is queued is handled before the listener's service stops.
    yield* EventBus.publish(OrderCompleted, { id: "A2", total: 7 })
    yield* Service.stop
  })
}) {}

const app = Shop.layer.pipe(Layer.provide([Invoices.layer, Warehouse.layer]), Layer.provide(EventBus.layer))
NodeApp.runMain(app, { name: "Example" })

// prints:
// INFO Example > Invoices started in 1ms
// INFO Example > Warehouse started in 1ms
// invoice for A1
// ERROR Example > Warehouse: the listener of order:completed failed
// A1: 1 handled, 1 failed
// INFO Example > Shop started in 1ms
// invoice for A2
// ERROR Example > Warehouse: the listener of order:completed failed
// INFO Example is stopping: Example > Shop asked for it
// INFO Example > Shop stopped in 1ms
// INFO Example > Warehouse stopped in 1ms
// INFO Example > Invoices stopped in 1ms
// INFO Example stopped in 1ms, clean
