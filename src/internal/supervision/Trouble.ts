/** A failure of a child, and what is done about it when all that went down with the child has stopped. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Escalation from "./Escalation.ts"
import type * as ChildInstance from "./ChildInstance.ts"
import * as Monotonic from "../Monotonic.ts"
import * as OwnedRun from "../lifecycle/OwnedRun.ts"
import { ServiceStoppedError } from "../lifecycle/Refusal.ts"
import type * as Restarts from "./Restarts.ts"
import * as ServiceScope from "../lifecycle/Lifetime.ts"
import * as ChildState from "./ChildState.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as Work from "../lifecycle/Work.ts"

/** A failure of a child that something is to be done about. */
export interface Trouble extends ChildInstance.Failure {
  readonly slot: ChildState.Slot
  readonly ranMillis: number
}

/** Children under one policy. */
export interface Group<R> {
  readonly parent: ServiceScope.Lifetime
  readonly slots: ReadonlyArray<ChildState.Slot>
  readonly answer: Restarts.Answer<unknown, R>
  /** As it was where they were adopted. */
  readonly runtime: Runtime.Runtime<R>
  /** What is wanted of them has changed. */
  readonly kick: () => void
}

/** Does what the policy says. It is work of the parent. */
export const respond = <R>(group: Group<R>, trouble: Trouble): Effect.Effect<void> => {
  const { answer, parent, slots } = group
  const { cause, origin, ranMillis, reason, slot } = trouble
  const work = `child ${ChildState.nameOf(slot)}`
  const failure = { work, cause, origin }
  ServiceScope.noteFailure(parent, work, cause)
  const undecided = () =>
    slots.filter(({ wanted }) => wanted._tag === "Restart" && wanted.notBefore === undefined)
  const giveUp = () => {
    for (const each of undecided()) ChildState.wantDown(each, each === slot ? reason : undefined)
    group.kick()
  }
  if (answer._tag !== "Restart") return asWork(group, work, Escalation.conclude(parent, answer, failure))
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
      ChildState.wantRestart(each, reason, batch, notBefore)
      yield* tellRestart(each, pause.value, origin)
    }
    group.kick()
  })
  // A schedule may have a bug, and what waits for its word must not wait for ever.
  return asWork(
    group,
    work,
    Effect.onError(decide, () => Effect.sync(giveUp))
  )
}

/** Journals that a child restarts after a pause; with no origin, because it was asked to. */
export const tellRestart = (
  slot: ChildState.Slot,
  millis: number,
  origin: string | undefined
): Effect.Effect<void> =>
  Effect.forEach(
    ChildState.pathsOf(slot),
    (service) =>
      slot.plan.parent.owner.shared.journal.append({
        _tag: "ServiceRestarting",
        service,
        restarts: slot.restarts + 1,
        pause: Duration.millis(millis),
        origin
      }),
    { discard: true }
  )

/** As it was where the child was adopted, but not part of the work that adopted it, nor in its span. */
export const runtimeOfRestarts = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> =>
  Runtime.make({
    context: Spans.outside(Work.outside(runtime.context)),
    fiberRefs: runtime.fiberRefs,
    // It may have been adopted where nothing can be interrupted.
    runtimeFlags: Runtime.defaultRuntimeFlags
  })

const asWork = <R>({ parent, runtime }: Group<R>, work: string, effect: Effect.Effect<void, never, R>) =>
  Effect.provide(effect, runtimeOfRestarts(runtime)).pipe(
    Escalation.guarded(parent, work),
    (owned) => OwnedRun.own(parent, { name: `the failure policy of ${work}`, shown: {}, run: () => owned }),
    // The parent stops itself, and everything of it with it.
    Effect.catchAllDefect((defect) =>
      defect instanceof ServiceStoppedError ? Effect.void : Effect.die(defect)
    )
  )
