/** Runs an app as a Node process: signals, crashes, exit codes. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as App from "../App.ts"
import * as Fork from "../internal/Fork.ts"
import * as Input from "../internal/Input.ts"
import * as Printable from "../internal/Printable.ts"
import * as Reason from "../internal/Reason.ts"
import * as ServiceRegistry from "../ServiceRegistry.ts"
import * as StopPlan from "../internal/status/StopPlan.ts"
import * as ProbeFiles from "./ProbeFiles.ts"

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
 * - SIGINT and SIGTERM stop the app in order. A second signal exits at once,
 *   with a line that names what was still running.
 * - An uncaught exception or unhandled rejection is logged and stops the app in
 *   order. So does a closed stdout (EPIPE).
 * - The exit code is 0 when the app stopped on request (a signal or
 *   `Service.stop`), cleanly and in time. Otherwise it is 1.
 * - SIGUSR2 writes the tree of services to stderr (`ServiceRegistry.render`) and,
 *   while the app is up, its stop plan (`App.renderPlan`). Not on Windows, which
 *   has no such signal. nodemon restarts on it, unless told `--signal SIGTERM`.
 * - With `probeDir`, files in that folder answer probes.
 * - The process exits when the app ends, even if handles are still open.
 *
 * The failure of an app is logged as one line; a defect is logged with its stack.
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
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
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

  fiber.addObserver(() => {
    // No report means that the launch itself failed.
    const report = Option.getOrUndefined(Effect.runSync(app.report))
    process.exit(report?.exitCode ?? 1)
  })
}

/** `unknown` when the app provides all requirements. Otherwise a property that no layer has, so that the compile error names the missing services. */
type Complete<R> = [R] extends [App.Provided]
  ? unknown
  : { readonly "services that nobody provides": Exclude<R, App.Provided> }

/** How many crashes are reported. */
const maxCrashes = 10

const isRunning = ({ state }: ServiceRegistry.Snapshot): boolean => state._tag === "Running"

/** As in Effect's own `runMain`: pretty at a terminal, one line per entry elsewhere. */
const logger = process.stdout.isTTY ? Logger.pretty : Layer.empty

/** Logs the failure of the app. An unclean stop is already in the journal. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const why = Cause.filter(
    cause,
    (part) => !(Cause.isFailType(part) && Reason.isA(part.error, App.UncleanStopError))
  )
  if (Cause.isInterruptedOnly(why)) return Effect.void
  const reason = Reason.ofCause(why)
  const logged = Cause.isFailure(why)
    ? Effect.logError(reason)
    : Effect.logError(reason, Printable.ofCause(why))
  return Effect.zipRight(logged, Fork.unlogged)
}
