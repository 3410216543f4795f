/** When runs are due: on a fixed grid, at the times of a cron expression, or once. */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../Monotonic.ts"
import type * as CronSchedule from "./CronSchedule.ts"

/** The slots of a task. */
export interface Slots {
  /** When the current slot is, in monotonic milliseconds. */
  at(): number
  /** Moves on to the next slot, and gives how many were missed; undefined after the last. */
  next(): number | undefined
}

/** Every so many milliseconds, on a grid that does not drift: slots that come due during a run are missed. */
export class Grid implements Slots {
  private readonly clock: Clock.Clock
  private readonly start: number
  private readonly millis: number
  // Slots are numbered from the start, so a timer that is early or late neither doubles nor loses one.
  private slot: number

  /** A grid that begins now. */
  constructor(clock: Clock.Clock, millis: number, first: "afterOnePeriod" | "atOnce") {
    this.clock = clock
    this.start = Monotonic.unsafeMillis(clock)
    this.millis = millis
    this.slot = first === "atOnce" ? 0 : 1
  }

  at(): number {
    return this.start + this.slot * this.millis
  }

  next(): number {
    const { slot } = this
    const now = Monotonic.unsafeMillis(this.clock)
    this.slot = Math.max(slot + 1, Math.ceil((now - this.start) / this.millis))
    return this.slot - slot - 1
  }
}

/** One slot, so many milliseconds from now. */
export class Once implements Slots {
  private readonly due: number

  constructor(clock: Clock.Clock, millis: number) {
    this.due = Monotonic.unsafeMillis(clock) + millis
  }

  at(): number {
    return this.due
  }

  next(): undefined {
    return undefined
  }
}

/** The times of a cron expression. */
export class CronSlots implements Slots {
  private readonly clock: Clock.Clock
  private readonly schedule: CronSchedule.CronSchedule
  private slot: number

  /** The slots from now on. */
  constructor(clock: Clock.Clock, schedule: CronSchedule.CronSchedule) {
    this.clock = clock
    this.schedule = schedule
    this.slot = schedule.after(clock.unsafeCurrentTimeMillis())
  }

  /** As the wall clock is now. */
  at(): number {
    const { clock } = this
    return Monotonic.unsafeMillis(clock) + this.slot - clock.unsafeCurrentTimeMillis()
  }

  next(): number {
    const { schedule, slot } = this
    const now = this.clock.unsafeCurrentTimeMillis()
    // A slot may be due this very millisecond. Never before the last: a clock that is set back fires no slot twice.
    this.slot = schedule.after(Math.max(slot, now - 1))
    return countBetween(schedule, schedule.after(slot), this.slot)
  }
}

/** How many slots lie from `from` to before `to`, up to `mostCounted`. */
const countBetween = (schedule: CronSchedule.CronSchedule, from: number, to: number): number => {
  let count = 0
  for (let at = from; at < to && count < mostCounted; count++) at = schedule.after(at)
  return count
}

/** Past this, the exact number of missed slots means nothing. */
const mostCounted = 1_000
