/** Runs an app as a Node process: signals, crashes, exit codes. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as App from "../App.ts"
import { isOfApp } from "../internal/Format.ts"
import * as Fork from "../internal/Fork.ts"
import * as Input from "../internal/Input.ts"
import * as Journal from "../internal/journal/Journal.ts"
import { StartError } from "../internal/lifecycle/StartError.ts"
import * as Printable from "../internal/Printable.ts"
import * as Reason from "../internal/Reason.ts"
import * as ServiceRegistry from "../ServiceRegistry.ts"
import * as StopPlan from "../internal/status/StopPlan.ts"
import * as ProbeFiles from "./ProbeFiles.ts"
import * as ProcessExit from "./ProcessExit.ts"

/** Options of `runMain`. */
export interface Options extends App.Options {
  /**
   * A folder for probe files, for apps without HTTP, such as `/tmp/shop`. `live`
   * is rewritten every 10 seconds. `ready` exists while the app is ready;
   * `not-ready`, which holds the reasons, while it is not. Each process needs a
   * folder of its own. None by default.
   */
  readonly probeDir?: string | undefined
}

/**
 * Launches an app and exits the process when it ends.
 *
 * - SIGINT, SIGTERM and SIGHUP stop the app in order. A second signal exits at
 *   once, with a line that names what was still running.
 * - Launchers pass a signal on that the process has already had: npm, tsx and
 *   `node --watch` a Ctrl-C, or a SIGTERM that went to the whole process group;
 *   some turn a SIGINT into a SIGTERM. So within a second of the first, the same
 *   signal, SIGTERM and SIGHUP are the same request. A SIGINT after another
 *   signal is a person at the keyboard, and exits at once.
 * - SIGHUP is a terminal that was closed. It stops the app under `nohup` too, as
 *   it ends any Node process there: Node resets what `nohup` has set. On Windows
 *   the system ends the process some 10 seconds after the console was closed.
 * - An uncaught exception or unhandled rejection is logged and stops the app in
 *   order. So does a closed stdout (EPIPE).
 * - The exit code is 0 when the app stopped on request (a signal or
 *   `Service.stop`), cleanly and in time. Otherwise it is 1.
 * - SIGUSR2 writes the tree of services to stderr (`ServiceRegistry.render`) and,
 *   while the app is up, its stop plan (`App.renderPlan`). Not on Windows, which
 *   has no such signal. nodemon restarts on it, unless told `--signal SIGTERM`.
 * - With `probeDir`, files in that folder answer probes.
 * - The process exits when the app ends, even if handles are still open, and its
 *   output is written by then: unread output holds the exit up for at most a
 *   second. `process.exit` by other code while the app runs exits at once, with
 *   a line on stderr that says so, and never with 0.
 *
 * Why an app fails is logged when its stop begins: as one line, a defect with its stack.
 */
export const runMain = <A, E, R>(layer: Layer.Layer<A, E, R> & Complete<R>, options: Options = {}): void => {
  const app = App.make(options)
  const { name = "App", probeDir } = options
  if (probeDir !== undefined) Input.name("NodeApp.runMain", "probeDir", probeDir)
  // `Complete` has checked that `R` is within `App.Provided`.
  const launched = reasonFirst(name, app.launch(layer as Layer.Layer<A, E, App.Provided>))
  const probed = probeDir === undefined ? launched : ProbeFiles.beside(probeDir, app, launched)
  // A stop has said why it began.
  const unlessStopped = (cause: Cause.Cause<unknown>) =>
    Effect.flatMap(app.report, (stop) => (Option.isSome(stop) ? Effect.void : report(cause)))
  const exit = ProcessExit.make(name, app.unfinished)
  const fiber = Effect.runFork(Effect.provide(Effect.tapErrorCause(probed, unlessStopped), logger))

  let first: NodeJS.Signals | undefined
  let isRecent = true
  const onSignal = (signal: NodeJS.Signals) => {
    if (exit.isLeaving()) return
    if (first === undefined) {
      first = signal
      // Not in the timer itself: signals that came while the event loop was blocked are delivered after it.
      setTimeout(() => setImmediate(() => (isRecent = false)), sameRequestMillis)
      return app.stop(signal)
    }
    if (isRecent && (signal === first || signal !== "SIGINT")) return
    const left = app.unfinished().join(", ") || "none"
    process.stderr.write(`${signal} again: ending at once, while these had not stopped: ${left}\n${tree()}`)
    exit.leave(() => 1)
  }
  let crashes = 0
  const onCrash = (kind: string) => (error: unknown) => {
    // Reporting a crash may crash again. By then the stop has long begun.
    if (++crashes > maxCrashes) return
    // Inherits the app's loggers.
    const reported = Effect.zipRight(Effect.inheritFiberRefs(fiber.getFiberRefs()), app.crash(kind, error))
    Effect.runFork(reported)
  }
  const tree = () =>
    Option.match(Effect.runSync(app.snapshot), {
      onNone: () => "",
      onSome: (snapshot) => `${ServiceRegistry.render(snapshot)}\n`
    })
  // During the boot the plan is incomplete; during the stop the tree shows the progress.
  const plan = () =>
    Option.match(Option.filter(Effect.runSync(app.snapshot), isRunning), {
      onNone: () => "",
      onSome: (snapshot) => `${StopPlan.render(StopPlan.make(snapshot))}\n`
    })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal)
  if (process.platform !== "win32") process.on("SIGUSR2", () => void process.stderr.write(tree() + plan()))
  process.on("uncaughtException", onCrash("uncaught exception"))
  process.on("unhandledRejection", onCrash("unhandled rejection"))
  // Once: each later line fails again. Only a closed pipe stops the app; it can run on with a full disk.
  process.stdout.once("error", (error: NodeJS.ErrnoException) => {
    const isClosed = error.code === "EPIPE"
    const then = isClosed ? "so the app stops" : "so the log is lost"
    process.stderr.write(`stdout cannot be written to (${error.code}), ${then}\n`)
    if (isClosed) onCrash("stdout was closed")(error)
  })
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})

  // No report means that the launch itself failed.
  const exitCode = () => Option.getOrUndefined(Effect.runSync(app.report))?.exitCode ?? 1
  fiber.addObserver(() => exit.leave(exitCode))
}

/** `unknown` when the app provides all requirements. Otherwise a property that no layer has, so that the compile error names the missing services. */
type Complete<R> = [R] extends [App.Provided]
  ? unknown
  : { readonly "services that nobody provides": Exclude<R, App.Provided> }

/** Within this time, a signal that a launcher passes on is the same request. Nobody asks twice so soon by hand. */
const sameRequestMillis = 1_000

/** How many crashes are reported. */
const maxCrashes = 10

const isRunning = ({ state }: ServiceRegistry.Snapshot): boolean => state._tag === "Running"

/** As in Effect's own `runMain`: pretty at a terminal, one line per entry elsewhere. */
const logger = process.stdout.isTTY ? Logger.pretty : Layer.empty

/**
 * Logs why the app fails before all that the stop says: a start that failed
 * before what it had begun is undone, all else when the stop begins. A start
 * that is tried again, as by `Layer.retry`, has failed as well.
 */
const reasonFirst = <A, E>(app: string, launched: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Journal.make, (journal) => {
    const told = new Set<string>()
    const tell = (cause: Cause.Cause<unknown>) => {
      const reason = Reason.ofCause(cause)
      if (told.has(reason)) return Effect.void
      told.add(reason)
      // A logger that throws must not interrupt the stop.
      return Effect.exit(report(cause))
    }
    const append = (entry: Journal.Unstamped) => {
      const cause = failureOf(app, entry)
      const appended = journal.append(entry)
      return cause === undefined ? appended : Effect.zipRight(tell(cause), appended)
    }
    return Effect.provideService(launched, Journal.Journal, { ...journal, append })
  })

/** What fails the app, or will unless it is handled: a child that does not start is the matter of the service that adopts it. */
const failureOf = (app: string, entry: Journal.Unstamped): Cause.Cause<unknown> | undefined => {
  if (entry._tag === "AppStopping") return entry.cause
  if (entry._tag !== "StartFailed" || !isOfApp(app, entry.service)) return undefined
  const error = new StartError(entry)
  return Cause.isFailure(entry.cause) ? Cause.fail(error) : Cause.die(error)
}

/** Logs the failure of the app. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.isInterruptedOnly(cause)) return Effect.void
  const reason = Reason.ofCause(cause)
  const logged = Cause.isFailure(cause)
    ? Effect.logError(reason)
    : Effect.logError(reason, Printable.ofCause(cause))
  return Effect.zipRight(logged, Fork.unlogged)
}
