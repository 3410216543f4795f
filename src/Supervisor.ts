/**
 * Keeps adopted layers running: brings them up, takes them down in order, and
 * when one fails does what the policy says.
 *
 * Whatever is asked of it, or happens to its children, is noted at once. One
 * fiber at a time then brings what is into line with what is wanted: first
 * down, the last first, and then up, in order.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Gate from "./Gate.ts"
import * as HeadStart from "./HeadStart.ts"
import * as Captured from "./Captured.ts"
import type * as Budget from "./Budget.ts"
import * as Escalation from "./Escalation.ts"
import type * as Failure from "./Failure.ts"
import * as Incarnation from "./Incarnation.ts"
import * as Monotonic from "./Monotonic.ts"
import { ServiceStoppedError } from "./Refusal.ts"
import * as OwnedRun from "./OwnedRun.ts"
import * as Restarts from "./Restarts.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Slot from "./Slot.ts"
import * as Spans from "./Spans.ts"
import * as Work from "./Work.ts"

/** Which children go down with one that failed: it alone, all, or it and those after it. As OTP's strategies. */
export type Strategy = "oneForOne" | "oneForAll" | "restForOne"

/** What is to be done about failures. */
export interface Settings<R> {
  readonly strategy: Strategy
  readonly policy: Failure.Policy<unknown, R>
  /** The budget of a policy that restarts. */
  readonly budget: Budget.Budget | undefined
}

/** What can be asked of a supervisor. */
export interface Supervisor {
  /** Brings up all, in order. When one does not start, all go down, and it fails as that one did. */
  readonly start: Effect.Effect<void, unknown>
  /** Takes a child down for good. Does not wait, nor does `restart`, which brings it up again. */
  readonly stop: (slot: Slot.Slot) => void
  readonly restart: (slot: Slot.Slot) => Effect.Effect<void>
}

/** A failure of a child that something is to be done about. */
interface Trouble extends Incarnation.Failure {
  readonly slot: Slot.Slot
  readonly ranMillis: number
}

/** Makes a supervisor of some children of a service, in the context in which they are built. */
export const make = <R>(
  parent: ServiceScope.Lifetime,
  slots: ReadonlyArray<Slot.Slot>,
  { budget, policy, strategy }: Settings<R>
): Effect.Effect<Supervisor, never, R> =>
  Effect.map(Captured.runtime<R>(), (runtime) => {
    const { journal } = parent.owner.shared
    const answer = Restarts.answerOf(policy, budget)
    let isStarting = true
    let trouble: Trouble | undefined
    let isActive = false
    let isDirty = false
    const wake = Gate.make()

    const kick = () => {
      isDirty = true
      wake.unsafeOpen()
      const isAtRest = trouble === undefined && slots.every(Slot.isAtRest)
      if (isActive || isAtRest) return
      isActive = true
      // The runtime of a service was taken where nothing can be interrupted. Not at once: more may be noted in this turn.
      Runtime.runFork(parent.runtime)(Effect.interruptible(loop), { immediate: false })
    }
    const loop: Effect.Effect<void> = Effect.suspend(() => {
      isDirty = false
      wake.unsafeClose()
      return Effect.flatMap(step, (isMore) => {
        if (isMore || isDirty) return loop
        isActive = false
        return Effect.void
      })
    })
    /** Does one thing, if there is one to do. Gives whether there may be more. It waits for nothing but a pause. */
    const step: Effect.Effect<boolean> = Effect.suspend(() => {
      const low = slots.findLast(({ life, wanted }) => life !== undefined && wanted._tag !== "Up")
      if (low !== undefined) takeDown(low)
      for (const slot of slots) {
        const isDown = slot.wanted._tag === "Down" && slot.life === undefined
        if (isDown && !slot.plan.claim.isOver) Slot.isOver(slot)
      }
      if (isStarting) return Effect.succeed(false)
      const risen = slots.find(
        ({ life, wanted }) =>
          wanted._tag === "Up" && wanted.again !== undefined && life?.settled() !== undefined
      )
      if (risen !== undefined) return Effect.as(settle(risen), true)
      if (low !== undefined) return Effect.succeed(false)
      if (trouble !== undefined) {
        const now = trouble
        trouble = undefined
        return Effect.as(respond(now), true)
      }
      if (!ServiceScope.admits(parent, "children")) return Effect.succeed(false)
      const next = Slot.nextOf(slots)
      if (next === undefined) return Effect.succeed(false)
      const left = next.at - Monotonic.unsafeMillis(parent.clock)
      const pause = Effect.raceFirst(Monotonic.sleep(left), wake.await)
      return Effect.as(left > 0 ? pause : beginAgain(next.slot), true)
    })

    /** Begins to take a child down, unless another is on its way: one after another. */
    let closing: Slot.Slot | undefined
    const takeDown = (slot: Slot.Slot): void => {
      if (closing !== undefined || slot.life === undefined) return
      closing = slot
      const closed = Effect.map(slot.life.close, () => {
        closing = undefined
        Slot.wentDown(slot)
        kick()
      })
      HeadStart.unsafeFork(parent.runtime, closed)
    }

    /** In the next turn of the event loop: what fails at once and always must not keep the process from all else. */
    const beginAgain = (slot: Slot.Slot): Effect.Effect<void> =>
      Effect.flatMap(Monotonic.sleep(0), () => {
        if (slot.wanted._tag !== "Restart") return Effect.void
        Slot.begins(slot)
        resumed()
        return Effect.asVoid(Effect.provide(begin(slot), runtimeOfRestarts(runtime)))
      })

    /** Sees what has become of a child that was begun again. */
    const settle = (slot: Slot.Slot): Effect.Effect<void> => {
      const { life } = slot
      const exit = life?.settled()
      if (life === undefined || exit === undefined) return Effect.void
      if (Exit.isSuccess(exit)) return Effect.sync(() => up(slot, life))
      const failure = life.failure(Slot.nameOf(slot))
      const { entry } = failure
      if (entry !== undefined) Slot.didNotStart(slot, entry.service, entry.work, entry.cause)
      failed(slot, failure, 0)
      return entry === undefined ? Effect.void : journal.append(entry)
    }

    /** Gives it a life. The parent knows of that before it begins. */
    const begin = (slot: Slot.Slot): Effect.Effect<Incarnation.Incarnation, never, R> =>
      Effect.suspend(() => {
        const life = new Incarnation.Incarnation(slot.plan, {
          settled: kick,
          failed: (failure) => failed(slot, failure, Monotonic.unsafeMillis(parent.clock) - slot.upAt),
          stopAsked: () => stop(slot)
        })
        slot.life = life
        slot.owner = life
        if (slot.wanted._tag !== "Up") life.giveUp()
        return Effect.as(life.begin, life)
      })
    /** It has come up, unless something else has come to be wanted in the meantime. */
    const up = (slot: Slot.Slot, life: Incarnation.Incarnation): boolean => {
      if (slot.wanted._tag !== "Up") return false
      Slot.cameUp(slot)
      if (life.wantsStop()) stop(slot)
      return true
    }

    const failed = (slot: Slot.Slot, failure: Incarnation.Failure, ranMillis: number): void => {
      // It goes down already, with a sibling.
      if (slot.wanted._tag !== "Up") return
      trouble ??= { ...failure, slot, ranMillis }
      const batch = {}
      for (const each of goingDownWith(slot)) {
        if (answer._tag === "Restart") Slot.wantRestart(each, failure.reason, batch, undefined)
        else Slot.wantDown(each, each === slot ? failure.reason : undefined)
      }
      kick()
    }
    const goingDownWith = (slot: Slot.Slot): ReadonlyArray<Slot.Slot> => {
      if (strategy === "oneForAll") return slots
      return strategy === "oneForOne" ? [slot] : slots.slice(slots.indexOf(slot))
    }

    /** What the policy says, when all that went down with the failed child has stopped. It is work of the parent. */
    const respond = ({ cause, origin, ranMillis, reason, slot }: Trouble): Effect.Effect<void> => {
      const work = `child ${Slot.nameOf(slot)}`
      const failure = { work, cause, origin }
      ServiceScope.noteFailure(parent, work, cause)
      const undecided = () =>
        slots.filter(({ wanted }) => wanted._tag === "Restart" && wanted.notBefore === undefined)
      const giveUp = () => {
        for (const each of undecided()) Slot.wantDown(each, each === slot ? reason : undefined)
        kick()
      }
      if (answer._tag !== "Restart") return asWork(work, Escalation.conclude(parent, answer, failure))
      if (undecided().length === 0) return Effect.void
      const decide = Effect.gen(function* () {
        const pause = yield* answer.restarts.next(cause, ranMillis)
        if (Option.isNone(pause)) {
          giveUp()
          return yield* Escalation.exhausted(parent, answer, failure)
        }
        const notBefore = (yield* Monotonic.millis) + pause.value
        const batch = {}
        for (const each of undecided()) {
          Slot.wantRestart(each, reason, batch, notBefore)
          yield* tellRestart(each, pause.value, origin)
        }
        kick()
      })
      // A schedule may have a bug, and what waits for its word must not wait for ever.
      return asWork(
        work,
        Effect.onError(decide, () => Effect.sync(giveUp))
      )
    }
    const asWork = (work: string, effect: Effect.Effect<void, never, R>) =>
      Effect.provide(effect, runtimeOfRestarts(runtime)).pipe(
        Escalation.guarded(parent, work),
        (owned) =>
          OwnedRun.own(parent, { name: `the failure policy of ${work}`, shown: {}, run: () => owned }),
        // The parent stops itself, and everything of it with it.
        Effect.catchAllDefect((defect) =>
          defect instanceof ServiceStoppedError ? Effect.void : Effect.die(defect)
        )
      )

    const tellRestart = (slot: Slot.Slot, millis: number, origin: string | undefined) =>
      Effect.forEach(
        Slot.pathsOf(slot),
        (service) =>
          journal.append({
            _tag: "ServiceRestarting",
            service,
            restarts: slot.restarts + 1,
            pause: Duration.millis(millis),
            origin
          }),
        { discard: true }
      )

    /** Whoever waits or comes up, the pause is over: a budget that others share counts on. */
    const resumed = () => {
      if (answer._tag === "Restart") answer.restarts.resumed(Monotonic.unsafeMillis(parent.clock))
    }

    const stop = (slot: Slot.Slot): void => {
      Slot.wantDown(slot, undefined)
      resumed()
      kick()
    }
    const restart = (slot: Slot.Slot) =>
      Effect.suspend(() => {
        const { wanted } = slot
        if (wanted._tag === "Down" || (wanted._tag === "Restart" && wanted.notBefore === 0))
          return Effect.void
        Slot.wantRestart(slot, Slot.reasonOf(slot) ?? "it was asked to", {}, 0)
        return Effect.zipRight(tellRestart(slot, 0, undefined), Effect.sync(kick))
      })

    /** Until all are up, whatever fails is the failure of the start, and not a matter of policy. */
    const start = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        for (const slot of slots) {
          const life = yield* begin(slot)
          const exit = Exit.flatten(yield* Effect.exit(restore(life.built)))
          if (Exit.isSuccess(exit)) {
            yield* life.inherit
            if (trouble === undefined && up(slot, life)) continue
          }
          for (const each of slots) stop(each)
          yield* Effect.forEach(slots, ({ over }) => over.await, { discard: true })
          if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return yield* exit
          return yield* trouble === undefined ? Effect.interrupt : Effect.die(Cause.squash(trouble.cause))
        }
        isStarting = false
        kick()
      })
    )

    // It is begun where the supervisor is made, and there is what it needs.
    return { start: start as Effect.Effect<void, unknown>, stop, restart }
  })

/** As it was where the child was adopted, but not part of the work that adopted it, nor in its span. */
const runtimeOfRestarts = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> =>
  Runtime.make({
    context: Spans.outside(Work.outside(runtime.context)),
    fiberRefs: runtime.fiberRefs,
    // It may have been adopted where nothing can be interrupted.
    runtimeFlags: Runtime.defaultRuntimeFlags
  })
