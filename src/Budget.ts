/**
 * How many restarts are allowed, and how soon they are forgotten.
 *
 * Two limits hold together: never more than so many within any window, as
 * OTP's `max_restarts` in `max_seconds`; and of those before it some memory
 * stays, halved with each window, as suture's failure decay. So a burst is
 * forgiven, and bursts again and again are not.
 */

/** The budget of one piece of work, or of several that share it. */
export interface Budget {
  /** Whether one more restart is allowed now, in milliseconds of any steady clock. If so, it counts. */
  readonly take: (nowMillis: number) => boolean
  /** A pause before a restart does not count as time, or a long backoff would keep any budget from running out. */
  readonly pause: (millis: number) => void
}

/** A budget of so many restarts within so many milliseconds, all there. */
export const make = (restarts: number, withinMillis: number): Budget => {
  /** When the last restarts were, as many as the budget has, oldest first. */
  const last: Array<number> = []
  let time = Number.NEGATIVE_INFINITY
  let paused = 0
  let memory = 0
  return {
    take: (nowMillis) => {
      // Pauses of several that share a budget may overlap, so their sum may be more than the time that has passed.
      const now = Math.max(time, nowMillis - paused)
      const decayed = memory === 0 ? 0 : memory * 0.5 ** ((now - time) / withinMillis)
      time = now
      memory = decayed
      const isFull = last.length === restarts && now - last[0]! < withinMillis
      // Counts are rounded: what has been halved for ever is never nothing, and a budget of 1 would not recover.
      if (isFull || decayed > restarts - 0.5) return false
      memory = decayed + 1
      last.push(now)
      if (last.length > restarts) last.shift()
      return true
    },
    pause: (millis) => {
      paused += millis
    }
  }
}
