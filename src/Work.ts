/**
 * Which work runs in this context, so that work that waits for its own end can
 * be told from others who wait for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** The task or listener that runs in this context. */
export class CurrentWork extends Context.Tag("effect-services/CurrentWork")<CurrentWork, object>() {}

/** The work that asks, if it is owned work that asks. */
export const current: Effect.Effect<object | undefined> = Effect.contextWith(
  (context: Context.Context<never>) => Option.getOrUndefined(Context.getOption(context, CurrentWork))
)
