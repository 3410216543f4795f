/**
 * A context that is another one with one service more, and no copy of it.
 * Effect copies all of a context for each that is added; for what is made with
 * each event or tick that is two microseconds and two kilobytes.
 */
import * as Context from "effect/Context"

/** A context with one service more. */
export const add = <R, I, S>(
  context: Context.Context<R>,
  tag: Context.Tag<I, S>,
  service: NoInfer<S>
): Context.Context<R | I> => Context.unsafeMake(on(context.unsafeMap, tag.key, service))

/** The same, with a service that is made when it is first asked for. */
export const addMade = <R, I, S>(
  context: Context.Context<R>,
  tag: Context.Tag<I, S>,
  maker: Maker<NoInfer<S>>
): Context.Context<R | I> => Context.unsafeMake(on(context.unsafeMap, tag.key, undefined, maker))

interface Maker<out S> {
  make(): S
}

const on = <K, V>(below: Map<K, V>, key: K, value: V, maker?: Maker<V>): Map<K, V> => {
  if (!(below instanceof Overlay)) return new Overlay(below, key, value, maker, 1)
  // Each further one makes looking up slower.
  return below.depth < deepest
    ? new Overlay(below, key, value, maker, below.depth + 1)
    : new Overlay(new Map(below), key, value, maker, 1)
}

const deepest = 4

class Overlay<K, V> implements Map<K, V> {
  readonly depth: number
  private below: Map<K, V>
  private readonly key: K
  private value: V
  private maker: Maker<V> | undefined

  constructor(below: Map<K, V>, key: K, value: V, maker: Maker<V> | undefined, depth: number) {
    this.below = below
    this.key = key
    this.value = value
    this.maker = maker
    this.depth = depth
  }

  get(key: K): V | undefined {
    return key === this.key ? this.own() : this.below.get(key)
  }

  has(key: K): boolean {
    return key === this.key || this.below.has(key)
  }

  get size(): number {
    return this.below.size + (this.below.has(this.key) ? 0 : 1)
  }

  forEach(f: (value: V, key: K, map: Map<K, V>) => void): void {
    this.below.forEach((value, key) => {
      if (key !== this.key) f(value, key, this)
    })
    f(this.own(), this.key, this)
  }

  *entries(): MapIterator<[K, V]> {
    for (const entry of this.below) if (entry[0] !== this.key) yield entry
    yield [this.key, this.own()]
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return "Map"
  }

  // Whoever changes it does so for itself: what is below may be others' too.

  set(key: K, value: V): this {
    if (key !== this.key) this.below = new Map(this.below).set(key, value)
    else {
      this.value = value
      this.maker = undefined
    }
    return this
  }

  delete(): never {
    throw new TypeError("An entry of an overlay cannot be taken off: copy it first")
  }

  clear(): never {
    return this.delete()
  }

  private own(): V {
    if (this.maker !== undefined) {
      this.value = this.maker.make()
      this.maker = undefined
    }
    return this.value
  }
}
