/** Begins deliveries: emitted events at once, published ones in a later turn. */
import type * as Work from "../lifecycle/Work.ts"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AsyncContext from "../AsyncContext.ts"
import * as Monotonic from "../Monotonic.ts"

/** Something that is ready to begin. */
export interface Ready {
  /** Begins it, and gives what is left to do for that, if anything. */
  readonly begin: () => Effect.Effect<void> | undefined
}

/** How long deliveries may go on in one turn before timers, sockets and signals get theirs. */
const longestTurnMillis = 10

export class Dispatcher {
  private readonly runtime: Work.RunRuntime<never>
  private readonly clock: Clock.Clock
  /** That of the bus, whoever publishes what the turn is for. */
  private readonly asyncContext = AsyncContext.capture()
  private now: Array<Ready> | undefined = undefined
  private later: Array<Ready> = []
  /** What is taken first, in reverse: to shift a long array is dear. */
  private batch: Array<Ready> = []
  private isTurn = false
  private turnEnds = 0
  private begun = 0

  /** Turns are fibers of this runtime. */
  constructor(runtime: Work.RunRuntime<never>, clock: Clock.Clock) {
    this.runtime = runtime
    this.clock = clock
  }

  /**
   * Begins all of these now, on the caller's stack. What one of them emits in
   * turn begins after them: each event reaches all its listeners before what
   * follows from it does, and the stack does not grow.
   */
  beginNow(all: Array<Ready>): void {
    if (this.now !== undefined) return void this.now.push(...all)
    this.now = all
    let next = 0
    try {
      // The array grows while they begin.
      while (next < all.length) all[next++]!.begin()
    } finally {
      this.now = undefined
      // Only where the stack is full, or a supervisor throws.
      for (const ready of all.slice(next)) this.beginLater(ready)
    }
  }

  /** Begins this in a later turn, in order. One fiber takes the turn for all that is ready by then. */
  beginLater(ready: Ready): void {
    this.later.push(ready)
    if (this.isTurn) return
    this.isTurn = true
    this.asyncContext(() => this.runtime.fork(this.runtime.runtime.context, this.turn, { immediate: false }))
  }

  private readonly turn: Effect.Effect<void> = Effect.suspend(() => {
    this.turnEnds = Monotonic.unsafeMillis(this.clock) + longestTurnMillis
    return Effect.whileLoop({
      while: () => {
        this.isTurn = this.batch.length > 0 || this.later.length > 0
        return this.isTurn
      },
      body: () => this.next(),
      step: () => {}
    })
  })

  private next(): Effect.Effect<void> {
    if (++this.begun % 4 === 0) {
      const now = Monotonic.unsafeMillis(this.clock)
      if (now > this.turnEnds) {
        this.turnEnds = now + longestTurnMillis
        return this.clock.sleep(Duration.zero)
      }
    }
    return this.take().begin() ?? Effect.void
  }

  /** The first that is ready. */
  private take(): Ready {
    if (this.batch.length === 0) {
      this.batch = this.later.toReversed()
      this.later = []
    }
    // `turn` has looked.
    return this.batch.pop()!
  }
}
