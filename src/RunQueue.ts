/**
 * What is ready to run, first come, first begun. All of it begins on one stack,
 * so that who has done with one can go on with the next, and need not be woken for it.
 */
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import type * as Runtime from "effect/Runtime"

/** Something that is ready to run. */
export interface Ready {
  /** In which it runs. Its scheduler begins what is to begin later. */
  readonly runtime: Runtime.Runtime<any>
  /** Who runs it, until it first waits. Must not throw. */
  readonly crew: { readonly begin: (ready: any) => void }
}

export class RunQueue<A extends Ready> {
  private ready: Array<A> = []
  /** How many of them have begun. */
  private begun = 0
  /** How many of them are new: it has not been said yet when they begin. */
  private fresh = 0
  /** Those before this one may begin now. */
  private end = Number.POSITIVE_INFINITY
  private isRunning = false
  private isScheduled = false

  /** Puts something at the end. When all that is to begin together is there, comes `beginNow` or `beginLater`. */
  push(ready: A): void {
    this.ready.push(ready)
    this.fresh++
  }

  /**
   * Begins with what is new, on the stack of whoever asks, unless something is
   * before it, or this is such a thing itself that asks: so the stack does not
   * grow, and what is sent first is handled first.
   */
  beginNow(): void {
    const isNext = this.ready.length - this.begun === this.fresh
    if (!isNext || isOnTop) return this.beginLater()
    isOnTop = true
    this.end = this.begun + Math.min(this.fresh, mostInATurn)
    this.run(this.end)
    this.end = Number.POSITIVE_INFINITY
    isOnTop = false
  }

  /** Begins with what is there in a later turn. */
  beginLater(): void {
    this.fresh = 0
    const first = this.ready[this.begun]
    if (this.isScheduled || first === undefined) return
    this.isScheduled = true
    const scheduler = FiberRefs.getOrDefault(first.runtime.fiberRefs, FiberRef.currentScheduler)
    scheduler.scheduleTask(() => {
      this.isScheduled = false
      this.run(this.begun + mostInATurn)
    }, 0)
  }

  /** What is next, for who has done with what was before it. */
  next(): A | undefined {
    return this.begun < this.end ? this.ready[this.begun] : undefined
  }

  /** Takes what is next. */
  take(): A | undefined {
    const next = this.next()
    if (next !== undefined) this.begun++
    return next
  }

  /** Takes something off. Gives whether it had not begun. */
  withdraw(ready: A): boolean {
    const place = this.ready.indexOf(ready, this.begun)
    if (place >= 0) this.ready.splice(place, 1)
    return place >= 0
  }

  /** What has not begun. */
  waiting(): ReadonlyArray<A> {
    return this.ready.slice(this.begun)
  }

  private run(end: number): void {
    const isOutermost = !this.isRunning
    this.isRunning = true
    this.fresh = 0
    // Who begins may go on with those that follow.
    while (this.begun < end) {
      const next = this.take()
      if (next === undefined) break
      next.crew.begin(next)
    }
    if (!isOutermost) return
    this.isRunning = false
    this.ready.splice(0, this.begun)
    this.begun = 0
    // What has come meanwhile, or was too much.
    this.beginLater()
  }
}

/** How much begins in one turn: all else must go on. */
const mostInATurn = 256

/** Whether something runs on top of whoever has begun it. */
let isOnTop = false
