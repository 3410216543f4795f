// A service: what it offers, what it does in the background, and what it does when it stops.
import { Console, Effect, Ref } from "effect"
import { Service } from "effect-services"
import { NodeApp } from "effect-services/node"

class Heartbeat extends Service.make<Heartbeat>()("Heartbeat", {
  onStart: Effect.gen(function* () {
    const beats = yield* Ref.make(0)
    yield* Service.interval(
      Ref.update(beats, (n) => n + 1),
      "100 millis"
    )
    yield* Service.timeout(Service.stop, "350 millis")
    return { beats: Ref.get(beats) }
  }),
  onStop: (heartbeat) => Effect.flatMap(heartbeat.beats, (n) => Console.log(`${n} beats`))
}) {}

NodeApp.runMain(Heartbeat.layer, { name: "Example" })

// prints:
// INFO Example > Heartbeat started in 1ms
// INFO Example started in 1ms, with 1 service
// INFO Example is stopping: Example > Heartbeat asked for it
// 3 beats
// INFO Example > Heartbeat stopped in 1ms
// INFO Example stopped in 1ms, clean
