/** Which keys are taken: of items with one key, only one is worked on at a time. */

/** Keys of items. */
export interface Keys<A> {
  readonly isFree: (item: A) => boolean
  /** Takes the key of an item. */
  readonly take: (item: A) => Key
  readonly free: (key: Key) => void
}

/** The key of an item, or, where that cannot be told, the item itself. */
type Key = unknown

/** All keys are free. */
export const make = <A>(of: (item: A) => Key): Keys<A> => {
  const taken = new Set<Key>()
  const keyOf = (item: A): Key => {
    try {
      return of(item)
    } catch {
      return item
    }
  }
  return {
    isFree: (item) => !taken.has(keyOf(item)),
    take: (item) => {
      const key = keyOf(item)
      taken.add(key)
      return key
    },
    free: (key) => taken.delete(key)
  }
}
