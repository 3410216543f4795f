/** Hooks of the testing kit. Each is looked up in the context, and absent in production. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** Replacements of services, by name. */
export type Replacements = ReadonlyMap<string, Replacement>
export const Replacements = Context.GenericTag<Replacements>("effect-services/Replacements")

/** A replacement of a service. */
export interface Replacement {
  /** Runs in place of the service's `onStart`, which it is given and may run. */
  readonly onStart: (onStart: Effect.Effect<any, any, any>) => Effect.Effect<any, any, any>
  /** Whether the service's `onStop` runs. */
  readonly stops: boolean
}

/** Decorates each bus that is made. */
export class BusDecorator extends Context.Tag("effect-services/BusDecorator")<
  BusDecorator,
  <Bus>(bus: Bus) => Bus
>() {}

/** `stop` is `onStop` or a cleanup, `wait` a step of a stop that waits for other work. */
type WorkKind = "start" | "run" | "handler" | "stop" | "wait"

/** Decorates the work of services. `work` is its name in the journal. */
export type DecorateWork = <A, E, R>(
  service: { readonly path: string },
  kind: WorkKind,
  work: string,
  effect: Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R>

export class WorkDecorator extends Context.Tag("effect-services/WorkDecorator")<
  WorkDecorator,
  DecorateWork
>() {}
