/**
 * A service: something that lives as long as the process, or as long as the
 * service that adopted it.
 *
 * It is a `Layer`: `onStart` acquires it, `onStop` and the end of all it owns
 * release it. What runs inside `onStart` may own work with the functions of
 * this module: they require `Service.Scope`, which nothing else has.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Option from "effect/Option"
import * as Child from "./Child.ts"
import * as Deadline from "./Deadline.ts"
import type * as Event from "./Event.ts"
import * as EventBus from "./EventBus.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Listener from "./Listener.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Work from "./Work.ts"

export { ChildStoppedError } from "./Child.ts"
export { DuplicateServiceError } from "./Owner.ts"
export { DuplicateChildError, ServiceScope as Scope, ServiceStoppedError } from "./ServiceScope.ts"
export { cron, interval, spawn, timeout } from "./Task.ts"
export type { Child, Options as AdoptOptions } from "./Child.ts"
export type {
  CronOptions,
  Handle,
  IntervalOptions,
  Options as TaskOptions,
  Spawned,
  SpawnOptions
} from "./Task.ts"

const TypeId = "~effect-services/Service"

/** The type of the instances of a service class; there are none at run time. */
export interface Instance<Name extends string, Shape> extends Context.TagClassShape<Name, Shape> {
  readonly [TypeId]: Shape
}

/** A service class whose `onStart` takes no parameters. */
export interface Class<Self, Name extends string, Shape, E, R> extends Context.Tag<Self, Shape> {
  new (_: never): Instance<Name, Shape>
  readonly key: Name
  /** The service as a layer. One value, so that it is built once however often it is provided. */
  readonly layer: Layer.Layer<Self, E, R>
}

/** A service class whose `onStart` takes parameters. */
export interface ClassWith<
  Self,
  Name extends string,
  Args extends ReadonlyArray<any>,
  Shape,
  E,
  R
> extends Context.Tag<Self, Shape> {
  new (_: never): Instance<Name, Shape>
  readonly key: Name
  /** The service as a layer. Each call makes another: keep it in a const to provide one in two places. */
  readonly layer: (...args: Args) => Layer.Layer<Self, E, R>
}

/** How a service lives. */
export interface Lifecycle<Start, Shape, R, Timeout> {
  /** Starts the service. What it returns is what the service offers to others. */
  readonly onStart: Start
  /**
   * Runs first when the service stops, while its work is still alive. Not run
   * when `onStart` did not succeed. A failure is journaled, and stopping goes on.
   */
  readonly onStop?: ((service: NoInfer<Shape>) => Effect.Effect<unknown, unknown, R>) | undefined
  /**
   * How long `onStart` may take. No limit by default: how long a start may take
   * (migrations, warming a cache) only its author knows, and an orchestrator
   * watches the boot anyway.
   */
  readonly startTimeout?: Timeout
  /**
   * How long the service may take to stop, with all it owns but its children,
   * which have deadlines of their own. What hangs longer is left, named in the
   * journal, and the steps that remain are run. Defaults to `10 seconds`, a
   * third of Kubernetes' grace period.
   */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/** A service did not start. What it had begun has been undone. */
export class StartError<out E> extends Data.TaggedError("StartError")<{
  /** The path of the service, as `Shop > Inbox`. */
  readonly service: string
  readonly step: "onStart" | "startTimeout"
  readonly cause: Cause.Cause<unknown>
}> {
  declare readonly cause: Cause.Cause<E | Cause.TimeoutException>
  override get message(): string {
    const what = this.step === "onStart" ? "failed in onStart" : "passed its startTimeout"
    return `Service "${this.service}" ${what}, so what it had begun was undone: ${Reason.ofCause(this.cause)}`
  }
}

/** What `.layer` fails with: nothing when `onStart` cannot fail and has no `startTimeout`. */
export type LayerError<E, Timeout> = [E] extends [never]
  ? [Timeout] extends [undefined]
    ? never
    : StartError<never>
  : StartError<E>

type Requirements<R> = Exclude<R, ServiceScope.ServiceScope | Scope.Scope>

/**
 * Makes a service class. `yield* TheClass` gives what `onStart` returned;
 * `TheClass.layer` starts it, before all that need it, and stops it after them.
 *
 * The layer fails with `StartError` when `onStart` fails or passes
 * `startTimeout`. Throws `InputError` on a blank name or a useless duration.
 *
 * ```ts
 * import { Effect, Ref } from "effect"
 * import { Service } from "effect-services"
 *
 * class Uptime extends Service.make<Uptime>()("Uptime", {
 *   onStart: Effect.gen(function*() {
 *     const seconds = yield* Ref.make(0)
 *     yield* Service.interval(Ref.update(seconds, (n) => n + 1), "1 second")
 *     return { seconds: Ref.get(seconds) }
 *   })
 * }) {}
 * ```
 */
export const make =
  <Self>(): {
    <
      const Name extends string,
      Shape,
      E,
      R,
      R2 = never,
      Timeout extends Duration.DurationInput | undefined = undefined
    >(
      name: Name,
      lifecycle: Lifecycle<Effect.Effect<Shape, E, R>, Shape, R2, Timeout>
    ): Class<Self, Name, Shape, LayerError<E, Timeout>, Requirements<R | R2>>
    <
      const Name extends string,
      Args extends ReadonlyArray<any>,
      Shape,
      E,
      R,
      R2 = never,
      Timeout extends Duration.DurationInput | undefined = undefined
    >(
      name: Name,
      lifecycle: Lifecycle<(...args: Args) => Effect.Effect<Shape, E, R>, Shape, R2, Timeout>
    ): ClassWith<Self, Name, Args, Shape, LayerError<E, Timeout>, Requirements<R | R2>>
  } =>
  (
    name: string,
    lifecycle: Lifecycle<
      Effect.Effect<any, any, any> | ((...args: ReadonlyArray<any>) => Effect.Effect<any, any, any>),
      any,
      any,
      any
    >
  ): any => {
    const where = "Service.make"
    const { onStart, onStop } = lifecycle
    if (!Effect.isEffect(onStart) && typeof onStart !== "function") {
      throw new Input.InputError({
        where,
        input: "onStart",
        expected: "an Effect, or a function that returns one",
        actual: onStart
      })
    }
    // Its third line is the caller's: `Context` shows it when the service is not provided.
    const { stack } = new Error()
    // The caller's class is the `Self`; this one is only its base.
    // @effect-diagnostics-next-line classSelfMismatch:off
    class Base extends Context.Tag(Input.name(where, "name", name))<any, any>() {
      static override readonly stack = stack
    }
    const settings: Settings = {
      definition: {
        name,
        location: stack?.split("\n")[2]?.match(/\(?([^\s(]+:\d+:\d+)\)?$/)?.[1] ?? "an unknown place"
      },
      onStop: onStop === undefined ? undefined : Input.callable(where, "onStop", onStop),
      startTimeout:
        lifecycle.startTimeout === undefined
          ? undefined
          : Input.positiveMillis(where, "startTimeout", lifecycle.startTimeout),
      stopTimeout: Input.positiveMillis(where, "stopTimeout", lifecycle.stopTimeout ?? "10 seconds")
    }
    const layerOf = (effect: Effect.Effect<any, any, any>) => {
      const bare = Layer.scoped(Base, start(settings, effect))
      // Mostly there is an owner, and to provide one that looks for it would double the cost of a service.
      return Layer.unwrapEffect(
        Effect.map(Effect.serviceOption(Owner.Owner), (owner) =>
          Option.isSome(owner) ? bare : Layer.provide(bare, Owner.layer)
        )
      )
    }
    return Object.assign(Base, {
      layer: Effect.isEffect(onStart)
        ? layerOf(onStart)
        : (...args: ReadonlyArray<any>) => layerOf(Effect.suspend(() => onStart(...args)))
    })
  }

/**
 * Runs `handler` for each event, as work of this service: its logs and spans
 * are the service's, and the sender's interruption does not cut it. Emitted
 * events are handled at once; published ones one after another, from a queue.
 * A handler that fails is journaled, and listening goes on. When the service
 * stops, what it has accepted is handled first.
 *
 * Dies with `InputError` on options that cannot be used.
 */
export const listen = <A, B, E, R, R2 = never>(
  event: Event.Event<string, A>,
  handler: (payload: A) => Effect.Effect<B, E, R>,
  options: ListenOptions<NoInfer<E>, R2> = {}
): Effect.Effect<
  ListenHandle,
  never,
  Exclude<R, Scope.Scope> | R2 | ServiceScope.ServiceScope | EventBus.EventBus
> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const service = yield* ServiceScope.ServiceScope
      const bus = yield* EventBus.EventBus
      Input.callable("Service.listen", "handler", handler)
      Listener.validate("Service.listen", options)
      const { journal } = service.owner.app
      const policy: Failure.Failure<E | Cause.TimeoutException, R2> = options.onFailure ?? Failure.log
      const work = `listener ${event?.name}`
      ServiceScope.admit(service, "listeners", work)
      const listener = yield* bus.listen<A, E, Exclude<R, Scope.Scope> | R2>(
        event,
        {
          ...options,
          service: service.path,
          event: event?.name,
          handler: (payload: A) => Effect.scoped(handler(payload)),
          onFailure: (cause: Cause.Cause<E | Cause.TimeoutException>) =>
            ServiceScope.answer(service, {
              policy,
              cause,
              work,
              told: journal.append({
                _tag: "HandlerFailed",
                service: service.path,
                event: event.name,
                cause,
                answer: policy._tag
              })
            })
        },
        journal
      )
      service.listeners.add(listener)
      const ended = Effect.flatMap(Deadline.within(listener.drain, service.stopTimeout), (drained) => {
        service.listeners.delete(listener)
        return Option.isSome(drained) ? Effect.void : Effect.fiberIdWith(listener.abandon)
      })
      return {
        cancel: Effect.flatMap(Work.current, (caller) => {
          listener.close()
          return caller === listener.work ? Effect.asVoid(Effect.forkDaemon(ended)) : ended
        })
      }
    })
  )

/** Options of `listen`. */
export interface ListenOptions<E, out R = never> extends Listener.Options {
  /** What to do when the handler fails. Defaults to `Failure.log`. */
  readonly onFailure?: Failure.Failure<E | Cause.TimeoutException, R> | undefined
}

/** A listener that can be ended before its service. */
export interface ListenHandle {
  /**
   * Takes no more events, and waits until those taken are handled, as long as
   * the service's `stopTimeout`. Called from within the handler, it does not wait.
   */
  readonly cancel: Effect.Effect<void>
}

/**
 * What an adopted layer offers: what the one service in it offers, or the
 * context where it has none or several.
 */
export type Offered<A> =
  IsUnion<Extract<A, Instance<any, any>>> extends true
    ? Context.Context<A>
    : [Extract<A, Instance<any, any>>] extends [never]
      ? Context.Context<A>
      : Extract<A, Instance<any, any>> extends Instance<any, infer Shape>
        ? Shape
        : never

type IsUnion<A, All = A> = [A] extends [never]
  ? false
  : A extends All
    ? [All] extends [A]
      ? false
      : true
    : never

/**
 * Starts a child under this service: a service class, or any layer. It stops
 * when it asks to, when the handle's `stop` runs, or when this service stops,
 * before the cleanups and after the children adopted later. A child may adopt
 * in turn. When it does not start, `adopt` fails with the layer's error, and
 * nothing of it is left.
 *
 * A child that fails while it runs is stopped, and then fails this service,
 * unless `onFailure` says otherwise.
 *
 * Dies with `DuplicateChildError` when this service has a child of that name.
 */
export const adopt: {
  <Self, Name extends string, Shape, E, R, R2 = never>(
    child: Class<Self, Name, Shape, E, R>,
    options?: Child.Options<R2>
  ): Effect.Effect<Child.Child<Shape>, E, R | R2 | ServiceScope.ServiceScope>
  <A, E, R, R2 = never>(
    layer: Layer.Layer<A, E, R>,
    options?: Child.Options<R2>
  ): Effect.Effect<Child.Child<Offered<A>>, E, R | R2 | ServiceScope.ServiceScope>
} = (
  child: Class<any, any, any, any, any> | Layer.Layer<any, any, any>,
  options: Child.Options<any> = {}
): any =>
  Effect.suspend(() => {
    const layer = Layer.isLayer(child) ? child : child?.layer
    if (!Layer.isLayer(layer)) {
      const expected = "a service class without parameters, or a layer, like Child.layer(options)"
      throw new Input.InputError({ where: "Service.adopt", input: "child", expected, actual: child })
    }
    return Child.adopt(layer, options, offered)
  })

const offered = (context: Context.Context<any>, members: ReadonlySet<Owner.Member>): unknown => {
  const services = [...members].filter((member) => context.unsafeMap.has(member.key))
  return services.length === 1 ? context.unsafeMap.get(services[0]!.key) : context
}

/**
 * Runs an effect when the service stops, after its work, listeners and children
 * have ended. Cleanups run last in first out; one that fails or hangs does not
 * keep the next from running. `Effect.acquireRelease` in `onStart` adds to the
 * same list.
 */
export const addCleanup = <A, E, R>(
  cleanup: Effect.Effect<A, E, R>
): Effect.Effect<void, never, R | ServiceScope.ServiceScope> =>
  Effect.contextWithEffect((context: Context.Context<R | ServiceScope.ServiceScope>) => {
    const service = Context.get(context, ServiceScope.ServiceScope)
    Input.effect("Service.addCleanup", "cleanup", cleanup)
    // A failure is journaled as the step's; `orDie` only fits it into the type of a finalizer.
    return Scope.addFinalizer(service.cleanups, Effect.orDie(Effect.provide(cleanup, context)))
  })

/**
 * Asks the owner of this service to stop it, and returns at once: an adopted
 * child ends, a service of the app ends the app in order. A service that is
 * still starting is stopped when it has started.
 */
export const stop: Effect.Effect<void, never, ServiceScope.ServiceScope> = Effect.flatMap(
  ServiceScope.ServiceScope,
  ServiceScope.askStop
)

interface Settings {
  readonly definition: Owner.Definition
  readonly onStop: ((service: any) => Effect.Effect<unknown, unknown, any>) | undefined
  readonly startTimeout: number | undefined
  readonly stopTimeout: number
}

/** Starts a service in the scope of its layer, which stops it. */
const start = <Shape, E, R>(settings: Settings, onStart: Effect.Effect<Shape, E, R>) =>
  Effect.gen(function* () {
    const owner = yield* Owner.Owner
    const { journal } = owner.app
    const { definition, onStop, startTimeout, stopTimeout } = settings
    Owner.define(owner.app, definition)
    const service = yield* Effect.acquireRelease(
      ServiceScope.make(definition.name, owner, stopTimeout),
      ServiceScope.stop
    )
    const startedAt = yield* Monotonic.millis
    yield* journal.append({ _tag: "ServiceStarting", service: service.path })

    const context = Context.merge(
      yield* Effect.context<R>(),
      Context.make(ServiceScope.ServiceScope, service).pipe(Context.add(Scope.Scope, service.cleanups))
    )
    const inService = <A, E2>(effect: Effect.Effect<A, E2, R | ServiceScope.ServiceScope | Scope.Scope>) =>
      Effect.annotateLogs(Effect.provide(effect, context), "service", service.path)
    let timedOut = false
    // Disconnected, so that a start that cannot be interrupted is left at its limit.
    const limited =
      startTimeout === undefined
        ? inService(onStart)
        : Effect.timeoutFail(Effect.disconnect(inService(onStart)), {
            duration: startTimeout,
            onTimeout: () => {
              timedOut = true
              return new Cause.TimeoutException(`it took longer than ${Duration.format(startTimeout)}`)
            }
          })
    const exit = yield* Effect.exit(limited)

    const cause = Exit.isFailure(exit) ? exit.cause : ServiceScope.failedWhileStarting(service)
    if (cause === undefined) {
      // Only a success has no cause.
      const shape = (exit as Exit.Success<Shape, never>).value
      const stopping = onStop === undefined ? undefined : inService(Effect.suspend(() => onStop(shape)))
      yield* ServiceScope.started(service, yield* Monotonic.since(startedAt), stopping)
      return shape
    }
    yield* ServiceScope.stop(service)
    if (Cause.isInterruptedOnly(cause)) return yield* Effect.failCause(cause as Cause.Cause<never>)
    const step = timedOut ? "startTimeout" : "onStart"
    yield* journal.append({ _tag: "StartFailed", service: service.path, step, cause })
    const error = new StartError<E>({ service: service.path, step, cause })
    // A defect stays one, and says which service it is of.
    return yield* Cause.isFailure(cause) ? Effect.fail(error) : Effect.die(error)
  })
