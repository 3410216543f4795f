/** Takes orders and keeps them, one JSON line each. An order id is taken once, however often it comes. */
import { type Error, FileSystem, Path } from "@effect/platform"
import { Data, DateTime, Effect, Either, Queue, Schedule, Schema } from "effect"
import { EventBus, Failure, Service } from "effect-services"
import { OrderCompleted } from "./events.ts"
import { type NewOrder, Order } from "./Order.ts"
import { Settings } from "./Settings.ts"

const Line = Schema.parseJson(Order)

export class Orders extends Service.make<Orders>()("Orders", {
  onStart: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const bus = yield* EventBus.EventBus
    const path = yield* Path.Path
    const file = path.join((yield* Settings).dataDir, "orders.jsonl")
    const lock = yield* Effect.makeSemaphore(1)
    const orders = new Map<string, Order>()

    const text = (yield* fs.exists(file)) ? yield* fs.readFileString(file) : ""
    for (const [index, line] of text.split("\n").entries()) {
      if (line === "") continue
      const order = Schema.decodeEither(Line)(line)
      if (Either.isRight(order)) orders.set(order.right.id, order.right)
      else yield* Effect.logWarning(`${file}, line ${index + 1} is no order, and is left out`)
    }
    // A crash or a full disk can leave half a line; the next order must not become part of it.
    let isTorn = text !== "" && !text.endsWith("\n")

    // A customer can come again. But a shop that cannot take orders is better down than up: the fourth failure
    // within a minute fails this service, and so ends the app, with exit code 1.
    const failures = yield* Queue.unbounded<OrderStoreError>()
    yield* Service.spawn(Effect.flatMap(Queue.take(failures), Effect.fail), {
      name: "store",
      onFailure: Failure.restart({ backoff: Schedule.forever, budget: { restarts: 3, within: "1 minute" } })
    })

    // Told before a customer finds out.
    yield* Service.health(fs.access(path.dirname(file), { writable: true }), { name: "store" })

    const append = (order: Order) =>
      Effect.gen(function* () {
        const line = `${isTorn ? "\n" : ""}${yield* Effect.orDie(Schema.encode(Line)(order))}\n`
        isTorn = true
        yield* fs.writeFileString(file, line, { flag: "a" })
        isTorn = false
      }).pipe(
        Effect.mapError((cause) => new OrderStoreError({ file, cause })),
        Effect.tapError((error) => Queue.offer(failures, error))
      )

    /** Accepts an order: once this has begun, the order is kept and told of, whatever happens to the caller. */
    const place = Effect.fn("Orders.place")(
      function* (order: NewOrder) {
        const known = orders.get(order.id)
        if (known !== undefined) return { order: known, isNew: false }
        const placed = { ...order, placedAt: yield* DateTime.now }
        yield* append(placed)
        orders.set(placed.id, placed)
        // Not `emit`: a customer should not wait for a mail. What is published is queued with the listeners,
        // and they stop after this service (see Shop.ts) and empty their queues first, so none is lost.
        yield* bus.publish(OrderCompleted, placed)
        return { order: placed, isNew: true }
      },
      Effect.uninterruptible,
      lock.withPermits(1)
    )

    yield* Effect.log(`${orders.size} orders known`)
    return {
      place,
      count: Effect.sync(() => orders.size),
      latest: (limit: number) => Effect.sync(() => [...orders.values()].slice(-limit).toReversed())
    }
  })
}) {}

/** An order could not be written down, so it is not taken. */
class OrderStoreError extends Data.TaggedError("OrderStoreError")<{
  readonly file: string
  readonly cause: Error.PlatformError
}> {
  override get message(): string {
    return `the order could not be written to ${this.file}: ${this.cause.message}`
  }
}
