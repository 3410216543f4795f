/** What is known of a listener and its queue: counted always, and told to metrics. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import type { Notifier } from "../status/Notifier.ts"
import * as Monotonic from "../Monotonic.ts"
import type * as Metrics from "../telemetry/Metrics.ts"
import type { ListenerStatus } from "../status/ServiceStatus.ts"

/** Where a record is kept. */
export interface Keeper {
  readonly clock: Clock.Clock
  readonly metrics: Metrics.OfListener
  readonly owner: { readonly shared: { readonly changes: Pick<Notifier, "note"> } }
}

/** An event that was sent, in monotonic milliseconds. */
interface Queued {
  readonly at: number
}

/** The record of one listener. It is a class, as there may be very many. */
export class ListenerRecord {
  private readonly keeper: Keeper
  private countHandled = 0
  private countFailed = 0
  private countDropped = 0
  private countQueued = 0

  constructor(keeper: Keeper) {
    this.keeper = keeper
  }

  status(event: string, oldest: Queued | undefined): ListenerStatus {
    return {
      event,
      handled: this.countHandled,
      failed: this.countFailed,
      queued: this.countQueued,
      dropped: this.countDropped,
      lag: Duration.millis(
        oldest === undefined ? 0 : waited(oldest, Monotonic.unsafeMillis(this.keeper.clock))
      )
    }
  }

  handled(): void {
    this.countHandled++
    this.keeper.metrics.handled()
    this.changed()
  }

  failed(): void {
    this.countFailed++
    this.keeper.metrics.failed()
    this.changed()
  }

  dropped(events: number): void {
    this.countDropped += events
    this.keeper.metrics.dropped(events)
    this.changed()
  }

  /** So many are in the queue now. */
  queued(size: number): void {
    if (size === this.countQueued) return
    this.keeper.metrics.queued(size - this.countQueued)
    this.countQueued = size
    this.changed()
  }

  /** A published event is about to be handled. */
  taken(event: Queued, now: number): void {
    this.keeper.metrics.waited(waited(event, now))
  }

  private changed(): void {
    this.keeper.owner.shared.changes.note()
  }
}

const waited = ({ at }: Queued, now: number): number => Math.max(0, Math.round(now - at))
