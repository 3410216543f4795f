/**
 * A layer that a running service starts, owns and stops: a worker per tenant,
 * an import per file.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Escalation from "./Escalation.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Owner from "./Owner.ts"
import type { Class, Instance } from "./ServiceClass.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Shutdown from "./Shutdown.ts"
import * as Work from "./Work.ts"

/** An adopted child. */
export interface Child<out Offered> {
  readonly name: string
  /** What the child offers. Fails when the child has stopped. */
  readonly current: Effect.Effect<Offered, ChildStoppedError>
  /**
   * Stops the child and waits until it has stopped. Called from within the
   * child's own work, it does not wait.
   */
  readonly stop: Effect.Effect<void>
  /** Waits until the child has stopped, for whatever reason. Its name is free then. */
  readonly await: Effect.Effect<void>
}

/** Options of `adopt`. */
export interface Options<out R = never> {
  /** Tells the child from its siblings, as `CsvImport[orders.csv]`. Needed from the second of a class on. */
  readonly name?: string | undefined
  /** What to do, after it is stopped, with a child that failed. Defaults to `Failure.escalate`. */
  readonly onFailure?: Failure.Failure<unknown, R> | undefined
}

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
} = (child: Class<any, any, any, any, any> | Layer.Layer<any, any, any>, options: Options<any> = {}): any =>
  Effect.suspend(() => {
    const layer = Layer.isLayer(child) ? child : child?.layer
    if (!Layer.isLayer(layer)) {
      const expected = "a service class without parameters, or a layer, like Child.layer(options)"
      throw new Input.InputError({ where: "Service.adopt", input: "child", expected, actual: child })
    }
    return start(layer, Input.options("Service.adopt", options))
  })

/** Starts a layer under a service. */
const start = <A, E, R, R2>(
  layer: Layer.Layer<A, E, R>,
  options: Options<R2>
): Effect.Effect<Child<Offered<A>>, E, R | R2 | ServiceScope.ServiceScope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const parent = yield* ServiceScope.lifetime
      const label = labelWith(
        options.name === undefined ? undefined : Input.name("Service.adopt", "name", options.name)
      )
      const policy: Failure.Failure<unknown, R2> =
        Failure.check("Service.adopt", options.onFailure) ?? Failure.escalate
      const context = yield* Effect.context<R2>()
      const { journal } = parent.owner.shared
      const scope = yield* Scope.make()
      const stopped = Deferred.unsafeMake<void>(FiberId.none)
      let phase: "building" | "running" | "stopping" = "building"

      const name = () => [...owner.members].map((member) => member.label).join(", ") || label("a layer")
      const unfinished = () => Owner.unfinished(owner.members)
      // A layer that is no service has no deadline of its own, and gets its parent's.
      const stopLimit = () =>
        Math.max(
          parent.stopTimeout,
          [...owner.members].reduce((sum, member) => sum + member.stopLimit(), 0)
        )

      const close = Effect.gen(function* () {
        // A layer releases what it has built only when its build has ended.
        const reached = isBuilt ? Effect.void : Owner.stopMembers(owner.members)
        const closed = Effect.uninterruptible(Effect.zipRight(reached, Scope.close(scope, Exit.void)))
        yield* Shutdown.step(parent, `child ${name()}`, closed, {
          limitMillis: stopLimit(),
          alive: () => unfinished().map(Owner.describe)
        })
        parent.children.delete(child)
        yield* Deferred.succeed(stopped, undefined)
      })
      const askStop = Effect.suspend(() => {
        if (phase === "stopping") return Effect.void
        phase = "stopping"
        Runtime.runFork(parent.runtime)(close)
        return Effect.void
      })
      const stop = Effect.zipRight(askStop, Deferred.await(stopped))

      let isBuilt = false
      let stopAsked = false
      // One service of the layer may fail while others still start: then they need not go on.
      let early: Cause.Cause<unknown> | undefined
      let interruptBuild = () => {}

      const owner: Owner.Owner = {
        shared: parent.owner.shared,
        path: parent.path,
        parent: parent.owner,
        members: new Set(),
        labels: parent.childLabels,
        label,
        failed: (member, origin, cause) => {
          if (!isBuilt) {
            early ??= cause
            return Effect.sync(() => interruptBuild())
          }
          const work = `child ${member.label}`
          const answer = Escalation.applyPolicy(parent, { policy, cause, origin, work })
          // The policy is the parent's work: it ends with the parent at the latest.
          const answered = ServiceScope.fork(
            parent,
            `the failure policy of ${work}`,
            Effect.provide(answer, context)
          )
          return Effect.sync(() => {
            Runtime.runFork(parent.runtime)(
              Effect.zipRight(stop, answered).pipe(
                Effect.annotateLogs("service", parent.path),
                // The parent stops itself, and everything of it with it.
                Effect.catchAllDefect((defect) =>
                  defect instanceof ServiceScope.ServiceStoppedError ? Effect.void : Effect.die(defect)
                )
              )
            )
          })
        },
        stopAsked: () => {
          stopAsked = true
          return isBuilt ? askStop : Effect.void
        }
      }
      const child: ServiceScope.OwnedChild = { stop, stopLimit, unfinished }
      ServiceScope.admit(parent, "children", label("a child"))
      parent.children.add(child)

      const building = yield* Layer.makeMemoMap.pipe(
        Effect.flatMap((memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope)),
        Effect.provideService(Owner.Owner, owner),
        restore,
        Effect.forkDaemon
      )
      interruptBuild = () => building.unsafeInterruptAsFork(building.id())
      if (early !== undefined) interruptBuild()
      const built = yield* restore(Fiber.await(building)).pipe(
        Effect.onInterrupt(() => Fiber.interrupt(building)),
        Effect.zipLeft(Fiber.inheritAll(building))
      )
      isBuilt = true
      if (Exit.isFailure(built) || early !== undefined) {
        yield* stop
        // A service that fails on its own in the middle is not what the layer's type tells of.
        const cause = Exit.isFailure(built) && !Cause.isInterruptedOnly(built.cause) ? built.cause : undefined
        if (cause !== undefined) return yield* Effect.failCause(cause)
        return yield* early === undefined ? Effect.interrupt : Effect.die(Cause.squash(early))
      }
      phase = phase === "building" ? "running" : phase
      if (stopAsked) yield* askStop
      const handleName = name()
      const offered = offeredBy(built.value, owner.members)
      yield* journal.append({ _tag: "ChildAdopted", service: parent.path, child: handleName })
      return {
        name: handleName,
        current: Effect.suspend(() =>
          phase === "stopping"
            ? new ChildStoppedError({ service: parent.path, child: handleName })
            : Effect.succeed(offered)
        ),
        stop: Effect.flatMap(Work.current, (caller) => (Work.isWithin(caller, owner) ? askStop : stop)),
        await: Deferred.await(stopped)
      }
    })
  )

const labelWith =
  (name: string | undefined) =>
  (service: string): string =>
    name === undefined ? service : `${service}[${name}]`

/** What `Offered` says of the type. */
const offeredBy = <A>(context: Context.Context<A>, members: ReadonlySet<Owner.Member>): Offered<A> => {
  const services = [...members].filter((member) => context.unsafeMap.has(member.key))
  const [only, ...others] = services
  const isOne = only !== undefined && others.length === 0
  // The members are the services of the layer, so this is what the type counts.
  return (isOne ? context.unsafeMap.get(only.key) : context) as Offered<A>
}
