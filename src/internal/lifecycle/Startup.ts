/** How a service starts, in the scope of its layer. */
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
import * as Names from "./Names.ts"
import * as ServiceFailure from "./ServiceFailure.ts"
import * as Shutdown from "./Shutdown.ts"
import * as Spans from "../telemetry/Spans.ts"
import { rootOf, StartError } from "./StartError.ts"
import * as Work from "./Work.ts"

/** What a service is made of, checked. */
export interface Settings {
  readonly definition: Names.Definition
  readonly onStop: ((service: any) => Effect.Effect<unknown, unknown, any>) | undefined
  readonly startTimeout: number | undefined
  readonly stopTimeout: number
}

/** A service as a layer that offers what `onStart` returns. */
export const layer = <Self, Shape, E, R>(
  tag: Context.Tag<Self, Shape>,
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>
): Layer.Layer<Self, StartError<E>, Exclude<R, Lifetime.ServiceScope | Scope.Scope>> => {
  const chosen = Effect.contextWithEffect((context: Context.Context<never>) => {
    const replacement = Option.flatMap(Context.getOption(context, Replacements), (all) =>
      Option.fromNullable(all.get(settings.definition.name))
    )
    const begun = Option.match(replacement, {
      onNone: () => start(settings, onStart),
      onSome: ({ onStart: other, stops }: Replacement) =>
        start(stops ? settings : { ...settings, onStop: undefined }, other(onStart))
    })
    return context.unsafeMap.has(Owner.Owner.key)
      ? begun
      : Effect.provideServiceEffect(begun, Owner.Owner, Owner.ofComposition)
  })
  // What its type needs besides, `start` provides or looks for itself.
  const made = Effect.map(chosen as Effect.Effect<Shape, StartError<E>>, (shape) => Context.make(tag, shape))
  // One layer and no more: Effect keeps book of each, which costs as much as all the rest of a service.
  const whole = Layer.scopedContext(made)
  starts.set(whole, made)
  return whole
}

/** What a layer does to start the one service that it is. */
const starts = new WeakMap<Layer.Layer<never, any, any>, Effect.Effect<Context.Context<any>, any, any>>()

/**
 * Builds a layer with a memo map of its own. Where it is a service and nothing
 * else, there is nothing to memoize, and so no need to keep book of it.
 */
export const build = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  memoMap: Layer.MemoMap,
  scope: Scope.Scope
): Effect.Effect<Context.Context<A>, E, R | Scope.Scope> =>
  starts.get(layer) ?? Layer.buildWithMemoMap(layer, memoMap, scope)

/** Starts a service, and adds its stop to the scope. */
const start = <Shape, E, R>(
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>
): Effect.Effect<Shape, StartError<E>, R | Owner.Owner | Scope.Scope> =>
  // A failure is told of also when the boot is interrupted at that moment.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(begun(settings), (service) => {
      const { definition, onStop, startTimeout } = settings
      const { clock, owner, path } = service
      const { around, journal } = owner.shared
      const startedAt = Monotonic.unsafeMillis(clock)
      let step: StartError<E>["step"] = "onStart"
      const inTime = Effect.flatMap(
        run(service, around(service, "start", "onStart", onStart), startTimeout),
        Option.getOrElse((): Exit.Exit<Shape, E | Cause.TimeoutException> => {
          step = "startTimeout"
          return tookTooLong(startTimeout ?? 0)
        })
      )
      const starting = journal.append({ _tag: "ServiceStarting", service: path })
      const whole = Spans.aroundStart(`${definition.name} start`, { service: path })(inTime)
      const concluded = (exit: Exit.Exit<Shape, E | Cause.TimeoutException>) => {
        if (Exit.isFailure(exit) || failureOf(service) !== undefined) {
          return didNotStart<E>(service, step, Exit.isFailure(exit) ? exit.cause : Cause.empty)
        }
        const shape = exit.value
        const took = Duration.millis(Math.round(Monotonic.unsafeMillis(clock) - startedAt))
        const stopping = onStop === undefined ? undefined : inService(service, () => onStop(shape))
        owner.offers.set(definition.name, { path, shape })
        return Effect.as(started(service, took, stopping), shape)
      }
      return Effect.flatMap(Effect.zipRight(starting, Effect.exit(restore(whole))), (exit) =>
        // Where nothing has failed, an interruption from outside ends it here.
        Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)
          ? Effect.flatMap(restore(Effect.void), () => concluded(exit))
          : concluded(exit)
      )
    })
  )

/** A service that its owner knows, and that stops with the scope. To be run where nothing can be interrupted. */
const begun = ({ definition, stopTimeout }: Settings) =>
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
        const scope = Context.get(context, Scope.Scope)
        // The stop comes first, and behind it whatever spawned fiber it has left.
        return Effect.zipRight(
          Scope.addFinalizer(scope, OwnedFiber.interruptAll(service)),
          Scope.addFinalizer(scope, service.stop)
        )
      }
    )
  )

/** The context of what a service does. */
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

/** What a service does when it stops, in the context in which it has started. */
const inService = (
  service: Lifetime.Lifetime,
  // What it needs was there when the service started.
  f: () => Effect.Effect<unknown, unknown, any>
): Effect.Effect<unknown, unknown> =>
  Effect.suspend(() =>
    Effect.provide(
      Effect.suspend(f) as Effect.Effect<unknown, unknown>,
      contextOf(service, service.runtime.context, undefined)
    )
  )

/** Stops a service that has failed before its start was done, and tells. */
const didNotStart = <E>(
  service: Lifetime.Lifetime,
  step: StartError<E>["step"],
  thrown: Cause.Cause<E | Cause.TimeoutException>
): Effect.Effect<never, StartError<E>> => {
  const failure = failureOf(service)
  const given: Cause.Cause<unknown> = failure ?? thrown
  // Interrupted from outside, this would not be run, and a service whose scope was closed would be stopping.
  const isItself = service.state._tag === "Starting" && Cause.isInterruptedOnly(given)
  const cause = isItself ? Cause.die(new Cause.InterruptedException("it interrupted itself")) : given
  if (service.state._tag === "Starting" && !Cause.isInterruptedOnly(cause)) {
    // What failed it from outside of `onStart` has been noted.
    if (failure === undefined) Lifetime.noteFailure(service, step, cause)
    const reason = `${service.path} > ${step}: ${Reason.ofCause(rootOf(cause).cause)}`
    Lifetime.become(service, { _tag: "Failed", onStop: undefined, reason })
  }
  return Effect.zipRight(
    service.stop,
    Effect.suspend((): Effect.Effect<never, StartError<E>> => {
      // An interruption has no error to say which service it was.
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = new StartError<E>({ service: service.path, step, cause })
      return Effect.zipRight(
        service.owner.shared.journal.append({ _tag: "StartFailed", service: service.path, step, cause }),
        // A defect stays one, and so does what failed the service from outside of `onStart`.
        failure === undefined && Cause.isFailure(cause) ? Effect.fail(error) : Effect.die(error)
      )
    })
  )
}

/**
 * The exit of `onStart`, or none when it has passed its timeout. It has a fiber
 * of its own, since work that the service owns may fail it while `onStart`
 * waits for that very work. In the end it has ended, and what it was in the
 * middle of is undone; a timeout waits for that as long as for a stop.
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
      // As if `onStart` had run in this fiber, but without the service's name in its logs.
      const inherited = Fork.inherit(
        fiber,
        runtime,
        FiberRef.currentLogAnnotations,
        FiberRef.unhandledErrorLogLevel
      )
      const exit = fiber.unsafePoll()
      if (exit !== null) return Effect.as(inherited, Option.some(exit))
      const interrupt = () => fiber.unsafeInterruptAsFork(fiber.id())
      service.interruptStart = interrupt
      // It may have been failed before it first waited.
      if (failureOf(service) !== undefined) interrupt()
      const awaited =
        startTimeout === undefined
          ? Effect.asSome(Fiber.await(fiber))
          : Deadline.awaitWithin(fiber, startTimeout)
      const undone = Deadline.within(Fiber.await(fiber), service.stopTimeout)
      return restore(awaited).pipe(
        // What it fails in meanwhile is nowhere else to be seen.
        Effect.onInterrupt(() => Effect.flatMap(Fiber.interrupt(fiber), (ended) => tellLate(service, ended))),
        Effect.tap((exit) => (Option.isSome(exit) ? inherited : undone))
      )
    })
  )

/** Tells how a start has failed that was interrupted, if it was not just that. */
const tellLate = (service: Lifetime.Lifetime, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
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

const tookTooLong = (millis: number) =>
  Exit.fail(new Cause.TimeoutException(`it took longer than ${Duration.format(millis)}`))

/** What has failed the service while it started, other than `onStart` itself. */
const failureOf = ({ state }: Lifetime.Lifetime): Cause.Cause<unknown> | undefined =>
  state._tag === "Starting" && state.pending !== "stop" ? state.pending : undefined

/** From now on the service can be asked to stop, and fail. */
const started = (
  service: Lifetime.Lifetime,
  took: Duration.Duration,
  onStop: Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    // Its scope may have been closed while it started.
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

/** The owner of services that the work of a service provides to itself, as for one request. */
class OwnerOfProvided implements Owner.Owner {
  // Many of one label may exist at a time.
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

  /** A start that fails, fails the work that provides the service, which may handle it. */
  failed(member: Owner.Member, origin: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return member.shown()._tag === "Starting"
      ? Effect.void
      : ServiceFailure.fail(this.service, `service ${member.label}`, cause, origin)
  }

  stopAsked({ path }: Owner.Member): Effect.Effect<void> {
    return this.shared.journal.append({ _tag: "StopNotPossible", service: path })
  }
}
