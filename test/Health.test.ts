import { HttpApi, HttpApiBuilder, HttpApp, HttpLayerRouter, HttpRouter, HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schedule, Schema, TestClock } from "effect"
import { App, EventBus, Failure, Health, Service, ServiceRegistry } from "effect-services"
import { leavesNothing } from "./support.ts"

/** An app, and what it answers to one who asks from outside of it. */
const launched = <A, E>(layer: Layer.Layer<A, E, App.Provided | EventBus.EventBus>) =>
  Effect.gen(function* () {
    const registry = yield* Deferred.make<ServiceRegistry.ServiceRegistry["Type"]>()
    // Built first, so that it is there while the rest starts.
    const giveAway = Layer.effectDiscard(
      Effect.flatMap(ServiceRegistry.ServiceRegistry, (_) => Deferred.succeed(registry, _))
    )
    const app = layer.pipe(Layer.provideMerge(EventBus.layer), Layer.provide(giveAway))
    const fiber = yield* Effect.forkDaemon(App.launch(app, { name: "Shop" }))
    yield* TestClock.adjust(0)
    // A web handler has a runtime of its own, and so another clock.
    const { changes, snapshot } = yield* Deferred.await(registry)
    const asked = { changes, snapshot: Effect.withClock(snapshot, yield* Effect.clock) }
    const ask = <B, E2>(question: Effect.Effect<B, E2, ServiceRegistry.ServiceRegistry>) =>
      Effect.provideService(question, ServiceRegistry.ServiceRegistry, asked)
    return {
      fiber,
      ask,
      /** Whether it is ready, and each line of why not. */
      ready: Effect.map(ask(Health.ready), (readiness) => [
        readiness.isReady,
        ...Health.render(readiness)
          .split("\n")
          .filter((line) => line !== "")
      ]),
      live: ask(Health.live),
      stop: Effect.gen(function* () {
        const stopping = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* TestClock.adjust("1 minute")
        yield* Fiber.await(stopping)
      })
    }
  })

const every = "1 second"

describe("Health.ready", () => {
  it.effect(
    "says no while the app and its services start and stop, and yes in between; live it is all along",
    () =>
      Effect.gen(function* () {
        const slow = Effect.sleep("90 seconds")
        class Db extends Service.make<Db>()("Db", { onStart: slow }) {}
        class Web extends Service.make<Web>()("Web", {
          onStart: Db,
          onStop: () => Effect.sleep("2 seconds")
        }) {}
        const app = yield* launched(Layer.provide(Web.layer, Db.layer))
        yield* TestClock.adjust("500 millis")
        assert.deepStrictEqual(yield* app.ready, [
          false,
          "Shop is starting, for less than a second",
          "Db: starting, for less than a second"
        ])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* app.ready, [
          false,
          "Shop is starting, for 1 minute",
          "Db: starting, for 1 minute"
        ])
        assert.isTrue(yield* app.live)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* app.ready, [true])
        const stopping = yield* Effect.fork(Fiber.interrupt(app.fiber))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* app.ready, [
          false,
          "Shop is stopping, for 1 second",
          "Web: stopping, for 1 second"
        ])
        assert.isTrue(yield* app.live)
        yield* TestClock.adjust("1 second")
        yield* Fiber.await(stopping)
        assert.deepStrictEqual(yield* app.ready, [false, "Shop is stopped, for less than a second"])
        assert.isFalse(yield* app.live)
      }).pipe(leavesNothing)
  )

  it.effect("does not wait for the first check of a child that comes while the app runs", () =>
    Effect.gen(function* () {
      class Tenant extends Service.make<Tenant>()("Tenant", {
        onStart: Service.health(Effect.delay(Effect.fail("no quota"), "2 seconds"))
      }) {}
      class Tenants extends Service.make<Tenants>()("Tenants", {
        onStart: Service.timeout(Service.adopt(Tenant), "1 second")
      }) {}
      const app = yield* launched(Tenants.layer)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* app.ready, [true])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* app.ready, [false, "Tenants > Tenant: no quota, for less than a second"])
      yield* Fiber.interrupt(app.fiber)
    }).pipe(leavesNothing)
  )

  it.effect("waits for the first checks of all that came with the boot, or has restarted", () =>
    Effect.gen(function* () {
      let checks = 0
      class Leaf extends Service.make<Leaf>()("Leaf", {
        onStart: Service.health(
          Effect.delay(
            Effect.sync(() => checks++),
            "2 seconds"
          )
        )
      }) {}
      class Mid extends Service.make<Mid>()("Mid", {
        onStart: Effect.gen(function* () {
          yield* Service.adopt(Leaf)
          if (checks === 0)
            yield* Service.timeout(Effect.fail("broken"), "5 seconds", { onFailure: Failure.escalate })
        })
      }) {}
      class Top extends Service.make<Top>()("Top", {
        onStart: Service.adopt(Mid, { onFailure: Failure.restart({ backoff: Schedule.spaced("1 second") }) })
      }) {}
      const app = yield* launched(Top.layer)
      const pending = "Top > Mid > Leaf: not checked yet, for less than a second"
      assert.deepStrictEqual(yield* app.ready, [false, pending])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* app.ready, [true])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* app.ready, [false, pending])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* app.ready, [true])
      yield* Fiber.interrupt(app.fiber)
    }).pipe(leavesNothing)
  )

  it.effect("says which critical check is unhealthy, why and since when, and only mentions others", () =>
    Effect.gen(function* () {
      let answer: Effect.Effect<void, string> = Effect.void
      class Database extends Service.make<Database>()("Database", {
        onStart: Service.health(
          Effect.suspend(() => answer),
          { every }
        )
      }) {}
      class Orders extends Service.make<Orders>()("Orders", {
        onStart: Effect.gen(function* () {
          yield* Service.adopt(Database)
          yield* Service.health(Effect.fail("1% left"), { name: "disk", critical: false })
          yield* Service.health(Effect.delay(Effect.void, "2 seconds"), { name: "mail" })
        })
      }) {}
      const app = yield* launched(Orders.layer)
      const disk = "Orders > disk: 1% left, for"
      assert.deepStrictEqual(yield* app.ready, [
        false,
        "Orders > mail: not checked yet, for less than a second",
        `${disk} less than a second (not critical)`
      ])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* app.ready, [true, `${disk} 2 seconds (not critical)`])
      answer = Effect.fail("connection to postgres://shop:hunter2@db refused\n  by the server")
      yield* TestClock.adjust("13 seconds")
      assert.deepStrictEqual(yield* app.ready, [
        false,
        "Orders > Database: connection to postgres://***@db refused by the server, for 12 seconds",
        `${disk} 15 seconds (not critical)`
      ])
      assert.deepStrictEqual((yield* app.ask(Health.ready)).problems[0], {
        path: "Shop > Orders > Database",
        reason: "connection to postgres://***@db refused by the server",
        since: 3_000,
        isCritical: true
      })
      assert.isTrue(yield* app.live)
      answer = Effect.void
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* app.ready, [true, `${disk} 16 seconds (not critical)`])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("says no while a child restarts that its parent cannot do without", () =>
    Effect.gen(function* () {
      let lives = 0
      class Connection extends Service.make<Connection>()("Connection", {
        onStart: Effect.suspend(() =>
          ++lives === 1
            ? Service.spawn(Effect.delay(Effect.die("connection reset"), "1 second"), { name: "socket" })
            : Service.health(Effect.void)
        )
      }) {}
      class Database extends Service.make<Database>()("Database", {
        onStart: Service.adopt(Connection, {
          onFailure: Failure.restart({ backoff: Schedule.spaced("5 seconds") })
        })
      }) {}
      const app = yield* launched(Database.layer)
      assert.deepStrictEqual(yield* app.ready, [true])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* app.ready, [
        false,
        "Database > Connection: restarting (socket: connection reset), for 2 seconds"
      ])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* app.ready, [true])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  const final = { onExhausted: Failure.log, budget: { restarts: 1, within: "1 minute" } } as const
  for (const [name, onFailure] of [
    ["log", Failure.log],
    ["handle", Failure.handle(() => Effect.void)],
    ["a restart that gives up", Failure.restart({ backoff: Schedule.spaced("1 second"), ...final })]
  ] as const) {
    it.effect(`stays yes when a child fails whose parent lives on without it, by ${name}`, () =>
      Effect.gen(function* () {
        class Rows extends Service.make<Rows>()("Rows", {
          onStart: Service.health(Effect.fail("no rows"))
        }) {}
        class CsvImport extends Service.make<CsvImport>()("CsvImport", {
          onStart: Effect.gen(function* () {
            // Below what is not critical, nothing is.
            yield* Service.adopt(Rows)
            yield* Service.spawn(Effect.delay(Effect.die("line 2003"), "1 second"), { name: "rows" })
          })
        }) {}
        class Inbox extends Service.make<Inbox>()("Inbox", {
          onStart: Service.adopt(CsvImport, { name: "broken.csv", onFailure })
        }) {}
        const app = yield* launched(Inbox.layer)
        assert.deepStrictEqual(yield* app.ready, [
          true,
          "Inbox > CsvImport[broken.csv] > Rows: no rows, for less than a second (not critical)"
        ])
        yield* TestClock.adjust("1 minute")
        const [isReady, given, ...others] = yield* app.ready
        assert.isTrue(isReady)
        assert.match(
          String(given),
          /^Inbox > CsvImport\[broken\.csv\]: failed \(rows: line 2003\), for \d+ seconds \(not critical\)$/
        )
        assert.deepStrictEqual(others, [])
        yield* app.stop
      }).pipe(leavesNothing)
    )
  }

  it.effect("says no while a check is unhealthy of a service that a critical one provides to itself", () =>
    Effect.gen(function* () {
      class Session extends Service.make<Session>()("Session", {
        onStart: Service.health(Effect.fail("expired"))
      }) {}
      class Orders extends Service.make<Orders>()("Orders", {
        onStart: Service.spawn(Effect.provide(Effect.zipRight(Session, Effect.never), Session.layer))
      }) {}
      const app = yield* launched(Orders.layer)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* app.ready, [false, "Orders > Session: expired, for 1 second"])
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("says why the app failed; then it is not live either", () =>
    Effect.gen(function* () {
      class Web extends Service.make<Web>()("Web", {
        onStart: Service.spawn(Effect.delay(Effect.die("bug"), "1 second"), { name: "rows" }),
        onStop: () => Effect.sleep("1 second")
      }) {}
      const app = yield* launched(Web.layer)
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* app.live)
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(app.fiber)
      assert.deepStrictEqual(yield* app.ready, [
        false,
        "Shop is failed (Web > rows failed, so the app was stopped: bug), for less than a second",
        "Web: failed (rows: bug), for less than a second"
      ])
      assert.isFalse(yield* app.live)
    }).pipe(leavesNothing)
  )

  it.effect("fits on a screen, with what is critical first", () =>
    Effect.gen(function* () {
      const check = (n: number) =>
        Service.health(Effect.fail("no"), { name: `check ${n}`, critical: n === 99, every: "1 hour" })
      class Many extends Service.make<Many>()("Many", {
        onStart: Effect.forEach(Array.from({ length: 100 }).keys(), check)
      }) {}
      const app = yield* launched(Many.layer)
      yield* TestClock.adjust("1 hour")
      const lines = yield* app.ready
      assert.strictEqual(lines.length, 51)
      assert.deepStrictEqual(
        [lines[1], lines[2], lines[50]],
        ["Many > check 99: no, for 1 hour", "Many > check 0: no, for 1 hour (not critical)", "and 51 more"]
      )
      yield* app.stop
    }).pipe(leavesNothing)
  )
})

describe("the routes", () => {
  /** An app whose database answers so. */
  const shop = (answer: () => Effect.Effect<void, string>) => {
    class Database extends Service.make<Database>()("Database", {
      onStart: Service.health(Effect.suspend(answer), { name: "ping", every })
    }) {}
    return launched(Database.layer)
  }
  /** Asks for a path, and tells what came as one text. */
  const asking =
    (handler: (request: Request) => Promise<Response>) =>
    (path: string, method = "GET") =>
      Effect.promise(async () => {
        const response = await handler(new Request(`http://shop${path}`, { method }))
        const { headers, status } = response
        const [type] = (headers.get("content-type") ?? "").split(";")
        return `${status} ${type} ${headers.get("cache-control")}: ${await response.text()}`
      })

  const kinds = {
    HttpRouter: (registry: ServiceRegistry.ServiceRegistry["Type"]) => {
      const router = HttpRouter.empty.pipe(
        HttpRouter.concat(Health.routes),
        HttpRouter.mount("/health", Health.routes),
        HttpRouter.provideService(ServiceRegistry.ServiceRegistry, registry)
      )
      return { handler: HttpApp.toWebHandler(router), dispose: async () => {} }
    },
    HttpLayerRouter: (registry: ServiceRegistry.ServiceRegistry["Type"]) => {
      const routes = Layer.merge(
        HttpLayerRouter.use(Health.addTo),
        HttpLayerRouter.use((router) => Health.addTo(router.prefixed("/health")))
      ).pipe(Layer.provide(Layer.succeed(ServiceRegistry.ServiceRegistry, registry)))
      return HttpLayerRouter.toWebHandler(routes, { disableLogger: true })
    },
    HttpApi: (registry: ServiceRegistry.ServiceRegistry["Type"]) => {
      const routes = HttpApiBuilder.Router.use((router) =>
        Effect.zipRight(
          Health.addTo(router),
          router.mount(
            "/health",
            HttpRouter.provideService(Health.routes, ServiceRegistry.ServiceRegistry, registry)
          )
        )
      ).pipe(Layer.provide(Layer.succeed(ServiceRegistry.ServiceRegistry, registry)))
      const api = Layer.merge(HttpApiBuilder.api(HttpApi.make("shop")), routes)
      return HttpApiBuilder.toWebHandler(Layer.merge(api, HttpServer.layerContext))
    }
  }
  for (const [kind, make] of Object.entries(kinds)) {
    it.effect(`answer in a ${kind}`, () =>
      Effect.gen(function* () {
        let answer: Effect.Effect<void, string> = Effect.void
        const app = yield* shop(() => answer)
        const web = make(yield* app.ask(ServiceRegistry.ServiceRegistry))
        const ask = asking(web.handler)
        const plain = "text/plain no-store"
        assert.strictEqual(yield* ask("/live"), `200 ${plain}: live\n`)
        assert.strictEqual(yield* ask("/ready"), `200 ${plain}: ready\n`)
        assert.strictEqual(yield* ask("/ready", "HEAD"), `200 ${plain}: `)
        assert.strictEqual(yield* ask("/health/ready"), `200 ${plain}: ready\n`)
        answer = Effect.fail("connection refused, with password=hunter2")
        yield* TestClock.adjust("13 seconds")
        const reason = "Database > ping: connection refused, with password=***, for 12 seconds"
        assert.strictEqual(yield* ask("/live"), `200 ${plain}: live\n`)
        assert.strictEqual(yield* ask("/ready"), `503 ${plain}: ${reason}\n`)
        assert.strictEqual(yield* ask("/ready", "HEAD"), `503 ${plain}: `)
        const [head, body] = (yield* ask("/status")).split(/: (.*)/s)
        assert.strictEqual(head, "200 application/json no-store")
        assert.notInclude(body, "hunter2")
        const decoded = yield* Schema.decodeUnknown(Schema.parseJson(Health.Status))(body)
        const { services } = yield* app.ask(Health.status)
        assert.deepStrictEqual(decoded.services[0]!.tasks, services[0]!.tasks)
        assert.strictEqual(decoded.services[0]!.path, "Shop > Database")
        yield* app.stop
        assert.strictEqual(yield* ask("/live"), `503 ${plain}: not live\n`)
        yield* Effect.promise(() => web.dispose())
      })
    )
  }

  it.effect("tell of problems that are not critical, and stay ready", () =>
    Effect.gen(function* () {
      class Disk extends Service.make<Disk>()("Disk", {
        onStart: Service.health(Effect.fail("1% left"), { critical: false })
      }) {}
      const app = yield* launched(Disk.layer)
      yield* TestClock.adjust("2 minutes")
      const ask = asking(kinds.HttpRouter(yield* app.ask(ServiceRegistry.ServiceRegistry)).handler)
      assert.strictEqual(
        yield* ask("/ready"),
        "200 text/plain no-store: ready\nDisk: 1% left, for 2 minutes (not critical)\n"
      )
      yield* app.stop
    }).pipe(leavesNothing)
  )

  it.effect("are all that is there, and need the registry only", () =>
    Effect.gen(function* () {
      const app = yield* shop(() => Effect.void)
      const needed: HttpRouter.HttpRouter<never, ServiceRegistry.ServiceRegistry> = Health.routes
      const paths = Array.from(needed.routes, ({ method, path }) => `${method} ${path}`)
      assert.deepStrictEqual(paths, ["GET /live", "GET /ready", "GET /status"])
      yield* app.stop
      assert.isTrue(Exit.isFailure(yield* Fiber.await(app.fiber)))
    }).pipe(leavesNothing)
  )
})
