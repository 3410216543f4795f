// What runs: the registry is how everything is, as one value; the journal is what happened.
import { Console, Effect, Layer, Stream } from "effect"
import { Journal, Service, ServiceRegistry } from "effect-services"
import { NodeApp } from "effect-services/node"

class Metrics extends Service.make<Metrics>()("Metrics", {
  onStart: Service.interval(Effect.void, "80 millis")
}) {}

class Mailer extends Service.make<Mailer>()("Mailer", {
  onStart: Service.timeout(Effect.fail("no route to host"), "50 millis", { name: "greeting" })
}) {}

class Operator extends Service.make<Operator>()("Operator", {
  onStart: Effect.gen(function* () {
    // Healthy ticks and handled events are counted always, and journaled while somebody reads them.
    const ticks = Journal.streamOf(["TaskTicked"])
    const tail = Stream.runForEach(ticks, (entry) => Console.log(Journal.format(entry)))
    yield* Service.spawn(tail, { name: "tail" })

    const look = Effect.gen(function* () {
      const snapshot = yield* ServiceRegistry.snapshot
      // The same as a running process writes to stderr on SIGUSR2.
      yield* Console.log(ServiceRegistry.render(snapshot))
      yield* Service.stop
    })
    yield* Service.timeout(look, "120 millis")
  })
}) {}

const app = Operator.layer.pipe(Layer.provide(Mailer.layer), Layer.provide(Metrics.layer))
NodeApp.runMain(app, { name: "Example" })

// prints:
// INFO Example > Metrics started in 1ms
// INFO Example > Mailer started in 1ms
// INFO Example > Operator started in 1ms
// INFO Example started in 1ms, with 3 services
// ERROR Example > Mailer: greeting failed
// Example > Metrics: interval 1ms ran for 1ms
// Example: running for 1ms
// ├─ Metrics: running for 1ms
// │     interval 1ms: 1 run, last 1ms ago for 1ms, next in 1ms
// ├─ Mailer: running for 1ms, greeting failed 1ms ago (no route to host)
// └─ Operator: running for 1ms
//       tail: 1 run, running for 1ms
//       timeout 1ms: 1 run, running for 1ms
// Example > Operator: timeout 1ms ran for 1ms
// INFO Example is stopping: Example > Operator asked for it
// INFO Example > Operator stopped in 1ms
// INFO Example > Mailer stopped in 1ms
// INFO Example > Metrics stopped in 1ms
// INFO Example stopped in 1ms, clean
