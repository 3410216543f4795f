/** Handles, with which a caller ends work before its service stops. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { OwnedWork } from "./Lifetime.ts"
import type { OwnedFiber } from "./OwnedFiber.ts"
import * as Work from "./Work.ts"

/** Owned work that can be ended before its service. */
export interface Handle {
  readonly name: string
  /**
   * Ends the work and waits until it has ended; a run in progress is
   * interrupted, and what a listener has accepted is handled first. Called from
   * within the work itself, or where the two would wait for each other, it does
   * not wait.
   */
  readonly cancel: Effect.Effect<void>
}

/** A spawned effect. */
export interface Spawned<out A, out E> extends Handle {
  /** Waits for the effect to end, and gives its exit. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
}

/** The handle of work: a plain object, so that it can be printed and spread. */
export const of = (work: OwnedWork): Handle => ({ name: work.name, cancel: cancel(work) })

/** The handle of a spawned effect. */
export const ofFiber = <A, E>(fiber: OwnedFiber<Exit.Exit<A, E>, any>): Spawned<A, E> => ({
  name: fiber.name,
  cancel: cancel(fiber),
  await: Effect.map(fiber.await, Exit.flatten)
})

const cancel = (work: OwnedWork): Effect.Effect<void> =>
  Effect.suspend(() => {
    work.end(true)
    return Work.unlessCircular((caller) => Work.isOf(caller, work.source), Effect.asVoid(work.await))
  })
