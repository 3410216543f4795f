/** The handle of an adopted child. */
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

/** An adopted child. */
export interface Child<out Offered> {
  /** What it is called below its parent. */
  readonly name: string
  /**
   * What the child offers. While it restarts, this waits, up to `currentTimeout`.
   * Ask again for each use: after a restart it is another.
   */
  readonly current: Effect.Effect<Offered, ChildStoppedError | ChildRestartingError>
  /** How it is now, as the registry shows it; of several services in a layer, as the first that does not simply run. */
  readonly status: Effect.Effect<State>
  /**
   * Stops the child, for good, and waits until it has stopped. Called from
   * within the child's own work, it does not wait.
   */
  readonly stop: Effect.Effect<void>
  /**
   * Stops the child in order and starts it anew, at once, whatever its policy
   * and budget, and waits until it is up: this child alone, whatever the strategy
   * of its siblings. A start that fails is a failure of the child. Called from
   * within the child's own work, it does not wait.
   */
  readonly restart: Effect.Effect<void, ChildStoppedError>
  /** Waits until the child has stopped for good, and tells whether it has failed. Its name is free then. */
  readonly await: Effect.Effect<Extract<State, { readonly _tag: "Stopped" | "Failed" }>>
}

/** A child was used after it had stopped. */
export class ChildStoppedError extends Data.TaggedError("ChildStoppedError")<{
  /** The path of the service that adopted it. */
  readonly service: string
  readonly child: string
  /** Why, where it has failed: the path to what failed, and what that said. */
  readonly reason: string | undefined
}> {
  override get message(): string {
    const why = this.reason === undefined ? "" : ` Why it stopped: ${this.reason}`
    return `Service "${this.service}" adopted "${this.child}", which has stopped. Adopt it again to use it.${why}`
  }
}

/** A child was used while it restarted, and was not up in time. */
export class ChildRestartingError extends Data.TaggedError("ChildRestartingError")<{
  /** The path of the service that adopted it. */
  readonly service: string
  readonly child: string
  readonly waited: Duration.Duration
  /** Why it restarts: the path to what failed, and what that said. */
  readonly reason: string
}> {
  override get message(): string {
    return (
      `Service "${this.service}" adopted "${this.child}", which restarts and was not up after ` +
      `${Duration.format(this.waited)}. Try again later. Why it restarts: ${this.reason}`
    )
  }
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

/** Notes a child with its parent, and gives its handle. */
export const own = (
  child: ChildState.ChildState,
  supervisor: Supervisor.Supervisor,
  timeoutMillis: number
): Child<unknown> => {
  child.owned = new Owned(child, supervisor)
  child.plan.parent.children.add(child.owned)
  const handle = new Handle(child, supervisor, timeoutMillis)
  const { current, restart, status, stop, await: end } = handle
  // Plain data, for whoever makes more of it.
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

/** A child as its parent has it: there may be very many, and mostly nobody keeps their handles. */
class Owned implements Lifetime.OwnedChild {
  private readonly child: ChildState.ChildState
  private readonly supervisor: Supervisor.Supervisor

  constructor(child: ChildState.ChildState, supervisor: Supervisor.Supervisor) {
    this.child = child
    this.supervisor = supervisor
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.supervisor.stop(this.child)
      return this.child.over.await
    })
  }

  stopLimit(): number {
    const { instance, plan } = this.child
    // One that is down may come up before it is stopped.
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
  // With `#`, so that who prints it does not print all services.
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
            Deadline.within(this.whenUp(), this.#timeoutMillis),
            Option.getOrElse((): Child<unknown>["current"] => this.tookTooLong())
          )
        : this.whenUp()
    )
  }

  get status(): Effect.Effect<State> {
    return Effect.sync(() => ChildState.state(this.#child))
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#supervisor.stop(this.#child)
      return this.unlessWithin(this.#child.over.await)
    })
  }

  get restart(): Child<unknown>["restart"] {
    return Effect.suspend(() =>
      // A parent that stops its children begins none any more.
      Lifetime.isStopping(this.#child.plan.parent)
        ? this.stopped()
        : Effect.zipRight(
            this.#supervisor.restart(this.#child),
            this.unlessWithin(Effect.asVoid(this.whenUp()))
          )
    )
  }

  get await(): Child<unknown>["await"] {
    return Effect.map(this.#child.over.await, () => {
      const reason = ChildState.reasonOf(this.#child)
      return reason === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason }
    })
  }

  /** Waits until it is up, and fails when it is over. */
  private whenUp(): Effect.Effect<unknown, ChildStoppedError> {
    return Effect.suspend(() => {
      const child = this.#child
      const context = ChildState.offered(child)
      if (context !== undefined) return Effect.succeed(offeredBy(context, child))
      if (child.wanted._tag === "Down") return this.stopped()
      return Effect.zipRight(child.ready.await, this.whenUp())
    })
  }

  /** Work of the child, or what it waits for, must not wait for the child's end. */
  private unlessWithin<E>(waits: Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Effect.flatMap(Work.current, (caller) =>
      this.#child.owner !== undefined && Work.isWithin(caller, this.#child.owner) ? Effect.void : waits
    )
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

/** What `Offered` says of the type. */
const offeredBy = (context: Context.Context<unknown>, child: ChildState.ChildState): unknown => {
  const services = child.services.filter(({ key }) => context.unsafeMap.has(key))
  const [only, ...others] = services
  // The services of the child are those of the layer, so this is what the type counts.
  return only !== undefined && others.length === 0 ? context.unsafeMap.get(only.key) : context
}
