// Health: what a service knows of itself, and what is told to who asks, as Kubernetes does.
import { HttpApp, HttpRouter } from "@effect/platform"
import { Console, Effect, Layer } from "effect"
import { Health, Service, type ServiceRegistry } from "effect-services"
import { NodeApp } from "effect-services/node"

class Database extends Service.make<Database>()("Database", {
  onStart: Effect.gen(function* () {
    let isUp = true
    yield* Service.timeout(
      Effect.sync(() => (isUp = false)),
      "250 millis",
      { name: "outage" }
    )
    // A check runs in the background, here ten times a second. Who asks is told its last result.
    const ping = Effect.suspend(() => (isUp ? Effect.void : Effect.fail("connection refused")))
    yield* Service.health(ping, { name: "ping", every: "100 millis" })
    // Worth knowing, but no reason to take no orders.
    yield* Service.health(Effect.fail("1% left"), { name: "disk", critical: false })
  })
}) {}

class Orders extends Service.make<Orders>()("Orders", { onStart: Service.adopt(Database) }) {}

class Http extends Service.make<Http>()("Http", {
  onStart: Effect.gen(function* () {
    // The routes go into any router. This one is not served, but asked right here.
    const router = HttpRouter.empty.pipe(HttpRouter.mount("/health", Health.routes))
    const runtime = yield* Effect.runtime<ServiceRegistry.ServiceRegistry>()
    const answer = HttpApp.toWebHandlerRuntime(runtime)(router)
    const ask = (path: string) =>
      Effect.gen(function* () {
        const response = yield* Effect.promise(() => answer(new Request(`http://shop/health${path}`)))
        const text = yield* Effect.promise(() => response.text())
        yield* Console.log(`${path} ${response.status}\n  ${text.trim().replaceAll("\n", "\n  ")}`)
      })
    yield* Service.timeout(ask("/ready"), "100 millis")
    const both = Effect.zipRight(ask("/ready"), ask("/live"))
    yield* Service.timeout(Effect.zipRight(both, Service.stop), "500 millis")
  })
}) {}

NodeApp.runMain(Layer.provide(Http.layer, Orders.layer), { name: "Example" })

// prints:
// INFO Example > Orders > Database started in 1ms
// INFO Example > Orders started in 1ms
// INFO Example > Http started in 1ms
// WARN Example > Orders > Database > disk is unhealthy, which is not critical: 1% left
// INFO Example started in 1ms, with 2 services
// /ready 200
//   ready
//   Orders > Database > disk: 1% left, for less than a second (not critical)
// WARN Example > Orders > Database > ping is unhealthy: connection refused
// /ready 503
//   Orders > Database > ping: connection refused, for less than a second
//   Orders > Database > disk: 1% left, for less than a second (not critical)
// /live 200
//   live
// INFO Example is stopping: Example > Http asked for it
// INFO Example > Http stopped in 1ms
// INFO Example > Orders > Database stopped in 1ms
// INFO Example > Orders stopped in 1ms
// INFO Example stopped in 1ms, clean
