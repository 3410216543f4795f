/**
 * The services of the shop, put together: on the server and the files of this
 * machine, or on others, as in `test/shop.test.ts`.
 *
 * Read it from the bottom up: each line needs the lines below it, starts after
 * them and stops before them.
 */
import type { HttpServer } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { EventBus } from "effect-services"
import { Email } from "./Email.ts"
import { Http, Server } from "./Http.ts"
import { Inbox } from "./Inbox.ts"
import { Metrics } from "./Metrics.ts"
import { Orders } from "./Orders.ts"
import { Settings } from "./Settings.ts"
import { Spool } from "./Spool.ts"

const EmailFromSettings = Layer.unwrapEffect(
  Effect.map(Settings, ({ mailApiKey, mailFrom }) => Email.layer({ from: mailFrom, apiKey: mailApiKey }))
)

export const shopOn = <E, R>(server: Layer.Layer<HttpServer.HttpServer, E, R>) =>
  Http.pipe(
    Layer.provideMerge(server),
    Layer.provide(Inbox.layer),
    Layer.provide(Orders.layer),
    // They hear of orders. No type says that they must outlive those who publish; their place here does.
    Layer.provide([Metrics.layer, EmailFromSettings]),
    Layer.provide(Spool.layer),
    Layer.provide(EventBus.layer),
    Layer.provide(Settings.layer)
  )

export const Shop = shopOn(Server).pipe(Layer.provide(NodeContext.layer))
