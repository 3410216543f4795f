/** What a test puts around the work of services: their start, their tasks and checks, and the steps of their stop. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** What a piece of work is of: a start, a run of a task or check, the handling of an event, what a stop does, or its waiting for other work. */
export type Kind = "start" | "run" | "handler" | "stop" | "wait"

/** Gives another effect for work of a service, which is named as in the journal. */
export type Decorate = <A, E, R>(
  service: { readonly path: string },
  kind: Kind,
  work: string,
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R>

export class WorkDecorator extends Context.Tag("effect-services/WorkDecorator")<WorkDecorator, Decorate>() {}
