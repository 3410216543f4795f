/**
 * Answers probes by files, for a worker without HTTP: an orchestrator runs
 * `test` or `find` in its container.
 *
 * Files are written at once and not in the background: there are few and they
 * are small, and none must be written after they were removed for good.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as App from "../App.ts"
import * as Monotonic from "../internal/Monotonic.ts"
import * as Readiness from "../internal/status/Readiness.ts"

/** The folder for the probe files could not be made, or not be written to. */
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

/** As often as Kubernetes asks. */
const liveEveryMillis = 10_000
/** The shortest time that Kubernetes leaves between two probes. */
const lookEvery = "1 second"

/**
 * Keeps the files in a folder while an app runs: `live`, written anew every 10
 * seconds, so that it is old when the event loop is blocked; `ready` while the
 * app is ready; `not-ready`, with the reasons, while it is not. When the process
 * ends, all are removed; those that a killed one has left, now.
 *
 * Fails with `ProbeFilesError` when the folder cannot be written to. When that
 * happens later, it is logged, once for as long as it goes on.
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
      // First what is no longer so: never does a probe find both, also when nothing can be written.
      if (next !== written) remove(isReady ? "not-ready" : "ready")
      mkdirSync(folder, { recursive: true })
      // Somebody may tidy the folder.
      if (next !== written || !existsSync(file(name))) writeFileSync(file(name), text)
      written = next
      if (now - liveAt < liveEveryMillis && existsSync(file("live"))) return
      writeFileSync(file("live"), "live\n")
      liveAt = now
    })
  const look = Effect.flatMap(Effect.zip(snapshot, Monotonic.millis), ([taken, now]) => {
    if (Option.isNone(taken)) return write(now, false, "starting\n")
    const readiness = Readiness.of(taken.value)
    return write(now, readiness.isReady, readiness.isReady ? "ready\n" : `${Readiness.render(readiness)}\n`)
  })

  let isTold = false
  const keep = Effect.matchEffect(look, {
    onSuccess: () => Effect.sync(() => (isTold = false)),
    onFailure: ({ message }) =>
      Effect.suspend(() => {
        // Whatever is there now, all is written anew when it can be.
        written = undefined
        liveAt = Number.NEGATIVE_INFINITY
        if (isTold) return Effect.void
        isTold = true
        return Effect.logError(message)
      })
  })
  // A second signal ends the process without its scopes. What cannot be removed could not be written to either.
  const onExit = () =>
    ["live", "ready", "not-ready"].forEach((name) => Effect.runSyncExit(attempt(() => remove(name))))
  const begin = attempt(() => {
    mkdirSync(folder, { recursive: true })
    process.once("exit", onExit)
  })
  const end = Effect.sync(() => {
    onExit()
    process.off("exit", onExit)
  })
  return Effect.acquireRelease(begin, () => end).pipe(
    Effect.zipRight(look),
    Effect.zipRight(Effect.forkScoped(Effect.repeat(keep, Schedule.spaced(lookEvery)))),
    Effect.zipRight(launched),
    Effect.scoped
  )
}
