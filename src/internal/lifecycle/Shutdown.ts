/**
 * How a service stops: `onStop`, work, listeners, children, cleanups. Each step
 * runs even when those before it failed or hung, and all share one deadline.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Fork from "../Fork.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Monotonic from "../Monotonic.ts"
import type { Step } from "../status/ServiceStatus.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as Deadline from "./Deadline.ts"
import { become, type Cleanup, lateStepMillis, type Lifetime, noteFailure } from "./Lifetime.ts"
import * as Names from "./Names.ts"
import * as Owner from "./Owner.ts"
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
      // In a fiber of its own: the caller may be interrupted, or be work that the stop interrupts.
      Fork.unsafeNow(service.runtime, all)
      return service.stopped.await
    })
  )

/**
 * Runs one step of a stop within a limit, by default the service's deadline.
 * Journals a step that fails or hangs. Never fails.
 */
export const step = (
  service: Lifetime,
  name: string,
  effect: Effect.Effect<unknown, unknown>,
  options: {
    readonly limitMillis?: number | undefined
    /** Whether the step is the service's own code; otherwise it waits for other work. */
    readonly kind?: "stop" | undefined
    /** Names what has not ended when the limit passes. */
    readonly alive?: (() => ReadonlyArray<string>) | undefined
  } = {}
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const limit = options.limitMillis ?? timeLeft(service)
    const decorated = service.owner.shared.around(service, options.kind ?? "wait", name, effect)
    const timed = measure(service)
    return Effect.flatMap(within(service, decorated, limit), (ended) =>
      Option.isSome(ended)
        ? Effect.zipRight(stepEnded(service, name, ended.value), stepMeasured(service, name, limit, timed()))
        : stepLate(service, name, limit, { alive: options.alive?.() ?? [] })
    )
  })

/**
 * Gives how long something has taken, in milliseconds. Zero where services that
 * the work built for itself may have had more time than the limit (`awaitWithin`).
 */
const measure = (service: Lifetime): (() => number) => {
  if (service.provided.size > 0) return () => 0
  const startedAt = Monotonic.unsafeMillis(service.clock)
  return () => Monotonic.unsafeMillis(service.clock) - startedAt
}

/** A step that blocks the event loop holds up its timer, too. It has not been left, but it was late. */
const stepMeasured = (service: Lifetime, name: string, limit: number, millis: number) => {
  if (millis <= limit) return Effect.void
  return stepLate(service, name, limit, { alive: [], took: Duration.millis(Math.round(millis)) })
}

const stepEnded = (service: Lifetime, name: string, exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.void
  const { cause } = exit
  return recordProblem(service, name, cause, {
    _tag: "StopStepFailed",
    service: service.path,
    step: name,
    cause
  })
}

/** `took` is undefined for a step that has not ended. */
const stepLate = (
  service: Lifetime,
  name: string,
  limit: number,
  late: { readonly alive: ReadonlyArray<string>; readonly took?: Duration.Duration }
) => {
  const after = Duration.millis(limit)
  const problem =
    late.took === undefined
      ? `it hung for ${Duration.format(after)}`
      : `it took ${Duration.format(late.took)}`
  return recordProblem(service, name, Cause.fail(problem), {
    _tag: "StopTimedOut",
    service: service.path,
    step: name,
    after,
    ...late
  })
}

const recordProblem = (
  service: Lifetime,
  name: string,
  cause: Cause.Cause<unknown>,
  entry: Journal.Unstamped
): Effect.Effect<void> =>
  Effect.suspend(() => {
    noteFailure(service, `its stop (${name})`, cause)
    return Effect.zipRight(
      Effect.annotateCurrentSpan("failed", name),
      service.owner.shared.journal.append(entry)
    )
  })

/** `caller` waits for the stop, so the stop waits neither for `caller` nor for what waits for it. */
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
    // Work that requested the stop through other work gets that answer before it is interrupted.
    if (all.some(({ isRunning }) => isRunning)) yield* Effect.yieldNow()
    for (const each of all) each.end(!Work.isOf(caller, each.source))
    const left = all.filter((each) => service.work.has(each) && !Work.isOf(caller, each.source))
    if (left.length > 0) {
      yield* step(
        service,
        "work",
        Effect.forEach(left, (each) => (service.work.has(each) ? each.await : Effect.void), {
          discard: true
        }),
        {
          alive: () => left.filter((each) => service.work.has(each)).map(({ name }) => name)
        }
      )
    }

    if (service.listeners.size > 0) {
      enter(service, "listeners")
      yield* stopListeners(service, caller)
    }

    // Children have deadlines of their own, so their time does not count against their parent's.
    let childrenMillis = 0
    if (service.children.size > 0) {
      enter(service, "children")
      const before = Monotonic.unsafeMillis(service.clock)
      for (const child of [...service.children].toReversed()) yield* child.stop
      childrenMillis = Monotonic.unsafeMillis(service.clock) - before
    }

    enter(service, "cleanups", childrenMillis)
    yield* closeResources(service)
    // Services that its work built for itself end with that work, unless the work hung.
    if (service.provided.size > 0) {
      yield* Deadline.within(Owner.stopMembers(service.provided), lateStepMillis)
    }
    const took = Duration.millis(Math.round(Monotonic.unsafeMillis(service.clock) - startedAt))
    const undone = service.startTook === undefined ? ({ isUndone: true } as const) : {}
    // Readers of the entry find the service gone.
    forget(service)
    yield* journal.append({ _tag: "ServiceStopped", service: service.path, took, ...undone })
  })

/**
 * Registers a cleanup with the service, as a step of its own. Where a finalizer
 * that user code put straight into the scope hangs, Effect runs none of those
 * below it; the cleanups among them run all the same.
 */
export const addCleanup = (
  service: Lifetime,
  cleanup: Effect.Effect<unknown, unknown>
): Effect.Effect<void> => {
  const own: Cleanup = {
    isRunning: false,
    took: 0,
    run: Effect.suspend(() => {
      if (own.isRunning || !service.cleanups.has(own)) return Effect.void
      own.isRunning = true
      const timed = measure(service)
      return Effect.ensuring(
        step(service, "a cleanup", cleanup, { kind: "stop" }),
        Effect.sync(() => {
          own.took = timed()
          service.cleanups.delete(own)
        })
      )
    })
  }
  service.cleanups.add(own)
  return Scope.addFinalizer(service.resources, own.run)
}

const stopListeners = (service: Lifetime, caller: Work.Work | undefined): Effect.Effect<void> =>
  Effect.gen(function* () {
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
  })

/** Closes the scope that `onStart` was given. Finalizers that user code put straight into it share the deadline. */
const closeResources = (service: Lifetime): Effect.Effect<void> =>
  Effect.gen(function* () {
    const [cleanups, limit, timed] = [[...service.cleanups], timeLeft(service), measure(service)]
    const closing = yield* Fork.now(Effect.uninterruptible(Scope.close(service.resources, Exit.void)))
    if (yield* closedInTime(service, closing)) {
      // Cleanups are measured each on its own.
      const took = timed() - cleanups.reduce((sum, cleanup) => sum + cleanup.took, 0)
      yield* stepMeasured(service, "a cleanup", limit, took)
    }
    // Those below a finalizer that hung, and one whose registration was interrupted.
    for (const { run } of [...service.cleanups].toReversed()) yield* run
  })

/** Waits until the resources are closed, or one that is no cleanup hangs. Gives whether they closed within the first limit. */
const closedInTime = (
  service: Lifetime,
  closing: Fiber.RuntimeFiber<void>,
  isFirst = true
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const exit = closing.unsafePoll()
    if (exit !== null) return Effect.as(stepEnded(service, "a cleanup", exit), isFirst)
    const [left, limit] = [service.cleanups.size, timeLeft(service)]
    return Effect.flatMap(awaitWithin(service, closing, limit), (ended) => {
      if (Option.isSome(ended)) return Effect.as(stepEnded(service, "a cleanup", ended.value), isFirst)
      // A cleanup has a limit of its own.
      const isCleaning = [...service.cleanups].some(({ isRunning }) => isRunning)
      return isCleaning || service.cleanups.size < left
        ? closedInTime(service, closing, false)
        : Effect.as(stepLate(service, "a cleanup", limit, { alive: [] }), false)
    })
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
  Names.undefine(owner.shared.definitions, service.definition)
  owner.members.delete(service)
  Names.release(owner)
  // Stays in the registry: a failed start until the app is up, and every service while the app stops.
  const isKept = root.state._tag === "Stopping" || (root.state._tag === "Starting" && failure !== undefined)
  if (!isKept) root.services.delete(service)
}

const enter = (service: Lifetime, next: Step, moreMillis = 0): void => {
  if (service.state._tag === "Stopping") {
    become(service, { ...service.state, step: next, deadline: service.state.deadline + moreMillis })
  }
}

/** The time until the deadline, and at least that of a late step. */
const timeLeft = ({ clock, state }: Lifetime): number =>
  state._tag === "Stopping"
    ? Math.max(Math.ceil(state.deadline - Monotonic.unsafeMillis(clock)), lateStepMillis)
    : lateStepMillis

/** As `Deadline.within`, for a step of the stop of a service. */
const within = <A, E>(
  service: Lifetime,
  work: Effect.Effect<A, E>,
  limit: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  service.provided.size === 0
    ? Deadline.within(work, limit)
    : Effect.flatMap(Fork.now(Effect.interruptible(work)), (fiber) => awaitWithin(service, fiber, limit))

/**
 * As `Deadline.awaitWithin`. Services that the work built for itself, as with
 * `Layer.build`, have deadlines of their own: when the limit passes, those that
 * are stopping are awaited, and the rest of the work has a second more.
 */
const awaitWithin = <A, E>(
  service: Lifetime,
  fiber: Fiber.RuntimeFiber<A, E>,
  limit: number
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.gen(function* () {
    if (service.provided.size === 0) return yield* Deadline.awaitWithin(fiber, limit)
    const ended = (millis: number) =>
      Effect.map(Deadline.within(Fiber.await(fiber), millis), Option.map(Exit.flatten))
    const inTime = yield* ended(limit)
    if (Option.isSome(inTime)) return inTime
    const stopping = [...service.provided].filter((member) => member.shown()._tag === "Stopping")
    if (stopping.length > 0) {
      const longest = Math.max(...stopping.map((member) => member.stopLimit()))
      const stops = Effect.forEach(stopping, (member) => member.stop, { concurrency: "unbounded" })
      yield* Deadline.within(stops, longest)
      const late = yield* ended(lateStepMillis)
      if (Option.isSome(late)) return late
    }
    yield* Fiber.interruptFork(fiber)
    return Option.none()
  })
