/**
 * What others made, installed by `npm ci --prefix bench/peers` and not with the
 * project: each is loaded when it is there, and typed here as far as it is used.
 */
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import { resolve } from "node:path"

/** Where the project is. `npm run` begins there. */
const folder = resolve("bench/peers")
const require = createRequire(pathToFileURL(`${folder}/package.json`))

/** Loads a peer, or nothing when it is not installed. */
export const load = async <A>(name: string): Promise<A | undefined> => {
  try {
    return (await import(pathToFileURL(require.resolve(name)).href)) as A
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined
    throw error
  }
}

/** The installed version of a peer. */
export const version = (name: string): string | undefined => {
  try {
    return (require(`./node_modules/${name}/package.json`) as { readonly version: string }).version
  } catch {
    return undefined
  }
}
