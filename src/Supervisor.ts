/**
 * Keeps adopted layers running: brings them up, takes them down in order, and
 * when one fails does what the policy says.
 *
 * Whatever is asked of it, or happens to its children, is noted at once. One
 * fiber at a time then brings what is into line with what is wanted: first
 * down, the last first, and then up, in order.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Budget from "./Budget.ts"
import * as Escalation from "./Escalation.ts"
import type * as Failure from "./Failure.ts"
import * as Incarnation from "./Incarnation.ts"
import type * as Journal from "./Journal.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Reason from "./Reason.ts"
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
  readonly policy: Failure.Failure<unknown, R>
  /** The budget of a policy that restarts. */
  readonly budget: Budget.Budget | undefined
}

/** What can be asked of a supervisor. */
export interface Supervisor {
  /** Brings up all, in order. When one does not start, all go down, and it fails as that one did. */
  readonly start: Effect.Effect<void, unknown>
  /** Takes a child down for good. Does not wait. */
  readonly stop: (slot: Slot.Slot) => void
  /** Takes a child down, and brings it up again. Does not wait. */
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
  Effect.map(Effect.context<R>(), (context) => {
    const { journal } = parent.owner.shared
    const restarts = policy._tag === "Restart" ? Restarts.make(policy, budget) : undefined
    /** Made when it is needed: most children never restart. */
    const later = <A, E>(effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => Effect.provide(effect, laterThan(context)))
    let isStarting = true
    let trouble: Trouble | undefined
    /** No start before this, in monotonic milliseconds. */
    let notBefore = 0
    let isActive = false
    let isDirty = false
    const wake = Effect.unsafeMakeLatch()

    const kick = () => {
      isDirty = true
      wake.unsafeOpen()
      if (isActive) return
      isActive = true
      // The runtime of a service was taken where nothing can be interrupted.
      Runtime.runFork(parent.runtime)(Effect.interruptible(Effect.annotateLogs(loop, "service", parent.path)))
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
    /** Does one thing, if there is one to do. Gives whether there may be more. */
    const step: Effect.Effect<boolean> = Effect.suspend(() => {
      const low = slots.findLast(({ isStale, life }) => isStale && life !== undefined)
      if (low !== undefined) return Effect.as(takeDown(low), true)
      for (const slot of slots) {
        if (slot.wanted === "down" && !slot.plan.claim.isOver) Slot.ended(slot)
      }
      if (isStarting) return Effect.succeed(false)
      if (trouble !== undefined) {
        const now = trouble
        trouble = undefined
        return Effect.as(answer(now), true)
      }
      const next = slots.find(({ life, wanted }) => life === undefined && wanted === "up")
      if (next === undefined || !ServiceScope.admits(parent, "children")) return Effect.succeed(false)
      return Effect.flatMap(Monotonic.millis, (now) =>
        Effect.as(now < notBefore ? pause(notBefore - now) : bringUp(next), true)
      )
    })
    const pause = (millis: number) => Effect.raceFirst(Monotonic.sleep(millis), wake.await)

    const takeDown = (slot: Slot.Slot): Effect.Effect<void> =>
      Effect.map(slot.life?.close ?? Effect.void, () => {
        slot.life = undefined
        Slot.count(slot, slot.wanted === "up")
      })

    const bringUp = (slot: Slot.Slot): Effect.Effect<void> =>
      Effect.gen(function* () {
        slot.isStale = false
        slot.nextStart = undefined
        slot.restarts++
        Slot.count(slot, false)
        const life = yield* begin(slot)
        const exit = yield* life.built
        // Meanwhile something else may have happened to it, and comes next.
        if (slot.isStale) return
        if (Exit.isSuccess(exit)) return up(slot, life)
        const failure = life.failure() ?? { cause: exit.cause, origin: parent.path, isTold: false }
        if (!failure.isTold) yield* journal.append(startFailed(failure))
        failed(slot, failure, 0)
      }).pipe(later)

    const begin = (slot: Slot.Slot): Effect.Effect<Incarnation.Incarnation, never, R> => {
      const now = () => parent.clock.unsafeCurrentTimeMillis()
      return Effect.map(
        Incarnation.begin(slot.plan, {
          failed: (failure) => failed(slot, failure, now() - slot.since),
          stopAsked: () => stop(slot)
        }),
        (life) => {
          slot.life = life
          slot.owner = life.owner
          if (slot.isStale) life.giveUp()
          return life
        }
      )
    }
    const up = (slot: Slot.Slot, life: Incarnation.Incarnation): void => {
      Slot.raised(slot, life)
      if (life.wantsStop()) stop(slot)
    }

    const failed = (slot: Slot.Slot, failure: Incarnation.Failure, ranMillis: number): void => {
      if (slot.wanted === "down") return
      trouble ??= { ...failure, slot, ranMillis }
      const reason = `${failure.origin}: ${Reason.ofCause(failure.cause)}`
      const wanted = policy._tag === "Restart" ? "up" : "down"
      slot.hasFailed = wanted === "down"
      for (const each of goingDownWith(slot)) Slot.lower(each, wanted, reason)
      kick()
    }
    const goingDownWith = (slot: Slot.Slot): ReadonlyArray<Slot.Slot> => {
      if (strategy === "oneForAll") return slots
      return strategy === "oneForOne" ? [slot] : slots.slice(slots.indexOf(slot))
    }

    /** What the policy says, when all that went down with the failed child has stopped. */
    const answer = ({ cause, origin, ranMillis, slot }: Trouble): Effect.Effect<void> =>
      Effect.gen(function* () {
        const work = `child ${Slot.nameOf(slot)}`
        ServiceScope.noteFailure(parent, work, cause)
        if (policy._tag !== "Restart" || restarts === undefined) {
          // Only a restart has restarts.
          const final = policy as Failure.Final<unknown, R>
          return yield* asWork(work, Escalation.conclude(parent, final, { work, cause, origin }))
        }
        const waiting = slots.filter(({ life, wanted }) => life === undefined && wanted === "up")
        if (waiting.length === 0 || !ServiceScope.admits(parent, "children")) return
        const allowed = yield* restarts.next(cause, ranMillis)
        if (Option.isNone(allowed)) {
          slot.hasFailed = true
          for (const each of waiting) Slot.lower(each, "down", slot.reason ?? origin)
          const failure = { work, cause, origin, restarts: restarts.count() }
          return yield* asWork(work, Escalation.exhausted(parent, policy, failure))
        }
        notBefore = (yield* Monotonic.millis) + allowed.value
        for (const each of waiting) {
          each.nextStart = parent.clock.unsafeCurrentTimeMillis() + allowed.value
          yield* journal.append(restarting(each, allowed.value, origin))
        }
      }).pipe(later)

    /** The policy is work of the parent: it ends with the parent at the latest. */
    const asWork = (work: string, effect: Effect.Effect<void, never, R>) =>
      ServiceScope.fork(
        parent,
        `the failure policy of ${work}`,
        Escalation.guarded(parent, work)(effect)
      ).pipe(
        // The parent stops itself, and everything of it with it.
        Effect.catchAllDefect((defect) =>
          defect instanceof ServiceScope.ServiceStoppedError ? Effect.void : Effect.die(defect)
        )
      )

    const restarting = (slot: Slot.Slot, millis: number, origin: string | undefined): Journal.Unstamped => ({
      _tag: "ServiceRestarting",
      service: `${parent.path} > ${Slot.nameOf(slot)}`,
      restarts: slot.restarts + 1,
      pause: Duration.millis(millis),
      origin
    })

    const stop = (slot: Slot.Slot): void => {
      Slot.lower(slot, "down", "it was stopped")
      kick()
    }

    /** Until all are up, whatever fails is the failure of the start, and not a matter of policy. */
    const start = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        for (const slot of slots) {
          const life = yield* begin(slot)
          const exit = Exit.flatten(yield* Effect.exit(restore(life.built)))
          if (Exit.isSuccess(exit) && !slot.isStale && trouble === undefined) {
            yield* life.inherit
            up(slot, life)
            continue
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

    return {
      start: Effect.provide(start, context),
      stop,
      restart: (slot) =>
        Effect.suspend(() => {
          if (slot.wanted === "down") return Effect.void
          const journaled = journal.append(restarting(slot, 0, undefined))
          notBefore = 0
          Slot.lower(slot, "up", "it was asked to restart")
          kick()
          return journaled
        })
    }
  })

/** A restart is not part of the work that adopted the child, nor of its span. */
const laterThan = <R>(context: Context.Context<R>): Context.Context<R> =>
  // Nothing needs the current work: it is always optional.
  Spans.outside(
    Context.omit(Work.CurrentWork)(context as Context.Context<R | Work.CurrentWork>) as Context.Context<R>
  )

/** The start of a restart is nobody's to handle but the supervisor's, so it journals as the service would. */
const startFailed = ({ cause, origin }: Incarnation.Failure): Journal.Unstamped => {
  const end = origin.lastIndexOf(" > ")
  const work = origin.slice(end + " > ".length)
  return { _tag: "ServiceFailed", service: origin.slice(0, end), work, origin, cause }
}
