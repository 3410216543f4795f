/**
 * What code in virtual time does in the real world: the real clock, the timers
 * it sets without Effect, and what the process holds for it.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Step from "./Step.ts"

// Taken once: a test runner may replace them later, as `vi.useFakeTimers` does.
const { performance, setTimeout } = globalThis

/** Milliseconds of real time, from an arbitrary origin. */
export const now: () => number = performance.now.bind(performance)

/** Runs a callback in a later turn of the event loop. */
export const later = (run: () => void): void => void setTimeout(run, 0)

/** Waits so many real milliseconds, at least one turn of the event loop. */
export const turn = (millis: number): Effect.Effect<void> =>
  Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

/** Records the timers that code sets with `setTimeout`, `setInterval` or `setImmediate`. Nothing ends them with a service. */
export interface Timers {
  /** Records the timers that are set and cleared while `run` runs. */
  readonly recording: <A>(run: () => A) => A
  /** The recorded timers that have neither fired nor been cleared, as text. */
  readonly pending: () => ReadonlyArray<string>
}

const timerFunctions = [
  "setTimeout",
  "setInterval",
  "setImmediate",
  "clearTimeout",
  "clearInterval",
  "clearImmediate"
]

type TimerFunctions = Readonly<Record<string, (...args: ReadonlyArray<any>) => unknown>>

interface SetTimer {
  readonly text: string
  readonly isOfLibrary: boolean
}

/** Makes a recorder of timers. */
export const makeTimers = (): Timers => {
  const timers = new Map<unknown, SetTimer>()
  const recorded = (real: TimerFunctions): TimerFunctions =>
    Object.fromEntries(
      Object.entries(real).map(([name, call]) => {
        const isClear = name.startsWith("clear")
        const isOnce = name !== "setInterval"
        const recorder = (...args: ReadonlyArray<any>) => {
          if (isClear) {
            timers.delete(args[0])
            return call(...args)
          }
          const [callback, ...rest] = args
          const { stack } = new Error()
          const place = placeOf(stack)
          const run = (...given: ReadonlyArray<any>) => {
            if (isOnce) timers.delete(timer)
            // The timers that a callback sets are recorded, too.
            return place === undefined ? callback(...given) : recording(() => callback(...given))
          }
          const timer = call(run, ...rest)
          // Effect clears its own timers when fibers end.
          if (place !== undefined) {
            const text = `a ${name}${currentStep()}, set at ${place}`
            timers.set(timer, { text, isOfLibrary: isOfLibrary(stack) })
          }
          return timer
        }
        // Keeps the properties of the function, such as `util.promisify.custom`.
        return [name, Object.assign(recorder, call)]
      })
    )
  const recording = <A>(run: () => A): A => {
    // These names hold functions, where the runtime has them.
    const all: { [name: string]: any } = globalThis
    const real: TimerFunctions = Object.fromEntries(
      timerFunctions.flatMap((name) => {
        const call = all[name]
        return call === undefined ? [] : [[name, call]]
      })
    )
    Object.assign(all, recorded(real))
    try {
      return run()
    } finally {
      Object.assign(all, real)
    }
  }
  return {
    recording,
    pending: () =>
      [...timers].flatMap(([timer, { isOfLibrary, text }]) =>
        isCleared(timer) || (isOfLibrary && isUnref(timer)) ? [] : [text]
      )
  }
}

/** What Node offers of a timer. */
interface NodeTimer {
  readonly hasRef: () => boolean
  readonly ref: () => void
  readonly unref: () => void
}

const isNodeTimer = (timer: unknown): timer is NodeTimer =>
  typeof timer === "object" && timer !== null && "hasRef" in timer && "ref" in timer && "unref" in timer

/** Whether a timer does not keep the process alive. */
const isUnref = (timer: unknown): boolean => isNodeTimer(timer) && !timer.hasRef()

/**
 * Whether a timer was cleared while no recording ran, such as in the callback of
 * a promise. Node counts the timers that keep the process alive: one that is
 * still set changes the count when it is ref'ed or unref'ed.
 */
const isCleared = (timer: unknown): boolean => {
  const count = () => nodeProcess()?.getActiveResourcesInfo?.().length
  const before = count()
  if (!isNodeTimer(timer) || before === undefined) return false
  const hasRef = timer.hasRef()
  if (hasRef) timer.unref()
  else timer.ref()
  const after = count()
  if (hasRef) timer.ref()
  else timer.unref()
  return after === before
}

/** The line of a stack that called a timer function: below the error and the recorder. */
const callerOf = (stack: string | undefined): string | undefined => stack?.split("\n")[2]

/** Whether a library set a timer. It may share one timer among all its users, as `fetch` does. */
const isOfLibrary = (stack: string | undefined): boolean => /node_modules|node:/.test(callerOf(stack) ?? "")

/** The file and line that set a timer; none for Effect. */
const placeOf = (stack: string | undefined): string | undefined => {
  const caller = callerOf(stack)
  if (caller === undefined || /node_modules\/effect\//.test(caller)) return undefined
  return caller.match(/([^/\\\s(]+:\d+):\d+\)?$/)?.[1] ?? "an unknown place"
}

const currentStep = (): string =>
  Option.match(Option.flatMap(Fiber.getCurrentFiber(), Step.of), {
    onNone: () => "",
    onSome: (step) => ` by ${Step.name(step)}`
  })

/** What Node says about its process. */
interface NodeProcess {
  readonly getActiveResourcesInfo?: () => ReadonlyArray<string>
  readonly stdout?: unknown
  readonly stderr?: unknown
  readonly eventNames: () => ReadonlyArray<string | symbol>
  readonly listenerCount: (event: string | symbol) => number
}

const nodeProcess = (): Partial<NodeProcess> | undefined =>
  (globalThis as { readonly process?: Partial<NodeProcess> }).process

/** The sockets, watchers, workers and listeners that the process holds, with the number of each. None where the runtime cannot tell. */
export const resources = (): ReadonlyMap<string, number> => {
  const process = nodeProcess()
  // Node opens these when they are first asked for, as by the first line that a logger writes.
  void [process?.stdout, process?.stderr]
  const counts = new Map<string, number>()
  const add = (what: string, count: number) => counts.set(what, (counts.get(what) ?? 0) + count)
  // Not requests and timers: a test runner has some of its own, which come and go.
  for (const kind of process?.getActiveResourcesInfo?.() ?? []) {
    if (/Wrap$|Watcher$|^Worker$/.test(kind)) add(kind, 1)
  }
  for (const event of process?.eventNames?.() ?? []) {
    add(`listener of process for "${String(event)}"`, process?.listenerCount?.(event) ?? 0)
  }
  return counts
}

/** What there is more of than before, as text. */
export const grown = (before: ReadonlyMap<string, number>): ReadonlyArray<string> =>
  [...resources()].flatMap(([what, count]) => {
    const more = count - (before.get(what) ?? 0)
    return more > 0 ? [`${more} more ${what} than before`] : []
  })
