/** What those who begin work are given to end it. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { OwnedRun } from "./OwnedRun.ts"
import type { OwnedWork } from "./OwnedWork.ts"
import * as Work from "./Work.ts"

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

/** The handle of work. */
export const of = (work: OwnedWork): Handle => new HandleOfWork(work)

/** The handle of a spawned effect. */
export const spawned = <A, E>(run: OwnedRun<Exit.Exit<A, E>, any>): Spawned<A, E> => new HandleOfRun(run)

/** Mostly nobody uses it, so it makes its effects when asked. */
class HandleOfWork<Owned extends OwnedWork> implements Handle {
  protected readonly work: Owned

  constructor(work: Owned) {
    this.work = work
  }

  get name(): string {
    return this.work.name
  }

  get cancel(): Effect.Effect<void> {
    const { work } = this
    return Effect.flatMap(Work.current, (caller) => {
      work.end(true)
      return Work.isOf(caller, work.source) ? Effect.void : Effect.asVoid(work.await)
    })
  }
}

class HandleOfRun<A, E> extends HandleOfWork<OwnedRun<Exit.Exit<A, E>, any>> implements Spawned<A, E> {
  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.map(this.work.await, Exit.flatten)
  }
}
