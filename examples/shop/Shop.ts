/**
 * The services of the shop, put together.
 *
 * Read it from the bottom up: each line needs the lines below it, starts after
 * them and stops before them.
 */
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { EventBus } from "effect-services"
import { Email } from "./Email.ts"
import { Http } from "./Http.ts"
import { Inbox } from "./Inbox.ts"
import { Metrics } from "./Metrics.ts"
import { Orders } from "./Orders.ts"
import { Settings } from "./Settings.ts"

const EmailFromSettings = Layer.unwrapEffect(
  Effect.map(Settings, ({ mailApiKey, mailFrom }) => Email.layer({ from: mailFrom, apiKey: mailApiKey }))
)

export const Shop = Http.pipe(
  Layer.provide(Inbox.layer),
  Layer.provide(Orders.layer),
  // They hear of orders. No type says that they must outlive those who publish; their place here does.
  Layer.provide([Metrics.layer, EmailFromSettings]),
  Layer.provide(EventBus.layer),
  Layer.provide(Settings.layer),
  Layer.provide(NodeContext.layer)
)
