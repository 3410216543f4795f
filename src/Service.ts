/**
 * Services: long-lived parts of an app, or children of another service.
 *
 * A service is a `Layer`. `onStart` acquires it; `onStop` and the end of all it
 * owns release it. The functions of this module register owned work. They require
 * `Service.Scope`, which only `onStart` and owned work have, and die with
 * `ServiceStoppedError` once the service has reached the step of its stop that ends
 * such work.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Names from "./internal/lifecycle/Names.ts"
import * as ServiceFailure from "./internal/lifecycle/ServiceFailure.ts"
import * as Input from "./internal/Input.ts"
import type { Class, ClassWith } from "./internal/lifecycle/ServiceClass.ts"
import * as Lifetime from "./internal/lifecycle/Lifetime.ts"
import * as Spans from "./internal/telemetry/Spans.ts"
import type { StartError } from "./internal/lifecycle/StartError.ts"
import * as Shutdown from "./internal/lifecycle/Shutdown.ts"
import * as Startup from "./internal/lifecycle/Startup.ts"

export { adopt, adoptAll } from "./internal/supervision/Adoption.ts"
export { ChildRestartingError, ChildStoppedError } from "./internal/supervision/Child.ts"
export { health } from "./internal/tasks/HealthCheck.ts"
export { InputError } from "./internal/Input.ts"
export {
  DuplicateChildError,
  DuplicateServiceError,
  ServiceStoppedError
} from "./internal/lifecycle/Errors.ts"
export { ServiceScope as Scope } from "./internal/lifecycle/Lifetime.ts"
export { StartError } from "./internal/lifecycle/StartError.ts"
export { listen } from "./internal/events/Subscription.ts"
export { cron, interval, spawn, TaskEndedError, timeout } from "./internal/tasks/Task.ts"
export type {
  Adoptable,
  AllOptions as AdoptAllOptions,
  Member,
  Options as AdoptOptions
} from "./internal/supervision/Adoption.ts"
export type { Child, Offered } from "./internal/supervision/Child.ts"
export type { Strategy } from "./internal/supervision/Supervisor.ts"
export type { Handle, Spawned } from "./internal/lifecycle/Handle.ts"
export type { Options as HealthOptions } from "./internal/tasks/HealthCheck.ts"
export type { Class, ClassWith, Instance } from "./internal/lifecycle/ServiceClass.ts"
export type { Options as ListenOptions } from "./internal/events/Subscription.ts"
export type {
  CronOptions,
  FallibleSpawnOptions,
  IntervalOptions,
  Options as TaskOptions,
  SpawnOptions
} from "./internal/tasks/Task.ts"

/** Definition of a service. */
export interface Lifecycle<Start, Shape, R, Timeout> {
  /** Starts the service. Its result is what the service offers; it may be `void`. */
  readonly onStart: Start
  /**
   * Runs first when the service stops, while its owned work is alive. Does not run
   * unless `onStart` has succeeded. A failure is journaled, and the stop goes on.
   */
  readonly onStop?: ((service: NoInfer<Shape>) => Effect.Effect<unknown, unknown, R>) | undefined
  /**
   * How long `onStart` may take. Then it is interrupted and rolled back within
   * `stopTimeout`. Unlimited by default, because the duration of a start (migrations,
   * cache warming) depends on the service, and orchestrators limit the boot.
   */
  readonly startTimeout?: Timeout
  /**
   * How long the service may take to stop, with all it owns except its children,
   * which have their own. A step that hangs is abandoned and named in the journal,
   * and the remaining steps run. Defaults to `10 seconds`, a third of Kubernetes'
   * grace period.
   */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/** Error of `.layer`: `never` when `onStart` cannot fail and there is no `startTimeout`. */
export type LayerError<E, Timeout> = [E] extends [never]
  ? [Timeout] extends [undefined]
    ? never
    : StartError<never>
  : StartError<ReasonOf<E>>

/** Unwraps the `StartError` of an adopted child, so that error types do not nest per level. */
type ReasonOf<E> = E extends StartError<infer Reason> ? Reason : E

type Requirements<R> = Exclude<R, Lifetime.ServiceScope | Scope.Scope>

/**
 * Makes a service class. `yield* X` returns the result of `onStart`. `X.layer`
 * starts the service before its dependents and stops it after them; when `onStart`
 * takes parameters, `.layer` is a function of them.
 *
 * The layer fails with `StartError` when `onStart` fails or exceeds `startTimeout`.
 * Throws `InputError` on a blank name or an invalid duration.
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
export const make: <Self = never>() => [Self] extends [never]
  ? { readonly "Service.make needs the type of its class: class X extends Service.make<X>()(...)": never }
  : {
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
      // The common overload comes last: TypeScript 7 reports the errors of the last one only.
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
    } =
  (): any =>
  (
    name: string,
    lifecycle: Lifecycle<
      Effect.Effect<any, any, any> | ((...args: ReadonlyArray<any>) => Effect.Effect<any, any, any>),
      any,
      any,
      any
    >
  ) => {
    const where = "Service.make"
    if (typeof lifecycle !== "object" || lifecycle === null) {
      throw new Input.InputError({
        where,
        input: "lifecycle",
        expected: "an object with onStart",
        actual: lifecycle
      })
    }
    const { onStart, onStop, startTimeout, stopTimeout } = lifecycle
    if (!Effect.isEffect(onStart) && typeof onStart !== "function") {
      throw new Input.InputError({
        where,
        input: "onStart",
        expected: "an Effect, or a function that returns one",
        actual: onStart
      })
    }
    const named = Input.name(where, "name", name)
    // Its third line is the caller, which `Context` reports when the service is missing.
    const { stack } = new Error()
    // `any`: the signature above has the types. `Self` is the caller's class, which extends this one.
    // @effect-diagnostics-next-line classSelfMismatch:off
    class Base extends Context.Tag(named)<any, any>() {
      static override readonly stack = stack
    }
    const settings: Startup.Settings = {
      definition: {
        name: named,
        location: Names.madeAt(stack),
        isStopTimeoutSet: stopTimeout !== undefined
      },
      onStop: onStop === undefined ? undefined : Input.callable(where, "onStop", onStop),
      startTimeout:
        startTimeout === undefined ? undefined : Input.positiveMillis(where, "startTimeout", startTimeout),
      stopTimeout: Input.positiveMillis(where, "stopTimeout", stopTimeout ?? "10 seconds")
    }
    const layerOf = (effect: Effect.Effect<any, any, any>) => Startup.layer(Base, settings, effect)
    return Object.assign(Base, {
      layer: Effect.isEffect(onStart)
        ? layerOf(onStart)
        : (...args: ReadonlyArray<any>) => layerOf(Effect.suspend(() => onStart(...args)))
    })
  }

/**
 * Runs an effect when the service stops, after its work, listeners and children
 * have ended. Cleanups run last-in first-out, in one list with the finalizers of
 * `Effect.acquireRelease` in `onStart`. One that fails or hangs is journaled, and
 * the next one runs.
 */
export const addCleanup = <A, E, R>(
  cleanup: Effect.Effect<A, E, R>
): Effect.Effect<void, never, R | Lifetime.ServiceScope> =>
  Effect.flatMap(Effect.zip(Effect.context<R>(), Lifetime.lifetime), ([context, service]) => {
    Input.effect("Service.addCleanup", "cleanup", cleanup)
    if (service.state._tag === "Stopped") Lifetime.admit(service, "cleanups", "a cleanup")
    return Shutdown.addCleanup(service, Effect.provide(cleanup, Spans.outside(context)))
  })

/**
 * Asks the owner to stop this service: an adopted child stops, a service of the
 * app stops the whole app in order. Does not wait. During the start, it takes
 * effect when the service is up. Never fails.
 */
export const stop: Effect.Effect<void, never, Lifetime.ServiceScope> = Effect.flatMap(
  Lifetime.lifetime,
  ServiceFailure.askStop
)
