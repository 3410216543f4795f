import { Effect, Layer, Schema, Context, Exit } from "effect"
import { Event, EventBus, Service, App } from "effect-services"
const Ping = Event.make("ping", { n: Schema.Number })
const N = Number(process.argv[2] ?? 100), M = Number(process.argv[3] ?? 3000)
let count = 0
class Dep extends Context.Tag("Dep")<Dep, { inc: Effect.Effect<void> }>() {}
const services = Array.from({ length: N }, (_, i) => (class S extends Service.make<any>()(`S${i}`, {
  onStart: Service.listen(Ping, () => Effect.flatMap(Dep, (d) => d.inc))
}) {}))
class Main extends Service.make<Main>()("Main", { onStart: Effect.gen(function* () {
  for (let i = 0; i < 200; i++) yield* EventBus.emit(Ping, { n: 1 })
  const rounds = []
  for (let r = 0; r < 5; r++) {
    let c = process.cpuUsage()
    for (let i = 0; i < M / 5; i++) yield* EventBus.emit(Ping, { n: 1 })
    let d = process.cpuUsage(c)
    rounds.push(((d.user + d.system) / (M / 5)).toFixed(1))
  }
  console.log("emit us:", rounds.join(" "))
  if (process.env.ONLY === "emit") return yield* Service.stop
  const r2 = []
  for (let r = 0; r < 5; r++) {
    let c = process.cpuUsage(); const before = count
    for (let i = 0; i < M / 5; i++) { yield* EventBus.publish(Ping, { n: 1 }); while (count - before < (i + 1) * N) yield* Effect.yieldNow() }
    let d = process.cpuUsage(c)
    r2.push(((d.user + d.system) / (M / 5)).toFixed(1))
  }
  console.log("publish one us:", r2.join(" "))
  const r3 = []
  for (let r = 0; r < 5; r++) {
    let c = process.cpuUsage(); const before = count
    for (let i = 0; i < M / 5; i++) yield* EventBus.publish(Ping, { n: 1 })
    while (count - before < M / 5 * N) yield* Effect.yieldNow()
    let d = process.cpuUsage(c)
    r3.push(((d.user + d.system) / (M / 5)).toFixed(1))
  }
  console.log("publish burst us:", r3.join(" "))
  // by hand
  const ctx = yield* Effect.context<any>()
  const h = Array.from({ length: N }, () => Effect.exit(Effect.provide(Effect.flatMap(Dep, (d) => d.inc), ctx as any)))
  const r4 = []
  for (let r = 0; r < 5; r++) {
    let c = process.cpuUsage()
    for (let i = 0; i < M / 5; i++) for (const e of h) yield* e as any
    let d = process.cpuUsage(c)
    r4.push(((d.user + d.system) / (M / 5)).toFixed(1))
  }
  console.log("by hand us:", r4.join(" "))
  yield* Service.stop
}) }) {}
const all = Layer.mergeAll(...services.map((s: any) => s.layer) as any) as any
const layer = Main.layer.pipe(Layer.provide(all), Layer.provide(EventBus.layer), Layer.provide(Layer.succeed(Dep, { inc: Effect.sync(() => { count++ }) })))
await Effect.runPromiseExit(App.launch(layer as any) as any)
