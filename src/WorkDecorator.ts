/** What a test puts around the work of services: their start, their tasks and checks, and the steps of their stop. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** Gives another effect for work of a service, which is named as in the journal. */
export type Decorate = <A, E, R>(
  service: { readonly path: string },
  work: string,
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R>

export class WorkDecorator extends Context.Tag("effect-services/WorkDecorator")<WorkDecorator, Decorate>() {}
