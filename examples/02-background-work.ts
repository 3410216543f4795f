// Owned work: it begins in onStart, and ends with the service at the latest.
import { Cause, Console, Effect } from "effect"
import { Failure, Service } from "effect-services"
import { NodeApp } from "effect-services/node"

class Worker extends Service.make<Worker>()("Worker", {
  onStart: Effect.gen(function* () {
    // Every 100 ms, first after 100 ms. A run that fails is journaled, and the next one comes.
    yield* Service.interval(Effect.fail("no connection"), "100 millis", {
      name: "poll",
      onFailure: Failure.handle((cause, { work }) => Console.log(`${work} failed: ${Cause.squash(cause)}`))
    })
    // At 3 in the morning, in Berlin, summer and winter.
    yield* Service.cron(Console.log("tidied up"), "0 3 * * *", { timeZone: "Europe/Berlin" })
    // Once, in a quarter of a second.
    yield* Service.timeout(Service.stop, "250 millis")
    // Until it ends, or the service does. What can fail needs an answer: leave `onFailure` out, and it does not compile.
    const download = Effect.fail("404" as const)
    const task = yield* Service.spawn(download, { name: "download", onFailure: Failure.log })
    yield* Console.log(`download: ${(yield* task.await)._tag}`)

    yield* Service.spawn(Effect.onInterrupt(Effect.never, () => Console.log("watcher interrupted")))
    yield* Service.addCleanup(Console.log("first in, last out"))
    yield* Service.addCleanup(Console.log("last in, first out"))
  }),
  onStop: () => Console.log("onStop, with all of it still running")
}) {}

NodeApp.runMain(Worker.layer, { name: "Example" })

// prints:
// ERROR Example > Worker: download failed
// download: Failure
// INFO Example > Worker started in 1ms
// INFO Example started in 1ms, with 1 service
// poll failed: no connection
// poll failed: no connection
// INFO Example is stopping: Example > Worker asked for it
// onStop, with all of it still running
// watcher interrupted
// last in, first out
// first in, last out
// INFO Example > Worker stopped in 1ms
// INFO Example stopped in 1ms, clean
