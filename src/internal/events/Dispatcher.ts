/** Starts deliveries: of emitted events at once, of published ones in a later turn. */
import type * as Work from "../lifecycle/Work.ts"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AsyncContext from "../AsyncContext.ts"
import * as Monotonic from "../Monotonic.ts"

/** A delivery, or a consumer that has more to take. */
export interface Job {
  /** Starts it. Returns what the dispatcher must run before the next job, if anything. */
  readonly start: () => Effect.Effect<void> | undefined
}

/** How long a turn may last before the event loop runs its timers, sockets and signals: too short for anyone to notice. */
const longestTurnMillis = 10

/** The clock is read once per so many handlers, since a reading costs about as much as a small one. */
const handlersPerReading = 4

export class Dispatcher {
  private readonly runtime: Work.RunRuntime<never>
  private readonly clock: Clock.Clock
  /** That of the bus, whoever publishes the event that starts a turn. */
  private readonly asyncContext = AsyncContext.capture()
  /** The jobs that `startAll` is starting. */
  private starting: Array<Job> | undefined = undefined
  private queue: Array<Job> = []
  /** The head of the queue, last first: `shift` on a long array is slow. */
  private head: Array<Job> = []
  private hasTurn = false
  private turnEnds = 0
  private isLate = false
  private started = 0

  /** Turns are fibers of this runtime. */
  constructor(runtime: Work.RunRuntime<never>, clock: Clock.Clock) {
    this.runtime = runtime
    this.clock = clock
  }

  /**
   * Starts all of these jobs now, on the caller's stack. Jobs that a handler adds
   * start after them: each event reaches all its listeners before the events that
   * follow from it do, and the stack stays flat.
   */
  startAll(jobs: Array<Job>): void {
    if (this.starting !== undefined) return void this.starting.push(...jobs)
    this.starting = jobs
    let next = 0
    try {
      // The array grows meanwhile. `next` is within it.
      while (next < jobs.length) jobs[next++]!.start()
    } finally {
      this.starting = undefined
      // Only after a stack overflow or a supervisor that throws.
      for (const job of jobs.slice(next)) this.enqueue(job)
    }
  }

  /** FIFO queue. One fiber, the turn, starts all jobs that are in it by then. */
  enqueue(job: Job): void {
    this.queue.push(job)
    if (this.hasTurn) return
    this.hasTurn = true
    this.asyncContext(() => this.runtime.fork(this.runtime.runtime.context, this.turn, { immediate: false }))
  }

  private readonly turn: Effect.Effect<void> = Effect.suspend(() => {
    this.beginTurn()
    return Effect.whileLoop({
      while: () => {
        this.hasTurn = this.head.length > 0 || this.queue.length > 0
        return this.hasTurn
      },
      body: () => this.next(),
      step: () => {}
    })
  })

  private next(): Effect.Effect<void> {
    if (!this.isOver()) return this.dequeue().start() ?? Effect.void
    return Effect.zipRight(
      this.clock.sleep(Duration.zero),
      Effect.sync(() => this.beginTurn())
    )
  }

  private beginTurn(): void {
    this.isLate = false
    this.turnEnds = Monotonic.unsafeMillis(this.clock) + longestTurnMillis
  }

  /** Whether the turn has lasted long enough. Asked before each handler that it starts. */
  isOver(): boolean {
    if (++this.started % handlersPerReading === 0 && Monotonic.unsafeMillis(this.clock) > this.turnEnds)
      this.isLate = true
    return this.isLate
  }

  private dequeue(): Job {
    if (this.head.length === 0) {
      this.head = this.queue.toReversed()
      this.queue = []
    }
    // `turn` has seen that there is one.
    return this.head.pop()!
  }
}
