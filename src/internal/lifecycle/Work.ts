/**
 * The work that runs in a context, and what waits for it. A stop that is asked
 * for from inside some work must not wait for that work, nor for what waits for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ContextOverlay from "../ContextOverlay.ts"
import type * as Owner from "./Owner.ts"

/** Work of a service: its start, a task, a check, or the handling of an event. */
export class Work {
  /** The path of the service. */
  readonly service: string
  /** The owner of the service. */
  readonly owner: Owner.Owner
  /** What the work belongs to: the service that starts, the task, or the listener. */
  readonly source: object
  /** The work that waits for this: it emitted the event, or adopts the child. */
  readonly awaitedBy: Work | undefined

  constructor(service: string, owner: Owner.Owner, source: object, awaitedBy: Work | undefined) {
    this.service = service
    this.owner = owner
    this.source = source
    this.awaitedBy = awaitedBy
  }

  /** Keeps the services of the app out of a printed context. */
  toJSON(): unknown {
    return { service: this.service }
  }
}

/** The work that runs in this context; undefined for what outlives the work that began it. */
export class CurrentWork extends Context.Tag("effect-services/CurrentWork")<
  CurrentWork,
  Work | undefined
>() {}

/** The work that runs this effect, if a service's work does. */
export const current: Effect.Effect<Work | undefined> = Effect.contextWith(
  (context: Context.Context<never>) => of(context)
)

/** The work that runs in a context. */
export const of = (context: Context.Context<never>): Work | undefined =>
  Option.getOrUndefined(Context.getOption(context, CurrentWork))

/** The context for what is not part of the work that begins it. */
export const outside = <R>(context: Context.Context<R>): Context.Context<R> =>
  of(context) === undefined ? context : ContextOverlay.add(context, CurrentWork, undefined)

/** Whether some work, or any that waits for it, is of this source. */
export const isOf = (work: Work | undefined, source: object): boolean => {
  for (let next = work; next !== undefined; next = next.awaitedBy) if (next.source === source) return true
  return false
}

/** Whether some work, or any that waits for it, is of a service below this owner. */
export const isWithin = (work: Work | undefined, owner: Owner.Owner): boolean => {
  for (let next = work; next !== undefined; next = next.awaitedBy) {
    for (let above: Owner.Owner | undefined = next.owner; above !== undefined; above = above.parent) {
      if (above === owner) return true
    }
  }
  return false
}
