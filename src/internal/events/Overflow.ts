/** Tells of what the queue of a listener has no room for: events that are dropped, and publishers that wait long. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as LongWait from "./LongWait.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import * as Throttle from "../journal/Throttle.ts"

/** A publisher that has waited this long is no longer just a burst: a third of the stop deadline of a service. */
const longWait = Duration.seconds(3)

/** Of one listener. */
export interface Overflow {
  /** One more was dropped since the queue was full. */
  readonly lost: Effect.Effect<void>
  /** So many are dropped since the service has stopped. */
  readonly abandoned: (count: number) => Effect.Effect<void>
  /** Waits for room. */
  readonly waiting: (room: Effect.Effect<void>) => Effect.Effect<void>
  /** Tells of what is not told yet. */
  readonly end: Effect.Effect<void>
}

/** Nothing yet, of the listener of a service to an event. */
export const make = (
  { owner, service }: { readonly owner: Owner.Owner; readonly service: string },
  event: string
): Overflow => {
  const { journal } = owner.shared
  const dropped = (reason: "queue full" | "service stopped", count: number) =>
    journal.append({ _tag: "EventsDropped", service, event, count, reason })
  const drops = Throttle.make((count) => dropped("queue full", count))
  return {
    lost: drops.add(1),
    abandoned: (count) => dropped("service stopped", count),
    waiting: LongWait.make(
      journal.append({ _tag: "PublishWaiting", service, event, waited: longWait }),
      longWait
    ),
    end: drops.end
  }
}
