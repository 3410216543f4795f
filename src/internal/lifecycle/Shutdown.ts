/**
 * How a service stops: `onStop`, work, listeners, children, cleanups. Each step
 * is run even when those before it failed or hung, and all of them together
 * have one deadline.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Definition from "./Definition.ts"
import * as Deadline from "./Deadline.ts"
import * as Finalizers from "../Finalizers.ts"
import * as HeadStart from "../HeadStart.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Labels from "./Labels.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Owner from "./Owner.ts"
import { become, lateStepMillis, type Lifetime, noteFailure } from "./Lifetime.ts"
import type { Step } from "../status/ServiceStatus.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as Work from "./Work.ts"

/** Stops a service and waits for it. It stops once, however many ask. */
export const stop = (service: Lifetime): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.flatMap(Work.current, (caller) => {
      const { state } = service
      if (state._tag === "Stopping" || state._tag === "Stopped") return service.stopped.await
      const failure = state._tag === "Failed" ? state.reason : undefined
      const now = Monotonic.unsafeMillis(service.clock)
      become(service, { _tag: "Stopping", step: "onStop", deadline: now + service.stopTimeout, failure })
      const onStop = state._tag === "Starting" ? undefined : state.onStop
      const all = runSteps(service, onStop, now, caller).pipe(
        Spans.around(`${service.key} stop`, { service: service.path }),
        Effect.ensuring(ended(service))
      )
      // A fiber of its own, since the one who asks may be interrupted.
      HeadStart.unsafeFork(service.runtime, all)
      return service.stopped.await
    })
  )

/**
 * Runs one step of stopping within a limit, by default the service's deadline.
 * What goes wrong is journaled, and stays here.
 */
export const step = (
  service: Lifetime,
  name: string,
  effect: Effect.Effect<unknown, unknown>,
  options: {
    readonly limitMillis?: number | undefined
    /** Whether it does what the service has said, or waits for other work, as by default. */
    readonly kind?: "stop" | undefined
    /** What has not ended when the limit passes. */
    readonly alive?: (() => ReadonlyArray<string>) | undefined
  } = {}
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const limit = options.limitMillis ?? timeLeft(service)
    const { around, journal } = service.owner.shared
    return Effect.flatMap(
      within(service, around(service, options.kind ?? "wait", name, effect), limit),
      (ended) => {
        if (Option.isSome(ended)) return Exit.isSuccess(ended.value) ? Effect.void : failed(ended.value.cause)
        const alive = options.alive?.() ?? []
        const after = Duration.millis(limit)
        return wentWrong(Cause.fail(`it hung for ${Duration.format(after)}`), {
          _tag: "StopTimedOut",
          service: service.path,
          step: name,
          after,
          alive
        })
      }
    )
    function failed(cause: Cause.Cause<unknown>) {
      if (Cause.isInterruptedOnly(cause)) return Effect.void
      return wentWrong(cause, { _tag: "StopStepFailed", service: service.path, step: name, cause })
    }
    function wentWrong(cause: Cause.Cause<unknown>, entry: Journal.Unstamped) {
      noteFailure(service, `its stop (${name})`, cause)
      return Effect.zipRight(Effect.annotateCurrentSpan("failed", name), journal.append(entry))
    }
  })

/** `caller` waits for the stop, so the stop does not wait for `caller`, nor for what waits for it. */
const runSteps = (
  service: Lifetime,
  onStop: Effect.Effect<unknown, unknown> | undefined,
  startedAt: number,
  caller: Work.Work | undefined
) =>
  Effect.gen(function* () {
    const { journal } = service.owner.shared
    yield* journal.append({ _tag: "ServiceStopping", service: service.path })
    if (onStop !== undefined) yield* step(service, "onStop", onStop, { kind: "stop" })

    enter(service, "work")
    const all = [...service.work]
    // Work that has asked for this, by way of others, hears that it did before it is interrupted.
    if (all.some(({ isRunning }) => isRunning)) yield* Effect.yieldNow()
    for (const each of all) each.end(!Work.isOf(caller, each.source))
    const left = all.filter((each) => service.work.has(each) && !Work.isOf(caller, each.source))
    if (left.length > 0) {
      yield* step(
        service,
        "work",
        // Most have ended with the first.
        Effect.forEach(left, (each) => (service.work.has(each) ? each.await : Effect.void), {
          discard: true
        }),
        {
          alive: () => left.filter((each) => service.work.has(each)).map(({ name }) => name)
        }
      )
    }

    enter(service, "listeners")
    const listeners = [...service.listeners]
    for (const listener of listeners) listener.close()
    const busy = listeners.filter(
      (listener) => !Work.isOf(caller, listener.source) && listener.unfinished().length > 0
    )
    if (busy.length > 0) {
      const drained = Effect.forEach(busy, (listener) => listener.drain, { concurrency: "unbounded" })
      yield* step(service, "listeners", drained, {
        alive: () => busy.flatMap((listener) => listener.unfinished())
      })
    }
    for (const listener of listeners) yield* listener.abandon(caller)

    enter(service, "children")
    const before = Monotonic.unsafeMillis(service.clock)
    for (const child of [...service.children].toReversed()) yield* child.stop

    // Children have deadlines of their own, so their time is not taken from their parent's.
    enter(service, "cleanups", Monotonic.unsafeMillis(service.clock) - before)
    const finalizers = Finalizers.of(service.scope)
    // Each is a step, so that all of them together need no limit.
    for (const [key, finalizer] of finalizers) {
      finalizers.set(key, (exit) => step(service, "a cleanup", finalizer(exit), { kind: "stop" }))
    }
    yield* Scope.close(service.scope, Exit.void)
    // What its own work has provided to itself ends with that, unless that hung.
    if (service.provided.size > 0) {
      yield* Deadline.within(Owner.stopMembers(service.provided), lateStepMillis)
    }
    const took = Duration.millis(Math.round(Monotonic.unsafeMillis(service.clock) - startedAt))
    // Before the entry is read, all of it is over.
    forget(service)
    yield* journal.append({ _tag: "ServiceStopped", service: service.path, took })
  })

const ended = (service: Lifetime): Effect.Effect<void> =>
  Effect.suspend(() => {
    forget(service)
    return service.stopped.open
  })

const forget = (service: Lifetime): void => {
  const { owner, state } = service
  if (state._tag === "Stopped") return
  const { root } = owner.shared
  const failure = state._tag === "Stopping" ? state.failure : undefined
  become(service, { _tag: "Stopped", failure })
  service.crew.close()
  Definition.undefine(owner.shared.definitions, service.definition)
  owner.members.delete(service)
  Labels.free(owner)
  // What did not start, or stops with the app, is shown until the app is up, or for good.
  const isKept = root.state._tag === "Stopping" || (root.state._tag === "Starting" && failure !== undefined)
  if (!isKept) root.services.delete(service)
}

const enter = (service: Lifetime, next: Step, moreMillis = 0): void => {
  if (service.state._tag === "Stopping") {
    become(service, { ...service.state, step: next, deadline: service.state.deadline + moreMillis })
  }
}

/** What is left until the deadline, and at least the time of a late step. */
const timeLeft = ({ clock, state }: Lifetime): number =>
  state._tag === "Stopping"
    ? Math.max(Math.ceil(state.deadline - Monotonic.unsafeMillis(clock)), lateStepMillis)
    : lateStepMillis

/**
 * As `Deadline.within`. But services that the work has built for itself, as by
 * `Layer.build`, have deadlines of their own: those that are stopping when the
 * limit passes are waited for, and then a second for what is left to do.
 */
const within = <A, E>(
  service: Lifetime,
  work: Effect.Effect<A, E>,
  limit: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  service.provided.size === 0
    ? Deadline.within(work, limit)
    : Effect.gen(function* () {
        const fiber = yield* Effect.forkDaemon(Effect.interruptible(work))
        const ended = (millis: number) =>
          Effect.map(Deadline.within(Fiber.await(fiber), millis), Option.map(Exit.flatten))
        const inTime = yield* ended(limit)
        if (Option.isSome(inTime)) return inTime
        const stopping = [...service.provided].filter((member) => member.shown()._tag === "Stopping")
        const longest = Math.max(0, ...stopping.map((member) => member.stopLimit()))
        const stops = Effect.forEach(stopping, (member) => member.stop, { concurrency: "unbounded" })
        yield* Deadline.within(stops, longest)
        const late = stopping.length === 0 ? Option.none() : yield* ended(lateStepMillis)
        if (Option.isNone(late)) yield* Fiber.interruptFork(fiber)
        return late
      })
