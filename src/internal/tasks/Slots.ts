/** When runs are due: on a fixed grid, at the times of a cron expression, or once. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Monotonic from "../Monotonic.ts"
import type * as CronSchedule from "./CronSchedule.ts"

/** The slots of a task. */
export interface Slots {
  /** When the current slot is, in monotonic milliseconds. */
  at(): number
  /** Moves on to the next slot, and gives how many were missed; undefined after the last. */
  next(): number | undefined
  /** How long, in milliseconds, a timer may sleep before it asks again when the current slot is. Undefined without a limit. */
  readonly longestWait?: number | undefined
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

/**
 * The times of a cron expression. They follow the wall clock, which may be set,
 * or go on while the machine is suspended and the monotonic clock is not: it is
 * compared with that at each look. The rules are those of vixie cron, but for
 * what comes due in a suspension.
 */
export class CronSlots implements Slots {
  private readonly clock: Clock.Clock
  private readonly schedule: CronSchedule.CronSchedule
  readonly longestWait: number | undefined
  /** The current slot, in wall time. */
  private slot: number
  /** The slot before, which is not to run again. */
  private last = Number.NaN
  /** How far the wall clock was ahead of the monotonic one. */
  private lead: number
  /** When that was seen, in monotonic time. */
  private lookedAt: number
  /** Slots up to this time came due by a small step of the wall clock. Each has its run. */
  private steppedTo = Number.NEGATIVE_INFINITY
  /** Whether the current slot came due by a step too long for that: its run is that of all slots till then. */
  private isLate = false

  /** The slots from now on. */
  constructor(clock: Clock.Clock, schedule: CronSchedule.CronSchedule) {
    this.clock = clock
    this.schedule = schedule
    this.longestWait = Monotonic.isWallClock(clock) ? undefined : longestBlindWait
    const wall = clock.unsafeCurrentTimeMillis()
    this.lookedAt = Monotonic.unsafeMillis(clock)
    this.lead = wall - this.lookedAt
    this.slot = schedule.after(wall)
  }

  /** As the wall clock is now. */
  at(): number {
    this.look()
    return this.slot - this.lead
  }

  next(): number {
    const { schedule, slot, steppedTo } = this
    this.last = slot
    if (this.look()) return 0
    const wall = this.clock.unsafeCurrentTimeMillis()
    // A slot may be due this very millisecond. Never before the last: a clock that is set back fires no slot twice.
    const following = schedule.after(slot)
    const isOwed = following <= steppedTo && following - slot >= Duration.toMillis("1 minute")
    this.slot = isOwed ? following : schedule.after(Math.max(slot, this.isLate ? wall : wall - 1))
    this.isLate = false
    return countBetween(schedule, following, this.slot)
  }

  /** Follows the wall clock when it has been set. True when the current slot is another now. */
  private look(): boolean {
    const now = Monotonic.unsafeMillis(this.clock)
    const wall = this.clock.unsafeCurrentTimeMillis()
    const step = wall - now - this.lead
    // The new clock may have shown these slots already.
    const unseen = wall - Math.min(now - this.lookedAt, longestBlindWait)
    this.lookedAt = now
    this.lead += step
    if (step >= 0) return wall >= this.slot && this.setForward(wall, step, unseen)
    return this.setBack(-step, unseen)
  }

  private setForward(wall: number, step: number, unseen: number): boolean {
    if (step > longestSuspension) {
      this.slot = this.schedule.after(unseen)
      return true
    }
    if (step > smallStep) this.isLate = true
    else if (step > clockNoise) this.steppedTo = wall
    return false
  }

  private setBack(step: number, unseen: number): boolean {
    const isCorrection = step > largestStep
    // A small step is waited for, so that no minute comes twice. A large one must not silence what runs by the minute.
    if (!isCorrection && (step <= smallStep || !this.schedule.isRecurrent)) return false
    const slot = this.schedule.after(unseen)
    if (slot >= this.slot || (slot === this.last && !isCorrection)) return false
    this.slot = slot
    return true
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

/** How long a cron may sleep without a look at the wall clock. */
const longestBlindWait = Duration.toMillis("1 minute")

/** What is less is no step: the two clocks tick apart, and one of them is slewed. */
const clockNoise = Duration.toMillis("1 second")

/** Steps of the wall clock up to this are caught up with, slot by slot. As vixie cron. */
const smallStep = Duration.toMillis("5 minutes")

/** Past this, a clock that is set back has been wrong. As vixie cron. */
const largestStep = Duration.toMillis("3 hours")

/**
 * Past this, a clock that is set forward has been wrong. Up to this, the machine
 * may have been suspended, which looks the same; the longest that a slot of a
 * monthly job can be away.
 */
const longestSuspension = Duration.toMillis("31 days")
