// Adopting: a service starts others at run time, and they end with it or before.
import { Console, Effect } from "effect"
import { Failure, Service } from "effect-services"
import { NodeApp } from "effect-services/node"

class Tenant extends Service.make<Tenant>()("Tenant", {
  onStart: (name: string, plan: "free" | "paid") =>
    Effect.gen(function* () {
      yield* Service.addCleanup(Console.log(`${name} is gone`))
      // A child may end itself, and a child may break.
      if (plan === "free") yield* Service.timeout(Service.stop, "100 millis")
      if (name === "umbrella")
        yield* Service.spawn(Effect.delay(Effect.die("virus"), "50 millis"), { name: "lab" })
      return { greeting: `hello, ${name}` }
    })
}) {}

class Tenants extends Service.make<Tenants>()("Tenants", {
  onStart: Effect.gen(function* () {
    const acme = yield* Service.adopt(Tenant.layer("acme", "paid"), { name: "acme" })
    const globex = yield* Service.adopt(Tenant.layer("globex", "free"), { name: "globex" })
    // Without `onFailure`, a child that breaks breaks its parent, and in the end stops the app.
    yield* Service.adopt(Tenant.layer("umbrella", "paid"), { name: "umbrella", onFailure: Failure.log })
    yield* Service.timeout(Service.stop, "200 millis")

    yield* Console.log((yield* acme.current).greeting)
    yield* Console.log((yield* globex.current).greeting)
  })
}) {}

NodeApp.runMain(Tenants.layer, { name: "Example" })

// prints:
// INFO Example > Tenants > Tenant[acme] started in 1ms
// INFO Example > Tenants > Tenant[globex] started in 1ms
// INFO Example > Tenants > Tenant[umbrella] started in 1ms
// hello, acme
// hello, globex
// INFO Example > Tenants started in 1ms
// INFO Example started in 1ms, with 1 service
// ERROR Example > Tenants > Tenant[umbrella] failed, because lab failed
// umbrella is gone
// INFO Example > Tenants > Tenant[umbrella] stopped in 1ms
// globex is gone
// INFO Example > Tenants > Tenant[globex] stopped in 1ms
// INFO Example is stopping: Example > Tenants asked for it
// acme is gone
// INFO Example > Tenants > Tenant[acme] stopped in 1ms
// INFO Example > Tenants stopped in 1ms
// INFO Example stopped in 1ms, clean
