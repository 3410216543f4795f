/** Runs an app as a Node process: signals, crashes, exit codes. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as App from "../App.ts"
import * as Input from "../internal/Input.ts"
import * as Reason from "../internal/Reason.ts"
import * as ServiceRegistry from "../ServiceRegistry.ts"
import * as StopPlan from "../internal/status/StopPlan.ts"
import * as ProbeFiles from "./ProbeFiles.ts"

/** Options of `runMain`. */
export interface Options extends App.Options {
  /**
   * A folder for files that answer probes, where there is no HTTP to ask, as
   * `/tmp/shop`. `live` is written anew every 10 seconds; `ready` is there while
   * the app is ready, and `not-ready`, with the reasons, while it is not. One folder for each process. None by default.
   */
  readonly probeDir?: string | undefined
}

/**
 * Launches an app and ends the process with it.
 *
 * - SIGINT and SIGTERM stop the app in order. A second signal ends the process
 *   at once, with a line that says what was still running.
 * - An uncaught exception or unhandled rejection is logged, and stops the app
 *   in order; so does a stdout that nobody reads any more (EPIPE).
 * - The exit code is 0 when the app was asked to stop, by a signal or by
 *   `Service.stop`, and did so cleanly and in time. Otherwise it is 1.
 * - SIGUSR2 writes the tree of services to stderr, as `ServiceRegistry.render`
 *   does: what runs, since when, and what is not well; and below it, while the
 *   app is up, how it will stop, as `App.renderPlan` does. (Not on Windows, which
 *   has no such signal. nodemon restarts by it, unless told `--signal SIGTERM`.)
 * - With `probeDir`, files in it answer probes.
 * - The process ends when the app has, whatever handles are still open.
 *
 * Why an app failed is logged as one line. A defect is a bug, so its stack follows.
 */
export const runMain = <A, E, R>(layer: Layer.Layer<A, E, R> & Complete<R>, options: Options = {}): void => {
  const app = App.make(options)
  const { probeDir } = options
  if (probeDir !== undefined) Input.name("NodeApp.runMain", "probeDir", probeDir)
  // `Complete` has checked that `R` is within `App.Provided`.
  const launched = app.launch(layer as Layer.Layer<A, E, App.Provided>)
  const probed = probeDir === undefined ? launched : ProbeFiles.beside(probeDir, app, launched)
  let signalled = false

  const fiber = Effect.runFork(Effect.provide(Effect.tapErrorCause(probed, report), logger))

  const onSignal = (signal: NodeJS.Signals) => {
    if (signalled) {
      const left = app.unfinished().join(", ") || "none"
      process.stderr.write(`${signal} again: ending at once, while these had not stopped: ${left}\n${tree()}`)
      process.exit(1)
    }
    signalled = true
    app.stop(signal)
  }
  let crashes = 0
  const onCrash = (kind: string) => (error: unknown) => {
    // To tell of a crash may crash too, and so on: by then the stop has long begun.
    if (++crashes > mostCrashes) return
    // With the loggers of the app.
    const told = Effect.zipRight(Effect.inheritFiberRefs(fiber.getFiberRefs()), app.crash(kind, error))
    Effect.runFork(told)
  }
  const tree = () =>
    Option.match(Effect.runSync(app.snapshot), {
      onNone: () => "",
      onSome: (snapshot) => `${ServiceRegistry.render(snapshot)}\n`
    })
  // Before the app is up it is not whole, and in a stop the tree says how far that has come.
  const plan = () =>
    Option.match(Option.filter(Effect.runSync(app.snapshot), isRunning), {
      onNone: () => "",
      onSome: (snapshot) => `${StopPlan.render(StopPlan.make(snapshot))}\n`
    })
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  if (process.platform !== "win32") process.on("SIGUSR2", () => void process.stderr.write(tree() + plan()))
  process.on("uncaughtException", onCrash("uncaught exception"))
  process.on("unhandledRejection", onCrash("unhandled rejection"))
  // Each later line would fail again. A full disk is no reason to take orders no more.
  process.stdout.once("error", (error: NodeJS.ErrnoException) => {
    const isClosed = error.code === "EPIPE"
    const then = isClosed ? "so the app stops" : "so the log is lost"
    process.stderr.write(`stdout cannot be written to (${error.code}), ${then}\n`)
    if (isClosed) onCrash("stdout was closed")(error)
  })
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})

  fiber.addObserver(() => {
    // Without a report, it was not even launched.
    const report = Option.getOrUndefined(Effect.runSync(app.report))
    process.exit(report?.exitCode ?? 1)
  })
}

/** `unknown` when the app provides all requirements. Otherwise a property that no layer has, so that the compile error names the missing services. */
type Complete<R> = [R] extends [App.Provided]
  ? unknown
  : { readonly "services that nobody provides": Exclude<R, App.Provided> }

/** How many crashes are told of. */
const mostCrashes = 10

const isRunning = ({ state }: ServiceRegistry.Snapshot): boolean => state._tag === "Running"

/** As Effect's own `runMain`: readable at a terminal, one line an entry elsewhere. */
const logger = process.stdout.isTTY ? Logger.pretty : Layer.empty

/** Says why the app failed. What was not clean about its stop is journaled already. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const why = Cause.filter(
    cause,
    (part) => !(Cause.isFailType(part) && part.error instanceof App.UncleanStopError)
  )
  if (Cause.isInterruptedOnly(why)) return Effect.void
  const reason = Reason.ofCause(why)
  return Cause.isFailure(why) ? Effect.logError(reason) : Effect.logError(reason, why)
}
