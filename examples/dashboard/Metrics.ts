/** What the controllers of examples 11 to 13 ask: the figures of some shops. */
import { HttpApiSchema } from "@effect/platform"
import { Effect, Schema } from "effect"
import { Service } from "effect-services"

export const Figures = Schema.Struct({ orders: Schema.Number, revenue: Schema.Number })

/** What the service fails with. The annotation is for HttpApi: the others do not look at it. */
export class UnknownShop extends Schema.TaggedError<UnknownShop>()(
  "UnknownShop",
  { shop: Schema.String },
  HttpApiSchema.annotations({ status: 404 })
) {}

export class Metrics extends Service.make<Metrics>()("Metrics", {
  onStart: Effect.sync(() => {
    const figures = new Map([["north", { orders: 3, revenue: 64.9 }]])
    return {
      // A span of its own, below that of whoever calls.
      of: Effect.fn("Metrics.of")(function* (shop: string) {
        yield* Effect.log("reading the figures")
        const found = figures.get(shop)
        return found ?? (yield* new UnknownShop({ shop }))
      })
    }
  })
}) {}
