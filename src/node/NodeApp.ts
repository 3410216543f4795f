/** Runs an app as a Node process: signals, crashes, exit codes. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import type * as FiberId from "effect/FiberId"
import * as HashSet from "effect/HashSet"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as App from "../App.ts"
import type * as Journal from "../Journal.ts"
import * as Reason from "../Reason.ts"

/**
 * Launches an app and ends the process with it.
 *
 * - SIGINT and SIGTERM stop the app in order. A second signal ends the process
 *   at once, with a line that says what was still running.
 * - An uncaught exception or unhandled rejection is logged, and stops the app
 *   in order.
 * - The exit code is 0 when the app was asked to stop, by a signal or by
 *   `Service.stop`, and did so cleanly and in time. Otherwise it is 1.
 * - The process ends when the app has, whatever handles are still open.
 *
 * A layer that does not start is logged as one line that says why; its causes
 * and stack are logged at Debug.
 */
export const runMain = <A, E>(layer: Layer.Layer<A, E, Journal.Journal>, options: App.Options = {}): void => {
  const app = App.make(options)
  let signalled = false
  let crashed = false

  const log = (effect: Effect.Effect<void>) => Effect.runFork(Effect.provide(effect, logger))
  const fiber = Effect.runFork(
    // Masked, because an interrupted fiber drops the failures of its stop, and exits as if it were clean.
    Effect.uninterruptibleMask((restore) => Effect.tapErrorCause(restore(app.launch(layer)), report)).pipe(
      Effect.provide(logger)
    )
  )
  // Signal handlers keep no process alive, and not every app has a timer or a socket that does.
  setInterval(() => {}, longestTimer)

  const stop = () => fiber.unsafeInterruptAsFork(fiber.id())
  const onSignal = (signal: NodeJS.Signals) => {
    if (signalled) {
      process.stderr.write(
        `${signal} again: ending at once, while these had not stopped: ${app.unfinished().join(", ") || "none"}\n`
      )
      process.exit(1)
    }
    signalled = true
    log(Effect.logInfo(`${signal}: stopping`))
    stop()
  }
  const onCrash = (kind: string) => (error: unknown) => {
    crashed = true
    log(Effect.logError(kind, Cause.die(error)))
    stop()
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("uncaughtException", onCrash("uncaught exception"))
  process.on("unhandledRejection", onCrash("unhandled rejection"))

  fiber.addObserver((exit) => {
    process.exit(Exit.isFailure(exit) && isClean(exit.cause, fiber.id()) && !crashed ? 0 : 1)
  })
}

/** The longest time that JavaScript's timers can count, in milliseconds. */
const longestTimer = 2 ** 31 - 1

/** As Effect's own `runMain`: readable at a terminal, one line an entry elsewhere. */
const logger = process.stdout.isTTY
  ? Logger.pretty
  : Logger.replace(Logger.defaultLogger, Logger.defaultLogger)

/** Whether the app was interrupted by itself, as a signal and `Service.stop` do, and nothing went wrong. */
const isClean = (cause: Cause.Cause<unknown>, app: FiberId.FiberId): boolean =>
  Cause.isInterruptedOnly(cause) && HashSet.every(Cause.interruptors(cause), (by) => Equal.equals(by, app))

/** Says why the app ended, unless it was asked to. What was not clean about its stop is journaled already. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.fiberIdWith((app) => {
    const why = Cause.filter(
      cause,
      (part) => !(Cause.isFailType(part) && part.error instanceof App.UncleanStopError)
    )
    if (isClean(why, app)) return Effect.void
    const reason = Cause.isInterruptedOnly(why)
      ? "the app was interrupted by a layer that it is made of, and not asked to stop"
      : Reason.ofCause(why)
    return Effect.zipRight(Effect.logError(reason), Effect.logDebug("in full", cause))
  })
