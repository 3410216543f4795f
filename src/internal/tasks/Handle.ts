/** What those who begin work are given to end it. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { OwnedRun } from "../lifecycle/OwnedRun.ts"
import type { OwnedWork } from "../lifecycle/OwnedWork.ts"
import * as Work from "../lifecycle/Work.ts"

/** Owned work that can be ended before its service. */
export interface Handle {
  readonly name: string
  /**
   * Ends the work and waits until it has ended; a run in progress is
   * interrupted. Called from within the work itself, it does not wait.
   */
  readonly cancel: Effect.Effect<void>
}

/** A spawned effect. */
export interface Spawned<out A, out E> extends Handle {
  /** Waits for the effect to end, and tells how it did. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
}

/** The handle of work. Plain data, for whoever prints it or makes more of it. */
export const of = (work: OwnedWork): Handle => ({ name: work.name, cancel: cancel(work) })

/** The handle of a spawned effect. */
export const ofRun = <A, E>(run: OwnedRun<Exit.Exit<A, E>, any>): Spawned<A, E> => ({
  name: run.name,
  cancel: cancel(run),
  await: Effect.map(run.await, Exit.flatten)
})

const cancel = (work: OwnedWork): Effect.Effect<void> =>
  Effect.flatMap(Work.current, (caller) => {
    work.end(true)
    return Work.isOf(caller, work.source) ? Effect.void : Effect.asVoid(work.await)
  })
