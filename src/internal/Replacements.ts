/** What is started in place of some services: the stand-ins of a test. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** By the name of the service. */
export type Replacements = ReadonlyMap<string, Replacement>
export const Replacements = Context.GenericTag<Replacements>("effect-services/Replacements")

/** What stands in for a service. */
export interface Replacement {
  /** In place of its `onStart`, which it is given and need not run. */
  readonly onStart: (onStart: Effect.Effect<any, any, any>) => Effect.Effect<any, any, any>
  /** Whether its `onStop` runs. */
  readonly stops: boolean
}
