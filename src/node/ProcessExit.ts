/**
 * Ends the process of an app: with its output written, and with an exit code of
 * 0 only if the app said so.
 */
import { writeSync } from "node:fs"

/** The exit of the process of one app. */
export interface ProcessExit {
  /** Exits once all output is written, after a second at the latest. Only the first call counts; `code` is read at the end. */
  readonly leave: (code: () => number) => void
  readonly isLeaving: () => boolean
}

/** How long unread output holds up the exit: enough for a slow reader, too little for a supervisor to kill the process. */
const flushMillis = 1_000

/**
 * From now on, an exit other than by `leave` is reported on stderr as one line,
 * and has a code other than 0.
 */
export const make = (app: string, unfinished: () => ReadonlyArray<string>): ProcessExit => {
  let leaving: (() => number) | undefined
  process.once("exit", (given) => {
    const code = given !== 0 ? given : (leaving?.() ?? 1)
    process.exitCode = code
    if (leaving !== undefined) return
    const left = unfinished().join(", ") || "none"
    writeNow(
      `${app} did not stop in order: ${how(given)}, while these had not stopped: ${left}. The exit code is ${code}.\n`
    )
  })
  return {
    leave: (code) => {
      if (leaving !== undefined) return
      leaving = code
      const exit = () => process.exit(code())
      // Writes to a pipe are asynchronous once it is full, and `process.exit` drops them.
      const pending = [process.stdout, process.stderr].filter(({ writableLength }) => writableLength > 0)
      if (pending.length === 0) return exit()
      setTimeout(exit, flushMillis)
      let left = pending.length
      for (const stream of pending) stream.write("", () => (--left === 0 ? exit() : undefined))
    },
    isLeaving: () => leaving !== undefined
  }
}

/** What ends the process, and the code that called for it. */
const how = (code: number): string => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 30
  const frames = String(new Error("exit").stack).split("\n")
  Error.stackTraceLimit = stackTraceLimit
  // Exit listeners run on the stack of the call.
  const exit = frames.findLastIndex((frame) => /process\.(?:exit|reallyExit) \(node:/.test(frame))
  const caller = frames[exit + 1]?.trim()
  if (exit === -1) return `the process ended with code ${code}`
  return `process.exit(${code}) was called${caller === undefined ? "" : ` ${caller}`}`
}

/** Writes to stderr although the event loop turns no more. */
const writeNow = (text: string): void => {
  const until = performance.now() + flushMillis
  const cell = new Int32Array(new SharedArrayBuffer(4))
  for (let rest = Buffer.from(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(2, rest))
    } catch (error) {
      const isFull = error instanceof Error && "code" in error && error.code === "EAGAIN"
      if (!isFull || performance.now() > until) return
      Atomics.wait(cell, 0, 0, 10)
    }
  }
}
