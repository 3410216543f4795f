/** How a service starts, in the scope of its layer. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Deadline from "./Deadline.ts"
import * as Escalation from "./Escalation.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"
import { type Replacement, Replacements } from "./Replacements.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Shutdown from "./Shutdown.ts"
import * as Spans from "./Spans.ts"
import { rootOf, StartError } from "./StartError.ts"
import * as Work from "./Work.ts"

/** What a service is made of, checked. */
export interface Settings {
  readonly definition: Owner.Definition
  readonly onStop: ((service: any) => Effect.Effect<unknown, unknown, any>) | undefined
  readonly startTimeout: number | undefined
  readonly stopTimeout: number
}

/** A service as a layer that offers what `onStart` returns. */
export const layer = <Self, Shape, E, R>(
  tag: Context.Tag<Self, Shape>,
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>
): Layer.Layer<Self, StartError<E>, Exclude<R, ServiceScope.ServiceScope | Scope.Scope>> => {
  const bare = Layer.scoped(tag, start(settings, onStart))
  const inPlace = ({ onStart: other, stops }: Replacement) =>
    Layer.scoped(tag, start(stops ? settings : { ...settings, onStop: undefined }, other(onStart)))
  const chosen = Effect.contextWith((context: Context.Context<never>) => {
    const replacement = Option.flatMap(Context.getOption(context, Replacements), (all) =>
      Option.fromNullable(all.get(settings.definition.name))
    )
    const layer = Option.match(replacement, { onNone: () => bare, onSome: inPlace })
    // Mostly there is an owner, and to provide one that looks for it would double the cost of a service.
    return context.unsafeMap.has(Owner.Owner.key) ? layer : Layer.provide(layer, Owner.layer)
  })
  // What the type of `bare` needs besides, `start` provides or looks for itself.
  return Layer.unwrapEffect(chosen as Effect.Effect<Layer.Layer<Self, StartError<E>>>)
}

/** Starts a service, and adds its stop to the scope. */
const start = <Shape, E, R>(settings: Settings, onStart: Effect.Effect<Shape, E, R>) =>
  // A failure is told of also when the boot is interrupted at that moment.
  Effect.uninterruptibleMask((restore) => startWith(settings, onStart, restore))

const startWith = <Shape, E, R>(
  settings: Settings,
  onStart: Effect.Effect<Shape, E, R>,
  restore: <A, E2, R2>(effect: Effect.Effect<A, E2, R2>) => Effect.Effect<A, E2, R2>
) =>
  Effect.gen(function* () {
    const { definition, onStop, startTimeout, stopTimeout } = settings
    const owner = yield* Owner.Owner
    const { around, journal } = owner.shared
    const service = yield* ServiceScope.make(definition, owner, stopTimeout, Shutdown.stop).pipe(
      // Without `acquireRelease`, whose finalizers cannot tell who closes the scope.
      Effect.tap((made) => Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, made.stop))),
      Effect.uninterruptible
    )
    const startedAt = yield* Monotonic.millis
    yield* journal.append({ _tag: "ServiceStarting", service: service.path })

    const within = ownerWithin(service)
    const outer = Spans.outside(yield* Effect.context<R>())
    const inService = <A, E2>(
      effect: Effect.Effect<A, E2, R | ServiceScope.ServiceScope | Scope.Scope>,
      awaitedBy: Work.Work | undefined
    ) => {
      const inner = Context.make(ServiceScope.ServiceScope, service).pipe(
        Context.add(Scope.Scope, service.scope),
        Context.add(Owner.Owner, within),
        Context.add(Work.CurrentWork, { service: service.path, owner, source: service, awaitedBy })
      )
      return Effect.annotateLogs(Effect.provide(effect, Context.merge(outer, inner)), "service", service.path)
    }
    let step: StartError<E>["step"] = "onStart"
    const inTime = run(
      service,
      inService(around(service, "onStart", onStart), yield* Work.current),
      startTimeout
    ).pipe(
      Effect.flatMap(
        Option.getOrElse((): Exit.Exit<Shape, E | Cause.TimeoutException> => {
          step = "startTimeout"
          return tookTooLong(startTimeout ?? 0)
        })
      )
    )
    const exit = yield* Effect.exit(
      restore(Spans.aroundStart(`${definition.name} start`, { service: service.path })(inTime))
    )

    // Where nothing has failed, an interruption from outside ends it here.
    if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) yield* restore(Effect.void)
    const failure = failureOf(service)
    if (Exit.isSuccess(exit) && failure === undefined) {
      const stopping =
        onStop === undefined
          ? undefined
          : inService(
              Effect.suspend(() => onStop(exit.value)),
              undefined
            )
      owner.offers.set(definition.name, { path: service.path, shape: exit.value })
      yield* started(service, yield* Monotonic.since(startedAt), stopping)
      return exit.value
    }
    const given: Cause.Cause<unknown> = failure ?? (Exit.isFailure(exit) ? exit.cause : Cause.empty)
    // Interrupted from outside, this would not be run, and a service whose scope was closed would be stopping.
    const isItself = service.state._tag === "Starting" && Cause.isInterruptedOnly(given)
    const cause = isItself ? Cause.die(new Cause.InterruptedException("it interrupted itself")) : given
    if (service.state._tag === "Starting" && !Cause.isInterruptedOnly(cause)) {
      // What failed it from outside of `onStart` has been noted.
      if (failure === undefined) ServiceScope.noteFailure(service, step, cause)
      const reason = `${service.path} > ${step}: ${Reason.ofCause(rootOf(cause).cause)}`
      ServiceScope.become(service, { _tag: "Failed", onStop: undefined, reason })
    }
    yield* service.stop
    // An interruption has no error to say which service it was.
    if (Cause.isInterruptedOnly(cause)) return yield* Effect.interrupt
    yield* journal.append({ _tag: "StartFailed", service: service.path, step, cause })
    const error = new StartError<E>({ service: service.path, step, cause })
    // A defect stays one, and so does what failed the service from outside of `onStart`.
    return yield* failure === undefined && Cause.isFailure(cause) ? Effect.fail(error) : Effect.die(error)
  })

/** Who the services answer to that work of this service provides to itself, as for one request. */
const ownerWithin = (service: ServiceScope.Lifetime): Owner.Owner => ({
  shared: service.owner.shared,
  path: service.path,
  isCritical: service.owner.isCritical,
  parent: service.owner,
  members: service.provided,
  offers: new Map(),
  // Many at a time may be alike.
  labels: undefined,
  label: (name) => name,
  // One that has not started yet fails whoever provides it, who may handle that.
  failed: ({ label, shown }, origin, cause) =>
    shown()._tag === "Starting" ? Effect.void : Escalation.fail(service, `service ${label}`, cause, origin),
  stopAsked: ({ path }) => service.owner.shared.journal.append({ _tag: "StopNotPossible", service: path })
})

/**
 * The exit of `onStart`, or none when it has passed its timeout. It has a fiber
 * of its own, since work that the service owns may fail it while `onStart`
 * waits for that very work. In the end it has ended, and what it was in the
 * middle of is undone; a timeout waits for that as long as for a stop.
 */
const run = <A, E, R>(
  service: ServiceScope.Lifetime,
  onStart: Effect.Effect<A, E, R>,
  startTimeout: number | undefined
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(restore(onStart)), (fiber) => {
      service.interruptStart = () => fiber.unsafeInterruptAsFork(fiber.id())
      const awaited =
        startTimeout === undefined
          ? Effect.asSome(Fiber.await(fiber))
          : Deadline.awaitWithin(fiber, startTimeout)
      const undone = Deadline.within(Fiber.await(fiber), service.stopTimeout)
      return restore(awaited).pipe(
        // What it fails in meanwhile is nowhere else to be seen.
        Effect.onInterrupt(() => Effect.flatMap(Fiber.interrupt(fiber), (ended) => tellLate(service, ended))),
        Effect.tap((exit) => (Option.isSome(exit) ? Fiber.inheritAll(fiber) : undone))
      )
    })
  )

/** Tells how a start has failed that was interrupted, if it was not just that. */
const tellLate = (service: ServiceScope.Lifetime, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.void
  const { cause } = exit
  ServiceScope.noteFailure(service, "onStart", cause)
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
const failureOf = ({ state }: ServiceScope.Lifetime): Cause.Cause<unknown> | undefined =>
  state._tag === "Starting" && state.pending !== "stop" ? state.pending : undefined

/** From now on the service can be asked to stop, and fail. */
const started = (
  service: ServiceScope.Lifetime,
  took: Duration.Duration,
  onStop: Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    // Its scope may have been closed while it started.
    if (service.state._tag !== "Starting") return Effect.void
    const { pending } = service.state
    service.startTook = took
    ServiceScope.become(service, { _tag: "Running", onStop })
    const journaled = service.owner.shared.journal.append({
      _tag: "ServiceStarted",
      service: service.path,
      took
    })
    return pending === "stop" ? Effect.zipRight(journaled, service.owner.stopAsked(service)) : journaled
  })
