/**
 * What is ready to run, first come, first begun: some of it at once, on the stack
 * of whoever asks, and all else in a later turn. Much begins on one stack, so that
 * who has done with one can go on with the next, and need not be woken for it.
 */
import type * as Scheduler from "effect/Scheduler"

/** Something that is ready to run. */
export interface Ready {
  /** Who runs it, until it first waits, and where it waits for that. */
  readonly crew: { readonly begin: (ready: any) => void; readonly ready: RunQueue<any> }
}

/** How much begins in one turn: all else must go on. */
const mostInATurn = 256

/** What begins at once now, of whichever queue, as all share the stack; and how many of that have begun. */
let now: Array<Ready> | undefined
let begunNow = 0

/**
 * Begins with all of this at once, whatever else is ready; with what is too much
 * for one turn in a later one. In a later turn, too, if who asks has been begun
 * so itself: so the stack does not grow, and what is sent first is handled first.
 * The array is used up.
 */
export const beginNow = (all: Array<Ready>): void => {
  const isOnTop = now !== undefined
  for (const ready of all.splice(isOnTop ? 0 : mostInATurn)) ready.crew.ready.beginLater(ready)
  if (isOnTop) return
  now = all
  begunNow = 0
  try {
    // Who begins may go on with those that follow.
    while (begunNow < all.length) {
      const next = all[begunNow++]!
      next.crew.begin(next)
    }
  } finally {
    now = undefined
    // On a stack that is full, or by a supervisor that throws, some may be left.
    for (const ready of all.slice(begunNow)) ready.crew.ready.beginLater(ready)
  }
}

export class RunQueue<A extends Ready> {
  private readonly scheduler: Scheduler.Scheduler
  private readonly ready: Array<A> = []
  /** How many of them have begun. */
  private begun = 0
  /** Where that ends which may begin now. */
  private end = Number.POSITIVE_INFINITY
  private isScheduled = false

  /** Nothing yet. The scheduler is who gives later turns. */
  constructor(scheduler: Scheduler.Scheduler) {
    this.scheduler = scheduler
  }

  /** Begins with something in a later turn. */
  beginLater(ready: A): void {
    this.ready.push(ready)
    this.schedule()
  }

  /** Takes what is next, for who has done with what was before it, if it is for that one. */
  takeFor(who: { readonly crew: A["crew"]; isFor(next: A): boolean }): A | undefined {
    // Of that one's crew, or not taken.
    const next = now === undefined ? this.next : (now[begunNow] as A | undefined)
    if (next?.crew !== who.crew || !who.isFor(next)) return undefined
    if (now === undefined) this.begun++
    else begunNow++
    return next
  }

  /** Takes something off. Gives whether it had not begun. */
  withdraw(ready: A): boolean {
    return takeOff(this.ready, ready, this.begun) || (now !== undefined && takeOff(now, ready, begunNow))
  }

  /** What has not begun, here or at once. */
  waiting(): ReadonlyArray<Ready> {
    return [...(now?.slice(begunNow) ?? []), ...this.ready.slice(this.begun)]
  }

  private get next(): A | undefined {
    return this.begun < this.end ? this.ready[this.begun] : undefined
  }

  private schedule(): void {
    if (this.isScheduled || this.begun === this.ready.length) return
    this.isScheduled = true
    this.scheduler.scheduleTask(() => {
      this.isScheduled = false
      this.run()
    }, 0)
  }

  private run(): void {
    this.end = this.begun + mostInATurn
    try {
      for (let { next } = this; next !== undefined; { next } = this) {
        this.begun++
        next.crew.begin(next)
      }
    } finally {
      this.end = Number.POSITIVE_INFINITY
      this.ready.splice(0, this.begun)
      this.begun = 0
      // What was too much.
      this.schedule()
    }
  }
}

const takeOff = <A>(from: Array<A>, item: A, begun: number): boolean => {
  const place = from.indexOf(item, begun)
  if (place >= 0) from.splice(place, 1)
  return place >= 0
}
