/** The moments at which a cron expression matches. */
import type * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as Either from "effect/Either"
import * as Input from "../Input.ts"
import * as Monotonic from "../Monotonic.ts"

/** Reads an expression. Throws `InputError` when it or the zone is malformed, or when it never matches. */
export const parse = (expression: string, timeZone: string | undefined, now: number): Cron.Cron => {
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

/** Past this, the exact number of missed slots tells nothing more. */
const mostCounted = 1_000

/** When runs are due. */
export class CronSlots {
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

  /** When the slot is, in monotonic milliseconds, as the wall clock is now. */
  at(): number {
    const { clock } = this
    return Monotonic.unsafeMillis(clock) + this.slot - clock.unsafeCurrentTimeMillis()
  }

  /** Goes on to the next slot, and gives how many were missed. */
  next(): number {
    const { parsed, slot } = this
    const now = this.clock.unsafeCurrentTimeMillis()
    // A slot may be due this very millisecond. Not before the last: a clock that is set back fires no slot twice.
    this.slot = after(parsed, Math.max(slot, now - 1))
    return countBetween(parsed, slot, now)
  }
}

const after = (parsed: Cron.Cron, millis: number): number => Cron.next(parsed, new Date(millis)).getTime()

/** How many slots lie after `from` and before `to`, or `mostCounted`. */
const countBetween = (parsed: Cron.Cron, from: number, to: number): number => {
  let count = 0
  for (let at = after(parsed, from); at < to && count < mostCounted; count++) at = after(parsed, at)
  return count
}
