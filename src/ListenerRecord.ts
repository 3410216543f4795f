/** What is known of a listener and its queue: counted always, and told to metrics. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import type * as Backlog from "./Backlog.ts"
import * as Monotonic from "./Monotonic.ts"
import type * as ServiceMetrics from "./ServiceMetrics.ts"
import type { ListenerStatus } from "./ServiceStatus.ts"

/** Where a record is kept. */
export interface Keeper {
  readonly clock: Clock.Clock
  readonly metrics: ServiceMetrics.OfListener
  /** Tells that the status has changed. */
  readonly changed: () => void
}

/** The record of one listener. */
export interface ListenerRecord {
  readonly status: () => ListenerStatus
  readonly handled: () => void
  readonly failed: () => void
  readonly dropped: (events: number) => void
  /** Something has come into the queue, or left it. */
  readonly requeued: () => void
  /** A published event has left the queue to be handled. */
  readonly taken: (event: Queued) => void
}

/** An event that was sent, in monotonic milliseconds. */
interface Queued {
  readonly at: number
}

/** A listener to which nothing has come yet. */
export const make = (
  event: string,
  backlog: Pick<Backlog.Backlog<Queued>, "peek" | "size">,
  { changed, clock, metrics }: Keeper
): ListenerRecord => {
  let handled = 0
  let failed = 0
  let dropped = 0
  let queued = 0
  const waited = ({ at }: Queued) => Math.max(0, Math.round(Monotonic.unsafeMillis(clock) - at))
  const requeued = () => {
    const before = queued
    queued = backlog.size()
    metrics.queued(queued - before)
    changed()
  }
  return {
    requeued,
    status: () => {
      const oldest = backlog.peek()
      const lag = Duration.millis(oldest === undefined ? 0 : waited(oldest))
      return { event, handled, failed, queued, dropped, lag }
    },
    handled: () => {
      handled++
      metrics.handled()
      changed()
    },
    failed: () => {
      failed++
      metrics.failed()
      changed()
    },
    dropped: (events) => {
      dropped += events
      metrics.dropped(events)
      changed()
    },
    taken: (event) => {
      metrics.waited(waited(event))
      requeued()
    }
  }
}
