/**
 * The asynchronous context of Node's `AsyncLocalStorage`, where there is one. One
 * sleeper and one dispatcher serve all services, and the work they start must not
 * see the store of the request that happened to wake them.
 */

/** Runs a function in the asynchronous context in which this was captured. */
export type AsyncContext = <A>(run: () => A) => A

/** Captures the asynchronous context of the caller. Does nothing where there is no `node:async_hooks`. */
export const capture = (): AsyncContext => snapshot?.() ?? ((run) => run())

/** Looked up at run time, so that the core imports no Node module. */
// The cast adds a member that is absent outside Node.
const hooks = (globalThis as { readonly process?: NodeProcess }).process?.getBuiltinModule?.(
  "node:async_hooks"
)
const snapshot = hooks?.AsyncLocalStorage?.snapshot

interface NodeProcess {
  readonly getBuiltinModule?: (
    name: string
  ) => { readonly AsyncLocalStorage?: { readonly snapshot?: () => AsyncContext } } | undefined
}
