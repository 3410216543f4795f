import { execFileSync } from "node:child_process"
import {
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import { App, Service } from "effect-services"
import * as ProbeFiles from "../src/node/ProbeFiles.ts"
import { leavesNothing } from "./support.ts"

/** The files beside an app of one service, that starts and stops slowly, in a folder of its own. */
const probed = (prepare: (folder: string) => void = () => {}) =>
  Effect.gen(function* () {
    const slow = Effect.sleep("5 seconds")
    class Worker extends Service.make<Worker>()("Worker", { onStart: slow, onStop: () => slow }) {}
    const parent = mkdtempSync(join(tmpdir(), "effect-services-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(parent, { recursive: true, force: true })))
    const folder = join(parent, "a", "b")
    prepare(folder)
    const app = App.make({ name: "Shop" })
    const logged: Array<string> = []
    const logger = Logger.make(({ message }) => void logged.push(String(message)))
    const fiber = yield* ProbeFiles.beside(folder, app, app.launch(Worker.layer)).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Effect.forkDaemon
    )
    yield* TestClock.adjust(0)
    return { fiber, folder, logged, read: (name: string) => readFileSync(join(folder, name), "utf8") }
  })

it.scoped("are there from the start to the end of the stop, and tell what an app is", () =>
  Effect.gen(function* () {
    const exits = process.listenerCount("exit")
    const { fiber, folder, read } = yield* probed((left) => {
      mkdirSync(left, { recursive: true })
      // Of a process that was killed.
      writeFileSync(join(left, "ready"), "")
    })
    assert.deepStrictEqual(readdirSync(folder), ["live", "not-ready"])
    assert.strictEqual(read("not-ready"), "Shop is starting, for less than a second\n")
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(
      read("not-ready"),
      "Shop is starting, for 3 seconds\nWorker: starting, for 3 seconds\n"
    )
    yield* TestClock.adjust("3 seconds")
    assert.deepStrictEqual(readdirSync(folder), ["live", "ready"])
    const stopping = yield* Effect.fork(Fiber.interrupt(fiber))
    yield* TestClock.adjust("2 seconds")
    assert.deepStrictEqual(readdirSync(folder), ["live", "not-ready"])
    assert.strictEqual(
      read("not-ready"),
      "Shop is stopping, for 2 seconds\nWorker: stopping, for 2 seconds\n"
    )
    yield* TestClock.adjust("3 seconds")
    yield* Fiber.await(stopping)
    assert.deepStrictEqual(readdirSync(folder), [])
    assert.strictEqual(process.listenerCount("exit"), exits)
  }).pipe(leavesNothing)
)

it.scoped("have a `live` that is written anew every 10 seconds", () =>
  Effect.gen(function* () {
    const { fiber, folder } = yield* probed()
    const live = join(folder, "live")
    utimesSync(live, 1, 1)
    yield* TestClock.adjust("9 seconds")
    assert.strictEqual(statSync(live).mtimeMs, 1_000)
    yield* TestClock.adjust("1 second")
    assert.isAbove(statSync(live).mtimeMs, 1_000)
    yield* Effect.fork(Fiber.interrupt(fiber))
    yield* TestClock.adjust("5 seconds")
  }).pipe(leavesNothing)
)

it.scoped("come again when somebody has removed them", () =>
  Effect.gen(function* () {
    const { fiber, folder } = yield* probed()
    yield* TestClock.adjust("6 seconds")
    rmSync(join(folder, "ready"))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(readdirSync(folder), ["live", "ready"])
    yield* Effect.fork(Fiber.interrupt(fiber))
    yield* TestClock.adjust("5 seconds")
  }).pipe(leavesNothing)
)

it.scoped("that cannot be written are told of once, and written when they can be again", () =>
  Effect.gen(function* () {
    const { fiber, folder, logged } = yield* probed()
    const isTold = () => logged.filter((line) => line.startsWith("The probe files cannot be written to"))
    yield* TestClock.adjust("6 seconds")
    rmSync(folder, { recursive: true })
    writeFileSync(folder, "in the way")
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(isTold().length, 1)
    rmSync(folder)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(readdirSync(folder), ["live", "ready"])
    yield* Effect.fork(Fiber.interrupt(fiber))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(readdirSync(folder), ["live", "not-ready"])
    yield* TestClock.adjust("4 seconds")
  }).pipe(leavesNothing)
)

it.scoped("follow no link and wait for no FIFO that is in their place", () =>
  Effect.gen(function* () {
    const outside = mkdtempSync(join(tmpdir(), "effect-services-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(outside, { recursive: true })))
    const secret = join(outside, "secret")
    writeFileSync(secret, "secret")
    const { fiber, folder, logged, read } = yield* probed((left) => {
      mkdirSync(left, { recursive: true })
      symlinkSync(secret, join(left, "live"))
      symlinkSync(secret, join(left, "ready"))
      symlinkSync(join(outside, "made"), join(left, "live.new"))
      execFileSync("/usr/bin/env", ["mkfifo", join(left, "not-ready")])
    })
    assert.deepStrictEqual(readdirSync(folder), ["live", "not-ready"])
    assert.match(read("not-ready"), /^Shop is starting/)
    yield* TestClock.adjust("6 seconds")
    rmSync(join(folder, "ready"))
    symlinkSync(secret, join(folder, "ready"))
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(readdirSync(folder), ["live", "ready"])
    assert.strictEqual(read("ready"), "ready\n")
    assert.isTrue(lstatSync(join(folder, "live")).isFile() && lstatSync(join(folder, "ready")).isFile())
    yield* Effect.fork(Fiber.interrupt(fiber))
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(readdirSync(outside), ["secret"])
    assert.strictEqual(readFileSync(secret, "utf8"), "secret")
    assert.deepStrictEqual(
      logged.filter((line) => line.startsWith("The probe files")),
      []
    )
  }).pipe(leavesNothing)
)

const advice = "Give `probeDir` a folder that the process may write to, as one in /tmp."

it.scoped("are not put into a folder that is a link", () =>
  Effect.gen(function* () {
    const { fiber, folder } = yield* probed((left) => {
      mkdirSync(join(left, "..", "real"), { recursive: true })
      symlinkSync(join(left, "..", "real"), left)
    })
    const failed = yield* Effect.flip(Fiber.join(fiber))
    assert.strictEqual(
      (failed as ProbeFiles.ProbeFilesError).message,
      `The probe files cannot be written to "${folder}": it is a link, which is not followed. ${advice}`
    )
    assert.deepStrictEqual(readdirSync(folder), [])
  })
)

// Only root can give a folder to another.
it.scoped.skipIf(process.getuid?.() !== 0)("are not put into a folder of another user", () =>
  Effect.gen(function* () {
    const { fiber, folder } = yield* probed((left) => {
      mkdirSync(left, { recursive: true })
      chownSync(left, 1234, 1234)
    })
    const failed = yield* Effect.flip(Fiber.join(fiber))
    assert.strictEqual(
      (failed as ProbeFiles.ProbeFilesError).message,
      `The probe files cannot be written to "${folder}": it belongs to another user (1234, and this process runs as 0). ${advice}`
    )
    assert.deepStrictEqual(readdirSync(folder), [])
  })
)
