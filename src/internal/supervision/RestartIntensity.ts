/**
 * How many restarts are allowed, and how soon they are forgotten.
 *
 * Two limits hold together: never more than so many within any window, as
 * OTP's `max_restarts` in `max_seconds`; and of those before it some memory
 * stays, halved with each window, as suture's failure decay. So a burst is
 * forgiven, and bursts again and again are not.
 *
 * A pause before a restart does not count as time: else a backoff as long as
 * the window would never use the budget up.
 */

/** The budget of one piece of work, or of several that share it. Moments are milliseconds of any steady clock. */
export interface Budget {
  /** Whether one more restart is allowed now. If so, it counts. */
  readonly take: (now: number) => boolean
  /** There is a pause from a moment until another. */
  readonly pause: (from: number, until: number) => Pause
}

/** A pause, which may end before its time. */
export interface Pause {
  readonly end: (at: number) => void
}

/** A budget of so many restarts within so many milliseconds, all there. */
export const make = (restarts: number, withinMillis: number): Budget => {
  /** When the last restarts were, as many as the budget has, oldest first. */
  const last: Array<number> = []
  let pauses: Array<Interval> = []
  /** Time without pauses, and the moment up to which it has been counted. */
  let time = 0
  let counted: number | undefined
  let memory = 0

  const advance = (now: number): number => {
    const from = counted ?? now
    counted = Math.max(from, now)
    const passed = counted - from - lengthOf(pauses, from, counted)
    pauses = pauses.filter(({ until }) => until > now)
    time += passed
    memory *= 0.5 ** (passed / withinMillis)
    return time
  }
  return {
    take: (now) => {
      const at = advance(now)
      const [first] = last
      const isFull = last.length === restarts && first !== undefined && at - first < withinMillis
      // Counts are rounded: what has been halved for ever is never nothing, and a budget of 1 would not recover.
      if (isFull || memory > restarts - 0.5) return false
      memory += 1
      last.push(at)
      if (last.length > restarts) last.shift()
      return true
    },
    pause: (from, until) => {
      const pause = { from, until }
      pauses.push(pause)
      return {
        end: (at) => {
          pause.until = Math.min(pause.until, at)
        }
      }
    }
  }
}

interface Interval {
  readonly from: number
  until: number
}

/** How much of the time between two moments is in an interval; several may overlap. */
const lengthOf = (intervals: ReadonlyArray<Interval>, from: number, until: number): number => {
  let length = 0
  let end = from
  for (const interval of intervals.toSorted((a, b) => a.from - b.from)) {
    const begin = Math.max(end, interval.from)
    end = Math.max(end, Math.min(until, interval.until))
    length += Math.max(0, end - begin)
  }
  return length
}
