/**
 * The times at which a cron expression matches in a time zone. `effect/Cron`
 * reads the expression and steps through the calendar, in which each day has 24
 * hours. Which instant shows such a local time is decided here, by the rules of
 * vixie cron, since in the two odd hours of daylight saving time it is none, or
 * two.
 */
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Input from "../Input.ts"

/** The times of a cron expression. */
export class CronSchedule {
  private readonly calendar: Cron.Cron
  private readonly zone: Zone
  /** Whether it has a wildcard for the minute or the hour: it follows the elapsed time, and not the time of day. */
  readonly isRecurrent: boolean

  constructor(calendar: Cron.Cron, zone: DateTime.TimeZone, isRecurrent: boolean) {
    this.calendar = calendar
    this.zone = new Zone(zone)
    this.isRecurrent = isRecurrent
  }

  /** The first slot after an instant; both in milliseconds since the epoch. */
  after(instant: number): number {
    for (let from = instant; ;) {
      const days = this.zone.around(from)
      const slot = this.within(days, from)
      if (slot < days.end) return slot
      // It is far away, where the offset may be another. No two offsets differ by more than a day.
      from = slot - 2 * dayMillis
    }
  }

  /** The first slot after an instant, as if the days around it had no end. */
  private within(days: Days, from: number): number {
    const { before, change, after } = days
    if (from < change) {
      const local = this.localAfter(from + before)
      if (local - before < change) return local - before
      // The clock shows the first local time after the gap, instead of all those within it.
      if (local < change + after && this.isMoved(days)) return change
      return this.localAfter(Math.max(change, from) + after - 1, days) - after
    }
    return this.localAfter(from + after, days) - after
  }

  /** The first match after a local time; after those of the hour that has just come twice, if they are not to be repeated. */
  private localAfter(local: number, days?: Days): number {
    const shown =
      days !== undefined && this.isMoved(days) ? Math.max(local, days.change + days.before - 1) : local
    return Cron.next(this.calendar, new Date(shown)).getTime()
  }

  /** Whether appointments of the odd hour are moved or left out. */
  private isMoved({ after, before }: Days): boolean {
    return !this.isRecurrent && Math.abs(after - before) <= longestShiftMillis
  }
}

/** Parses a cron expression. Throws `InputError` when it or the zone is malformed, or when it never matches. */
export const parse = (expression: string, timeZone: string | undefined): CronSchedule => {
  const problem = (expected: string, actual: unknown, input = "expression") =>
    new Input.InputError({ where: "Service.cron", input, expected, actual })
  if (typeof expression !== "string") throw problem('a cron expression, like "0 3 * * *"', expression)
  const parsed = Cron.parse(expression, "UTC")
  if (Either.isLeft(parsed)) {
    throw problem(`a cron expression, like "0 3 * * *" (${parsed.left.message})`, expression)
  }
  const calendar = parsed.right
  const zone =
    timeZone === undefined
      ? Option.some(DateTime.zoneMakeLocal())
      : typeof timeZone === "string"
        ? DateTime.zoneFromString(timeZone)
        : Option.none()
  if (Option.isNone(zone)) throw problem('an IANA time zone, like "Europe/Berlin"', timeZone, "timeZone")
  try {
    // The calendar repeats itself, so what does not match from here on never does.
    Cron.next(calendar, new Date(0))
  } catch {
    throw problem("a cron expression that matches some day", expression)
  }
  const [hour, minute] = expression.trim().split(/\s+/).toReversed().slice(3)
  const isRecurrent =
    isWildcard(minute) || isWildcard(hour) || calendar.minutes.size === 60 || calendar.hours.size === 24
  return new CronSchedule(calendar, zone.value, isRecurrent)
}

const isWildcard = (field: string | undefined): boolean => field?.startsWith("*") === true

/** The days around an instant: the offset of the local time before and after it changes, if it does. */
interface Days {
  readonly before: number
  readonly change: number
  readonly after: number
  /** The first instant about which this says nothing. */
  readonly end: number
}

/** The offsets of a time zone, in milliseconds east of UTC. */
class Zone {
  private readonly zone: DateTime.TimeZone
  /** The last answer, which holds for a day. */
  private day = Number.NaN
  private days: Days | undefined = undefined

  constructor(zone: DateTime.TimeZone) {
    this.zone = zone
  }

  /** Two days before the day of an instant and three after it. No zone has changed twice in less than a week. */
  around(instant: number): Days {
    const day = Math.floor(instant / dayMillis)
    if (this.days !== undefined && this.day === day) return this.days
    const start = (day - 2) * dayMillis
    const end = (day + 4) * dayMillis
    const before = this.offset(start)
    const after = this.offset(end)
    this.day = day
    return (this.days = { before, change: before === after ? start : this.change(start, end), after, end })
  }

  /** The instant at which the offset changes, between two that differ. */
  private change(start: number, end: number): number {
    const before = this.offset(start)
    while (end - start > 1) {
      const middle = Math.floor((start + end) / 2)
      if (this.offset(middle) === before) start = middle
      else end = middle
    }
    return end
  }

  private offset(instant: number): number {
    return DateTime.zonedOffset(DateTime.unsafeMakeZoned(instant, { timeZone: this.zone }))
  }
}

const dayMillis = Duration.toMillis("1 day")

/** A zone that moves by more has changed its date, and no clock shows what it has left out. As vixie cron. */
const longestShiftMillis = Duration.toMillis("3 hours")
