/**
 * Supervises adopted children: starts them, restarts them as their policy says,
 * and stops them in reverse order.
 *
 * Requests and failures set the desired state of children at once. A single
 * fiber then reconciles the instances with it: first it closes, last child
 * first; then it starts, in order.
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

/** Which children stop with one that failed, as OTP's strategies: only it, all, or it and those after it. */
export type Strategy = "oneForOne" | "oneForAll" | "restForOne"

/** How a supervisor answers failures. */
export interface Settings<R> {
  readonly strategy: Strategy
  readonly policy: Failure.Policy<unknown, R>
  /** The restart intensity. Supervisors may share one; undefined is unlimited. */
  readonly budget: RestartIntensity.RestartIntensity | undefined
}

/** Makes a supervisor of children that are built in the context of this fiber. Starts none of them. */
export const make = <R>(
  parent: Lifetime.Lifetime,
  children: ReadonlyArray<ChildState.ChildState>,
  settings: Settings<R>
): Effect.Effect<Supervisor<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), ({ context, fiberRefs, runtimeFlags }) => {
    const runtime = Runtime.make({
      context: Spans.outside(context),
      fiberRefs: ChildInstance.withTelemetryOf(parent, fiberRefs),
      runtimeFlags
    })
    return new Supervisor(parent, children, settings, runtime)
  })

/** A supervisor of one or more children. */
export class Supervisor<in out R = any> {
  private readonly parent: Lifetime.Lifetime
  private readonly children: ReadonlyArray<ChildState.ChildState>
  private readonly strategy: Strategy
  private readonly answer: Restarts.Answer<unknown, R>
  /** The runtime of the adopting fiber, outside its span and with the telemetry of the parent. */
  private readonly runtime: Runtime.Runtime<R>
  private isStarting = true
  private isReconciling = false
  /** Whether something has changed since the current step of the reconciliation began. */
  private hasChanged = false
  /** Opens on a change. Ends the pause before a restart early. */
  private readonly changed = Latch.make()
  /** The child whose instance is being closed. */
  private closing: ChildState.ChildState | undefined = undefined
  /** The first failure that the policy has not answered yet. */
  private failure: ChildFailure | undefined = undefined

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
   * Starts all children, in order. When one fails to start, stops all and fails
   * with its error. The policy applies only once all are up: a failure before
   * that is a failure of the start.
   */
  get start(): Effect.Effect<void, unknown, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        for (const child of this.children) {
          const instance = yield* this.startInstance(child)
          const exit = Exit.flatten(yield* Effect.exit(restore(instance.awaitBuild)))
          if (Exit.isSuccess(exit)) {
            yield* instance.inheritRefs
            if (this.failure === undefined && this.markUp(child, instance)) continue
          }
          for (const each of this.children) this.stop(each)
          yield* Effect.forEach(this.children, ({ terminated }) => terminated.await, { discard: true })
          if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return yield* exit
          return yield* this.failure === undefined
            ? Effect.interrupt
            : Effect.die(Cause.squash(this.failure.cause))
        }
        this.isStarting = false
        this.reconcile()
      })
    )
  }

  /** Stops a child for good. Does not wait. */
  stop(child: ChildState.ChildState): void {
    ChildState.requestStop(child, undefined)
    this.endPause()
    this.reconcile()
  }

  /** Restarts a child now, whatever its policy and restart intensity. Does not wait. */
  restart(child: ChildState.ChildState): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { desired } = child
      if (desired._tag === "Down" || (desired._tag === "Restart" && desired.notBefore === 0))
        return Effect.void
      ChildState.requestRestart(child, ChildState.reasonOf(child) ?? "it was asked to", {}, 0)
      return Effect.map(recordRestart(child, 0, undefined), () => this.reconcile())
    })
  }

  /** Reconciles instances with the desired states, in a fiber of the parent. Call after each change. */
  private reconcile(): void {
    this.hasChanged = true
    this.changed.unsafeOpen()
    const isStable = this.failure === undefined && this.children.every(ChildState.isStable)
    if (this.isReconciling || isStable) return
    this.isReconciling = true
    // In a later turn, to take up all changes of this one. Interruptible, which a service's runtime may not be.
    Runtime.runFork(this.parent.runtime)(Effect.interruptible(this.reconcileAll()), { immediate: false })
  }

  private reconcileAll(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.hasChanged = false
      this.changed.unsafeClose()
      return Effect.flatMap(this.step(), (mayContinue) => {
        if (mayContinue || this.hasChanged) return this.reconcileAll()
        this.isReconciling = false
        return Effect.void
      })
    })
  }

  /** Takes one step, and returns whether another may follow now. Waits for nothing but the pause before a restart. */
  private step(): Effect.Effect<boolean> {
    const { children, failure, parent } = this
    const toClose = children.findLast(
      ({ desired, instance }) => instance !== undefined && desired._tag !== "Up"
    )
    if (toClose !== undefined) this.closeInstance(toClose)
    for (const child of children) {
      if (isDownForGood(child)) ChildState.terminate(child)
    }
    if (this.isStarting) return Effect.succeed(false)
    const restarted = children.find(
      ({ desired, instance }) =>
        desired._tag === "Up" && desired.restart !== undefined && instance?.exit() !== undefined
    )
    if (restarted !== undefined) return Effect.as(this.concludeRestart(restarted), true)
    if (toClose !== undefined) return Effect.succeed(false)
    if (failure !== undefined) {
      this.failure = undefined
      return Effect.as(this.applyPolicy(failure), true)
    }
    if (Lifetime.isStopping(parent)) {
      for (const child of children)
        if (child.desired._tag === "Restart") ChildState.requestStop(child, ChildState.reasonOf(child))
      return Effect.succeed(children.some(isDownForGood))
    }
    const next = ChildState.nextRestart(children)
    if (next === undefined) return Effect.succeed(false)
    const left = next.at - Monotonic.unsafeMillis(parent.clock)
    const pause = Effect.raceFirst(Lifetime.pause(parent, left), this.changed.await)
    return Effect.as(left > 0 ? pause : this.restartInstance(next.child), true)
  }

  /** Forks the close of an instance, unless another one is being closed. */
  private closeInstance(child: ChildState.ChildState): void {
    if (this.closing !== undefined || child.instance === undefined) return
    this.closing = child
    const close = Effect.map(child.instance.close, () => {
      this.closing = undefined
      ChildState.removeInstance(child)
      this.reconcile()
    })
    Fork.unsafeNow(this.parent.runtime, close)
  }

  /** Starts the next instance, in a later turn of the event loop: a child that always fails at once must not block it. */
  private restartInstance(child: ChildState.ChildState): Effect.Effect<void> {
    return Effect.flatMap(Monotonic.sleep(0), () => {
      if (child.desired._tag !== "Restart" || Lifetime.isStopping(this.parent)) return Effect.void
      ChildState.beginRestart(child)
      this.endPause()
      return Effect.asVoid(Effect.provide(this.startInstance(child), this.detachedRuntime()))
    })
  }

  /** Takes the exit of a build after a restart: the child is up, or has failed. */
  private concludeRestart(child: ChildState.ChildState): Effect.Effect<void> {
    const { instance } = child
    const exit = instance?.exit()
    if (instance === undefined || exit === undefined) return Effect.void
    if (Exit.isSuccess(exit)) return Effect.sync(() => this.markUp(child, instance))
    const failure = instance.failure(ChildState.nameOf(child))
    const { entry } = failure
    if (entry !== undefined) ChildState.recordFailedStart(child, entry.service, entry.work, entry.cause)
    this.childFailed(child, failure, 0)
    return entry === undefined ? Effect.void : this.parent.owner.shared.journal.append(entry)
  }

  private startInstance(child: ChildState.ChildState): Effect.Effect<ChildInstance.ChildInstance, never, R> {
    return Effect.suspend(() => {
      const instance = new ChildInstance.ChildInstance(child.plan, {
        buildEnded: () => this.reconcile(),
        failed: (failure) =>
          this.childFailed(child, failure, Monotonic.unsafeMillis(this.parent.clock) - child.upAt),
        stopAsked: () => this.stop(child)
      })
      // Registered before the build, which may already fail or be stopped.
      child.instance = instance
      child.owner = instance
      if (child.desired._tag !== "Up") instance.cancelBuild()
      return Effect.as(instance.build, instance)
    })
  }

  /** Marks a child as up. Returns false when it is to go down by now. */
  private markUp(child: ChildState.ChildState, instance: ChildInstance.ChildInstance): boolean {
    if (child.desired._tag !== "Up") return false
    ChildState.markUp(child)
    if (instance.wantsStop()) this.stop(child)
    return true
  }

  private childFailed(child: ChildState.ChildState, failure: ChildInstance.Failure, ranMillis: number): void {
    // It is going down already, with a sibling.
    if (child.desired._tag !== "Up") return
    this.failure ??= { ...failure, child, ranMillis }
    const batch = {}
    const isRestarted = this.answer._tag === "Restart" && !Lifetime.isStopping(this.parent)
    for (const each of this.affectedBy(child)) {
      if (isRestarted) ChildState.requestRestart(each, failure.reason, batch, undefined)
      else ChildState.requestStop(each, each === child ? failure.reason : undefined)
    }
    this.reconcile()
  }

  private affectedBy(child: ChildState.ChildState): ReadonlyArray<ChildState.ChildState> {
    const { children, strategy } = this
    switch (strategy) {
      case "oneForOne":
        return [child]
      case "oneForAll":
        return children
      case "restForOne":
        return children.slice(children.indexOf(child))
    }
  }

  /** Answers a failure when the affected children are down. The answer is work of the parent. */
  private applyPolicy({ cause, child, origin, ranMillis, reason }: ChildFailure): Effect.Effect<void> {
    const { answer, children, parent } = this
    const work = `child ${ChildState.nameOf(child)}`
    const failure = { work, cause, origin }
    Lifetime.noteFailure(parent, work, cause)
    if (answer._tag !== "Restart") return this.forkPolicy(work, Escalation.conclude(parent, answer, failure))
    const undecided = () =>
      children.filter(({ desired }) => desired._tag === "Restart" && desired.notBefore === undefined)
    const stopUndecided = () => {
      for (const each of undecided()) ChildState.requestStop(each, each === child ? reason : undefined)
      this.reconcile()
    }
    if (Lifetime.isStopping(parent)) stopUndecided()
    if (undecided().length === 0) return Effect.void
    const decide = Effect.gen(this, function* () {
      const pause = yield* answer.restarts.next(cause, ranMillis)
      if (Option.isNone(pause)) {
        stopUndecided()
        return yield* Escalation.exhausted(parent, answer, failure)
      }
      const notBefore = (yield* Monotonic.millis) + pause.value
      const batch = {}
      for (const each of undecided()) {
        ChildState.requestRestart(each, reason, batch, notBefore)
        yield* recordRestart(each, pause.value, origin)
      }
      this.reconcile()
    })
    // The user's schedule may throw; without a decision the children would wait for ever.
    return this.forkPolicy(
      work,
      Effect.onError(decide, () => Effect.sync(stopUndecided))
    )
  }

  /** Forks the answer of the policy, as work of the parent. */
  private forkPolicy(work: string, answer: Effect.Effect<void, never, R>): Effect.Effect<void> {
    const { parent } = this
    const effect = Effect.provide(answer, this.detachedRuntime())
    return OwnedFiber.fork(parent, {
      name: `the failure policy of ${work}`,
      // A bug in a policy counts as a failure of the child.
      run: (run): Effect.Effect<void> =>
        run.perform(effect, (exit) => ServiceFailure.unanswered(parent, work, exit) ?? Effect.void)
    }).pipe(
      Effect.asVoid,
      // A parent that takes no more work is stopping, and stops its children itself.
      Effect.catchAllDefect((defect) =>
        Reason.isA(defect, ServiceStoppedError) ? Effect.void : Effect.die(defect)
      )
    )
  }

  /** The runtime of the adopting fiber, outside its work and its span, and interruptible. */
  private detachedRuntime(): Runtime.Runtime<R> {
    return Runtime.make({
      context: Spans.outside(Work.outside(this.runtime.context)),
      fiberRefs: this.runtime.fiberRefs,
      runtimeFlags: Runtime.defaultRuntimeFlags
    })
  }

  /** Ends the pause before a restart, so that time counts again for the restart intensity. */
  private endPause(): void {
    const { answer, parent } = this
    if (answer._tag === "Restart") answer.restarts.resumed(Monotonic.unsafeMillis(parent.clock))
  }
}

/** It is to come up no more, is down, and has not been terminated. */
const isDownForGood = ({ desired, instance, plan }: ChildState.ChildState): boolean =>
  desired._tag === "Down" && instance === undefined && !plan.claim.isOver

interface ChildFailure extends ChildInstance.Failure {
  readonly child: ChildState.ChildState
  /** How long the child had been up. */
  readonly ranMillis: number
}

/** Records that a child restarts after a pause. A requested restart has no origin. */
const recordRestart = (
  child: ChildState.ChildState,
  pauseMillis: number,
  origin: string | undefined
): Effect.Effect<void> =>
  Effect.forEach(
    ChildState.pathsOf(child),
    (service) =>
      child.plan.parent.owner.shared.journal.append({
        _tag: "ServiceRestarting",
        service,
        restarts: child.restarts + 1,
        pause: Duration.millis(pauseMillis),
        origin
      }),
    { discard: true }
  )
