/**
 * Libraries to compare with. They are not dependencies of the project:
 * `npm ci --prefix bench/peers` installs them, and without it their rows are
 * left out.
 */
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import { resolve } from "node:path"

/** `npm run` starts in the project's folder. */
const folder = resolve("bench/peers")
const require = createRequire(pathToFileURL(`${folder}/package.json`))

/** Loads a peer. Returns undefined when it is not installed. */
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
