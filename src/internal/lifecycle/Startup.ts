/** Starts a service in the scope of its layer. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Deadline from "./Deadline.ts"
import * as Fork from "../Fork.ts"
import * as Monotonic from "../Monotonic.ts"
import * as OwnedFiber from "./OwnedFiber.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "../Reason.ts"
import { type Replacement, Replacements } from "../TestHooks.ts"
import * as Lifetime from "./Lifetime.ts"
import type * as Names from "./Names.ts"
import * as ServiceFailure from "./ServiceFailure.ts"
import * as Shutdown from "./Shutdown.ts"
import * as Spans from "../telemetry/Spans.ts"
import { rootOf, StartError } from "./StartError.ts"
import * as Work from "./Work.ts"

/** The validated parts of a service class. */
export interface Settings {
  readonly definition: Names.Definition
  /** `any`: the types of `Service.make` tie it to `onStart`. */
  readonly onStop: ((service: any) => Effect.Effect<unknown, unknown, any>) | undefined
  /** In milliseconds. */
  readonly startTimeout: number | undefined
  /** In milliseconds. */
  readonly stopTimeout: number
}

/** Makes the layer of a service, which provides the result of `onStart`. */
export const layer = <Self, Shape, E, R>(
  tag: Context.Tag<Self, Shape>,
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>
): Layer.Layer<Self, StartError<E>, Exclude<R, Lifetime.ServiceScope | Scope.Scope>> => {
  const startInContext = Effect.contextWithEffect((context: Context.Context<never>) => {
    const replacement = Option.flatMap(Context.getOption(context, Replacements), (all) =>
      Option.fromNullable(all.get(settings.definition.name))
    )
    const started = Option.match(replacement, {
      onNone: () => start(settings, onStart),
      onSome: ({ onStart: other, stops }: Replacement) =>
        start(stops ? settings : { ...settings, onStop: undefined }, other(onStart))
    })
    return context.unsafeMap.has(Owner.Owner.key)
      ? started
      : Effect.provideServiceEffect(started, Owner.Owner, Owner.ofComposition)
  })
  // The cast drops `R`: the layer's type has what the user must provide, and `start` provides the rest.
  const context = Effect.map(startInContext as Effect.Effect<Shape, StartError<E>>, (shape) =>
    Context.make(tag, shape)
  )
  // A single layer: memoizing each further one would cost as much as the rest of the start.
  const made = Layer.scopedContext(context)
  starts.set(made, context)
  return made
}

/** The start effect of each layer that is a single service. `any`: a value has the types of its key. */
const starts = new WeakMap<Layer.Layer<never, any, any>, Effect.Effect<Context.Context<any>, any, any>>()

/** Like `Layer.buildWithMemoMap`, but skips the memoization of a layer that is a single service. */
export const build = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  memoMap: Layer.MemoMap,
  scope: Scope.Scope
): Effect.Effect<Context.Context<A>, E, R | Scope.Scope> =>
  starts.get(layer) ?? Layer.buildWithMemoMap(layer, memoMap, scope)

/** Starts a service, and adds its stop to the scope of the layer. */
const start = <Shape, E, R>(
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>
): Effect.Effect<Shape, StartError<E>, R | Owner.Owner | Scope.Scope> =>
  // Uninterruptible, so that a failure is recorded even when the boot is interrupted at that moment.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(register(settings), (service) => {
      const { definition, onStop, startTimeout } = settings
      const { clock, owner, path } = service
      const { around, journal } = owner.shared
      const startedAt = Monotonic.unsafeMillis(clock)
      let step: StartError<E>["step"] = "onStart"
      const withTimeout = Effect.flatMap(
        run(service, around(service, "start", "onStart", onStart), startTimeout),
        Option.getOrElse((): Exit.Exit<Shape, E | Cause.TimeoutException> => {
          step = "startTimeout"
          return timedOut(startTimeout ?? 0)
        })
      )
      const recorded = journal.append({ _tag: "ServiceStarting", service: path })
      const traced = Spans.aroundStart(`${definition.name} start`, { service: path })(withTimeout)
      const conclude = (exit: Exit.Exit<Shape, E | Cause.TimeoutException>) => {
        if (Exit.isFailure(exit) || failureOf(service) !== undefined) {
          return rollBack<E>(service, step, Exit.isFailure(exit) ? exit.cause : Cause.empty)
        }
        const shape = exit.value
        const took = Duration.millis(Math.round(Monotonic.unsafeMillis(clock) - startedAt))
        const stopping = onStop === undefined ? undefined : inService(service, () => onStop(shape))
        owner.offers.set(definition.name, { path, shape })
        return Effect.as(markRunning(service, took, stopping), shape)
      }
      return Effect.flatMap(Effect.zipRight(recorded, Effect.exit(restore(traced))), (exit) =>
        // Unless the start failed, an interruption of the boot takes effect here.
        Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)
          ? Effect.flatMap(restore(Effect.void), () => conclude(exit))
          : conclude(exit)
      )
    })
  )

/** Registers a service with its owner, and its stop with the scope. Run it uninterruptibly. */
const register = ({ definition, stopTimeout }: Settings) =>
  Effect.flatMap(Effect.context<Owner.Owner | Scope.Scope>(), (context) =>
    Effect.tap(
      Lifetime.make(
        definition,
        Context.get(context, Owner.Owner),
        Context.get(context, Scope.Scope),
        stopTimeout,
        Shutdown.stop
      ),
      (service) => {
        // Not `acquireRelease`: its finalizers run in the context of the start, where `Work.current` is not the caller.
        const scope = Context.get(context, Scope.Scope)
        // Finalizers run last first: the stop, and then the interruption of spawned fibers that it has left.
        return Effect.zipRight(
          Scope.addFinalizer(scope, OwnedFiber.interruptAll(service)),
          Scope.addFinalizer(scope, service.stop)
        )
      }
    )
  )

/** The context of a service's `onStart` and `onStop`. */
const contextOf = <R>(
  service: Lifetime.Lifetime,
  ambient: Context.Context<R>,
  awaitedBy: Work.Work | undefined
): Context.Context<R | Lifetime.ServiceScope | Scope.Scope> => {
  const { owner, path } = service
  const all = new Map(ambient.unsafeMap)
  all.set(Lifetime.ServiceScope.key, service)
  all.set(Scope.Scope.key, service.resources)
  all.set(Owner.Owner.key, new OwnerOfProvided(service))
  all.set(Work.CurrentWork.key, new Work.Work(path, owner, service, awaitedBy))
  return Context.unsafeMake(all)
}

/** Runs a part of the stop in the context that the service started in. */
const inService = (
  service: Lifetime.Lifetime,
  f: () => Effect.Effect<unknown, unknown, any>
): Effect.Effect<unknown, unknown> =>
  Effect.suspend(() =>
    Effect.provide(
      // The cast drops `R`, which the context of the start has: the layer required it.
      Effect.suspend(f) as Effect.Effect<unknown, unknown>,
      contextOf(service, service.runtime.context, undefined)
    )
  )

/** Stops a service that failed during its start, records the failure, and fails with it. */
const rollBack = <E>(
  service: Lifetime.Lifetime,
  step: StartError<E>["step"],
  thrown: Cause.Cause<E | Cause.TimeoutException>
): Effect.Effect<never, StartError<E>> => {
  const failure = failureOf(service)
  const given: Cause.Cause<unknown> = failure ?? thrown
  // `onStart` interrupted itself: an interruption from outside does not get here, and a closed scope has changed the state.
  const interruptedItself = service.state._tag === "Starting" && Cause.isInterruptedOnly(given)
  const cause = interruptedItself ? Cause.die(new Cause.InterruptedException("it interrupted itself")) : given
  if (service.state._tag === "Starting" && !Cause.isInterruptedOnly(cause)) {
    // A failure from outside `onStart` is recorded already.
    if (failure === undefined) Lifetime.noteFailure(service, step, cause)
    const reason = `${service.path} > ${step}: ${Reason.ofCause(rootOf(cause).cause)}`
    Lifetime.become(service, { _tag: "Failed", onStop: undefined, reason })
  }
  return Effect.zipRight(
    service.stop,
    Effect.suspend((): Effect.Effect<never, StartError<E>> => {
      // An interruption carries no error.
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = new StartError<E>({ service: service.path, step, cause })
      return Effect.zipRight(
        service.owner.shared.journal.append({ _tag: "StartFailed", service: service.path, step, cause }),
        // A defect stays a defect. A failure from outside `onStart` is not in the layer's error type.
        failure === undefined && Cause.isFailure(cause) ? Effect.fail(error) : Effect.die(error)
      )
    })
  )
}

/**
 * The exit of `onStart`, or none after `startTimeout`. It runs in a fiber of its
 * own, because owned work may fail the service while `onStart` waits for that
 * very work. Returns when the fiber has ended; after a timeout, waits for that no
 * longer than `stopTimeout`.
 */
const run = <A, E, R>(
  service: Lifetime.Lifetime,
  onStart: Effect.Effect<A, E, R>,
  startTimeout: number | undefined
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.runtime<R>(), (ambient) => {
      const runtime = Runtime.make({
        context: contextOf(service, ambient.context, Work.of(ambient.context)),
        fiberRefs: Lifetime.fiberRefsOf(service, ambient.fiberRefs),
        runtimeFlags: ambient.runtimeFlags
      })
      const fiber = Fork.unsafeNow(runtime, Fork.told(restore(onStart)))
      // Keep the FiberRef changes of `onStart`, as if it had run in this fiber, but not the service annotation.
      const inheritRefs = Fork.inherit(
        fiber,
        runtime,
        FiberRef.currentLogAnnotations,
        FiberRef.unhandledErrorLogLevel
      )
      const exit = fiber.unsafePoll()
      if (exit !== null) return Effect.as(inheritRefs, Option.some(exit))
      const interrupt = () => fiber.unsafeInterruptAsFork(fiber.id())
      service.interruptStart = interrupt
      // The synchronous part of `onStart` may have failed the service.
      if (failureOf(service) !== undefined) interrupt()
      const awaited =
        startTimeout === undefined
          ? Effect.asSome(Fiber.await(fiber))
          : Deadline.awaitWithin(fiber, startTimeout)
      const awaitEnd = Deadline.within(Fiber.await(fiber), service.stopTimeout)
      return restore(awaited).pipe(
        // A failure during the interruption would be lost otherwise.
        Effect.onInterrupt(() =>
          Effect.flatMap(Fiber.interrupt(fiber), (exit) => recordInterrupted(service, exit))
        ),
        Effect.tap((exit) => (Option.isSome(exit) ? inheritRefs : awaitEnd))
      )
    })
  )

/** Records a failure of an interrupted start other than the interruption. */
const recordInterrupted = (
  service: Lifetime.Lifetime,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.void
  const { cause } = exit
  Lifetime.noteFailure(service, "onStart", cause)
  return service.owner.shared.journal.append({
    _tag: "StartFailed",
    service: service.path,
    step: "onStart",
    cause
  })
}

const timedOut = (millis: number) =>
  Exit.fail(new Cause.TimeoutException(`it took longer than ${Duration.format(millis)}`))

/** A failure of owned work during the start. */
const failureOf = ({ state }: Lifetime.Lifetime): Cause.Cause<unknown> | undefined =>
  state._tag === "Starting" && state.pending !== "stop" ? state.pending : undefined

/** Marks the service as running. A stop requested during the start takes effect now. */
const markRunning = (
  service: Lifetime.Lifetime,
  took: Duration.Duration,
  onStop: Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    // The scope may have been closed during the start.
    if (service.state._tag !== "Starting") return Effect.void
    const { pending } = service.state
    service.startTook = took
    Lifetime.become(service, { _tag: "Running", onStop })
    const journaled = service.owner.shared.journal.append({
      _tag: "ServiceStarted",
      service: service.path,
      took
    })
    return pending === "stop" ? Effect.zipRight(journaled, service.owner.stopAsked(service)) : journaled
  })

/** Owner of services that the work of a service provides to itself, for one request for example. */
class OwnerOfProvided implements Owner.Owner {
  // Labels need not be unique: concurrent requests may each have a service of the same name.
  readonly labels = undefined
  readonly offers: Owner.Owner["offers"] = new Map()
  private readonly service: Lifetime.Lifetime

  constructor(service: Lifetime.Lifetime) {
    this.service = service
  }

  get shared(): Owner.Shared {
    return this.service.owner.shared
  }

  get path(): string {
    return this.service.path
  }

  get isCritical(): boolean {
    return this.service.owner.isCritical
  }

  get parent(): Owner.Owner {
    return this.service.owner
  }

  get members(): Set<Owner.Member> {
    return this.service.provided
  }

  label(name: string): string {
    return name
  }

  isStopping(): boolean {
    return Lifetime.isStopping(this.service)
  }

  /** Fails this service. A failed start needs no answer here: it fails the work that provides the service. */
  failed(member: Owner.Member, origin: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return member.shown()._tag === "Starting"
      ? Effect.void
      : ServiceFailure.fail(this.service, `service ${member.label}`, cause, origin)
  }

  stopAsked({ path }: Owner.Member): Effect.Effect<void> {
    return this.shared.journal.append({ _tag: "StopNotPossible", service: path })
  }
}
