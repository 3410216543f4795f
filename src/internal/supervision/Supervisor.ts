/**
 * Keeps adopted layers running: brings them up, takes them down in order, and
 * when one fails does what the policy says.
 *
 * Whatever is asked of it, or happens to its children, is noted at once. One
 * fiber at a time then brings what is into line with what is wanted: first
 * down, the last first, and then up, in order.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Latch from "../Latch.ts"
import * as HeadStart from "../HeadStart.ts"
import * as Captured from "../Captured.ts"
import type * as RestartIntensity from "./RestartIntensity.ts"
import type * as Failure from "../../Failure.ts"
import * as ChildInstance from "./ChildInstance.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Restarts from "./Restarts.ts"
import * as ServiceScope from "../lifecycle/Lifetime.ts"
import * as ChildState from "./ChildState.ts"
import * as Trouble from "./Trouble.ts"

/** Which children go down with one that failed: it alone, all, or it and those after it. As OTP's strategies. */
export type Strategy = "oneForOne" | "oneForAll" | "restForOne"

/** What is to be done about failures. */
export interface Settings<R> {
  readonly strategy: Strategy
  readonly policy: Failure.Policy<unknown, R>
  /** The budget of a policy that restarts. */
  readonly budget: RestartIntensity.RestartIntensity | undefined
}

/** Makes a supervisor of some children of a service, in the context in which they are built. */
export const make = <R>(
  parent: ServiceScope.Lifetime,
  slots: ReadonlyArray<ChildState.Slot>,
  settings: Settings<R>
): Effect.Effect<Supervisor<R>, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => new Supervisor(parent, slots, settings, runtime))

/** A supervisor of some children. A class, as there may be very many, each of one child. */
export class Supervisor<in out R = any> implements Trouble.Group<R> {
  readonly parent: ServiceScope.Lifetime
  readonly slots: ReadonlyArray<ChildState.Slot>
  readonly answer: Restarts.Answer<unknown, R>
  /** Of where it was made, and there is what its children need. */
  readonly runtime: Runtime.Runtime<R>
  private readonly strategy: Strategy
  private isStarting = true
  private trouble: Trouble.Trouble | undefined = undefined
  private isActive = false
  private isDirty = false
  private readonly wake = Latch.make()
  private closing: ChildState.Slot | undefined = undefined

  constructor(
    parent: ServiceScope.Lifetime,
    slots: ReadonlyArray<ChildState.Slot>,
    { budget, policy, strategy }: Settings<R>,
    runtime: Runtime.Runtime<R>
  ) {
    this.parent = parent
    this.slots = slots
    this.strategy = strategy
    this.answer = Restarts.answerOf(policy, budget)
    this.runtime = runtime
  }

  /**
   * Brings up all, in order. When one does not start, all go down, and it fails
   * as that one did. Until all are up, whatever fails is the failure of the
   * start, and not a matter of policy.
   */
  get start(): Effect.Effect<void, unknown, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        for (const slot of this.slots) {
          const life = yield* this.begin(slot)
          const exit = Exit.flatten(yield* Effect.exit(restore(life.built)))
          if (Exit.isSuccess(exit)) {
            yield* life.inherit
            if (this.trouble === undefined && this.up(slot, life)) continue
          }
          for (const each of this.slots) this.stop(each)
          yield* Effect.forEach(this.slots, ({ over }) => over.await, { discard: true })
          if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return yield* exit
          return yield* this.trouble === undefined
            ? Effect.interrupt
            : Effect.die(Cause.squash(this.trouble.cause))
        }
        this.isStarting = false
        this.kick()
      })
    )
  }

  /** Takes a child down for good. Does not wait, nor does `restart`, which brings it up again. */
  stop(slot: ChildState.Slot): void {
    ChildState.wantDown(slot, undefined)
    this.resumed()
    this.kick()
  }

  restart(slot: ChildState.Slot): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { wanted } = slot
      if (wanted._tag === "Down" || (wanted._tag === "Restart" && wanted.notBefore === 0)) return Effect.void
      ChildState.wantRestart(slot, ChildState.reasonOf(slot) ?? "it was asked to", {}, 0)
      return Effect.map(Trouble.tellRestart(slot, 0, undefined), () => this.kick())
    })
  }

  /** Something has changed: brings what is into line with what is wanted. */
  kick(): void {
    this.isDirty = true
    this.wake.unsafeOpen()
    const isAtRest = this.trouble === undefined && this.slots.every(ChildState.isAtRest)
    if (this.isActive || isAtRest) return
    this.isActive = true
    // The runtime of a service was taken where nothing can be interrupted. Not at once: more may be noted in this turn.
    Runtime.runFork(this.parent.runtime)(Effect.interruptible(this.loop()), { immediate: false })
  }

  private loop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isDirty = false
      this.wake.unsafeClose()
      return Effect.flatMap(this.step(), (isMore) => {
        if (isMore || this.isDirty) return this.loop()
        this.isActive = false
        return Effect.void
      })
    })
  }

  /** Does one thing, if there is one to do. Gives whether there may be more. It waits for nothing but a pause. */
  private step(): Effect.Effect<boolean> {
    const { parent, slots, trouble } = this
    const low = slots.findLast(({ life, wanted }) => life !== undefined && wanted._tag !== "Up")
    if (low !== undefined) this.takeDown(low)
    for (const slot of slots) {
      const isDown = slot.wanted._tag === "Down" && slot.life === undefined
      if (isDown && !slot.plan.claim.isOver) ChildState.isOver(slot)
    }
    if (this.isStarting) return Effect.succeed(false)
    const risen = slots.find(
      ({ life, wanted }) =>
        wanted._tag === "Up" && wanted.again !== undefined && life?.settled() !== undefined
    )
    if (risen !== undefined) return Effect.as(this.settle(risen), true)
    if (low !== undefined) return Effect.succeed(false)
    if (trouble !== undefined) {
      this.trouble = undefined
      return Effect.as(Trouble.respond(this, trouble), true)
    }
    if (!ServiceScope.admits(parent, "children")) return Effect.succeed(false)
    const next = ChildState.nextOf(slots)
    if (next === undefined) return Effect.succeed(false)
    const left = next.at - Monotonic.unsafeMillis(parent.clock)
    const pause = Effect.raceFirst(Monotonic.sleep(left), this.wake.await)
    return Effect.as(left > 0 ? pause : this.beginAgain(next.slot), true)
  }

  /** Begins to take a child down, unless another is on its way: one after another. */
  private takeDown(slot: ChildState.Slot): void {
    if (this.closing !== undefined || slot.life === undefined) return
    this.closing = slot
    const closed = Effect.map(slot.life.close, () => {
      this.closing = undefined
      ChildState.wentDown(slot)
      this.kick()
    })
    HeadStart.unsafeFork(this.parent.runtime, closed)
  }

  /** In the next turn of the event loop: what fails at once and always must not keep the process from all else. */
  private beginAgain(slot: ChildState.Slot): Effect.Effect<void> {
    return Effect.flatMap(Monotonic.sleep(0), () => {
      if (slot.wanted._tag !== "Restart") return Effect.void
      ChildState.begins(slot)
      this.resumed()
      return Effect.asVoid(Effect.provide(this.begin(slot), Trouble.runtimeOfRestarts(this.runtime)))
    })
  }

  /** Sees what has become of a child that was begun again. */
  private settle(slot: ChildState.Slot): Effect.Effect<void> {
    const { life } = slot
    const exit = life?.settled()
    if (life === undefined || exit === undefined) return Effect.void
    if (Exit.isSuccess(exit)) return Effect.sync(() => this.up(slot, life))
    const failure = life.failure(ChildState.nameOf(slot))
    const { entry } = failure
    if (entry !== undefined) ChildState.didNotStart(slot, entry.service, entry.work, entry.cause)
    this.failed(slot, failure, 0)
    return entry === undefined ? Effect.void : this.parent.owner.shared.journal.append(entry)
  }

  /** Gives it a life. The parent knows of that before it begins. */
  private begin(slot: ChildState.Slot): Effect.Effect<ChildInstance.Incarnation, never, R> {
    return Effect.suspend(() => {
      const life = new ChildInstance.Incarnation(slot.plan, {
        settled: () => this.kick(),
        failed: (failure) =>
          this.failed(slot, failure, Monotonic.unsafeMillis(this.parent.clock) - slot.upAt),
        stopAsked: () => this.stop(slot)
      })
      slot.life = life
      slot.owner = life
      if (slot.wanted._tag !== "Up") life.giveUp()
      return Effect.as(life.begin, life)
    })
  }

  /** It has come up, unless something else has come to be wanted in the meantime. */
  private up(slot: ChildState.Slot, life: ChildInstance.Incarnation): boolean {
    if (slot.wanted._tag !== "Up") return false
    ChildState.cameUp(slot)
    if (life.wantsStop()) this.stop(slot)
    return true
  }

  private failed(slot: ChildState.Slot, failure: ChildInstance.Failure, ranMillis: number): void {
    // It goes down already, with a sibling.
    if (slot.wanted._tag !== "Up") return
    this.trouble ??= { ...failure, slot, ranMillis }
    const batch = {}
    for (const each of this.goingDownWith(slot)) {
      if (this.answer._tag === "Restart") ChildState.wantRestart(each, failure.reason, batch, undefined)
      else ChildState.wantDown(each, each === slot ? failure.reason : undefined)
    }
    this.kick()
  }

  private goingDownWith(slot: ChildState.Slot): ReadonlyArray<ChildState.Slot> {
    const { slots, strategy } = this
    if (strategy === "oneForAll") return slots
    return strategy === "oneForOne" ? [slot] : slots.slice(slots.indexOf(slot))
  }

  /** Whoever waits or comes up, the pause is over: a budget that others share counts on. */
  private resumed(): void {
    const { answer, parent } = this
    if (answer._tag === "Restart") answer.restarts.resumed(Monotonic.unsafeMillis(parent.clock))
  }
}
