/** A fixed grid of time, which does not drift: slots that come due during a run are skipped. */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../Monotonic.ts"

/** When runs are due. There may be very many, so it is small. */
export class Grid {
  private readonly clock: Clock.Clock
  private readonly start: number
  private readonly millis: number
  // Slots are numbered from the start, so that a timer that is early or late never doubles or loses one.
  private slot: number

  /** A grid that begins now. */
  constructor(clock: Clock.Clock, millis: number, first: "afterOnePeriod" | "atOnce") {
    this.clock = clock
    this.start = Monotonic.unsafeMillis(clock)
    this.millis = millis
    this.slot = first === "atOnce" ? 0 : 1
  }

  /** When the slot is, in monotonic milliseconds. */
  at(): number {
    return this.start + this.slot * this.millis
  }

  /** Goes on to the next slot, and gives how many were missed. */
  next(): number {
    const { slot } = this
    const now = Monotonic.unsafeMillis(this.clock)
    this.slot = Math.max(slot + 1, Math.ceil((now - this.start) / this.millis))
    return this.slot - slot - 1
  }
}
