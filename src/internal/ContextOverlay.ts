/**
 * A context with some entries of its own over another one, without a copy.
 * Effect copies the whole context for each service it adds, which is too dear
 * for what changes with every event and tick.
 */
import * as Context from "effect/Context"

/** Entries that lie over a context. */
export interface Entries {
  readonly keys: ReadonlyArray<string>
  /** The service of one of `keys`; may make it when it is first asked for. */
  readonly get: (key: string) => unknown
}

/** A context with these entries over it. They provide the services `I`. */
export const over = <R, I>(context: Context.Context<R>, entries: Entries): Context.Context<R | I> =>
  Context.unsafeMake(new Overlay(context.unsafeMap, entries))

/** A context with one service over it. */
export const add = <R, I, S>(
  context: Context.Context<R>,
  tag: Context.Tag<I, S>,
  service: NoInfer<S>
): Context.Context<R | I> => over(context, { keys: [tag.key], get: () => service })

/** Effect copies a context before it changes it, so an overlay is only ever read. */
class Overlay implements Map<string, any> {
  private readonly below: ReadonlyMap<string, any>
  private readonly own: Entries

  constructor(below: ReadonlyMap<string, any>, entries: Entries) {
    this.below = below
    this.own = entries
  }

  get(key: string): any {
    return this.own.keys.includes(key) ? this.own.get(key) : this.below.get(key)
  }

  has(key: string): boolean {
    return this.own.keys.includes(key) || this.below.has(key)
  }

  get size(): number {
    return this.below.size + this.own.keys.filter((key) => !this.below.has(key)).length
  }

  entries(): MapIterator<[string, any]> {
    return this.copy().entries()
  }

  keys(): MapIterator<string> {
    return this.copy().keys()
  }

  values(): MapIterator<any> {
    return this.copy().values()
  }

  forEach(f: (value: any, key: string, map: Map<string, any>) => void): void {
    this.copy().forEach(f)
  }

  [Symbol.iterator](): MapIterator<[string, any]> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return "Map"
  }

  set(): never {
    throw new TypeError("An overlay of a context is read-only: copy it first")
  }

  delete(): never {
    return this.set()
  }

  clear(): never {
    return this.set()
  }

  private copy(): Map<string, any> {
    const all = new Map(this.below)
    for (const key of this.own.keys) all.set(key, this.own.get(key))
    return all
  }
}
