/**
 * A layer that a running service starts, owns and stops: a worker per tenant,
 * an import per file.
 */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Deadline from "./Deadline.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Owner from "./Owner.ts"
import * as Restarts from "./Restarts.ts"
import type { Class, Instance } from "./ServiceClass.ts"
import * as ServiceScope from "./ServiceScope.ts"
import type { State } from "./ServiceStatus.ts"
import * as Slot from "./Slot.ts"
import * as Supervisor from "./Supervisor.ts"
import * as Work from "./Work.ts"

/** An adopted child. */
export interface Child<out Offered> {
  readonly name: string
  /**
   * What the child offers. While it restarts, this waits, up to `currentTimeout`.
   * Ask again for each use: after a restart it is another.
   */
  readonly current: Effect.Effect<Offered, ChildStoppedError | ChildRestartingError>
  readonly status: Effect.Effect<State>
  /**
   * Stops the child, for good, and waits until it has stopped. Called from
   * within the child's own work, it does not wait.
   */
  readonly stop: Effect.Effect<void>
  /**
   * Stops the child in order and starts it anew, at once, whatever its policy
   * and budget, and waits until it is up. A start that fails is a failure of the
   * child. Called from within the child's own work, it does not wait.
   */
  readonly restart: Effect.Effect<void, ChildStoppedError>
  /** Waits until the child has stopped for good, for whatever reason. Its name is free then. */
  readonly await: Effect.Effect<void>
}

/** Options of `adopt`. */
export interface Options<out R = never> {
  /** Tells the child from its siblings, as `CsvImport[orders.csv]`. Needed from the second of a class on. */
  readonly name?: string | undefined
  /**
   * What to do with a child that failed, when it has been stopped. With
   * `Failure.restart` it is started anew. Defaults to `Failure.escalate`.
   */
  readonly onFailure?: Failure.Failure<unknown, R> | undefined
  /**
   * How long `current` waits for a child that restarts. Defaults to `5 seconds`:
   * longer than the first restarts take, shorter than most clients wait.
   */
  readonly currentTimeout?: Duration.DurationInput | undefined
}

/** Options of `adoptAll`. */
export interface AllOptions<out R = never> extends Omit<Options<R>, "name"> {
  /**
   * Which children go down, and with `Failure.restart` come up again, when one
   * fails; as OTP's strategies. `"oneForOne"`, the default: the one that failed.
   * `"oneForAll"`: all. `"restForOne"`: that one and those after it.
   */
  readonly strategy?: Supervisor.Strategy | undefined
}

/** What can be adopted: a service class, or any layer; with a name, where that is needed. */
export type Adoptable = AnyClass | Layer.Layer<any, any, any>
/** One of several that are adopted together. */
export type Member = Adoptable | { readonly child: Adoptable; readonly name: string }
type AnyClass = Class<any, any, any, any, any>

type LayerOf<C> = C extends { readonly child: infer D }
  ? LayerOf<D>
  : C extends Class<infer Self, any, any, infer E, infer R>
    ? Layer.Layer<Self, E, R>
    : C extends Layer.Layer<infer A, infer E, infer R>
      ? Layer.Layer<A, E, R>
      : never

/** A child was used after it had stopped. */
export class ChildStoppedError extends Data.TaggedError("ChildStoppedError")<{
  /** The path of the service that adopted it. */
  readonly service: string
  readonly child: string
}> {
  override get message(): string {
    return `Service "${this.service}" adopted "${this.child}", which has stopped. Adopt it again to use it.`
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
    options?: Options<R2>
  ): Effect.Effect<Child<Shape>, E, R | R2 | ServiceScope.ServiceScope>
  <A, E, R, R2 = never>(
    layer: Layer.Layer<A, E, R>,
    options?: Options<R2>
  ): Effect.Effect<Child<Offered<A>>, E, R | R2 | ServiceScope.ServiceScope>
} = (child: Adoptable, options: Options<any> = {}): any =>
  Effect.suspend(() => {
    const { name } = Input.options("Service.adopt", options)
    const member = name === undefined ? child : { child, name }
    return Effect.map(supervise("Service.adopt", [member], options, "oneForOne"), ([only]) => only)
  })

/**
 * Starts several children under this service, one after another, and keeps them
 * under one policy, with one budget: where one is of no use without the other.
 * Each is a service class or a layer, or one of these with a name. When one
 * does not start, `adoptAll` fails with its error, and nothing of any is left.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Failure, Service } from "effect-services"
 *
 * class Reader extends Service.make<Reader>()("Reader", { onStart: Effect.void }) {}
 * class Writer extends Service.make<Writer>()("Writer", { onStart: (n: number) => Effect.succeed({ n }) }) {}
 *
 * class Pipe extends Service.make<Pipe>()("Pipe", {
 *   onStart: Effect.gen(function*() {
 *     const [, first] = yield* Service.adoptAll(
 *       [Reader, { child: Writer.layer(1), name: "first" }],
 *       { strategy: "restForOne", onFailure: Failure.restart() }
 *     )
 *     yield* Effect.log((yield* first.current).n)
 *   })
 * }) {}
 * ```
 */
export const adoptAll = <const Members extends ReadonlyArray<Member>, R2 = never>(
  members: Members,
  options: AllOptions<R2> = {}
): Effect.Effect<
  { readonly [K in keyof Members]: Child<Offered<Layer.Layer.Success<LayerOf<Members[K]>>>> },
  Layer.Layer.Error<LayerOf<Members[number]>>,
  Layer.Layer.Context<LayerOf<Members[number]>> | R2 | ServiceScope.ServiceScope
> =>
  Effect.suspend(() => {
    const where = "Service.adoptAll"
    const { strategy = "oneForOne" } = Input.options(where, options)
    if (!Array.isArray(members)) {
      throw new Input.InputError({ where, input: "members", expected: "an array", actual: members })
    }
    Input.oneOf(where, "strategy", ["oneForOne", "oneForAll", "restForOne"], strategy)
    // What is made of the members, in their order.
    return supervise(where, members, options, strategy) as any
  })

/** Starts layers under a service, and keeps them up as the options say. */
const supervise = (
  where: string,
  members: ReadonlyArray<Member>,
  options: Options<any>,
  strategy: Supervisor.Strategy
): Effect.Effect<ReadonlyArray<Child<unknown>>, unknown, any> =>
  Effect.gen(function* () {
    const parent = yield* ServiceScope.lifetime
    const timeout = Input.positiveMillis(where, "currentTimeout", options.currentTimeout ?? "5 seconds")
    const policy = Failure.check(where, options.onFailure) ?? Failure.escalate
    const budget = policy._tag === "Restart" ? Restarts.budgetOf(policy) : undefined
    const slots = members.map((member) => slotOf(where, parent, member))
    ServiceScope.admit(parent, "children", slots.map(({ plan }) => plan.label("a child")).join(", "))

    // Children that do not go down together have a supervisor each.
    const groups = strategy === "oneForOne" ? slots.map((slot) => [slot]) : [slots]
    const begun: Array<Child<unknown>> = []
    yield* Effect.forEach(groups, (group) =>
      Effect.flatMap(Supervisor.make(parent, group, { strategy, policy, budget }), (supervisor) => {
        for (const slot of group) begun.push(own(slot, supervisor, timeout))
        return supervisor.start
      })
    ).pipe(Effect.onError(() => Effect.forEach(begun.toReversed(), (child) => child.stop, { discard: true })))
    for (const { name } of begun) {
      yield* parent.owner.shared.journal.append({ _tag: "ChildAdopted", service: parent.path, child: name })
    }
    return begun
  })

const slotOf = (where: string, parent: ServiceScope.Lifetime, member: Member): Slot.Slot => {
  const named = typeof member === "object" && member !== null && "child" in member
  const child = named ? member.child : member
  const name = named ? Input.name(where, "name", member.name) : undefined
  const layer = Layer.isLayer(child) ? child : child?.layer
  if (!Layer.isLayer(layer)) {
    const expected = "a service class without parameters, or a layer, like Child.layer(options)"
    throw new Input.InputError({ where, input: "child", expected, actual: child })
  }
  return Slot.make({
    parent,
    layer,
    label: (service) => (name === undefined ? service : `${service}[${name}]`),
    adoption: { labels: new Set(), isOver: false }
  })
}

/** Notes a child with its parent, and gives its handle. */
const own = (slot: Slot.Slot, supervisor: Supervisor.Supervisor, timeoutMillis: number): Child<unknown> => {
  const { parent } = slot.plan
  const over = Deferred.await(slot.over)
  const stop = Effect.zipRight(
    Effect.sync(() => supervisor.stop(slot)),
    over
  )
  slot.owned = {
    stop,
    stopLimit: () => slot.life?.stopLimit() ?? 0,
    unfinished: () => (slot.life === undefined ? [] : Owner.unfinished(slot.life.owner.members)),
    status: () => Slot.status(slot)
  }
  parent.children.add(slot.owned)

  const names = () => ({ service: parent.path, child: Slot.nameOf(slot) })
  /** Work of the child, or what it waits for, must not wait for the child's end. */
  const unlessWithin = <A, E>(waits: Effect.Effect<A, E>): Effect.Effect<A | void, E> =>
    Effect.flatMap(Work.current, (caller) =>
      slot.owner !== undefined && Work.isWithin(caller, slot.owner) ? Effect.void : waits
    )
  const current: Child<unknown>["current"] = Effect.suspend(() => {
    const context = Slot.offered(slot)
    if (context !== undefined) return Effect.succeed(offeredBy(context, slot))
    if (slot.wanted === "down") return new ChildStoppedError(names())
    return Effect.flatMap(Deadline.within(Deferred.await(slot.ready), timeoutMillis), (isReady) =>
      Option.isSome(isReady)
        ? current
        : new ChildRestartingError({
            ...names(),
            waited: Duration.millis(timeoutMillis),
            reason: slot.reason ?? "it has not started yet"
          })
    )
  })
  const isUp: Effect.Effect<void, ChildStoppedError> = Effect.suspend(() => {
    if (Slot.offered(slot) !== undefined) return Effect.void
    if (slot.wanted === "down") return new ChildStoppedError(names())
    return Effect.zipRight(Deferred.await(slot.ready), isUp)
  })
  return {
    get name() {
      return Slot.nameOf(slot)
    },
    current,
    status: Effect.sync(() => Slot.state(slot)),
    stop: Effect.zipRight(
      Effect.sync(() => supervisor.stop(slot)),
      unlessWithin(over)
    ),
    restart: Effect.zipRight(supervisor.restart(slot), unlessWithin(isUp)),
    await: over
  }
}

/** What `Offered` says of the type. */
const offeredBy = (context: Context.Context<unknown>, slot: Slot.Slot): unknown => {
  const services = slot.services.filter(({ key }) => context.unsafeMap.has(key))
  const [only, ...others] = services
  // The services of the slot are those of the layer, so this is what the type counts.
  return only !== undefined && others.length === 0 ? context.unsafeMap.get(only.key) : context
}
