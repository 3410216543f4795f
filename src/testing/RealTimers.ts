/**
 * The real timers that code in virtual time sets by itself, with `setTimeout`,
 * `setInterval` or `setImmediate`: virtual time does not move them, and nothing
 * ends them with the service.
 */
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Step from "./Step.ts"

/** The timers that some code has set. */
export interface RealTimers {
  /** Notes what is set, and cleared, while this runs. */
  readonly noting: <A>(run: () => A) => A
  /** What has been set and has neither ended nor been cleared, as text. */
  readonly left: () => ReadonlyArray<string>
}

/** What is replaced while timers are noted. */
const names = ["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate"]

type Timers = Readonly<Record<string, (...args: ReadonlyArray<any>) => unknown>>

/** Notes nothing yet. */
export const make = (): RealTimers => {
  const set = new Map<unknown, Noted>()
  const noted = (real: Timers): Timers =>
    Object.fromEntries(
      Object.entries(real).map(([name, timer]) => {
        const isClear = name.startsWith("clear")
        const isOnce = name !== "setInterval"
        const noting = (...args: ReadonlyArray<any>) => {
          if (isClear) {
            set.delete(args[0])
            return timer(...args)
          }
          const [callback, ...rest] = args
          const { stack } = new Error()
          const place = placeOf(stack)
          const run = (...given: ReadonlyArray<any>) => {
            if (isOnce) set.delete(handle)
            // What it sets in turn is noted, too.
            return place === undefined ? callback(...given) : timers.noting(() => callback(...given))
          }
          const handle = timer(run, ...rest)
          // Effect's own end with the fibers that set them.
          if (place !== undefined) {
            set.set(handle, {
              text: `a ${name}${ofStep()}, set at ${place}`,
              isOfLibrary: isOfLibrary(stack)
            })
          }
          return handle
        }
        // What else belongs to it, as `util.promisify.custom`.
        return [name, Object.assign(noting, timer)]
      })
    )
  const timers: RealTimers = {
    noting: (run) => {
      // By these names it has functions, or nothing.
      const all = globalThis as unknown as Partial<Timers>
      const real: Timers = Object.fromEntries(
        names.flatMap((name) => {
          const timer = all[name]
          // Not every runtime has all of them.
          return timer === undefined ? [] : [[name, timer]]
        })
      )
      Object.assign(all, noted(real))
      try {
        return run()
      } finally {
        Object.assign(all, real)
      }
    },
    left: () =>
      [...set].flatMap(([timer, { isOfLibrary, text }]) =>
        isOver(timer) || (isOfLibrary && isIdle(timer)) ? [] : [text]
      )
  }
  return timers
}

interface Noted {
  readonly text: string
  readonly isOfLibrary: boolean
}

/** Node marks a timer that was cleared, also when nobody was noting. */
const isOver = (timer: unknown): boolean =>
  typeof timer === "object" && timer !== null && "_destroyed" in timer && timer._destroyed === true

/** Whether a timer keeps no process alive. */
const isIdle = (timer: unknown): boolean => (timer as { hasRef?: () => boolean }).hasRef?.() === false

/** A library, as the one of `fetch`, may have an idle timer for all that use it. */
const isOfLibrary = (stack: string | undefined): boolean =>
  /node_modules|node:/.test(stack?.split("\n")[2] ?? "")

/** Where code that is not Effect's has called a timer, without the folders above. */
const placeOf = (stack: string | undefined): string | undefined => {
  // Above are the error itself and what has replaced the timer.
  const caller = stack?.split("\n")[2]
  if (caller === undefined || /node_modules\/effect\//.test(caller)) return undefined
  return caller.match(/([^/\\\s(]+:\d+):\d+\)?$/)?.[1] ?? "an unknown place"
}

const ofStep = (): string =>
  Option.match(Option.flatMap(Fiber.getCurrentFiber(), Step.of), {
    onNone: () => "",
    onSome: (step) => ` by ${Step.name(step)}`
  })
