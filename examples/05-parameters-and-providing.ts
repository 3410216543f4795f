// Services are layers: they take parameters, need each other, and are composed.
import { Config, Console, Context, Effect, Layer, Redacted } from "effect"
import { Service } from "effect-services"
import { NodeApp } from "effect-services/node"

/** Not a service: a plain Effect tag works beside them. */
class Greeting extends Context.Tag("Greeting")<Greeting, string>() {}

class Mailer extends Service.make<Mailer>()("Mailer", {
  onStart: (options: { readonly from: string; readonly apiKey: Redacted.Redacted }) =>
    Effect.gen(function* () {
      const greeting = yield* Greeting
      yield* Console.log("signed in with", options.apiKey)
      return { send: (to: string) => Console.log(`from ${options.from} to ${to}: ${greeting}, ${to}`) }
    })
}) {}

class Newsletter extends Service.make<Newsletter>()("Newsletter", {
  onStart: Effect.gen(function* () {
    const mailer = yield* Mailer
    yield* mailer.send("ada")
    yield* Service.stop
  })
}) {}

// Parameters may come from Config. The layer goes into a const: two calls would be two mailers.
const mailer = Layer.unwrapEffect(
  Effect.map(Config.withDefault(Config.redacted("MAIL_KEY"), Redacted.make("secret")), (apiKey) =>
    Mailer.layer({ from: "news@example.org", apiKey })
  )
)
const app = Newsletter.layer.pipe(
  Layer.provide(mailer),
  Layer.provide(Layer.succeed(Greeting, "good morning"))
)
NodeApp.runMain(app, { name: "Example" })

// prints:
// signed in with <redacted>
// INFO Example > Mailer started in 1ms
// from news@example.org to ada: good morning, ada
// INFO Example > Newsletter started in 1ms
// INFO Example is stopping: Example > Newsletter asked for it
// INFO Example > Newsletter stopped in 1ms
// INFO Example > Mailer stopped in 1ms
// INFO Example stopped in 1ms, clean
