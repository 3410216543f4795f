/**
 * Which work runs in this context, and who waits for it. Work that waits for
 * its own end, even by way of others, must not be waited for in turn.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ContextOverlay from "../ContextOverlay.ts"
import type * as Owner from "./Owner.ts"

/** Work of a service: its start, a task, or the handling of an event. */
export class Work {
  /** The path of the service. */
  readonly service: string
  /** The owner of the service. */
  readonly owner: Owner.Owner
  /** The service that starts, or the owned work or listener itself. */
  readonly source: object
  /** The work that waits for this: it has emitted the event, or adopts the child. */
  readonly awaitedBy: Work | undefined

  constructor(service: string, owner: Owner.Owner, source: object, awaitedBy: Work | undefined) {
    this.service = service
    this.owner = owner
    this.source = source
    this.awaitedBy = awaitedBy
  }

  /** Who prints a context does not print all services. */
  toJSON(): unknown {
    return { service: this.service }
  }
}

/** The work that runs in this context; undefined, as if it were not there, for what is no part of any. */
export class CurrentWork extends Context.Tag("effect-services/CurrentWork")<
  CurrentWork,
  Work | undefined
>() {}

/** The work that asks, if it is work of a service that asks. */
export const current: Effect.Effect<Work | undefined> = Effect.contextWith(
  (context: Context.Context<never>) => of(context)
)

/** The work that runs in a context. */
export const of = (context: Context.Context<never>): Work | undefined =>
  Option.getOrUndefined(Context.getOption(context, CurrentWork))

/** The context for what is not part of the work that begins it. */
export const outside = <R>(context: Context.Context<R>): Context.Context<R> =>
  of(context) === undefined ? context : ContextOverlay.add(context, CurrentWork, undefined)

/** Some work, what waits for it, what waits for that, and so on. */
function* andWaiters(work: Work | undefined): Generator<Work> {
  for (let next = work; next !== undefined; next = next.awaitedBy) yield next
}

/** Whether some work, or what waits for it, is of this source. */
export const isOf = (work: Work | undefined, source: object): boolean => {
  for (const waiter of andWaiters(work)) {
    if (waiter.source === source) return true
  }
  return false
}

/** Whether some work, or what waits for it, is of a service that this owner has, or of one below it. */
export const isWithin = (work: Work | undefined, owner: Owner.Owner): boolean => {
  for (const waiter of andWaiters(work)) {
    for (let above: Owner.Owner | undefined = waiter.owner; above !== undefined; above = above.parent) {
      if (above === owner) return true
    }
  }
  return false
}
