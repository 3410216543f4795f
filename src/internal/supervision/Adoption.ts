/** Adoption of children by a running service, such as a worker per tenant or an import per file. */
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
  /** Name in brackets, as in `CsvImport[orders.csv]`. Required from the second child of a class on. */
  readonly name?: string | undefined
  /**
   * The policy for a child that fails while it is up. It applies when the child
   * has been stopped; `Failure.restart` then starts it again. Defaults to
   * `Failure.escalate`, so that no failure passes unnoticed.
   */
  readonly onFailure?: Failure.Policy<unknown, R> | undefined
  /**
   * How long `current` waits for a child that restarts. Defaults to `5 seconds`,
   * longer than the first restarts take and shorter than most clients wait.
   */
  readonly currentTimeout?: Duration.DurationInput | undefined
}

/** Options of `adoptAll`. */
export interface AllOptions<out R = never> extends Omit<Options<R>, "name"> {
  /**
   * Which children the policy stops or restarts when one fails. Strategies as in
   * OTP: `"oneForOne"` (the default) only the failed child, `"oneForAll"` all
   * children, `"restForOne"` the failed child and those after it in the list.
   */
  readonly strategy?: Supervisor.Strategy | undefined
}

/** What can be adopted: a service class without parameters, or any layer. */
export type Adoptable = AnyClass | Layer.Layer<any, any, any>
/** A member of `adoptAll`: a child, or a child with a name. */
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
 * Starts a service class or layer as a child of this service, and waits until
 * it is up. When the start fails, it is rolled back, and `adopt` fails with the
 * layer's error.
 *
 * The child stops when it runs `Service.stop`, when the handle's `stop` runs, or
 * when this service stops: after its listeners and before its cleanups, in
 * reverse order of adoption. A child that fails is stopped and then fails this
 * service, unless `onFailure` says otherwise.
 *
 * Dies with `DuplicateChildError` when this service has a child of that name,
 * and with `InputError` on invalid options.
 */
export const adopt = <A, E, R, R2 = never, Shape = Child.Offered<A>>(
  child: Class<A, string, Shape, E, R> | Layer.Layer<A, E, R>,
  options: Options<R2> = {}
): Effect.Effect<Child.Child<Shape>, E, R | R2 | Lifetime.ServiceScope> =>
  Effect.suspend(() => {
    const { name } = Input.options("Service.adopt", options)
    const member = name === undefined ? child : { child, name }
    // `any`: `supervise` takes members of any type. It returns one handle per member, with that member's error and requirements.
    return Effect.map(supervise("Service.adopt", [member], options, "oneForOne"), ([only]) => only) as any
  })

/**
 * Starts several children that depend on each other, in order, under one policy
 * and one restart budget. When one fails to start, all are rolled back, and
 * `adoptAll` fails with its error.
 *
 * Dies with `DuplicateChildError` when a name is taken by another child, and with
 * `InputError` on invalid options.
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
    // `any`: `supervise` takes members of any type. It returns one handle per member, in their order.
    return supervise(where, members, options, strategy) as any
  })

/** Starts the members and registers them as children. */
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
    // `Array.from` and not `map`, which would skip the holes of an array.
    const children = Array.from(members, (member) => stateOf(where, parent, member, policy))
    Lifetime.admitChildren(parent, () => children.map(({ plan }) => plan.label("a child")).join(", "))

    // With `oneForOne`, each child has a supervisor of its own.
    const groups = strategy === "oneForOne" ? children.map((state) => [state]) : [children]
    const handles: Array<Child.Child<unknown>> = []
    yield* Effect.forEach(groups, (group) =>
      Effect.flatMap(Supervisor.make(parent, group, { strategy, policy, budget }), (supervisor) => {
        for (const state of group) handles.push(Child.own(state, supervisor, timeout))
        return supervisor.start
      })
    ).pipe(
      Effect.onError(() => Effect.forEach(handles.toReversed(), (child) => child.stop, { discard: true }))
    )
    for (const { name } of handles) {
      yield* parent.owner.shared.journal.append({ _tag: "ChildAdopted", service: parent.path, child: name })
    }
    return handles
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
