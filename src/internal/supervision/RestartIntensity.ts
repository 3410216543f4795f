/**
 * Limits how often work may restart.
 *
 * Two limits apply together: a maximum number of restarts in any window, like
 * OTP's `max_restarts` in `max_seconds`; and an exponentially decaying count
 * whose half-life is the window, like suture's failure decay. A single burst is
 * forgiven, recurring bursts are not.
 *
 * Pauses before restarts do not count as elapsed time. Otherwise a backoff as
 * long as the window would never exhaust the limit.
 */

/** The restart intensity of a task, or of several that share it. Times are monotonic milliseconds. */
export interface RestartIntensity {
  /** Records a restart and returns true, or returns false if the limit is reached. */
  readonly take: (now: number) => boolean
  /** Excludes the time between two moments. */
  readonly pause: (from: number, until: number) => Pause
}

/** An excluded pause, which can be cut short. */
export interface Pause {
  readonly end: (at: number) => void
}

/** Allows `restarts` restarts within `withinMillis`. */
export const make = (restarts: number, withinMillis: number): RestartIntensity => {
  /** Times of the most recent restarts, oldest first; at most `restarts` of them. */
  const last: Array<number> = []
  let pauses: Array<Interval> = []
  /** Elapsed time without pauses. */
  let time = 0
  let countedUntil: number | undefined
  /** The decaying count of restarts. */
  let decayed = 0

  const advance = (now: number): number => {
    const from = countedUntil ?? now
    countedUntil = Math.max(from, now)
    const passed = countedUntil - from - lengthOf(pauses, from, countedUntil)
    pauses = pauses.filter(({ until }) => until > now)
    time += passed
    decayed *= 0.5 ** (passed / withinMillis)
    return time
  }
  return {
    take: (now) => {
      const at = advance(now)
      const [first] = last
      const isFull = last.length === restarts && first !== undefined && at - first < withinMillis
      // Rounded, because the decaying count never reaches zero and a limit of 1 would not recover.
      if (isFull || decayed > restarts - 0.5) return false
      decayed += 1
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

/** The part of a time span that the intervals cover, counting overlaps once. */
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
