/**
 * What a running service owns, and how it stops.
 *
 * Stopping goes through five steps: `onStop`, work, listeners, children,
 * cleanups. Each is run even when those before it failed or hung, and all of
 * them together have one deadline.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Deadline from "./Deadline.ts"
import * as Failure from "./Failure.ts"
import type * as Journal from "./Journal.ts"
import type * as Listener from "./Listener.ts"
import type * as Owner from "./Owner.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Work from "./Work.ts"

/** What owned work requires. Only `onStart`, and work that a service owns, has it. */
export class ServiceScope extends Context.Tag("effect-services/Service/Scope")<ServiceScope, Running>() {}

/** A service from the beginning of its start to the end of its stop. */
export interface Running extends Owner.Member {
  readonly owner: Owner.Owner
  readonly stopTimeout: number
  readonly tasks: Set<Task>
  readonly listeners: Set<Listener.Listener>
  readonly children: Set<Child>
  /** What the services among its children are called. */
  readonly childLabels: Set<string>
  /** Finalizers, last in first out, each isolated from the others. */
  readonly cleanups: Scope.Scope
  readonly closeCleanups: Effect.Effect<void>
  readonly cleanupCount: () => number
  /** Done when the last step of stopping is. */
  readonly stopped: Deferred.Deferred<void>
  state: State
}

/** Where a service is in its life. */
export type State = Data.TaggedEnum<{
  /** `asked` came up before the start was done, and is answered then. */
  Starting: { readonly asked?: "stop" | Cause.Cause<unknown> | undefined }
  Running: { readonly onStop: Effect.Effect<unknown, unknown> | undefined }
  /** It failed, and its owner is about to stop it. */
  Failed: { readonly onStop: Effect.Effect<unknown, unknown> | undefined }
  Stopping: { readonly step: Step; readonly deadline: number }
  Stopped: {}
}>

/** The steps of stopping, in their order. */
export type Step = (typeof steps)[number]
const steps = ["onStop", "work", "listeners", "children", "cleanups"] as const

/** A fiber that a service owns, by name. */
export interface Task<A = unknown, E = unknown> {
  readonly name: string
  /** What `Work.current` is in the fiber. */
  readonly work: object
  readonly fiber: Fiber.RuntimeFiber<A, E>
}

/** A layer that a service adopted. */
export interface Child extends Pick<Owner.Member, "stopLimit" | "unfinished"> {
  readonly stop: Effect.Effect<void>
}

/** A service was asked to own something after that part of it had stopped. */
export class ServiceStoppedError extends Data.TaggedError("ServiceStoppedError")<{
  readonly service: string
  /** What it was to own, as `interval 1m`. */
  readonly work: string
}> {
  override get message(): string {
    return `Service "${this.service}" is stopping, so it cannot own ${this.work} any more.`
  }
}

/** A service adopted two children that cannot be told apart. */
export class DuplicateChildError extends Data.TaggedError("DuplicateChildError")<{
  /** The path of the service that adopted both. */
  readonly service: string
  readonly child: string
}> {
  override get message(): string {
    return (
      `Service "${this.service}" has a child "${this.child}" already. ` +
      "Give each child a name of its own: Service.adopt(Child, { name })."
    )
  }
}

/** How long a step that begins after the deadline may take: enough to close a socket, too little to matter. */
const lateStepMillis = 1_000

/**
 * A service that is about to start, made known to its owner. Throws
 * `DuplicateChildError` when a sibling has its name.
 */
export const make = (key: string, owner: Owner.Owner, stopTimeout: number): Effect.Effect<Running> =>
  Effect.map(Scope.make(), (scope) => {
    const label = owner.label(key)
    if (owner.labels?.has(label)) throw new DuplicateChildError({ service: owner.path, child: label })
    let cleanups = 0
    const service: Running = {
      key,
      label,
      path: owner.path === "" ? label : `${owner.path} > ${label}`,
      owner,
      stopTimeout,
      tasks: new Set(),
      listeners: new Set(),
      children: new Set(),
      childLabels: new Set(),
      cleanups: isolating(scope, (finalizer) => {
        cleanups++
        return step(service, "a cleanup", finalizer)
      }),
      closeCleanups: Effect.uninterruptible(Scope.close(scope, Exit.void)),
      cleanupCount: () => cleanups,
      stopped: Deferred.unsafeMake(FiberId.none),
      state: { _tag: "Starting" },
      stopLimit: () =>
        stopTimeout +
        lateStepMillis * (steps.length + cleanups) +
        [...service.children].reduce((sum, child) => sum + child.stopLimit(), 0),
      unfinished: () => {
        if (service.state._tag === "Stopped") return []
        const doing =
          service.state._tag === "Stopping"
            ? `stopping: ${service.state.step}`
            : service.state._tag.toLowerCase()
        return [`${service.path} (${doing})`, ...[...service.children].flatMap((child) => child.unfinished())]
      }
    }
    owner.labels?.add(label)
    owner.members.add(service)
    return service
  })

/** Throws `ServiceStoppedError` when the step that ends this kind of work has come. */
export const admit = (service: Running, kind: Step, work: string): void => {
  const { state } = service
  const over =
    state._tag === "Stopped" ||
    (state._tag === "Stopping" && steps.indexOf(state.step) >= steps.indexOf(kind))
  if (over) throw new ServiceStoppedError({ service: service.path, work })
}

/** Forks work that the service owns: it is interrupted and awaited when the service stops. */
export const fork = <A, E, R>(
  service: Running,
  name: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Task<A, E>, never, R> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      admit(service, "work", name)
      const work = {}
      const forked = Effect.forkDaemon(
        Effect.interruptible(Effect.provideService(effect, Work.CurrentWork, work))
      )
      return Effect.map(forked, (fiber) => {
        const task = { name, work, fiber }
        service.tasks.add(task)
        fiber.addObserver(() => service.tasks.delete(task))
        return task
      })
    })
  )

/** Why a service that is still starting has failed already, if it has. */
export const failedWhileStarting = ({ state }: Running): Cause.Cause<unknown> | undefined =>
  state._tag === "Starting" && state.asked !== "stop" ? state.asked : undefined

/** The service has started: from now on it can be asked to stop, and fail. */
export const started = (
  service: Running,
  took: Duration.Duration,
  onStop: Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    // Its scope may have been closed while it started.
    if (service.state._tag !== "Starting") return Effect.void
    const { asked } = service.state
    service.state = { _tag: "Running", onStop }
    const told = journal(service, { _tag: "ServiceStarted", service: service.path, took })
    return asked === "stop" ? Effect.zipRight(told, service.owner.stopAsked(service)) : told
  })

/** Asks the owner to stop the service; one that still starts is stopped when it has started. */
export const askStop = (service: Running): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    if (state._tag !== "Running" && !(state._tag === "Starting" && state.asked === undefined))
      return Effect.void
    const told = journal(service, { _tag: "StopAsked", service: service.path })
    if (state._tag === "Running") return Effect.zipRight(told, service.owner.stopAsked(service))
    service.state = { _tag: "Starting", asked: "stop" }
    return told
  })

/** A failure of owned work, and what is to be done about it. */
export interface Failed<E, R> {
  readonly policy: Failure.Failure<E, R>
  readonly cause: Cause.Cause<E>
  readonly work: string
  /** Journals the failure. */
  readonly told: Effect.Effect<void>
  /** The path down to what failed first, where that is not `work`. */
  readonly origin?: string | undefined
}

/** Does what the policy says about a failure. Interruption is not a failure. */
export const answer = <E, R>(service: Running, failed: Failed<E, R>): Effect.Effect<void, never, R> => {
  const { cause, policy, told, work } = failed
  if (Cause.isInterruptedOnly(cause)) return Effect.void
  switch (policy._tag) {
    case "Log":
      return told
    case "Escalate":
      return Effect.zipRight(told, fail(service, work, cause, failed.origin))
    case "Handle": {
      const handled = Effect.suspend(() => policy.handle(cause, { service: service.path, work }))
      return Effect.asVoid(Effect.zipRight(told, handled)).pipe(
        Effect.catchAllCause((failure) =>
          taskFailed(service, `the failure handler of ${work}`, failure, Failure.log)
        )
      )
    }
  }
}

/** Answers the failure of a task. */
export const taskFailed = <E, R>(
  service: Running,
  task: string,
  cause: Cause.Cause<E>,
  policy: Failure.Failure<E, R>
): Effect.Effect<void, never, R> =>
  answer(service, {
    policy,
    cause,
    work: task,
    told: journal(service, { _tag: "TaskFailed", service: service.path, task, cause, answer: policy._tag })
  })

/** Fails the service: its owner decides what follows. `origin` is the path down to the work that failed first. */
export const fail = (
  service: Running,
  work: string,
  cause: Cause.Cause<unknown>,
  origin: string = `${service.path} > ${work}`
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    switch (state._tag) {
      case "Starting":
        service.state = { _tag: "Starting", asked: cause }
        break
      case "Running":
        service.state = { _tag: "Failed", onStop: state.onStop }
        break
      default:
        return Effect.void
    }
    return Effect.zipRight(
      journal(service, { _tag: "ServiceFailed", service: service.path, work, origin, cause }),
      service.owner.failed(service, origin, cause)
    )
  })

/** Stops the service and waits for it. It stops once, however many ask. */
export const stop = (service: Running): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.zip(Monotonic.millis, Effect.fiberId), ([now, caller]) => {
      const { state } = service
      if (state._tag === "Stopping" || state._tag === "Stopped") return Deferred.await(service.stopped)
      service.state = { _tag: "Stopping", step: "onStop", deadline: now + service.stopTimeout }
      const onStop = state._tag === "Starting" ? undefined : state.onStop
      // A fiber of its own, since the one who asks may be interrupted.
      const steps = Effect.annotateLogs(stopSteps(service, onStop, now, caller), "service", service.path)
      return Effect.zipRight(Effect.forkDaemon(steps), Deferred.await(service.stopped))
    })
  )

/** `caller` may be work that closes the scope of its own service. It waits for the stop, so the stop does not wait for it. */
const stopSteps = (
  service: Running,
  onStop: Effect.Effect<unknown, unknown> | undefined,
  startedAt: number,
  caller: FiberId.FiberId
) =>
  Effect.gen(function* () {
    yield* journal(service, { _tag: "ServiceStopping", service: service.path })
    if (onStop !== undefined) yield* step(service, "onStop", onStop)

    enter(service, "work")
    const fibers = [...service.tasks].flatMap((task) => (task.fiber.id() === caller ? [] : [task.fiber]))
    if (fibers.length > 0) {
      yield* step(service, "work", Fiber.interruptAll(fibers), () =>
        [...service.tasks].map((task) => task.name)
      )
    }

    enter(service, "listeners")
    const listeners = [...service.listeners]
    if (listeners.length > 0) {
      const others = listeners.filter((listener) => !listener.runs(caller))
      const drained = Effect.forEach(others, (listener) => listener.drain, { concurrency: "unbounded" })
      yield* step(service, "listeners", drained, () => listeners.flatMap((listener) => listener.unfinished()))
      yield* Effect.forEach(listeners, (listener) => listener.abandon(caller))
    }

    enter(service, "children")
    const childrenFrom = yield* Monotonic.millis
    yield* Effect.forEach([...service.children].toReversed(), (child) => child.stop, { discard: true })

    // Children have deadlines of their own, so their time is not taken from their parent's.
    enter(service, "cleanups", (yield* Monotonic.millis) - childrenFrom)
    // Each has a limit of its own; this one is for fibers that were forked into the scope.
    yield* step(service, "cleanups", service.closeCleanups, undefined, service.cleanupCount())

    service.state = { _tag: "Stopped" }
    service.owner.members.delete(service)
    service.owner.labels?.delete(service.label)
    const took = yield* Monotonic.since(startedAt)
    yield* journal(service, { _tag: "ServiceStopped", service: service.path, took })
    yield* Deferred.succeed(service.stopped, undefined)
  })

const enter = (service: Running, next: Step, moreMillis = 0): void => {
  if (service.state._tag === "Stopping") {
    service.state = { _tag: "Stopping", step: next, deadline: service.state.deadline + moreMillis }
  }
}

/**
 * Runs one step of stopping within the deadline. What goes wrong is journaled,
 * and stays here. A step of several `parts` gives each of them time to be late.
 */
const step = (
  service: Running,
  name: string,
  effect: Effect.Effect<unknown, unknown>,
  alive: () => ReadonlyArray<string> = () => [],
  parts = 0
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { state } = service
    const left = state._tag === "Stopping" ? state.deadline - (yield* Monotonic.millis) : service.stopTimeout
    const limit = Math.max(Math.ceil(left), lateStepMillis) + parts * lateStepMillis
    const exit = yield* Deadline.within(effect, limit)
    if (Option.isNone(exit)) {
      yield* journal(service, {
        _tag: "StopTimedOut",
        service: service.path,
        step: name,
        after: Duration.millis(limit),
        alive: alive()
      })
    } else if (Exit.isFailure(exit.value) && !Cause.isInterruptedOnly(exit.value.cause)) {
      yield* journal(service, {
        _tag: "StopStepFailed",
        service: service.path,
        step: name,
        cause: exit.value.cause
      })
    }
  })

const journal = (service: Running, entry: Journal.Unstamped): Effect.Effect<void> =>
  service.owner.app.journal.append(entry)

/**
 * A view of `scope` that wraps each finalizer, so that one that fails or hangs
 * does not keep the others from running. The type of `Scope` hides the two
 * methods that `Scope.addFinalizer` and `Scope.fork` call.
 */
const isolating = (
  scope: Scope.CloseableScope,
  isolate: (finalizer: Effect.Effect<unknown>) => Effect.Effect<void>
): Scope.Scope =>
  Object.assign(Object.create(scope) as Scope.Scope, {
    addFinalizer: (finalizer: Scope.Scope.Finalizer) =>
      Scope.addFinalizerExit(scope, (exit) => isolate(finalizer(exit)))
  })
