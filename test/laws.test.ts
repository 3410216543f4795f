import { readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import type { Layer as LayerType } from "effect"
import { Effect, FastCheck, Layer, Logger, Schedule } from "effect"
import { App, Failure, Journal, Service } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { advance, leavesNothing, policies as usual } from "./support.ts"

/**
 * A random graph of services, each with children and cleanups, random delays,
 * failures in start and stop, and children that crash and restart. Invariants:
 * each resource is released exactly once, dependents stop before dependencies,
 * children before cleanups of their parent, and a child has at most one
 * instance at a time, whatever its parent requests.
 */
interface Node {
  readonly needs: ReadonlyArray<number>
  readonly startMillis: number
  readonly stopMillis: number
  readonly fails: "no" | "start" | "stop" | "hang"
  /** Crashes this many milliseconds after each start. Undefined if it never does. */
  readonly crashesAfter: number | undefined
  readonly onFailure: keyof typeof policies
  /** What its parent requests of it, and when. */
  readonly requests: ReadonlyArray<{ readonly at: number; readonly what: "restart" | "stop" | "current" }>
  readonly children: ReadonlyArray<Node>
}

const policies = {
  ...usual,
  giveUp: Failure.restart({ backoff: Schedule.recurs(1), onExhausted: Failure.log })
}

const failureMode = FastCheck.constantFrom("no", "no", "no", "no", "no", "start", "stop", "hang" as const)
const leaf = FastCheck.record({
  needs: FastCheck.constant<ReadonlyArray<number>>([]),
  startMillis: FastCheck.nat(50),
  stopMillis: FastCheck.nat(50),
  fails: failureMode,
  crashesAfter: FastCheck.option(FastCheck.integer({ min: 1, max: 60 }), { nil: undefined }),
  onFailure: FastCheck.constantFrom(...Object.keys(policies)),
  requests: FastCheck.array(
    FastCheck.record({
      at: FastCheck.integer({ min: 1, max: 150 }),
      what: FastCheck.constantFrom("restart", "restart", "stop", "current" as const)
    }),
    { maxLength: 3 }
  ),
  children: FastCheck.constant<ReadonlyArray<Node>>([])
}) as FastCheck.Arbitrary<Node>
const node = FastCheck.record({
  needs: FastCheck.uniqueArray(FastCheck.nat(5), { maxLength: 3 }),
  startMillis: FastCheck.nat(50),
  stopMillis: FastCheck.nat(50),
  fails: failureMode,
  // Only children crash: a crash at the top would end most runs immediately.
  crashesAfter: FastCheck.constant(undefined),
  onFailure: FastCheck.constant("log"),
  requests: FastCheck.constant<Node["requests"]>([]),
  children: FastCheck.array(leaf, { maxLength: 3 })
}) as FastCheck.Arbitrary<Node>
const graph = FastCheck.record({
  nodes: FastCheck.array(node, { minLength: 1, maxLength: 6 }),
  stopAt: FastCheck.nat(200),
  /** If given, fibers yield at random points and run in random order. */
  seed: FastCheck.option(FastCheck.integer({ min: 1, max: 2_000_000_000 }), { nil: undefined })
})

/** Cases in which an invariant was once violated. */
const regressions = (
  JSON.parse(readFileSync("test/fixtures/law-cases.json", "utf8")) as ReadonlyArray<any>
).map(({ graph }) => [graph] as any)

it.effect.prop(
  "whatever fails, hangs or crashes, and whenever it stops: every resource is released once, dependents first, children before cleanups",
  [graph],
  ([{ nodes, seed, stopAt }]) =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const record = (event: string) => Effect.sync(() => void events.push(event))

      const start = (name: string, node: Node): Effect.Effect<void, unknown, Service.Scope> =>
        Effect.gen(function* () {
          yield* Effect.acquireRelease(record(`+${name}`), () => record(`-${name}`))
          for (const [index, child] of node.children.entries()) {
            const childName = `${name}.${index}`
            class Child extends Service.make<Child>()(childName, {
              onStart: start(childName, child),
              onStop: () => stop(child)
            }) {}
            const handle = yield* Service.adopt(Child, {
              onFailure: policies[child.onFailure],
              currentTimeout: 50
            })
            for (const { at, what } of child.requests) {
              yield* Service.timeout(Effect.exit<unknown, unknown, never>(handle[what]), at)
            }
          }
          yield* Service.interval(Effect.fail("tick"), "1 second")
          if (node.crashesAfter !== undefined) {
            yield* Service.timeout(Effect.die("crash"), node.crashesAfter, { onFailure: Failure.escalate })
          }
          yield* Effect.sleep(node.startMillis)
          if (node.fails === "start") return yield* Effect.fail(`${name} does not start`)
          yield* record(`up ${name}`)
        }) as Effect.Effect<void, unknown, Service.Scope>
      const stop = (node: Node) =>
        Effect.zipRight(
          Effect.sleep(node.stopMillis),
          node.fails === "stop" ? Effect.fail("stop") : node.fails === "hang" ? Effect.never : Effect.void
        )

      // A service needs only services before it in the list, so the graph has no cycle.
      const layers: Array<LayerType.Layer<never, unknown>> = []
      const needsOf = nodes.map((node, index) => node.needs.filter((need) => need < index))
      for (const [index, node] of nodes.entries()) {
        class Service_ extends Service.make<Service_>()(`s${index}`, {
          onStart: start(`s${index}`, node),
          onStop: () => stop(node)
        }) {}
        const [first, ...rest] = needsOf[index]!.map((need) => layers[need]!)
        const layer = Layer.discard(Service_.layer)
        layers.push(first === undefined ? layer : layer.pipe(Layer.provide(Layer.mergeAll(first, ...rest))))
      }
      const [first, ...rest] = layers
      const time = VirtualTime.make(0, seed)
      const fiber = yield* time.fork(
        App.launch(Layer.mergeAll(first!, ...rest), { stopTimeout: "10 minutes" })
      )
      advance(time, stopAt)
      fiber.unsafeInterruptAsFork(fiber.id())
      advance(time, 600_000)
      assert.isNotNull(fiber.unsafePoll(), "ends")
      // A fiber that still sleeps has outlived the app.
      assert.strictEqual(time.sleepers(), 0, "no fiber is left")

      const at = (event: string) => events.indexOf(event)
      const acquired = new Set(events.filter((event) => event.startsWith("+")).map((event) => event.slice(1)))
      for (const name of acquired) {
        const lives = events.filter((event) => event === `+${name}` || event === `-${name}`)
        assert.deepStrictEqual(
          lives,
          lives.map((_, index) => `${index % 2 === 0 ? "+" : "-"}${name}`),
          "one instance after another"
        )
        assert.strictEqual(lives.length % 2, 0, "each released once")

        const [parent, index] = name.split(".")
        if (index !== undefined) {
          assert.isBelow(at(`+${parent}`), at(`+${name}`), "children start within their parent")
          assert.isBelow(
            events.lastIndexOf(`-${name}`),
            at(`-${parent}`),
            "children before cleanups of the parent"
          )
        } else {
          assert.strictEqual(lives.length, 2, "services of the app start once")
          for (const need of needsOf[Number(name.slice(1))]!) {
            assert.isBelow(at(`up s${need}`), at(`+${name}`), "starts after what it needs")
            assert.isAtLeast(at(`up s${need}`), 0, "what it needs is up")
            assert.isBelow(at(`-${name}`), at(`-s${need}`), "stops before what it needs")
          }
        }
      }
      for (const [index, { children }] of nodes.entries()) {
        for (const [older, child] of children.entries()) {
          const younger = children[older + 1]
          // Other children may have stopped before their parent.
          const isQuiet = ({ requests, crashesAfter }: Node) =>
            requests.length === 0 && crashesAfter === undefined
          if (!isQuiet(child) || younger === undefined || !isQuiet(younger)) continue
          const [first, then] = [`-s${index}.${older + 1}`, `-s${index}.${older}`]
          if (at(first) >= 0) assert.isBelow(at(first), at(then), "children in reverse order")
        }
      }
    }).pipe(leavesNothing, Effect.provide(Layer.merge(Journal.layer, Logger.remove(Logger.defaultLogger)))),
  // The same cases each time, so that a rare find turns no unrelated change red. LAW_RUNS looks at that many others.
  {
    fastCheck: {
      ...(process.env["LAW_RUNS"] === undefined ? { seed: 1 } : {}),
      numRuns: Number(process.env["LAW_RUNS"] ?? 300),
      examples: regressions
    },
    timeout: 120_000
  }
)
