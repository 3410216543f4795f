/** What a scope will run when it is closed. */
import type * as Scope from "effect/Scope"

/**
 * The finalizers of a scope. `Scope` hides them, but only here are all of them:
 * `Effect.forkScoped` and `Scope.fork` add theirs without `Scope.addFinalizer`.
 */
export const of = (scope: Scope.CloseableScope): Map<object, Scope.Scope.Finalizer> => {
  const { state } = scope as unknown as {
    readonly state: { readonly finalizers?: Map<object, Scope.Scope.Finalizer> }
  }
  return state.finalizers ?? new Map()
}
