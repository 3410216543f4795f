/**
 * A layer that a running service starts, owns and stops: a worker per tenant,
 * an import per file.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Deadline from "./Deadline.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Owner from "./Owner.ts"
import * as ServiceScope from "./ServiceScope.ts"

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

/** Starts a layer under a service. `pick` takes what the handle offers from what was built. */
export const adopt = <A, E, R, Offered, R2>(
  layer: Layer.Layer<A, E, R>,
  options: Options<R2>,
  pick: (context: Context.Context<A>, members: ReadonlySet<Owner.Member>) => Offered
): Effect.Effect<Child<Offered>, E, R | R2 | ServiceScope.ServiceScope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const parent = yield* ServiceScope.ServiceScope
      const label = labelWith(
        options.name === undefined ? undefined : Input.name("Service.adopt", "name", options.name)
      )
      ServiceScope.admit(parent, "children", label("a child"))
      const policy: Failure.Failure<unknown, R2> = options.onFailure ?? Failure.escalate
      const context = yield* Effect.context<R2>()
      const { journal } = parent.owner.app
      const scope = yield* Scope.make()
      const stopped = Deferred.unsafeMake<void>(FiberId.none)
      let phase: "building" | "running" | "stopping" = "building"

      const name = () => [...owner.members].map((member) => member.label).join(", ") || label("a layer")
      const unfinished = () => [...owner.members].flatMap((member) => member.unfinished())
      // A layer that is no service has no deadline of its own, and gets its parent's.
      const stopLimit = () =>
        Math.max(
          parent.stopTimeout,
          [...owner.members].reduce((sum, member) => sum + member.stopLimit(), 0)
        )

      const close = Effect.gen(function* () {
        const step = `child ${name()}`
        const limit = stopLimit()
        const exit = yield* Deadline.within(Effect.uninterruptible(Scope.close(scope, Exit.void)), limit)
        if (Option.isNone(exit)) {
          const after = Duration.millis(limit)
          yield* journal.append({
            _tag: "StopTimedOut",
            service: parent.path,
            step,
            after,
            alive: unfinished()
          })
        } else if (Exit.isFailure(exit.value)) {
          yield* journal.append({
            _tag: "StopStepFailed",
            service: parent.path,
            step,
            cause: exit.value.cause
          })
        }
        parent.children.delete(child)
        yield* Deferred.succeed(stopped, undefined)
      })
      const askStop = Effect.suspend(() => {
        if (phase === "stopping") return Effect.void
        phase = "stopping"
        return Effect.asVoid(Effect.forkDaemon(close))
      }).pipe(Effect.uninterruptible)
      const stop = Effect.zipRight(askStop, Deferred.await(stopped))

      // One service of the layer may fail or ask to be stopped while others still start.
      let early: Effect.Effect<void> = Effect.void
      const whenBuilt = (effect: Effect.Effect<void>) =>
        Effect.suspend(() => {
          if (phase !== "building") return effect
          early = effect
          return Effect.void
        })

      const owner: Owner.Owner = {
        app: parent.owner.app,
        path: parent.path,
        parent: parent.owner,
        members: new Set(),
        labels: parent.childLabels,
        label,
        failed: (member, origin, cause) =>
          whenBuilt(
            Effect.zipRight(
              stop,
              ServiceScope.answer(parent, {
                policy,
                cause,
                origin,
                work: `child ${member.label}`,
                told: Effect.void
              })
            ).pipe(
              Effect.provide(context),
              Effect.annotateLogs("service", parent.path),
              Effect.interruptible,
              Effect.forkDaemon,
              Effect.asVoid
            )
          ),
        stopAsked: () => whenBuilt(askStop)
      }
      const child: ServiceScope.Child = { stop, stopLimit, unfinished }
      parent.children.add(child)

      const built = yield* Layer.makeMemoMap.pipe(
        Effect.flatMap((memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope)),
        Effect.provideService(Owner.Owner, owner),
        restore,
        Effect.exit
      )
      if (Exit.isFailure(built)) return yield* Effect.zipRight(stop, Effect.failCause(built.cause))
      phase = phase === "building" ? "running" : phase
      yield* early
      const handleName = name()
      const offered = pick(built.value, owner.members)
      yield* journal.append({ _tag: "ChildAdopted", service: parent.path, child: handleName })
      return {
        name: handleName,
        current: Effect.suspend(() =>
          phase === "stopping"
            ? new ChildStoppedError({ service: parent.path, child: handleName })
            : Effect.succeed(offered)
        ),
        stop: Effect.contextWithEffect((caller: Context.Context<never>) =>
          isWithin(Context.getOption(caller, ServiceScope.ServiceScope), owner) ? askStop : stop
        ),
        await: Deferred.await(stopped)
      }
    })
  )

const labelWith =
  (name: string | undefined) =>
  (service: string): string =>
    name === undefined ? service : `${service}[${name}]`

/** Whether the one who asks is work of a service that this owner has, or of one below it. */
const isWithin = (caller: Option.Option<ServiceScope.Running>, owner: Owner.Owner): boolean => {
  let above = Option.isSome(caller) ? caller.value.owner : undefined
  while (above !== undefined && above !== owner) above = above.parent
  return above === owner
}
