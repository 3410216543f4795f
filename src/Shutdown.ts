/**
 * How a service stops: `onStop`, work, listeners, children, cleanups. Each step
 * is run even when those before it failed or hung, and all of them together
 * have one deadline.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Deadline from "./Deadline.ts"
import * as Finalizers from "./Finalizers.ts"
import * as Labels from "./Labels.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import { become, lateStepMillis, type Lifetime, noteFailure } from "./ServiceScope.ts"
import type { Step } from "./ServiceStatus.ts"
import * as Spans from "./Spans.ts"
import * as Work from "./Work.ts"

/** Stops a service and waits for it. It stops once, however many ask. */
export const stop = (service: Lifetime): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.zip(Monotonic.millis, Work.current), ([now, caller]) => {
      const { state } = service
      if (state._tag !== "Stopping" && state._tag !== "Stopped") {
        const failure = state._tag === "Failed" ? state.reason : undefined
        const deadline = now + service.stopTimeout
        become(service, { _tag: "Stopping", step: "onStop", deadline, failure })
        const onStop = state._tag === "Starting" ? undefined : state.onStop
        const all = runSteps(service, onStop, now, caller).pipe(
          Spans.around(`${service.key} stop`, { service: service.path }),
          Effect.ensuring(ended(service))
        )
        // A fiber of its own, since the one who asks may be interrupted.
        Runtime.runFork(service.runtime)(Effect.annotateLogs(all, "service", service.path))
      }
      return Deferred.await(service.stopped)
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
    /** What has not ended when the limit passes. */
    readonly alive?: (() => ReadonlyArray<string>) | undefined
  } = {}
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { around, journal } = service.owner.shared
    const limit = options.limitMillis ?? (yield* timeLeft(service))
    const exit = yield* within(service, around(service, name, effect), limit)
    if (Option.isNone(exit)) {
      const alive = options.alive?.() ?? []
      const after = Duration.millis(limit)
      noteFailure(service, `its stop (${name})`, Cause.fail(`it hung for ${Duration.format(after)}`))
      yield* Effect.annotateCurrentSpan("failed", name)
      yield* journal.append({ _tag: "StopTimedOut", service: service.path, step: name, after, alive })
    } else if (Exit.isFailure(exit.value) && !Cause.isInterruptedOnly(exit.value.cause)) {
      const { cause } = exit.value
      noteFailure(service, `its stop (${name})`, cause)
      yield* Effect.annotateCurrentSpan("failed", name)
      yield* journal.append({ _tag: "StopStepFailed", service: service.path, step: name, cause })
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
    if (onStop !== undefined) yield* step(service, "onStop", onStop)

    enter(service, "work")
    const fibers = [...service.fibers].filter(({ source }) => !Work.isOf(caller, source))
    if (fibers.length > 0) {
      yield* step(service, "work", Fiber.interruptAll(fibers.map(({ fiber }) => fiber)), {
        alive: () => fibers.filter((owned) => service.fibers.has(owned)).map(({ name }) => name)
      })
    }

    enter(service, "listeners")
    const listeners = [...service.listeners]
    if (listeners.length > 0) {
      const others = listeners.filter(({ source }) => !Work.isOf(caller, source))
      const drained = Effect.forEach(others, (listener) => listener.drain, { concurrency: "unbounded" })
      yield* step(service, "listeners", drained, {
        alive: () => others.flatMap((listener) => listener.unfinished())
      })
      yield* Effect.forEach(listeners, (listener) => listener.abandon(caller))
    }

    enter(service, "children")
    const before = yield* Monotonic.millis
    yield* Effect.forEach([...service.children].toReversed(), (child) => child.stop, { discard: true })

    // Children have deadlines of their own, so their time is not taken from their parent's.
    enter(service, "cleanups", (yield* Monotonic.millis) - before)
    const finalizers = Finalizers.of(service.scope)
    for (const [key, finalizer] of finalizers) {
      finalizers.set(key, (exit) => step(service, "a cleanup", finalizer(exit)))
    }
    yield* step(service, "cleanups", Effect.uninterruptible(Scope.close(service.scope, Exit.void)), {
      limitMillis: (yield* timeLeft(service)) + lateStepMillis * finalizers.size
    })
    // What its own work has provided to itself ends with that, unless that hung.
    yield* Deadline.within(Owner.stopMembers(service.provided), lateStepMillis)
    const took = yield* Monotonic.since(startedAt)
    // Before the entry is read, all of it is over.
    forget(service)
    yield* journal.append({ _tag: "ServiceStopped", service: service.path, took })
  })

const ended = (service: Lifetime): Effect.Effect<void> =>
  Effect.suspend(() => {
    forget(service)
    return Effect.asVoid(Deferred.succeed(service.stopped, undefined))
  })

const forget = (service: Lifetime): void => {
  const { owner, state } = service
  if (state._tag === "Stopped") return
  const { root } = owner.shared
  const failure = state._tag === "Stopping" ? state.failure : undefined
  become(service, { _tag: "Stopped", failure })
  Owner.undefine(owner.shared, service.definition)
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
const timeLeft = (service: Lifetime): Effect.Effect<number> =>
  Effect.map(Monotonic.millis, (now) =>
    service.state._tag === "Stopping"
      ? Math.max(Math.ceil(service.state.deadline - now), lateStepMillis)
      : lateStepMillis
  )

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
