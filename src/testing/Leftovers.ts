/** What an app leaves behind when it is over: fibers, timers, and what the process holds for it. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RealTime from "./RealTime.ts"
import * as Step from "./Step.ts"
import type * as VirtualTime from "./VirtualTime.ts"

/** Begins to watch. The effect gives what is left of what has come since then, as text; nothing before the app is over. */
export const watch = (time: VirtualTime.VirtualTime): Effect.Effect<ReadonlyArray<string>> => {
  const before = held()
  const grown = () =>
    [...held()].flatMap(([what, count]) => {
      const more = count - (before.get(what) ?? 0)
      return more > 0 ? [`${more} more ${what} than before`] : []
    })
  const real = () => [...time.realTimers(), ...grown()]
  const isUnsettled = () => real().length > 0 || time.fibers.strangers().length > 0
  // What is real ends with the next turns of the event loop.
  return Effect.gen(function* () {
    yield* turn
    for (let turns = 0; turns < mostTurns && isUnsettled(); turns++) yield* turn
    return [...fibers(time), ...real()]
  })
}

const fibers = (time: VirtualTime.VirtualTime): ReadonlyArray<string> =>
  time.fibers.alive().flatMap(([, forkedBy]) =>
    Option.match(forkedBy, {
      // One that the test itself has forked.
      onNone: () => [],
      onSome: (step) => [`a fiber, forked by ${Step.name(step)}`]
    })
  )

/** How often the event loop may turn until a closed socket is gone, or a short timer over: some tenths of a second. */
const mostTurns = 200

const turn = RealTime.turn(1)

/** What Node knows of itself. */
interface Process {
  readonly getActiveResourcesInfo?: () => ReadonlyArray<string>
  readonly eventNames: () => ReadonlyArray<string | symbol>
  readonly listenerCount: (event: string | symbol) => number
}

/** What the process holds, with how many of each; nothing where that cannot be asked. */
const held = (): Map<string, number> => {
  const { process } = globalThis as { readonly process?: Process }
  const counts = new Map<string, number>()
  const add = (what: string, count: number) => counts.set(what, (counts.get(what) ?? 0) + count)
  // Requests and timers come and go, as a test runner has some of its own.
  for (const kind of process?.getActiveResourcesInfo?.() ?? []) {
    if (/Wrap$|Watcher$|^Worker$/.test(kind)) add(kind, 1)
  }
  for (const event of process?.eventNames?.() ?? []) {
    add(`listener of process for "${String(event)}"`, process?.listenerCount(event) ?? 0)
  }
  return counts
}
