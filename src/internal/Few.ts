/** Sets that mostly stay empty or have one: a service has several, and there may be very many services. */

/** As a `Set`, a quarter its size while it has no more than one. */
export class Few<A extends object | string> {
  // With `#`, so that who prints a service does not print all services.
  #only: A | undefined = undefined
  #all: Set<A> | undefined = undefined

  get size(): number {
    return this.#all?.size ?? (this.#only === undefined ? 0 : 1)
  }

  has(item: A): boolean {
    return this.#all?.has(item) ?? this.#only === item
  }

  add(item: A): void {
    if (this.#all !== undefined) this.#all.add(item)
    else if (this.#only === undefined) this.#only = item
    else if (this.#only !== item) {
      this.#all = new Set([this.#only, item])
      this.#only = undefined
    }
  }

  delete(item: A): void {
    if (this.#all !== undefined) this.#all.delete(item)
    else if (this.#only === item) this.#only = undefined
  }

  /** In the order in which they were added. */
  [Symbol.iterator](): Iterator<A> {
    return (this.#all ?? (this.#only === undefined ? [] : [this.#only]))[Symbol.iterator]()
  }
}
