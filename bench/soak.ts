/**
 * Minutes under load: steady events, ticks and tasks, children that come and go,
 * and failures of all of them. At the end the counts must be exact, the memory
 * flat, and nothing left running.
 *
 *     npm run soak -- 5   # minutes
 */
import { Cause, Duration, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Stream } from "effect"
import { App, Event, EventBus, Failure, Journal, Service } from "effect-services"
import { quiet } from "./app.ts"
import { range } from "./count.ts"
import { heap, median } from "./rounds.ts"

const minutes = Number(process.argv[3] ?? 3)
if (!(minutes > 0)) throw new Error("how many minutes?")
const sampleEvery = Duration.millis((minutes * 60_000) / 30)

const Emitted = Event.make("emitted", { n: Schema.Number })
const Published = Event.make("published", { n: Schema.Number })

/** What was sent and what happened. */
const counts = {
  emitted: 0,
  handled: 0,
  receiptsHandled: 0,
  receiptsFailed: 0,
  handlersFailed: 0,
  published: 0,
  inOrder: 0,
  outOfOrder: 0,
  ticks: 0,
  ticksFailed: 0,
  tasks: 0,
  tasksFailed: 0,
  tasksEnded: 0,
  childrenBegun: 0,
  childrenEnded: 0,
  childrenLives: 0,
  livesEnded: 0
}
const count = (what: keyof typeof counts) => Effect.sync(() => void counts[what]++)

const listeners = 20
/** Twenty services that listen to both events. Every fifth event fails in the first of them. */
const listener = (index: number) => {
  class Hearing extends Service.make<Hearing>()(`Hearing${index}`, {
    onStart: Effect.gen(function* () {
      yield* Service.listen(Emitted, ({ n }) =>
        index === 0 && n % 5 === 0
          ? Effect.zipRight(count("handlersFailed"), Effect.fail("each fifth"))
          : count("handled")
      )
      let last = 0
      yield* Service.listen(
        Published,
        ({ n }) => {
          const isNext = n === last + 1
          last = n
          return Effect.delay(count(isNext ? "inOrder" : "outOfOrder"), "1 millis")
        },
        { capacity: 64 }
      )
      yield* Service.interval(
        Effect.suspend(() =>
          counts.ticks++ % 50 === 0
            ? Effect.zipRight(count("ticksFailed"), Effect.fail("each fiftieth"))
            : Effect.void
        ),
        "50 millis"
      )
    })
  }) {}
  return Hearing.layer
}

/** Runs for a fifth of a second: then it stops itself, fails and is restarted, or is stopped. */
class Child extends Service.make<Child>()("Child", {
  onStart: (ending: "stops" | "breaks" | "is stopped") =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(count("childrenLives"), () => count("livesEnded"))
      yield* Service.listen(Emitted, () => Effect.void)
      yield* Service.interval(Effect.void, "20 millis")
      yield* Service.spawn(Effect.never)
      if (ending === "stops") yield* Service.timeout(Service.stop, "200 millis")
      if (ending === "breaks") {
        yield* Service.timeout(Effect.die("breaks"), "50 millis", { onFailure: Failure.escalate })
      }
    })
}) {}

class Nursery extends Service.make<Nursery>()("Nursery", {
  onStart: Effect.gen(function* () {
    let n = 0
    const raise = Effect.gen(function* () {
      const ending = (["stops", "breaks", "is stopped"] as const)[n % 3] ?? "stops"
      const restart = Failure.restart({
        backoff: Schedule.spaced("10 millis"),
        budget: { restarts: 2, within: "10 seconds" },
        onExhausted: Failure.log
      })
      const child = yield* Service.adopt(Child.layer(ending), { name: String(n++), onFailure: restart })
      yield* count("childrenBegun")
      if (ending === "is stopped") yield* Service.timeout(child.stop, "200 millis")
      yield* Service.spawn(Effect.zipRight(child.await, count("childrenEnded")))
    })
    yield* Service.interval(raise, "25 millis")
  })
}) {}

class Sender extends Service.make<Sender>()("Sender", {
  onStart: Effect.gen(function* () {
    const emit = Effect.gen(function* () {
      const receipt = yield* EventBus.emit(Emitted, { n: ++counts.emitted })
      counts.receiptsHandled += receipt.handled
      counts.receiptsFailed += receipt.failed
    })
    // Receipts count the children's handlers too.
    yield* Service.interval(emit, "5 millis")
    const publish = Effect.suspend(() => EventBus.publish(Published, { n: ++counts.published }))
    yield* Service.interval(publish, "5 millis")
    const task = Effect.suspend(() => {
      const n = ++counts.tasks
      const work =
        n % 10 === 0
          ? Effect.zipRight(count("tasksFailed"), Effect.fail("each tenth"))
          : Effect.sleep("30 millis")
      return Service.spawn(Effect.ensuring(work, count("tasksEnded")), { onFailure: Failure.log })
    })
    yield* Service.interval(task, "5 millis")
  })
}) {}

const soak = Effect.gen(function* () {
  const before = process.getActiveResourcesInfo().length
  let failuresJournaled = 0
  const services = Layer.mergeAll(Sender.layer, Nursery.layer).pipe(
    Layer.provide(Layer.mergeAll(listener(0), ...range(listeners - 1).map((index) => listener(index + 1)))),
    Layer.provide(EventBus.layer)
  )
  yield* Journal.streamOf(["TaskFailed", "HandlerFailed"]).pipe(
    Stream.runForEach(() => Effect.sync(() => failuresJournaled++)),
    Effect.fork
  )
  const app = App.make({ name: "Soak" })
  const fiber = yield* Effect.fork(app.launch(services))
  const heaps: Array<number> = []
  console.log("| after | heap, MB | services | emitted | published | ticks | children | tasks |")
  console.log("| --: | --: | --: | --: | --: | --: | --: | --: |")
  for (let sample = 1; sample <= 30; sample++) {
    yield* Effect.sleep(sampleEvery)
    const { services: all } = Option.getOrThrow(yield* app.snapshot)
    const alive = all.length + all.reduce((sum, service) => sum + service.children.length, 0)
    heaps.push(heap() / 1e6)
    if (sample % 3 !== 0) continue
    const shown = [counts.emitted, counts.published, counts.ticks, counts.childrenBegun, counts.tasks]
    const at = `${Math.round((sample * Duration.toMillis(sampleEvery)) / 1_000)} s`
    console.log(
      `| ${[at, (heaps.at(-1) ?? 0).toFixed(1), alive, ...shown.map((n) => n.toLocaleString("en"))].join(" | ")} |`
    )
  }
  const exit = yield* Fiber.interrupt(fiber)
  yield* Effect.sleep("100 millis")

  const [early, late] = [median(heaps.slice(5, 15)), median(heaps.slice(-10))]
  const left = process.getActiveResourcesInfo().length - before
  const checks: ReadonlyArray<readonly [what: string, isSo: boolean]> = [
    ["the stop was clean", Exit.isInterrupted(exit)],
    [
      "every emitted event reached every listener",
      counts.handled + counts.handlersFailed === counts.emitted * listeners
    ],
    [
      "receipts count every handler, those of children too",
      counts.receiptsFailed === counts.handlersFailed && counts.receiptsHandled >= counts.handled
    ],
    [
      "every published event was handled, in order",
      counts.inOrder === counts.published * listeners && counts.outOfOrder === 0
    ],
    ["every task ended", counts.tasks === counts.tasksEnded],
    ["every instance of every child ended", counts.childrenLives === counts.livesEnded],
    [
      "every failure was journaled",
      failuresJournaled >= counts.handlersFailed + counts.ticksFailed + counts.tasksFailed
    ],
    [`the memory is flat: ${early.toFixed(1)} MB early, ${late.toFixed(1)} MB late`, late < early * 1.1],
    [`nothing is left running: ${left} more handles than before`, left <= 0]
  ]
  console.log()
  for (const [what, isSo] of checks) console.log(`${isSo ? "ok    " : "FAILED"} ${what}`)
  console.log()
  console.log(JSON.stringify(counts))
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) console.log(Cause.pretty(exit.cause))
  if (checks.some(([, isSo]) => !isSo)) process.exitCode = 1
})

Effect.runFork(Effect.provide(soak, Layer.merge(quiet, Journal.layer)))
