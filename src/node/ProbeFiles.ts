/**
 * Answers probes through files, for workers without HTTP: the orchestrator runs
 * `test` or `find` in the container.
 *
 * Writes are synchronous: the files are few and small, and none may be written
 * after the final removal.
 */
import { lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as App from "../App.ts"
import * as Monotonic from "../internal/Monotonic.ts"
import * as Readiness from "../internal/status/Readiness.ts"

/** The folder of the probe files cannot be created or written to. */
export class ProbeFilesError extends Data.TaggedError("ProbeFilesError")<{
  readonly folder: string
  readonly reason: string
}> {
  override get message(): string {
    return (
      `The probe files cannot be written to "${this.folder}": ${this.reason}. ` +
      "Give `probeDir` a folder that the process may write to, as one in /tmp."
    )
  }
}

/** Kubernetes' default probe period. */
const liveEveryMillis = 10_000
/** Kubernetes' shortest probe period. */
const refreshEvery = "1 second"

/**
 * Maintains the files while an app runs. `live` is rewritten every 10 seconds, so
 * it goes stale when the event loop is blocked; `ready` exists while the app is
 * ready, `not-ready`, with the reasons, while it is not. All are removed when the
 * process ends, and leftovers of a killed process at the start.
 *
 * Fails with `ProbeFilesError` when the folder cannot be written to at the start.
 * Later failures are logged, once per outage.
 */
export const beside = <A, E, R>(
  folder: string,
  { snapshot }: Pick<App.App, "snapshot">,
  launched: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ProbeFilesError, R> => {
  const file = (name: string) => join(folder, name)
  const remove = (name: string) => rmSync(file(name), { force: true })
  const attempt = (change: () => void) =>
    Effect.try({
      try: change,
      catch: (error) =>
        new ProbeFilesError({ folder, reason: error instanceof Error ? error.message : String(error) })
    })

  let written: string | undefined
  let liveAt = Number.NEGATIVE_INFINITY
  const write = (now: number, isReady: boolean, text: string) =>
    attempt(() => {
      const next = `${isReady} ${text}`
      const name = isReady ? "ready" : "not-ready"
      // Remove before write: a probe never finds both files, even if the write fails.
      if (next !== written) remove(isReady ? "not-ready" : "ready")
      open(folder)
      // The file may have been removed or replaced from outside.
      if (next !== written || !isFile(file(name))) replace(file(name), text)
      written = next
      if (now - liveAt < liveEveryMillis && isFile(file("live"))) return
      replace(file("live"), "live\n")
      liveAt = now
    })
  const refresh = Effect.flatMap(Effect.zip(snapshot, Monotonic.millis), ([taken, now]) => {
    if (Option.isNone(taken)) return write(now, false, "starting\n")
    const readiness = Readiness.of(taken.value)
    return write(now, readiness.isReady, readiness.isReady ? "ready\n" : `${Readiness.render(readiness)}\n`)
  })

  let isReported = false
  const keep = Effect.matchEffect(refresh, {
    onSuccess: () => Effect.sync(() => (isReported = false)),
    onFailure: ({ message }) =>
      Effect.suspend(() => {
        // Rewrites all files after the outage, whatever is there by then.
        written = undefined
        liveAt = Number.NEGATIVE_INFINITY
        if (isReported) return Effect.void
        isReported = true
        return Effect.logError(message)
      })
  })
  // A second signal exits the process without closing scopes. Failures need no report: a file that
  // cannot be removed could not be written either, which was logged.
  const onExit = () =>
    ["live", "ready", "not-ready"].forEach((name) => Effect.runSyncExit(attempt(() => remove(name))))
  const begin = attempt(() => {
    open(folder)
    process.once("exit", onExit)
  })
  const end = Effect.sync(() => {
    onExit()
    process.off("exit", onExit)
  })
  return Effect.acquireRelease(begin, () => end).pipe(
    Effect.zipRight(refresh),
    Effect.zipRight(Effect.forkScoped(Effect.repeat(keep, Schedule.spaced(refreshEvery)))),
    Effect.zipRight(launched),
    Effect.scoped
  )
}

/**
 * Creates the folder where there is none. Throws when it is a link or belongs to
 * another user, who could put links to other files into it.
 */
const open = (folder: string): void => {
  mkdirSync(folder, { recursive: true })
  const found = lstatSync(folder)
  if (found.isSymbolicLink()) throw new Error("it is a link, which is not followed")
  // Not on Windows, where files have no user id.
  const user = process.getuid?.()
  if (user !== undefined && found.uid !== user)
    throw new Error(`it belongs to another user (${found.uid}, and this process runs as ${user})`)
}

/** Writes a file in one step, over whatever is there: a link is replaced and not followed, a FIFO does not block. */
const replace = (path: string, text: string): void => {
  const next = `${path}.new`
  rmSync(next, { force: true })
  writeFileSync(next, text, { flag: "wx" })
  renameSync(next, path)
}

const isFile = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isFile() === true
