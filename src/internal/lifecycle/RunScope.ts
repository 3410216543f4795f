/** The scope of one run of something, which is made when it is asked for: mostly it never is. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ContextOverlay from "../ContextOverlay.ts"

export class RunScope {
  private scope: Scope.CloseableScope | undefined = undefined
  private exit: Exit.Exit<unknown, unknown> | undefined = undefined

  /** A context with the scope in it. */
  within<R>(context: Context.Context<R>): Context.Context<R | Scope.Scope> {
    return ContextOverlay.addMade(context, Scope.Scope, this)
  }

  /** Closes it, as the run has ended. Nothing, when there is nothing to release. */
  close(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined {
    this.exit = exit
    return this.scope && Scope.close(this.scope, exit)
  }

  /** Makes it, for the context that it is in. */
  make(): Scope.CloseableScope {
    this.scope = Effect.runSync(Scope.make())
    // Who asks when the run has ended, as what it has left behind, gets one that is closed.
    if (this.exit !== undefined) Effect.runSync(Scope.close(this.scope, this.exit))
    return this.scope
  }
}
