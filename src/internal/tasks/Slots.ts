/** When runs are due: on a fixed grid, at the times of a cron expression, or once. */
import type * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as Either from "effect/Either"
import * as Input from "../Input.ts"
import * as Monotonic from "../Monotonic.ts"

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
  private readonly parsed: Cron.Cron
  private slot: number

  /** The slots from now on. */
  constructor(clock: Clock.Clock, parsed: Cron.Cron) {
    this.clock = clock
    this.parsed = parsed
    this.slot = clock.unsafeCurrentTimeMillis()
    this.next()
  }

  /** As the wall clock is now. */
  at(): number {
    const { clock } = this
    return Monotonic.unsafeMillis(clock) + this.slot - clock.unsafeCurrentTimeMillis()
  }

  next(): number {
    const { parsed, slot } = this
    const now = this.clock.unsafeCurrentTimeMillis()
    // A slot may be due this very millisecond. Never before the last: a clock that is set back fires no slot twice.
    this.slot = after(parsed, Math.max(slot, now - 1))
    return countBetween(parsed, slot, now)
  }
}

/** Parses a cron expression. Throws `InputError` when it or the zone is malformed, or when it never matches. */
export const parseCron = (expression: string, timeZone: string | undefined, now: number): Cron.Cron => {
  const problem = (expected: string, actual: unknown, input = "expression") =>
    new Input.InputError({ where: "Service.cron", input, expected, actual })
  if (typeof expression !== "string") throw problem('a cron expression, like "0 3 * * *"', expression)
  const parsed = Cron.parse(expression, timeZone)
  if (Either.isLeft(parsed)) {
    throw timeZone !== undefined && Either.isRight(Cron.parse(expression))
      ? problem('an IANA time zone, like "Europe/Berlin"', timeZone, "timeZone")
      : problem(`a cron expression, like "0 3 * * *" (${parsed.left.message})`, expression)
  }
  try {
    Cron.next(parsed.right, new Date(now))
  } catch {
    throw problem("a cron expression that matches some day", expression)
  }
  return parsed.right
}

const after = (parsed: Cron.Cron, millis: number): number => Cron.next(parsed, new Date(millis)).getTime()

/** How many slots lie after `from` and before `to`, up to `mostCounted`. */
const countBetween = (parsed: Cron.Cron, from: number, to: number): number => {
  let count = 0
  for (let at = after(parsed, from); at < to && count < mostCounted; count++) at = after(parsed, at)
  return count
}

/** Past this, the exact number of missed slots means nothing. */
const mostCounted = 1_000
