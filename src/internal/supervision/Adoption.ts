/**
 * Adopting: a running service starts, owns and stops layers: a worker per
 * tenant, an import per file.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Child from "./Child.ts"
import * as Failure from "../../Failure.ts"
import * as Input from "../Input.ts"
import * as Restarts from "./Restarts.ts"
import * as Policy from "./Policy.ts"
import type { Class } from "../lifecycle/ServiceClass.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import * as ChildState from "./ChildState.ts"
import * as Supervisor from "./Supervisor.ts"

/** Options of `adopt`. */
export interface Options<out R = never> {
  /** Tells the child from its siblings, as `CsvImport[orders.csv]`. Needed from the second of a class on. */
  readonly name?: string | undefined
  /**
   * What to do with a child that failed, when it has been stopped. With
   * `Failure.restart` it is started anew. Defaults to `Failure.escalate`.
   */
  readonly onFailure?: Failure.Policy<unknown, R> | undefined
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
export const adopt = <A, E, R, R2 = never, Shape = Child.Offered<A>>(
  child: Class<A, string, Shape, E, R> | Layer.Layer<A, E, R>,
  options: Options<R2> = {}
): Effect.Effect<Child.Child<Shape>, E, R | R2 | Lifetime.ServiceScope> =>
  Effect.suspend(() => {
    const { name } = Input.options("Service.adopt", options)
    const member = name === undefined ? child : { child, name }
    // `supervise` returns one child per member; `Shape` is what this one offers.
    return Effect.map(supervise("Service.adopt", [member], options, "oneForOne"), ([only]) => only) as any
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
  { readonly [K in keyof Members]: Child.Child<Child.Offered<Layer.Layer.Success<LayerOf<Members[K]>>>> },
  Layer.Layer.Error<LayerOf<Members[number]>>,
  Layer.Layer.Context<LayerOf<Members[number]>> | R2 | Lifetime.ServiceScope
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
): Effect.Effect<ReadonlyArray<Child.Child<unknown>>, unknown, any> =>
  Effect.gen(function* () {
    const parent = yield* Lifetime.lifetime
    const timeout = Input.positiveMillis(where, "currentTimeout", options.currentTimeout ?? "5 seconds")
    const policy = Policy.check(where, options.onFailure) ?? Failure.escalate
    const budget = Restarts.budgetOf(policy)
    // An array may have holes, which `map` passes over.
    const children = Array.from(members, (member) => stateOf(where, parent, member, policy))
    Lifetime.admitChildren(parent, () => children.map(({ plan }) => plan.label("a child")).join(", "))

    // Children that do not go down together have a supervisor each.
    const groups = strategy === "oneForOne" ? children.map((state) => [state]) : [children]
    const begun: Array<Child.Child<unknown>> = []
    yield* Effect.forEach(groups, (group) =>
      Effect.flatMap(Supervisor.make(parent, group, { strategy, policy, budget }), (supervisor) => {
        for (const state of group) begun.push(Child.own(state, supervisor, timeout))
        return supervisor.start
      })
    ).pipe(Effect.onError(() => Effect.forEach(begun.toReversed(), (child) => child.stop, { discard: true })))
    for (const { name } of begun) {
      yield* parent.owner.shared.journal.append({ _tag: "ChildAdopted", service: parent.path, child: name })
    }
    return begun
  })

const stateOf = (
  where: string,
  parent: Lifetime.Lifetime,
  member: Member,
  policy: Failure.Policy<unknown, any>
): ChildState.ChildState => {
  const named = typeof member === "object" && member !== null && "child" in member
  const child = named ? member.child : member
  const name = named ? Input.name(where, "name", member.name) : undefined
  const layer = Layer.isLayer(child) ? child : child?.layer
  if (!Layer.isLayer(layer)) {
    const expected = "a service class without parameters, or a layer, like Child.layer(options)"
    throw new Input.InputError({ where, input: "child", expected, actual: child })
  }
  return ChildState.make({
    parent,
    layer,
    label: (service) => (name === undefined ? service : `${service}[${name}]`),
    claim: { labels: new Set(), isOver: false },
    isCritical: parent.owner.isCritical && Policy.escalates(policy)
  })
}
