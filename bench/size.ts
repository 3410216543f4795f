/**
 * The size of an app's bundle, minified and compressed, compared with the same
 * app in plain Effect. Where there is an event, both check its payload with a
 * schema. Both import in the same way: from the packages, of which esbuild keeps
 * each namespace as a whole, or each module by its path. The package is measured
 * as it is built, since the build marks what a bundle may leave out.
 */
import { execSync } from "node:child_process"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import type { Suite } from "./main.ts"

export const size: Suite = async (_, report) => {
  execSync("npm run -s build")
  const weigh = async (contents: string): Promise<number> => {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: process.cwd(), loader: "ts" },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["import"],
      logLevel: "error"
    })
    return gzipSync(outputFiles[0]!.contents, { level: 9 }).length
  }
  for (const { ours, plain, what, withStream } of apps) {
    for (const [how, imports] of ways) {
      const [weight, without] = [await weigh(imports(ours)), await weigh(imports(plain))]
      report.costs(`bundle of a service with ${what}, gzip`, how, "bytes", {
        "effect-services": [weight],
        "plain Effect": [without],
        ...(withStream && { "plain Effect, a Stream for the take loop": [await weigh(imports(withStream))] })
      })
      report.limit({
        what: `bundle in kB, a service with ${what}, imported`,
        of: "plain Effect, the difference",
        at: how,
        atMost: 32,
        values: [(weight - without) / 1_000]
      })
    }
  }
}

const ways: ReadonlyArray<readonly [string, (code: string) => string]> = [
  ["from packages", (code) => code],
  [
    "by paths",
    (code) =>
      code.replaceAll(/import \{ (.+) \} from "(.+)"/g, (_, names: string, from: string) =>
        names
          .split(", ")
          .map((name) => `import * as ${name} from "${from}/${name}"`)
          .join("\n")
      )
  ]
]

const plainListener = (listen: string): string => `
      import { Context, Effect, Layer, PubSub, Schedule, Schema, Stream } from "effect"
      const Ping = Schema.Struct({ n: Schema.Number })
      const check = Schema.validate(Ping)
      class Clock extends Context.Tag("Clock")<Clock, void>() {}
      const layer = Layer.scoped(Clock, Effect.gen(function* () {
        const bus = yield* PubSub.unbounded<typeof Ping.Type>()
        const handle = (event: typeof Ping.Type) => Effect.log(event.n)
        ${listen}
        const ping = Effect.flatMap(check({ n: 1 }), (event) => PubSub.publish(bus, event))
        yield* Effect.forkScoped(Effect.schedule(ping, Schedule.fixed("1 second")))
        yield* Effect.addFinalizer(() => Effect.log("bye"))
      }))
      Effect.runFork(Layer.launch(layer))`

const apps: ReadonlyArray<{
  readonly what: string
  readonly ours: string
  readonly plain: string
  readonly withStream?: string
}> = [
  {
    what: "an interval and a cleanup",
    ours: `
      import { Effect } from "effect"
      import { App, Service } from "effect-services"
      class Clock extends Service.make<Clock>()("Clock", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(Effect.log("tick"), "1 second")
          yield* Service.addCleanup(Effect.log("bye"))
        })
      }) {}
      Effect.runFork(App.launch(Clock.layer))`,
    plain: `
      import { Context, Effect, Layer, Schedule } from "effect"
      class Clock extends Context.Tag("Clock")<Clock, void>() {}
      const layer = Layer.scoped(Clock, Effect.gen(function* () {
        yield* Effect.forkScoped(Effect.schedule(Effect.log("tick"), Schedule.fixed("1 second")))
        yield* Effect.addFinalizer(() => Effect.log("bye"))
      }))
      Effect.runFork(Layer.launch(layer))`
  },
  {
    what: "an interval, a listener and a cleanup",
    ours: `
      import { Effect, Layer, Schema } from "effect"
      import { App, Event, EventBus, Service } from "effect-services"
      const Ping = Event.make("ping", { n: Schema.Number })
      class Clock extends Service.make<Clock>()("Clock", {
        onStart: Effect.gen(function* () {
          yield* Service.interval(EventBus.emit(Ping, { n: 1 }), "1 second")
          yield* Service.listen(Ping, ({ n }) => Effect.log(n))
          yield* Service.addCleanup(Effect.log("bye"))
        })
      }) {}
      Effect.runFork(App.launch(Clock.layer.pipe(Layer.provide(EventBus.layer))))`,
    plain: plainListener(`
        const mine = yield* PubSub.subscribe(bus)
        yield* mine.take.pipe(Effect.flatMap(handle), Effect.forever, Effect.forkScoped)`),
    withStream: plainListener(`
        yield* Stream.fromPubSub(bus).pipe(Stream.runForEach(handle), Effect.forkScoped)`)
  }
]
