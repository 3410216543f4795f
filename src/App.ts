/**
 * An application made of services: it boots, runs until it is interrupted or a
 * service fails, and stops in order and in time.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as AppNotes from "./AppNotes.ts"
import * as Deadline from "./Deadline.ts"
import * as EventBus from "./EventBus.ts"
import * as Input from "./Input.ts"
import * as Journal from "./Journal.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"
import * as ServiceRegistry from "./ServiceRegistry.ts"
import type { State } from "./ServiceStatus.ts"

/** Options of `launch`. */
export interface Options {
  /** What logs call the app, and paths of services begin with. Defaults to `App`. */
  readonly name?: string | undefined
  /**
   * How long the whole app may take to stop. What has not stopped then is named,
   * and the app fails with `UncleanStopError` without it. Defaults to
   * `30 seconds`, the grace period of Kubernetes.
   */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/** A service of the app failed, and nothing was to handle it. The app has stopped. */
export class ServiceFailedError extends Data.TaggedError("ServiceFailedError")<{
  /** The path down to what failed: `Shop > Inbox > CsvImport[orders.csv] > rows`. */
  readonly origin: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    return `${this.origin} failed, so the app was stopped: ${Reason.ofCause(this.cause)}`
  }
}

/** The app has stopped, but not all of it did so in time and without failing. */
export class UncleanStopError extends Data.TaggedError("UncleanStopError")<{
  /** One line for each step that failed or hung. */
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `The app did not stop cleanly: ${this.problems.join("; ")}`
  }
}

/** What an app provides to what it runs. */
export type Provided = Journal.Journal | ServiceRegistry.ServiceRegistry

/** An app, to be launched once, and what a runtime such as `NodeApp` needs besides. */
export interface App {
  readonly launch: <A, E, R>(
    layer: Layer.Layer<A, E, R>
  ) => Effect.Effect<never, E | ServiceFailedError | UncleanStopError, Exclude<R, Provided>>
  /** Journals an error that nothing has caught, and asks for the stop. */
  readonly crash: (kind: string, error: unknown) => Effect.Effect<void>
  /** Asks for the stop, as an interruption of `launch` does, and says why. */
  readonly stop: (reason: string) => void
  /** The services that have not stopped, by path, each with what it is doing. */
  readonly unfinished: () => ReadonlyArray<string>
  /** How all services are; nothing before the launch. */
  readonly snapshot: Effect.Effect<Option.Option<ServiceRegistry.Snapshot>>
}

/**
 * Builds a layer, runs until interrupted or until a service fails, and stops:
 * dependents before what they need, each service within its `stopTimeout`, all
 * of it within the app's.
 *
 * Ends with the interruption that asked for it, or that of `Service.stop`, when
 * the stop was clean. Fails with the layer's error when it does not start, with
 * `ServiceFailedError` when a service failed, with `UncleanStopError` when the
 * stop was not clean.
 *
 * Events sent while it boots reach listeners that subscribe later in the boot.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { App, Service } from "effect-services"
 *
 * class Hello extends Service.make<Hello>()("Hello", {
 *   onStart: Service.interval(Effect.log("hello"), "1 second"),
 * }) {}
 *
 * const program = App.launch(Layer.mergeAll(Hello.layer), { name: "Greeter" })
 * ```
 */
export const launch = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  options: Options = {}
): Effect.Effect<never, E | ServiceFailedError | UncleanStopError, Exclude<R, Provided>> =>
  Effect.suspend(() => make(options).launch(layer))

/** An app before its launch. Throws `InputError` on a blank name or a useless duration. */
export const make = (options: Options = {}): App => {
  const where = "App.launch"
  Input.options(where, options)
  const name = Input.name(where, "name", options.name ?? "App")
  const stopTimeout = Input.positiveMillis(where, "stopTimeout", options.stopTimeout ?? "30 seconds")
  const members = new Set<Owner.Member>()
  const unfinished = () => Owner.unfinished(members).map(Owner.describe)
  const end = Deferred.unsafeMake<End>(FiberId.none)
  const stop = (reason: string) => Deferred.unsafeDone(end, Effect.succeed({ _tag: "Asked", reason }))

  let launched: Journal.Journal["Type"] | undefined
  let registry: ServiceRegistry.ServiceRegistry["Type"] | undefined
  const snapshot = Effect.suspend(() =>
    registry === undefined ? Effect.succeedNone : Effect.asSome(registry.snapshot)
  )
  const crash = (kind: string, error: unknown) =>
    Effect.suspend(() => {
      stop(kind)
      return launched?.append({ _tag: "AppCrashed", app: name, kind, cause: Cause.die(error) }) ?? Effect.void
    })

  const launch = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // Not a type guard, which would take the layer's types.
        const isLayer: boolean = Layer.isLayer(layer)
        if (launched !== undefined || !isLayer) {
          throw new Input.InputError({
            where,
            input: "layer",
            expected: "a layer, and that once",
            actual: layer
          })
        }
        const notes = AppNotes.make()
        const journal = AppNotes.taking(notes, yield* Journal.inherited, name, unfinished)
        launched = journal
        const shared = yield* Owner.makeShared(name, journal)
        registry = ServiceRegistry.make(shared)
        const owner: Owner.Owner = {
          shared,
          path: name,
          isCritical: true,
          parent: undefined,
          members,
          offers: new Map(),
          labels: undefined,
          label: (service) => service,
          failed: (_, origin, cause) => Deferred.succeed(end, { _tag: "Failed", origin, cause }),
          stopAsked: (member) => Effect.sync(() => stop(`${member.path} asked for it`))
        }
        // A bus from outside the app holds what is sent until all have subscribed, as one inside does.
        const outer = yield* Effect.serviceOption(EventBus.EventBus)
        if (Option.isSome(outer)) shared.boot.onOpen.push(outer.value.holdBoot())

        const startedAt = yield* Monotonic.millis
        const scope = yield* Scope.make()
        // A fiber of its own, so that a start that cannot be interrupted does not hold up the stop.
        const boot = yield* Layer.makeMemoMap.pipe(
          Effect.flatMap((memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope)),
          Effect.provideService(Owner.Owner, owner),
          Effect.provide(
            Context.make(Journal.Journal, journal).pipe(
              Context.add(ServiceRegistry.ServiceRegistry, registry)
            )
          ),
          Effect.interruptible,
          Effect.forkDaemon
        )
        const booted = yield* Effect.exit(
          restore(keepAlive(Effect.raceFirst(Deferred.await(end), Effect.map(Fiber.await(boot), asBooted))))
        )
        Owner.openBoot(shared.boot)
        yield* Effect.forEach(notes.waiting, Fiber.interruptFork)
        const isUp =
          Exit.isSuccess(booted) && booted.value._tag === "Booted" && Exit.isSuccess(booted.value.exit)
        if (isUp) {
          notes.phase = "up"
          Owner.forgetStopped(shared, members)
          yield* Owner.become(shared, { _tag: "Running" })
          yield* Fiber.inheritAll(boot)
          const took = yield* Monotonic.since(startedAt)
          yield* journal.append({ _tag: "AppStarted", app: name, services: members.size, took })
        }
        const exit = isUp ? yield* Effect.exit(restore(keepAlive(Deferred.await(end)))) : booted

        notes.phase = "stopping"
        yield* Owner.become(shared, { _tag: "Stopping", step: "services" })
        const stoppingAt = yield* Monotonic.millis
        const cause = causeOf(exit)
        yield* journal.append({ _tag: "AppStopping", app: name, reason: reasonOf(exit), cause })
        const all = Effect.gen(function* () {
          if (!isUp) {
            const limit = Math.min(Math.ceil(stopTimeout / 3), longestBootEnd)
            const ended = yield* Deadline.within(Fiber.interrupt(boot), limit)
            if (Exit.isFailure(exit) || exit.value._tag !== "Booted")
              notes.problems.push(...notes.failedStarts)
            if (Option.isNone(ended)) {
              const starting = Owner.unfinished(members).filter(({ state }) => state === "Starting")
              notes.problems.push(...starting.map((_) => `${Owner.describe(_)} could not be interrupted`))
              // A layer releases what it has built only when its build has ended.
              yield* Owner.stopMembers(members)
            }
          }
          yield* Scope.close(scope, Exit.void)
        })
        const stopped = yield* Deadline.within(Effect.uninterruptible(all), stopTimeout)
        if (Option.isNone(stopped)) {
          const late = Owner.unfinished(members)
          if (!late.some(({ state }) => state === "Stopping"))
            notes.problems.push("a layer that is no service hung")
          const waited = Duration.format(stopTimeout)
          notes.problems.push(...late.map((_) => `${Owner.describe(_)} had not stopped after ${waited}`))
          // What had to wait has not even been asked yet. It is too late for an order.
          const rest = Effect.forEach([...members], (member) => member.stop, { concurrency: "unbounded" })
          yield* Deadline.within(rest, lateStopMillis)
        } else if (Exit.isFailure(stopped.value)) {
          notes.problems.push(`a finalizer failed: ${Reason.ofCause(stopped.value.cause)}`)
        }
        const took = yield* Monotonic.since(stoppingAt)
        const { problems } = notes
        // Before the app is over, for which its services have to be: the end as they left it.
        const last = yield* registry.snapshot
        const ending: State =
          cause === undefined || Cause.isInterruptedOnly(cause)
            ? { _tag: "Stopped" }
            : { _tag: "Failed", reason: Reason.ofCause(cause) }
        yield* Owner.become(shared, ending)
        yield* journal.append({ _tag: "AppStopped", app: name, took, problems, snapshot: last })
        return yield* outcome(cause, problems)
      })
    )

  return { launch, crash, stop, unfinished, snapshot }
}

/** How long an interrupted boot is waited for, at most: a third of the default `stopTimeout`. */
const longestBootEnd = 10_000

/** What is left when the deadline of the app has passed gets this long: little, since the process is about to be killed. */
const lateStopMillis = 1_000

/** Why an app ends, when it is not interrupted. */
type End =
  | { readonly _tag: "Failed"; readonly origin: string; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "Asked"; readonly reason: string }

/** The boot has ended, one way or the other. */
interface Booted<E> {
  readonly _tag: "Booted"
  readonly exit: Exit.Exit<unknown, E>
}
const asBooted = <E>(exit: Exit.Exit<unknown, E>): Booted<E> => ({ _tag: "Booted", exit })

/** JavaScript ends a process that has nothing to wait for but an Effect. `Effect.never` holds a timer against that. */
const keepAlive = <A>(effect: Effect.Effect<A>): Effect.Effect<A> => Effect.raceFirst(effect, Effect.never)

const reasonOf = (exit: Exit.Exit<End | Booted<unknown>>): string => {
  if (Exit.isFailure(exit)) return "it was interrupted"
  switch (exit.value._tag) {
    case "Failed":
      return `${exit.value.origin} failed`
    case "Asked":
      return exit.value.reason
    case "Booted":
      return "it did not start"
  }
}

/** How the app ends: interrupted, when nothing went wrong. */
const outcome = <E>(cause: Cause.Cause<E> | undefined, problems: ReadonlyArray<string>) =>
  Effect.fiberIdWith((id): Effect.Effect<never, E | UncleanStopError> => {
    const why = cause ?? Cause.interrupt(id)
    return Effect.failCause(
      problems.length === 0 ? why : Cause.sequential(why, Cause.fail(new UncleanStopError({ problems })))
    )
  })

/** What went wrong; nothing when the app was asked to stop. */
const causeOf = <E>(exit: Exit.Exit<End | Booted<E>>): Cause.Cause<E | ServiceFailedError> | undefined => {
  if (Exit.isFailure(exit)) return exit.cause
  if (exit.value._tag === "Asked") return undefined
  if (exit.value._tag === "Failed") return Cause.fail(new ServiceFailedError(exit.value))
  if (Exit.isSuccess(exit.value.exit)) return undefined
  const { cause } = exit.value.exit
  return Cause.isInterruptedOnly(cause)
    ? Cause.die(new Cause.InterruptedException("The app did not start: a layer of it interrupted itself."))
    : cause
}
