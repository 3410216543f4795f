/**
 * The asynchronous context of Node's `AsyncLocalStorage`, where there is one. One
 * timer and one dispatcher serve all services: what they run must not see the
 * store of the request that happened to start them.
 */

/** Runs a function in the asynchronous context in which this was captured. */
export type AsyncContext = <A>(run: () => A) => A

/** Captures the asynchronous context of the caller. Without `node:async_hooks`, there is none. */
export const capture = (): AsyncContext => snapshot?.() ?? ((run) => run())

/** Asked for at run time, so that the core loads no Node module. */
const hooks = (globalThis as { readonly process?: NodeProcess }).process?.getBuiltinModule?.(
  "node:async_hooks"
)
const snapshot = hooks?.AsyncLocalStorage?.snapshot

interface NodeProcess {
  readonly getBuiltinModule?: (
    name: string
  ) => { readonly AsyncLocalStorage?: { readonly snapshot?: () => AsyncContext } } | undefined
}
