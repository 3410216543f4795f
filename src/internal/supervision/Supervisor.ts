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
import type * as Failure from "../../Failure.ts"
import * as Fork from "../Fork.ts"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import { ServiceStoppedError } from "../lifecycle/Errors.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as OwnedFiber from "../lifecycle/OwnedFiber.ts"
import * as ServiceFailure from "../lifecycle/ServiceFailure.ts"
import * as Work from "../lifecycle/Work.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as ChildInstance from "./ChildInstance.ts"
import * as ChildState from "./ChildState.ts"
import * as Escalation from "./Escalation.ts"
import type * as RestartIntensity from "./RestartIntensity.ts"
import * as Restarts from "./Restarts.ts"

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
  parent: Lifetime.Lifetime,
  children: ReadonlyArray<ChildState.ChildState>,
  settings: Settings<R>
): Effect.Effect<Supervisor<R>, never, R> =>
  Effect.map(
    Effect.runtime<R>(),
    (runtime) => new Supervisor(parent, children, settings, Spans.runtimeOutside(runtime))
  )

/** A supervisor of some children. A class, as there may be very many, each of one child. */
export class Supervisor<in out R = any> implements Group<R> {
  readonly parent: Lifetime.Lifetime
  readonly children: ReadonlyArray<ChildState.ChildState>
  readonly answer: Restarts.Answer<unknown, R>
  /** Of where it was made, and there is what its children need. */
  readonly runtime: Runtime.Runtime<R>
  private readonly strategy: Strategy
  private isStarting = true
  private failure: ChildFailure | undefined = undefined
  private isActive = false
  private isDirty = false
  private readonly wake = Latch.make()
  private closing: ChildState.ChildState | undefined = undefined

  constructor(
    parent: Lifetime.Lifetime,
    children: ReadonlyArray<ChildState.ChildState>,
    { budget, policy, strategy }: Settings<R>,
    runtime: Runtime.Runtime<R>
  ) {
    this.parent = parent
    this.children = children
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
        for (const child of this.children) {
          const instance = yield* this.begin(child)
          const exit = Exit.flatten(yield* Effect.exit(restore(instance.built)))
          if (Exit.isSuccess(exit)) {
            yield* instance.inherit
            if (this.failure === undefined && this.up(child, instance)) continue
          }
          for (const each of this.children) this.stop(each)
          yield* Effect.forEach(this.children, ({ over }) => over.await, { discard: true })
          if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return yield* exit
          return yield* this.failure === undefined
            ? Effect.interrupt
            : Effect.die(Cause.squash(this.failure.cause))
        }
        this.isStarting = false
        this.kick()
      })
    )
  }

  /** Takes a child down for good. Does not wait, nor does `restart`, which brings it up again. */
  stop(child: ChildState.ChildState): void {
    ChildState.wantDown(child, undefined)
    this.resumed()
    this.kick()
  }

  restart(child: ChildState.ChildState): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { wanted } = child
      if (wanted._tag === "Down" || (wanted._tag === "Restart" && wanted.notBefore === 0)) return Effect.void
      ChildState.wantRestart(child, ChildState.reasonOf(child) ?? "it was asked to", {}, 0)
      return Effect.map(tellRestart(child, 0, undefined), () => this.kick())
    })
  }

  /** Something has changed: brings what is into line with what is wanted. */
  kick(): void {
    this.isDirty = true
    this.wake.unsafeOpen()
    const isAtRest = this.failure === undefined && this.children.every(ChildState.isAtRest)
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
    const { parent, children, failure } = this
    const low = children.findLast(({ instance, wanted }) => instance !== undefined && wanted._tag !== "Up")
    if (low !== undefined) this.takeDown(low)
    for (const child of children) {
      const isDown = child.wanted._tag === "Down" && child.instance === undefined
      if (isDown && !child.plan.claim.isOver) ChildState.isOver(child)
    }
    if (this.isStarting) return Effect.succeed(false)
    const risen = children.find(
      ({ instance, wanted }) =>
        wanted._tag === "Up" && wanted.again !== undefined && instance?.settled() !== undefined
    )
    if (risen !== undefined) return Effect.as(this.settle(risen), true)
    if (low !== undefined) return Effect.succeed(false)
    if (failure !== undefined) {
      this.failure = undefined
      return Effect.as(respond(this, failure), true)
    }
    if (!Lifetime.admits(parent, "children")) return Effect.succeed(false)
    const next = ChildState.nextOf(children)
    if (next === undefined) return Effect.succeed(false)
    const left = next.at - Monotonic.unsafeMillis(parent.clock)
    const pause = Effect.raceFirst(Monotonic.sleep(left), this.wake.await)
    return Effect.as(left > 0 ? pause : this.beginAgain(next.child), true)
  }

  /** Begins to take a child down, unless another is on its way: one after another. */
  private takeDown(child: ChildState.ChildState): void {
    if (this.closing !== undefined || child.instance === undefined) return
    this.closing = child
    const closed = Effect.map(child.instance.close, () => {
      this.closing = undefined
      ChildState.wentDown(child)
      this.kick()
    })
    Fork.unsafeNow(this.parent.runtime, closed)
  }

  /** In the next turn of the event loop: what fails at once and always must not keep the process from all else. */
  private beginAgain(child: ChildState.ChildState): Effect.Effect<void> {
    return Effect.flatMap(Monotonic.sleep(0), () => {
      if (child.wanted._tag !== "Restart") return Effect.void
      ChildState.begins(child)
      this.resumed()
      return Effect.asVoid(Effect.provide(this.begin(child), runtimeOfRestarts(this.runtime)))
    })
  }

  /** Sees what has become of a child that was begun again. */
  private settle(child: ChildState.ChildState): Effect.Effect<void> {
    const { instance } = child
    const exit = instance?.settled()
    if (instance === undefined || exit === undefined) return Effect.void
    if (Exit.isSuccess(exit)) return Effect.sync(() => this.up(child, instance))
    const failure = instance.failure(ChildState.nameOf(child))
    const { entry } = failure
    if (entry !== undefined) ChildState.didNotStart(child, entry.service, entry.work, entry.cause)
    this.failed(child, failure, 0)
    return entry === undefined ? Effect.void : this.parent.owner.shared.journal.append(entry)
  }

  /** Gives it a instance. The parent knows of that before it begins. */
  private begin(child: ChildState.ChildState): Effect.Effect<ChildInstance.ChildInstance, never, R> {
    return Effect.suspend(() => {
      const instance = new ChildInstance.ChildInstance(child.plan, {
        settled: () => this.kick(),
        failed: (failure) =>
          this.failed(child, failure, Monotonic.unsafeMillis(this.parent.clock) - child.upAt),
        stopAsked: () => this.stop(child)
      })
      child.instance = instance
      child.owner = instance
      if (child.wanted._tag !== "Up") instance.giveUp()
      return Effect.as(instance.begin, instance)
    })
  }

  /** It has come up, unless something else has come to be wanted in the meantime. */
  private up(child: ChildState.ChildState, instance: ChildInstance.ChildInstance): boolean {
    if (child.wanted._tag !== "Up") return false
    ChildState.cameUp(child)
    if (instance.wantsStop()) this.stop(child)
    return true
  }

  private failed(child: ChildState.ChildState, failure: ChildInstance.Failure, ranMillis: number): void {
    // It goes down already, with a sibling.
    if (child.wanted._tag !== "Up") return
    this.failure ??= { ...failure, child, ranMillis }
    const batch = {}
    for (const each of this.goingDownWith(child)) {
      if (this.answer._tag === "Restart") ChildState.wantRestart(each, failure.reason, batch, undefined)
      else ChildState.wantDown(each, each === child ? failure.reason : undefined)
    }
    this.kick()
  }

  private goingDownWith(child: ChildState.ChildState): ReadonlyArray<ChildState.ChildState> {
    const { children, strategy } = this
    if (strategy === "oneForAll") return children
    return strategy === "oneForOne" ? [child] : children.slice(children.indexOf(child))
  }

  /** Whoever waits or comes up, the pause is over: a budget that others share counts on. */
  private resumed(): void {
    const { answer, parent } = this
    if (answer._tag === "Restart") answer.restarts.resumed(Monotonic.unsafeMillis(parent.clock))
  }
}

/** A failure of a child that something is to be done about. */
interface ChildFailure extends ChildInstance.Failure {
  readonly child: ChildState.ChildState
  readonly ranMillis: number
}

/** Children under one policy. */
interface Group<R> {
  readonly parent: Lifetime.Lifetime
  readonly children: ReadonlyArray<ChildState.ChildState>
  readonly answer: Restarts.Answer<unknown, R>
  /** As it was where they were adopted. */
  readonly runtime: Runtime.Runtime<R>
  /** What is wanted of them has changed. */
  readonly kick: () => void
}

/** Does what the policy says. It is work of the parent. */
const respond = <R>(group: Group<R>, failed: ChildFailure): Effect.Effect<void> => {
  const { answer, children, parent } = group
  const { cause, child, origin, ranMillis, reason } = failed
  const work = `child ${ChildState.nameOf(child)}`
  const failure = { work, cause, origin }
  Lifetime.noteFailure(parent, work, cause)
  const undecided = () =>
    children.filter(({ wanted }) => wanted._tag === "Restart" && wanted.notBefore === undefined)
  const giveUp = () => {
    for (const each of undecided()) ChildState.wantDown(each, each === child ? reason : undefined)
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
const tellRestart = (
  child: ChildState.ChildState,
  millis: number,
  origin: string | undefined
): Effect.Effect<void> =>
  Effect.forEach(
    ChildState.pathsOf(child),
    (service) =>
      child.plan.parent.owner.shared.journal.append({
        _tag: "ServiceRestarting",
        service,
        restarts: child.restarts + 1,
        pause: Duration.millis(millis),
        origin
      }),
    { discard: true }
  )

/** As it was where the child was adopted, but not part of the work that adopted it, nor in its span. */
const runtimeOfRestarts = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> =>
  Runtime.make({
    context: Spans.outside(Work.outside(runtime.context)),
    fiberRefs: runtime.fiberRefs,
    // It may have been adopted where nothing can be interrupted.
    runtimeFlags: Runtime.defaultRuntimeFlags
  })

const asWork = <R>({ parent, runtime }: Group<R>, work: string, effect: Effect.Effect<void, never, R>) => {
  const policy = Effect.provide(effect, runtimeOfRestarts(runtime))
  return OwnedFiber.fork(parent, {
    name: `the failure policy of ${work}`,
    // A policy may have a bug, which is a failure of the child's work.
    run: (run): Effect.Effect<void> =>
      run.perform(policy, (exit) => ServiceFailure.unanswered(parent, work, exit) ?? Effect.void)
  }).pipe(
    Effect.asVoid,
    // A parent that stops stops its children, too.
    Effect.catchAllDefect((defect) =>
      Reason.isA(defect, ServiceStoppedError) ? Effect.void : Effect.die(defect)
    )
  )
}
