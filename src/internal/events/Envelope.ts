/** An event on its way to those who listen. */
import type * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type * as Event from "../../Event.ts"
import type * as Work from "../lifecycle/Work.ts"

/** Its payload, and the span it was sent in. */
export interface Envelope {
  readonly event: Event.Event<string, any>
  readonly payload: any
  readonly span: Option.Option<Tracer.AnySpan>
  /** The work that has sent it. */
  readonly sender: Work.Work | undefined
  /** How many the bus has taken before it. */
  readonly before: number
  /** When it was sent, in monotonic milliseconds. */
  readonly at: number
}
