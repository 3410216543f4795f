/** Real sockets, in this process. What whole processes do when they stop is in HttpDrain.live.test.ts. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import {
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import {
  Cause,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  ManagedRuntime,
  Option,
  Schedule,
  Stream,
  type Tracer
} from "effect"
import { App, Journal, Service, ServiceRegistry } from "effect-services"
import { NodeHttp } from "effect-services/node"
import { ServiceLaws } from "effect-services/testing"
import { client } from "./client.ts"
import {
  connected,
  isClean,
  lines,
  local,
  port,
  received,
  receives,
  routes,
  row,
  serving,
  slowProxy,
  upgradeHeaders
} from "./httpServing.ts"

/** Asks over one kept connection, and over a new one when that is closed, until none is accepted any more. */
const asksOften = (port: number, everyMillis: number) =>
  Effect.suspend(() => {
    const agent = new Http.Agent({ keepAlive: true, maxSockets: 1 })
    const ask = Effect.async<string>((resume) => {
      const request = Http.get({ port, host: "127.0.0.1", agent }, (response) => {
        response.resume()
        response.on("end", () => resume(Effect.succeed("answered")))
      })
      request.on("error", () => resume(Effect.succeed(request.reusedSocket ? "lost" : "refused")))
    })
    return Effect.zipLeft(ask, Effect.sleep(everyMillis)).pipe(
      Effect.repeat({ until: (end) => end !== "answered" }),
      Effect.ensuring(Effect.sync(() => agent.destroy()))
    )
  })

describe("NodeHttp.layer", () => {
  it.live("is a service of the app, given what the handlers use", () =>
    Effect.gen(function* () {
      class Pool extends Service.make<Pool>()("Pool", {
        onStart: Effect.succeed({ query: Effect.succeed("row") })
      }) {}
      const router = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/",
          Effect.flatMap(Pool, (pool) => Effect.map(pool.query, (_) => HttpServerResponse.text(_)))
        )
      )
      const seen = yield* Deferred.make<readonly [ServiceRegistry.Snapshot, App.StopPlan]>()
      const look = Layer.effectDiscard(
        Effect.flatMap(Effect.zip(ServiceRegistry.snapshot, App.plan), (_) => Deferred.succeed(seen, _))
      )
      const app = look.pipe(
        Layer.provide(HttpServer.serve(router)),
        Layer.provide(Pool.layer),
        Layer.provide(NodeHttp.layer(() => Http.createServer(), { ...local, drainTimeout: "6 seconds" }))
      )
      const fiber = yield* Effect.forkDaemon(App.launch(app))
      const [{ services }, plan] = yield* Deferred.await(seen)
      const stopped = yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        services.map(({ dependencies, path }) => [path, dependencies]),
        [
          ["App > HttpServer", ["App > Pool"]],
          ["App > Pool", []]
        ]
      )
      // It started first, and stops first too.
      assert.deepStrictEqual(
        plan.levels.map((level) => level.map(({ service }) => service)),
        [["App > HttpServer"], ["App > Pool"]]
      )
      assert.deepStrictEqual(
        plan.levels[0]?.map(({ budget, claim }) => [Duration.toMillis(budget), Duration.toMillis(claim)]),
        [[9_000, 9_000]]
      )
      assert.isTrue(isClean(stopped))
    })
  )

  it.live("traces what services do for a request below the request", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const query = Effect.fn("Pool.query")(function* () {
        const span = yield* Effect.orDie(Effect.currentSpan)
        names.push(
          span.name,
          ...Option.toArray(Option.map(span.parent, (parent) => (parent as Tracer.Span).name))
        )
        return row
      })
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/", query())))
      const one = yield* connected(app.port)
      one.get("/")
      yield* receives(one, /row$/)
      yield* app.stop
      assert.deepStrictEqual(names, ["Pool.query", "http.server GET"])
    })
  )

  it.live("serves on for the readiness delay, says close to who asks, and refuses connections after it", () =>
    Effect.gen(function* () {
      const server = Http.createServer()
      const app = yield* serving(routes, { readinessDelay: "400 millis" }, () => server)
      const kept = yield* connected(app.port)
      kept.get("/")
      yield* receives(kept, /connection: keep-alive[^]*row$/i)
      // Longer than one that asks all the time.
      yield* Effect.sleep("250 millis")
      const stopping = yield* Effect.fork(app.stop)
      yield* Effect.repeat(Effect.sleep("5 millis"), {
        until: () => Effect.map(app.entries, (_) => _.some(({ _tag }) => _tag === "ServerDraining"))
      })
      kept.get("/")
      assert.match(yield* received(kept), /row[^]*connection: close[^]*row$/i)
      const fresh = yield* connected(app.port)
      yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => !server.listening })
      // It is still open, and gets an answer.
      fresh.get("/")
      const refused = yield* Effect.exit(Effect.tryPromise(() => client(app.port)))
      assert.match(yield* received(fresh), /connection: close[^]*row$/i)
      assert.isTrue(Exit.isFailure(refused))
      assert.isTrue(isClean(yield* Fiber.join(stopping)))
      assert.match(
        lines(yield* app.entries, ["ServerDraining"]).join("\n"),
        /^App > HttpServer serves on for \d+ms, then takes no new connections$/
      )
    })
  )

  it.live(
    "loses no request of clients that ask each second over kept connections, with a readiness delay",
    () =>
      Effect.gen(function* () {
        const app = yield* serving(routes, { readinessDelay: "1500 millis" })
        // 20 ms each way.
        const proxy = yield* Effect.promise(() => slowProxy(app.port, 20))
        const clients = Array.from({ length: 60 }, (_, n) =>
          Effect.zipRight(Effect.sleep(n * 16), asksOften(proxy.port, 1_000))
        )
        const asking = yield* Effect.fork(Effect.all(clients, { concurrency: "unbounded" }))
        yield* Effect.sleep("1 second")
        const stopped = yield* app.stop
        const ends = yield* Fiber.join(asking)
        proxy.close()
        assert.isTrue(isClean(stopped))
        assert.deepStrictEqual(
          ends.filter((end) => end.startsWith("lost")),
          []
        )
      })
  )

  it.live("counts the readiness delay from when the app became not ready", () =>
    Effect.gen(function* () {
      // It stops before what it is given.
      class Slow extends Service.make<Slow>()("Slow", {
        onStart: Effect.asVoid(HttpServer.HttpServer),
        onStop: () => Effect.sleep("300 millis")
      }) {}
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const app = Slow.layer.pipe(
        Layer.provideMerge(HttpServer.serve(routes)),
        Layer.provide(NodeHttp.layer(() => Http.createServer(), { ...local, readinessDelay: "400 millis" }))
      )
      const fiber = yield* Effect.forkDaemon(
        App.launch(app).pipe(Effect.provideService(Journal.Journal, journal))
      )
      yield* Effect.repeat(journal.recent, { until: (_) => _.some(({ _tag }) => _tag === "AppStarted") })
      yield* Fiber.interrupt(fiber)
      const delays = (yield* journal.recent).flatMap((entry) =>
        entry._tag === "ServerDraining" ? [Duration.toMillis(entry.readinessDelay)] : []
      )
      assert.lengthOf(delays, 1)
      assert.isAtMost(delays[0]!, 100)
    })
  )

  it.live(
    "gives streams the time of the drain where they are to have it, and cuts them without a complaint",
    () =>
      Effect.gen(function* () {
        const events = HttpServerResponse.stream(
          Stream.repeatEffectWithSchedule(
            Effect.succeed(new TextEncoder().encode("data: x\n\n")),
            Schedule.spaced("50 millis")
          ),
          { contentType: "text/event-stream" }
        )
        const router = HttpRouter.empty.pipe(HttpRouter.get("/events", events))
        const app = yield* serving(router, { streams: "drain", drainTimeout: "600 millis" })
        const reader = yield* connected(app.port)
        reader.get("/events")
        yield* receives(reader, /data: x/)
        const [took, stopped] = yield* Effect.timed(app.stop)
        assert.match(yield* received(reader), /data: x[^]*\r\n0\r\n\r\n$/)
        assert.isTrue(isClean(stopped))
        assert.isAtLeast(Duration.toMillis(took), 590)
        assert.deepStrictEqual(lines(yield* app.entries, ["ServerDraining", "RequestsCut"]), [
          "App > HttpServer takes no new connections, with 1 stream in flight"
        ])
      })
  )

  it.live("answers with 503 for a handler that cannot be interrupted, and does not wait for it", () =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/deaf/:id", Effect.delay(row, "10 seconds"), { uninterruptible: true })
      )
      const app = yield* serving(router, { drainTimeout: "100 millis" })
      const [one, other] = yield* Effect.all([connected(app.port), connected(app.port)])
      one.get("/deaf/1")
      other.get("/deaf/2")
      yield* Effect.sleep("50 millis")
      const [took, stopped] = yield* Effect.timed(app.stop)
      assert.match(yield* received(one), /^HTTP\/1.1 503 Service Unavailable\r\nconnection: close/)
      assert.isBelow(Duration.toMillis(took), 3_500)
      assert.isFalse(isClean(stopped))
      assert.deepStrictEqual(lines(yield* app.entries, ["RequestsCut"]), [
        "App > HttpServer cut 2 requests that had no answer after 100ms: 2 of GET /deaf/:id"
      ])
    })
  )

  it.live("answers with 503 before anything is served", () =>
    Effect.gen(function* () {
      const slow = Layer.effectDiscard(Effect.never)
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const server = Http.createServer()
      const app = HttpServer.serve(routes).pipe(
        Layer.provide(slow),
        Layer.provide(NodeHttp.layer(() => server, local))
      )
      const fiber = yield* Effect.forkDaemon(
        App.launch(app).pipe(Effect.provideService(Journal.Journal, journal))
      )
      yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => server.listening })
      const address = server.address()
      assert.isTrue(typeof address === "object" && address !== null)
      const early = yield* connected(typeof address === "object" ? address!.port : 0)
      early.get("/")
      assert.match(
        yield* received(early),
        /^HTTP\/1.1 503 Service Unavailable[^]*\r\nretry-after: 1[^]*App is starting\n/i
      )
      const upgrade = yield* connected(typeof address === "object" ? address!.port : 0)
      upgrade.get("/", "connection: upgrade\r\nupgrade: websocket\r\n")
      assert.match(yield* received(upgrade), /^HTTP\/1.1 503 Service Unavailable/)
      yield* Fiber.interrupt(fiber)
      assert.isFalse(server.listening)
    })
  )

  it.live(
    "lives on when clients go in the middle of an answer or of an upgrade, and keeps nothing of them",
    () =>
      Effect.gen(function* () {
        const released: Array<string> = []
        const held = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) =>
          Effect.zipRight(
            Effect.addFinalizer(() => Effect.sync(() => released.push(name))),
            effect
          )
        const router = HttpRouter.empty.pipe(
          HttpRouter.get("/file", held("file", HttpServerResponse.file(process.execPath))),
          HttpRouter.get("/big", held("big", HttpServerResponse.uint8Array(new Uint8Array(8_000_000)))),
          HttpRouter.get("/slow", held("slow", Effect.delay(row, "300 millis"))),
          HttpRouter.get("/fast", held("fast", row)),
          HttpRouter.get("/head", held("head", Effect.delay(row, "150 millis")), { uninterruptible: true }),
          HttpRouter.get(
            "/upgrade",
            held(
              "upgrade",
              Effect.as(Effect.delay(HttpServerRequest.upgrade, "200 millis"), HttpServerResponse.empty())
            )
          )
        )
        const app = yield* serving(router)
        const go = (path: string, how: "destroy" | "resetAndDestroy") =>
          Effect.gen(function* () {
            const one = yield* connected(app.port)
            const isUpgrade = path === "/upgrade"
            one.get(path, isUpgrade ? upgradeHeaders : "")
            // Queued behind the first.
            if (path === "/slow") one.get("/fast")
            yield* isUpgrade || path === "/slow" || path === "/head"
              ? Effect.sleep("50 millis")
              : receives(one, /200 OK/)
            one.socket[how]()
          })
        const paths = ["/file", "/big", "/slow", "/head", "/upgrade"]
        yield* Effect.forEach(paths, (path) => Effect.zip(go(path, "destroy"), go(path, "resetAndDestroy")), {
          concurrency: "unbounded"
        })
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => released.length === 12, times: 100 })
        const twice = ["big", "fast", "file", "head", "slow", "upgrade"].flatMap((name) => [name, name])
        assert.deepStrictEqual(released.toSorted(), twice)
        const [took, stopped] = yield* Effect.timed(app.stop)
        assert.isTrue(isClean(stopped))
        assert.isBelow(Duration.toMillis(took), 2_000)
      })
  )

  it.live("answers a request that only offers another protocol", () =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(HttpRouter.get("/slow", Effect.delay(row, "400 millis")))
      const app = yield* serving(router)
      const one = yield* connected(app.port)
      one.get("/slow", "connection: upgrade\r\nupgrade: h2c\r\n")
      yield* Effect.sleep("100 millis")
      assert.isTrue(isClean(yield* app.stop))
      assert.match(yield* received(one), /^HTTP\/1.1 200 OK[^]*row$/)
    })
  )

  it.live("does not wait for streams whose clients do not read", () =>
    Effect.gen(function* () {
      const bytes = new Uint8Array(1_000_000)
      const events = HttpServerResponse.stream(Stream.repeatValue(bytes), {
        contentType: "Text/Event-Stream"
      })
      const app = yield* serving(HttpRouter.empty.pipe(HttpRouter.get("/events", events)))
      const one = yield* connected(app.port)
      one.socket.pause()
      one.get("/events")
      yield* Effect.sleep("200 millis")
      const [took, stopped] = yield* Effect.timed(app.stop)
      one.socket.destroy()
      assert.isTrue(isClean(stopped))
      assert.isBelow(Duration.toMillis(took), 5_000)
    })
  )

  it.live("cuts in time for the app, however long it may drain", () =>
    Effect.gen(function* () {
      const router = HttpRouter.empty.pipe(HttpRouter.get("/never", Effect.zipRight(Effect.never, row)))
      const app = yield* serving(router, { drainTimeout: "1 minute" }, undefined, {
        stopTimeout: "5 seconds"
      })
      const one = yield* connected(app.port)
      one.get("/never")
      yield* Effect.sleep("100 millis")
      yield* app.stop
      assert.match(yield* received(one), /^HTTP\/1.1 503/)
      const [cut] = lines(yield* app.entries, ["RequestsCut"])
      assert.match(
        cut!,
        /^App > HttpServer cut 1 request that had no answer after (2s|1s \d+ms): GET \/never$/
      )
      assert.notInclude((yield* app.entries).map((entry) => Journal.format(entry)).join(), "hung")
    })
  )

  it.live("cuts what hangs in a middleware, and tells of a request without a route by its path alone", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const hangs = HttpMiddleware.make(() =>
        Effect.interruptible(Effect.never).pipe(Effect.ensuring(Deferred.succeed(ended, undefined)))
      )
      const up = yield* Deferred.make<number>()
      const journal = yield* Effect.provide(Journal.Journal, Journal.layer)
      const app = HttpServer.serve(routes, hangs).pipe(
        Layer.merge(Layer.effectDiscard(Effect.flatMap(port, (_) => Deferred.succeed(up, _)))),
        Layer.provide(NodeHttp.layer(() => Http.createServer(), { ...local, drainTimeout: "100 millis" }))
      )
      const fiber = yield* Effect.forkDaemon(
        App.launch(app).pipe(Effect.provideService(Journal.Journal, journal))
      )
      const one = yield* connected(yield* Deferred.await(up))
      one.get("/nowhere?token=secret")
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(fiber)
      assert.match(yield* received(one), /^HTTP\/1.1 503/)
      assert.isTrue(yield* Deferred.isDone(ended))
      assert.deepStrictEqual(lines(yield* journal.recent, ["RequestsCut"]), [
        "App > HttpServer cut 1 request that had no answer after 100ms: GET /nowhere"
      ])
    })
  )

  it.live("ends a stream that would begin while it drains", () =>
    Effect.gen(function* () {
      const events = HttpServerResponse.stream(Stream.never, { contentType: "text/event-stream" })
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/events", Effect.as(Effect.sleep("200 millis"), events))
      )
      const app = yield* serving(router, { drainTimeout: "10 seconds" })
      const one = yield* connected(app.port)
      one.get("/events")
      yield* Effect.sleep("50 millis")
      const [took, stopped] = yield* Effect.timed(app.stop)
      assert.match(yield* received(one), /^HTTP\/1.1 503/)
      assert.isTrue(isClean(stopped))
      assert.isBelow(Duration.toMillis(took), 5_000)
    })
  )

  it.live("leaves no server behind when its start is interrupted", () =>
    Effect.gen(function* () {
      const server = Http.createServer()
      const layer = NodeHttp.layer(() => server, { port: 0, host: "localhost" })
      const fiber = yield* Effect.fork(Effect.scoped(Layer.build(layer)))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      yield* Effect.sleep("300 millis")
      assert.isFalse(server.listening)
    })
  )

  it.effect("is released in virtual time too, where nobody moves the clock", () =>
    Effect.gen(function* () {
      const open = yield* port
      const one = yield* connected(open)
      one.get("/")
      yield* receives(one, /row$/)
    }).pipe(
      Effect.provide(
        HttpServer.serve(routes).pipe(Layer.provideMerge(NodeHttp.layer(() => Http.createServer(), local)))
      )
    )
  )

  it.live("drains over TLS, whatever hangs in a handshake", () =>
    Effect.gen(function* () {
      const pem = readFileSync(fileURLToPath(new URL("fixtures/localhost.pem", import.meta.url)), "utf8")
      const router = HttpRouter.empty.pipe(HttpRouter.get("/slow", Effect.delay(row, "400 millis")))
      const app = yield* serving(router, {}, () => Https.createServer({ key: pem, cert: pem }) as Http.Server)
      const silent = yield* connected(app.port)
      const answer = yield* Effect.fork(
        Effect.async<string>((resume) => {
          const options = { port: app.port, host: "127.0.0.1", path: "/slow", rejectUnauthorized: false }
          Https.get(options, (response) => {
            resume(Effect.succeed(`${response.statusCode} ${response.headers.connection}`))
            response.resume()
          })
        })
      )
      yield* Effect.sleep("150 millis")
      const [took, stopped] = yield* Effect.timed(app.stop)
      assert.strictEqual(yield* Fiber.join(answer), "200 close")
      yield* received(silent)
      assert.isTrue(isClean(stopped))
      assert.isBelow(Duration.toMillis(took), 2_000)
    })
  )

  it.live("drains under plain Effect too, without an app", () =>
    Effect.gen(function* () {
      const layer = HttpServer.serve(
        HttpRouter.empty.pipe(HttpRouter.get("/slow", Effect.delay(row, "300 millis")))
      ).pipe(Layer.provideMerge(NodeHttp.layer(() => Http.createServer(), local)))
      const runtime = ManagedRuntime.make(layer)
      const slow = yield* connected(yield* Effect.promise(() => runtime.runPromise(port)))
      slow.get("/slow")
      yield* Effect.sleep("50 millis")
      yield* runtime.disposeEffect
      assert.match(yield* received(slow), /200 OK[^]*connection: close[^]*row$/i)
    })
  )

  it.live("keeps the timeouts that a server comes with, and gives others its own", () =>
    Effect.gen(function* () {
      const given = Http.createServer({ keepAliveTimeout: 1_234, headersTimeout: 5_678 })
      const app = yield* serving(routes, {}, () => given)
      assert.deepStrictEqual([given.keepAliveTimeout, given.headersTimeout], [1_234, 5_678])
      yield* app.stop
      const plain = Http.createServer()
      const other = yield* serving(routes, {}, () => plain)
      assert.strictEqual(plain.keepAliveTimeout, 65_000)
      yield* other.stop
    })
  )

  it.live("says in one line why it cannot listen", () =>
    Effect.gen(function* () {
      const app = yield* serving(routes)
      const why = (options: Partial<NodeHttp.Options>) =>
        Effect.matchEffect(serving(routes, options), {
          // The system's own words follow in brackets.
          onFailure: (error) => Effect.succeed((error as Error).message.replace(/ \(listen E[^)]+\)$/, "")),
          onSuccess: ({ stop }) => Effect.as(stop, "it listens")
        })
      const prefix =
        'Service "App > HttpServer" failed in onStart, so what it had begun was undone: cannot listen on '
      assert.strictEqual(
        yield* why({ port: app.port }),
        `${prefix}127.0.0.1:${app.port}: it is in use. End what listens there, or choose another.`
      )
      assert.strictEqual(
        yield* why({ host: "203.0.113.1" }),
        `${prefix}203.0.113.1:0: this machine has no such address. Choose one that it has, or leave \`host\` out.`
      )
      yield* app.stop

      const folder = mkdtempSync(join(tmpdir(), "effect-services-"))
      const path = join(folder, "app.sock")
      const elsewhere = { path, port: undefined, host: undefined } as unknown as Partial<NodeHttp.Options>
      const there = prefix + path
      // A process that is killed leaves its socket behind.
      const listens = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`
      spawnSync(process.execPath, ["-e", listens])
      assert.strictEqual(
        yield* why(elsewhere),
        `${there}: it is a socket that a server has left behind, and nothing listens there any more. Remove the file, and start again.`
      )
      rmSync(path)
      const other = createServer().listen(path)
      yield* Effect.promise(() => once(other, "listening"))
      assert.strictEqual(
        yield* why(elsewhere),
        `${there}: it is in use. End what listens there, or choose another.`
      )
      other.close()
      yield* Effect.promise(() => once(other, "close"))
      writeFileSync(path, "")
      assert.strictEqual(
        yield* why(elsewhere),
        `${there}: there is a file that is no socket. Choose another path, or remove the file.`
      )
      rmSync(folder, { recursive: true })
    })
  )

  it.live("refuses what would only seem to be served", () =>
    Effect.gen(function* () {
      const two = Layer.merge(
        NodeHttp.layer(() => Http.createServer(), local),
        NodeHttp.layer(() => Http.createServer(), local)
      )
      const twins = yield* Effect.exit(App.launch(two))
      assert.include(
        Cause.pretty(Exit.isFailure(twins) ? twins.cause : Cause.empty),
        'are named "HttpServer"'
      )

      const named = Layer.merge(
        NodeHttp.layer(() => Http.createServer(), local),
        NodeHttp.layer(() => Http.createServer(), { ...local, name: "Admin" })
      )
      yield* Effect.scoped(Layer.build(named))

      const http = yield* HttpServer.HttpServer
      const message = (exit: Exit.Exit<unknown, unknown>) =>
        String(Option.getOrUndefined(Cause.dieOption(Exit.isFailure(exit) ? exit.cause : Cause.empty)))
      const served = Effect.exit(http.serve(HttpServerResponse.empty()))
      const advice =
        "Give each app that is served, also when it is built anew, a server of its own: provide NodeHttp.layer within it."
      const twice = yield* Effect.scoped(Effect.zipRight(served, served))
      assert.strictEqual(message(twice), `Error: HttpServer serves something already. ${advice}`)
      const again = yield* Effect.scoped(served)
      assert.strictEqual(
        message(again),
        `Error: HttpServer has stopped, because what was served on it has. ${advice}`
      )
    }).pipe(Effect.scoped, Effect.provide(NodeHttp.layer(() => Http.createServer(), local)))
  )

  it.each<readonly [string, unknown, unknown, string]>([
    [
      "no options",
      () => {},
      undefined,
      "`options` must be an object with a port or path, but it is undefined"
    ],
    [
      "no place to listen",
      () => {},
      { host: "::1" },
      "`port` must be a port, 0 to 65535, but it is undefined"
    ],
    ["a signal", () => {}, { port: 0, signal: AbortSignal.abort() }, "`signal` must be left out"],
    ["no function", Http.createServer(), local, "`evaluate` must be a function, but it is an object"],
    ["a port that is none", () => {}, { port: 70_000 }, "`port` must be a port, 0 to 65535, but it is 70000"],
    [
      "a blank name",
      () => {},
      { port: 0, name: " " },
      '`name` must be a name that is not empty, but it is " "'
    ],
    ["a delay below zero", () => {}, { port: 0, readinessDelay: -1 }, "`readinessDelay` must be a duration"],
    [
      "a drain without time",
      () => {},
      { port: 0, drainTimeout: 0 },
      "`drainTimeout` must be a duration above zero"
    ],
    [
      "a drain without end",
      () => {},
      { port: 0, drainTimeout: "Infinity" },
      "`drainTimeout` must be a duration"
    ],
    [
      "a limit of bodies that is none",
      () => {},
      { port: 0, maxBodySize: 0 },
      "`maxBodySize` must be a whole number of at least 1"
    ],
    ["a word that is none", () => {}, { port: 0, streams: "cut" }, '`streams` must be "interrupt" or "drain"']
  ])("refuses %s", (_, evaluate, options, message) => {
    assert.throws(() => NodeHttp.layer(evaluate as never, options as never), `NodeHttp.layer: ${message}`)
  })

  it.live("refuses a server that is none", () =>
    Effect.gen(function* () {
      const layer = NodeHttp.layer((() => ({})) as never, local)
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      assert.include(
        Cause.pretty(Exit.isFailure(exit) ? exit.cause : Cause.empty),
        "`evaluate` must be a function that returns a server of node:http or node:https, but it is an object"
      )
    })
  )
})

it.live(
  "keeps the laws of services",
  () => {
    const server = HttpServer.serve(routes).pipe(
      Layer.provide(NodeHttp.layer(() => Http.createServer(), local))
    )
    return ServiceLaws.check(server, { runs: 20 })
  },
  60_000
)
