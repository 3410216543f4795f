/**
 * The operations whose hops hops.mjs counts, each in a small app of the public
 * API that has done the same before. With the defaults, but without loggers, as
 * those belong to Effect. Writes what was entered to stdout, as JSON.
 */
import { Effect, Layer, Logger, Schema } from "effect"
import { App, Event, EventBus, Service } from "effect-services"
import { NodeApp } from "effect-services/node"
import { writeSync } from "node:fs"

const entries = []
const record = () => {
  globalThis.hop = (...entry) => entries.push(entry)
}
const stop = () => {
  globalThis.hop = undefined
}
const finish = () => {
  stop()
  let left = Buffer.from(JSON.stringify(entries))
  while (left.length > 0) left = left.subarray(writeSync(1, left))
}

const Ping = Event.make("ping", { n: Schema.Number })
const quiet = Logger.replace(Logger.defaultLogger, Logger.none)
/** Services in the given order, each provided to those after it. */
const appOf = (...layers) =>
  layers.reduceRight((above, layer) => Layer.provideMerge(above, layer)).pipe(Layer.provide(quiet))
const launch = (layer) => Effect.exit(Effect.provide(App.launch(layer), quiet))

/** From the call of `emit` to its receipt: one listener, whose handler succeeds. */
const emit = async () => {
  class Listener extends Service.make()("Listener", {
    onStart: Service.listen(Ping, () => Effect.void)
  }) {}
  class Emitter extends Service.make()("Emitter", {
    onStart: Effect.gen(function* () {
      yield* Listener
      const once = EventBus.emit(Ping, { n: 1 })
      const recorded = Effect.zipRight(Effect.sync(record), once).pipe(
        Effect.zipRight(Effect.sync(stop)),
        Effect.zipRight(Service.stop)
      )
      // When the app is up.
      yield* Service.spawn(Effect.delay(Effect.zipRight(once, recorded), "50 millis"))
    })
  }) {}
  await Effect.runPromise(launch(appOf(EventBus.layer, Listener.layer, Emitter.layer)))
}

/** From the firing of the timer until the clock's timers sleep again: the third tick. */
const tick = async () => {
  let ticks = 0
  const second = Effect.sync(() => {
    if (++ticks !== 2) return
    // In the middle between two ticks nothing else happens.
    setTimeout(record, 100)
    setTimeout(stop, 300)
  })
  class Ticker extends Service.make()("Ticker", {
    onStart: Effect.zipRight(
      Service.interval(second, "200 millis"),
      Service.timeout(Service.stop, "750 millis")
    )
  }) {}
  await Effect.runPromise(launch(appOf(Ticker.layer)))
}

/** From the failure in `onStart` until `App.launch` has ended: one dependency had started. */
const failedStart = async () => {
  let failing = () => {}
  class Dependency extends Service.make()("Dependency", { onStart: Effect.succeed({}) }) {}
  class Failing extends Service.make()("Failing", {
    onStart: Effect.flatMap(Dependency, () => {
      failing()
      return Effect.fail("no")
    })
  }) {}
  const launched = launch(appOf(Dependency.layer, Failing.layer))
  await Effect.runPromise(launched)
  failing = record
  await Effect.runPromise(Effect.zipRight(launched, Effect.sync(stop)))
}

/** From the signal until the process ends: two services, with an interval, a listener and a cleanup. */
const sigterm = async () => {
  class Dependency extends Service.make()("Dependency", {
    onStart: Effect.zipRight(
      Service.listen(Ping, () => Effect.void),
      Service.addCleanup(Effect.void)
    )
  }) {}
  class Dependent extends Service.make()("Dependent", {
    onStart: Effect.zipRight(Dependency, Service.interval(Effect.void, "1 hour"))
  }) {}
  const app = appOf(EventBus.layer, Dependency.layer, Dependent.layer)
  await Effect.runPromise(Effect.timeoutOption(launch(app), "50 millis"))
  NodeApp.runMain(app)
  setTimeout(() => {
    record()
    process.kill(process.pid, "SIGTERM")
  }, 50)
}

process.on("exit", finish)
await { emit, tick, "failed start": failedStart, SIGTERM: sigterm }[process.argv[2]]()
