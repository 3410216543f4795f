/** Adopted children, as their parent and the holder of the handle see them. */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Deadline from "../lifecycle/Deadline.ts"
import * as Owner from "../lifecycle/Owner.ts"
import type { Instance } from "../lifecycle/ServiceClass.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import type { ServiceStatus, State } from "../status/ServiceStatus.ts"
import * as ChildState from "./ChildState.ts"
import type * as Supervisor from "./Supervisor.ts"
import * as Work from "../lifecycle/Work.ts"

/** Handle of an adopted child. */
export interface Child<out Offered> {
  /** Its name below the parent, such as `CsvImport[orders.csv]`. */
  readonly name: string
  /**
   * The service that the child offers, or the context if the layer has none or
   * several. Read it for each use, because a restart replaces it.
   *
   * Waits while the child restarts, then fails with `ChildRestartingError` after
   * `currentTimeout`. Fails with `ChildStoppedError` once the child has stopped.
   */
  readonly current: Effect.Effect<Offered, ChildStoppedError | ChildRestartingError>
  /** The state of the child, as the registry shows it. With several services, the first that is not running decides. */
  readonly status: Effect.Effect<State>
  /**
   * Stops the child for good and waits for its end. Does not wait when called
   * from the child's own work. Never fails.
   */
  readonly stop: Effect.Effect<void>
  /**
   * Stops the child in order, starts it again without a pause, and waits until
   * it is up. Ignores policy, budget and strategy: its siblings keep running.
   *
   * A start that fails is answered by the child's policy. Fails with
   * `ChildStoppedError` when the child has stopped or its parent is stopping.
   * Does not wait when called from the child's own work.
   */
  readonly restart: Effect.Effect<void, ChildStoppedError>
  /** Waits until the child is down for good, and returns whether it has failed. Its name can then be used again. */
  readonly await: Effect.Effect<Extract<State, { readonly _tag: "Stopped" | "Failed" }>>
}

/** The child has stopped and will not come up again. */
export class ChildStoppedError extends Data.TaggedError("ChildStoppedError")<{
  /** The path of the service that adopted it. */
  readonly service: string
  readonly child: string
  /** Path and message of the failure; undefined when it was stopped on request. */
  readonly reason: string | undefined
}> {
  override get message(): string {
    const why = this.reason === undefined ? "" : ` Why it stopped: ${this.reason}`
    return `Service "${this.service}" adopted "${this.child}", which has stopped. Adopt it again to use it.${why}`
  }
}

/** The child is restarting and was not up within `currentTimeout`. */
export class ChildRestartingError extends Data.TaggedError("ChildRestartingError")<{
  /** The path of the service that adopted it. */
  readonly service: string
  readonly child: string
  readonly waited: Duration.Duration
  /** Path and message of the failure that it restarts after. */
  readonly reason: string
}> {
  override get message(): string {
    return (
      `Service "${this.service}" adopted "${this.child}", which restarts and was not up after ` +
      `${Duration.format(this.waited)}. Try again later. Why it restarts: ${this.reason}`
    )
  }
}

/** What an adopted layer offers: its service if it has exactly one, else its context. */
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

/** Registers a child with its parent, and returns the handle. */
export const own = (
  child: ChildState.ChildState,
  supervisor: Supervisor.Supervisor,
  timeoutMillis: number
): Child<unknown> => {
  child.owned = new OwnedChild(child, supervisor)
  child.plan.parent.children.add(child.owned)
  const handle = new Handle(child, supervisor, timeoutMillis)
  const { current, restart, status, stop, await: end } = handle
  // A plain object, which callers can spread; the getters of a class would be lost.
  return {
    get name() {
      return handle.name
    },
    current,
    status,
    stop,
    restart,
    await: end
  }
}

/** The parent's entry for a child. Separate from the handle, which is rarely kept, to save memory with many children. */
class OwnedChild implements Lifetime.OwnedChild {
  private readonly child: ChildState.ChildState
  private readonly supervisor: Supervisor.Supervisor

  constructor(child: ChildState.ChildState, supervisor: Supervisor.Supervisor) {
    this.child = child
    this.supervisor = supervisor
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.supervisor.stop(this.child)
      return this.child.terminated.await
    })
  }

  stopLimit(): number {
    const { instance, plan } = this.child
    // Without an instance, it may still restart before its stop.
    return instance?.stopLimit() ?? plan.parent.stopTimeout
  }

  unfinished(): ReadonlyArray<Owner.Unfinished> {
    const { instance } = this.child
    return instance === undefined ? [] : Owner.unfinished(instance.members)
  }

  status(): ReadonlyArray<ServiceStatus> {
    return ChildState.status(this.child)
  }
}

class Handle implements Child<unknown> {
  // `#` keeps the services of the app out of a printed handle.
  readonly #child: ChildState.ChildState
  readonly #supervisor: Supervisor.Supervisor
  readonly #timeoutMillis: number

  constructor(child: ChildState.ChildState, supervisor: Supervisor.Supervisor, timeoutMillis: number) {
    this.#child = child
    this.#supervisor = supervisor
    this.#timeoutMillis = timeoutMillis
  }

  get name(): string {
    return ChildState.nameOf(this.#child)
  }

  get current(): Child<unknown>["current"] {
    return Effect.suspend(() =>
      ChildState.offered(this.#child) === undefined
        ? Effect.flatMap(
            Deadline.within(this.awaitUp(), this.#timeoutMillis),
            Option.getOrElse((): Child<unknown>["current"] => this.tookTooLong())
          )
        : this.awaitUp()
    )
  }

  get status(): Effect.Effect<State> {
    return Effect.sync(() => ChildState.state(this.#child))
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#supervisor.stop(this.#child)
      return this.unlessCircular(this.#child.terminated.await)
    })
  }

  get restart(): Child<unknown>["restart"] {
    return Effect.suspend(() =>
      // A parent that stops starts no children.
      Lifetime.isStopping(this.#child.plan.parent)
        ? this.stopped()
        : Effect.zipRight(
            this.#supervisor.restart(this.#child),
            this.unlessCircular(Effect.asVoid(this.awaitUp()))
          )
    )
  }

  get await(): Child<unknown>["await"] {
    return Effect.map(this.#child.terminated.await, () => {
      const reason = ChildState.reasonOf(this.#child)
      return reason === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason }
    })
  }

  /** Waits until the child is up. */
  private awaitUp(): Effect.Effect<unknown, ChildStoppedError> {
    return Effect.suspend(() => {
      const child = this.#child
      const context = ChildState.offered(child)
      if (context !== undefined) return Effect.succeed(offeredBy(context, child))
      if (child.desired._tag === "Down") return this.stopped()
      return Effect.zipRight(child.ready.await, this.awaitUp())
    })
  }

  /** Waits, unless the child waits for the caller: that would deadlock. */
  private unlessCircular<E>(wait: Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Work.unlessCircular((caller) => {
      const { owner } = this.#child
      return owner !== undefined && Work.isWithin(caller, owner)
    }, wait)
  }

  private stopped(): ChildStoppedError {
    return new ChildStoppedError({ ...this.names(), reason: ChildState.reasonOf(this.#child) })
  }

  private tookTooLong(): ChildRestartingError {
    return new ChildRestartingError({
      ...this.names(),
      waited: Duration.millis(this.#timeoutMillis),
      reason: ChildState.reasonOf(this.#child) ?? "it has not started yet"
    })
  }

  private names() {
    return { service: this.#child.plan.parent.path, child: this.name }
  }
}

/** The value for the type `Offered`. */
const offeredBy = (context: Context.Context<unknown>, child: ChildState.ChildState): unknown => {
  const services = child.services.filter(({ key }) => context.unsafeMap.has(key))
  const [only, ...others] = services
  // `Offered` counts the services of the layer, which are the services of the child.
  return only !== undefined && others.length === 0 ? context.unsafeMap.get(only.key) : context
}
