/** The handle of an adopted child. */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Deadline from "./Deadline.ts"
import * as Owner from "./Owner.ts"
import type { Instance } from "./ServiceClass.ts"
import * as ServiceScope from "./ServiceScope.ts"
import type { State } from "./ServiceStatus.ts"
import * as Slot from "./Slot.ts"
import type * as Supervisor from "./Supervisor.ts"
import * as Work from "./Work.ts"

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
  slot: Slot.Slot,
  supervisor: Supervisor.Supervisor,
  timeoutMillis: number
): Child<unknown> => {
  const { parent } = slot.plan
  const over = slot.over.await
  const askStop = Effect.sync(() => supervisor.stop(slot))
  slot.owned = {
    stop: Effect.zipRight(askStop, over),
    // One that is down may come up before it is stopped.
    stopLimit: () => slot.life?.stopLimit() ?? parent.stopTimeout,
    unfinished: () => (slot.life === undefined ? [] : Owner.unfinished(slot.life.members)),
    status: () => Slot.status(slot)
  }
  parent.children.add(slot.owned)

  const names = () => ({ service: parent.path, child: Slot.nameOf(slot) })
  const stopped = () => new ChildStoppedError({ ...names(), reason: Slot.reasonOf(slot) })
  /** Work of the child, or what it waits for, must not wait for the child's end. */
  const unlessWithin = <A, E>(waits: Effect.Effect<A, E>): Effect.Effect<A | void, E> =>
    Effect.flatMap(Work.current, (caller) =>
      slot.owner !== undefined && Work.isWithin(caller, slot.owner) ? Effect.void : waits
    )
  /** Waits until it is up, and fails when it is over. */
  const whenUp: Effect.Effect<unknown, ChildStoppedError> = Effect.suspend(() => {
    const context = Slot.offered(slot)
    if (context !== undefined) return Effect.succeed(offeredBy(context, slot))
    if (slot.wanted._tag === "Down") return stopped()
    return Effect.zipRight(slot.ready.await, whenUp)
  })
  const tookTooLong = Effect.suspend(
    () =>
      new ChildRestartingError({
        ...names(),
        waited: Duration.millis(timeoutMillis),
        reason: Slot.reasonOf(slot) ?? "it has not started yet"
      })
  )
  const current: Child<unknown>["current"] = Effect.suspend(() =>
    Slot.offered(slot) === undefined
      ? Effect.flatMap(
          Deadline.within(whenUp, timeoutMillis),
          Option.getOrElse(
            (): Effect.Effect<unknown, ChildStoppedError | ChildRestartingError> => tookTooLong
          )
        )
      : whenUp
  )
  return {
    get name() {
      return Slot.nameOf(slot)
    },
    current,
    status: Effect.sync(() => Slot.state(slot)),
    stop: Effect.zipRight(askStop, unlessWithin(over)),
    restart: Effect.suspend(() =>
      // A parent that stops its children begins none any more.
      ServiceScope.admits(parent, "children")
        ? Effect.zipRight(supervisor.restart(slot), unlessWithin(Effect.asVoid(whenUp)))
        : stopped()
    ),
    await: Effect.map(over, () => {
      const reason = Slot.reasonOf(slot)
      return reason === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason }
    })
  }
}

/** What `Offered` says of the type. */
const offeredBy = (context: Context.Context<unknown>, slot: Slot.Slot): unknown => {
  const services = slot.services.filter(({ key }) => context.unsafeMap.has(key))
  const [only, ...others] = services
  // The services of the slot are those of the layer, so this is what the type counts.
  return only !== undefined && others.length === 0 ? context.unsafeMap.get(only.key) : context
}
