/** Runs an application of services: boots it, waits for an interruption or a failure, and stops it in order. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Fork from "./internal/Fork.ts"
import * as Latch from "./internal/Latch.ts"
import * as AppLoggers from "./internal/lifecycle/AppLoggers.ts"
import * as ShutdownRecorder from "./internal/lifecycle/ShutdownRecorder.ts"
import * as BootReport from "./internal/status/BootReport.ts"
import * as Deadline from "./internal/lifecycle/Deadline.ts"
import * as Bus from "./internal/events/Bus.ts"
import * as Input from "./internal/Input.ts"
import * as Journal from "./internal/journal/Journal.ts"
import * as Monotonic from "./internal/Monotonic.ts"
import * as Owner from "./internal/lifecycle/Owner.ts"
import * as Printable from "./internal/Printable.ts"
import { StartError } from "./internal/lifecycle/StartError.ts"
import * as Reason from "./internal/Reason.ts"
import * as ServiceRegistry from "./ServiceRegistry.ts"
import * as Registry from "./internal/status/Registry.ts"
import type { State } from "./internal/status/ServiceStatus.ts"
import * as StopPlan from "./internal/status/StopPlan.ts"
import * as StopReport from "./internal/status/StopReport.ts"

export { render as renderBoot } from "./internal/status/BootReport.ts"
export { render as renderPlan } from "./internal/status/StopPlan.ts"
export { render as renderStop } from "./internal/status/StopReport.ts"
export type { BootedService, BootReport, CriticalStep } from "./internal/status/BootReport.ts"
export type { PlannedStop, StopPlan } from "./internal/status/StopPlan.ts"
export type { CriticalPath as Way } from "./internal/status/CriticalPath.ts"
export type { Outcome, Problem, StoppedService, StopReport } from "./internal/status/StopReport.ts"

/** Options of `launch`. */
export interface Options {
  /** Name in logs, and prefix of service paths. Defaults to `App`. */
  readonly name?: string | undefined
  /**
   * How long the app may take to stop. Then it ends with `UncleanStopError`, which
   * names the services that have not stopped. Defaults to `30 seconds`, the grace
   * period of Kubernetes.
   */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/** Services that an app provides to its layer. */
export type Provided = Journal.Journal | ServiceRegistry.ServiceRegistry

/** An app that can be launched once, with the controls that a runtime such as `NodeApp` needs. */
export interface App {
  readonly launch: <A, E, R>(
    layer: Layer.Layer<A, E, R>
  ) => Effect.Effect<never, E | ServiceFailedError | UncleanStopError, Exclude<R, Provided>>
  /** Records an uncaught error and requests the stop. The exit code is then not 0. */
  readonly crash: (kind: string, error: unknown) => Effect.Effect<void>
  /** Requests the stop, as interrupting `launch` does, with a reason for the journal. */
  readonly stop: (reason: string) => void
  /** One line for each service that has not stopped: its path and what it is doing. */
  readonly unfinished: () => ReadonlyArray<string>
  /** The status of all services. None before the launch. */
  readonly snapshot: Effect.Effect<Option.Option<ServiceRegistry.Snapshot>>
  /** How the app has stopped, with its exit code. None before the end. */
  readonly report: Effect.Effect<Option.Option<StopReport.StopReport>>
}

/** A service failed and no policy handled it, so the app has stopped. */
export class ServiceFailedError extends Data.TaggedError("ServiceFailedError")<{
  /** Path to the work that failed: `Shop > Inbox > CsvImport[orders.csv] > rows`. */
  readonly origin: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    return `${this.origin} failed, so the app was stopped: ${Reason.ofCause(this.cause)}`
  }
}

/** The app has stopped, but steps of its stop failed or passed their deadline. */
export class UncleanStopError extends Data.TaggedError("UncleanStopError")<{
  /** One line for each step that failed or hung. */
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `The app did not stop cleanly: ${this.problems.join("; ")}`
  }
}

/** Predicts the stop: the order of services and the worst-case duration, from the current status. */
export const plan: Effect.Effect<StopPlan.StopPlan, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  StopPlan.make
)

/**
 * Builds a layer and runs it until interrupted, until a service fails, or until
 * one runs `Service.stop`. Then stops the services, dependents before their
 * dependencies, each within its own `stopTimeout` and all within the app's.
 *
 * Ends interrupted after a clean stop. Fails with the layer's error when the
 * start fails, with `ServiceFailedError` when a service fails, and with
 * `UncleanStopError` when a step of the stop fails or hangs. Dies with
 * `InputError` on invalid options.
 *
 * Events sent during the boot reach listeners that subscribe later in the boot.
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

/** Makes an app without launching it, for runtimes. Throws `InputError` on a blank name or an invalid duration. */
export const make = (options: Options = {}): App => {
  const where = "App.launch"
  Input.options(where, options)
  const name = Input.name(where, "name", options.name ?? "App")
  const stopTimeout = Input.positiveMillis(where, "stopTimeout", options.stopTimeout ?? "30 seconds")
  const members = new Set<Owner.Member>()
  const unfinished = () => Owner.unfinished(members).map(Owner.describe)
  const end = Deferred.unsafeMake<End>(Latch.internal)
  const stop = (reason: string) => Deferred.unsafeDone(end, Effect.succeed({ _tag: "Asked", reason }))

  let launched: Journal.Journal["Type"] | undefined
  let registry: ServiceRegistry.ServiceRegistry["Type"] | undefined
  const snapshot = Effect.suspend(() =>
    registry === undefined ? Effect.succeedNone : Effect.asSome(registry.snapshot)
  )
  // While it boots; later they are those of the fiber of the launch.
  let bootLoggers: AppLoggers.AppLoggers | undefined
  let crashedBy: string | undefined
  let stopped: Omit<StopReport.Facts, "crash"> | undefined
  // Made on demand: a crash may come after the stop, and the exit code must reflect it.
  const stopReport = (facts: Omit<StopReport.Facts, "crash">) =>
    StopReport.make({ ...facts, crash: crashedBy })
  const report = Effect.sync(() => Option.map(Option.fromNullable(stopped), stopReport))
  const crash = (kind: string, error: unknown) =>
    Effect.suspend(() => {
      crashedBy ??= kind
      stop(kind)
      if (launched === undefined) return Effect.void
      const journaled = launched.append({ _tag: "AppCrashed", app: name, kind, cause: Cause.die(error) })
      return bootLoggers === undefined
        ? journaled
        : Effect.locally(journaled, FiberRef.currentLoggers, bootLoggers.own)
    })

  const launch = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // As a boolean, because the type guard would lose the layer's type parameters.
        const isLayer: boolean = Layer.isLayer(layer)
        if (launched !== undefined || !isLayer) {
          throw new Input.InputError({
            where,
            input: "layer",
            expected: "a layer, and that once",
            actual: layer
          })
        }
        const records = ShutdownRecorder.make()
        const journal = ShutdownRecorder.recording(records, yield* Journal.inherited, name, unfinished)
        launched = journal
        const shared = yield* Owner.makeShared(name, journal, stopTimeout)
        registry = Registry.make(shared)
        const owner: Owner.Owner = {
          shared,
          path: name,
          isCritical: true,
          parent: undefined,
          members,
          offers: new Map(),
          labels: undefined,
          label: (service) => service,
          isStopping: () => shared.root.state._tag !== "Starting" && shared.root.state._tag !== "Running",
          failed: (_, origin, cause) => Deferred.succeed(end, { _tag: "Failed", origin, cause }),
          stopAsked: (member) => Effect.sync(() => stop(`${member.path} asked for it`))
        }
        // A bus from outside the app holds events until the end of the boot, as one inside does.
        const outerBus = yield* Effect.serviceOption(Bus.EventBus)
        if (Option.isSome(outerBus)) shared.boot.onOpen.push(Bus.whole(outerBus.value).holdBoot())

        const scope = yield* Scope.make()
        const loggers = yield* AppLoggers.make
        bootLoggers = loggers
        // A fiber of its own, so that an uninterruptible start does not delay the stop.
        const boot = yield* Layer.makeMemoMap.pipe(
          Effect.flatMap((memoMap) =>
            Layer.buildWithMemoMap(layer, AppLoggers.noting(loggers, memoMap), scope)
          ),
          Effect.provideService(Owner.Owner, owner),
          Effect.provide(
            Context.make(Journal.Journal, journal).pipe(
              Context.add(ServiceRegistry.ServiceRegistry, registry)
            )
          ),
          Effect.interruptible,
          Fork.told,
          Effect.forkDaemon
        )
        const booted = yield* Effect.exit(
          restore(keepAlive(Effect.raceFirst(Deferred.await(end), Effect.map(Fiber.await(boot), asBooted))))
        )
        Owner.openBoot(shared.boot)
        yield* Effect.forEach(records.bootTimers, Fiber.interruptFork)
        const isUp =
          Exit.isSuccess(booted) && booted.value._tag === "Booted" && Exit.isSuccess(booted.value.exit)
        if (isUp) {
          ShutdownRecorder.markUp(records)
          Owner.forgetStopped(shared, members)
          yield* Owner.become(shared, { _tag: "Running" })
          yield* Fiber.inheritAll(boot)
          loggers.own = yield* FiberRef.get(FiberRef.currentLoggers)
          bootLoggers = undefined
          const took = yield* Monotonic.since(shared.root.begunAt)
          const snapshot = yield* registry.snapshot
          const report = BootReport.make(snapshot, took)
          yield* journal.append({ _tag: "AppStarted", app: name, report })
          const logReport = Effect.suspend(() => Effect.logDebug(BootReport.render(report)))
          yield* Effect.whenLogLevel(logReport, LogLevel.Debug)
          const plan = StopPlan.make(snapshot)
          if (!plan.fits) yield* journal.append({ _tag: "StopPlanTooLong", app: name, plan })
        }
        const exit = isUp ? yield* Effect.exit(restore(keepAlive(Deferred.await(end)))) : booted

        const hasFailedToStart = Exit.isSuccess(exit) && exit.value._tag === "Booted"
        // A failed boot has already undone what it built.
        if (!isUp) yield* hasFailedToStart ? AppLoggers.outlive(loggers) : AppLoggers.use(loggers)
        const hasFailed = Exit.isSuccess(exit) && exit.value._tag !== "Asked"
        bootLoggers = undefined
        ShutdownRecorder.beginStop(records, yield* Monotonic.millis, hasFailed)
        yield* Owner.become(shared, { _tag: "Stopping", step: "services" })
        const cause = causeOf(exit)
        const reason = reasonOf(exit)
        const origin = Exit.isSuccess(exit) && exit.value._tag === "Failed" ? exit.value.origin : ""
        yield* journal.append({ _tag: "AppStopping", app: name, reason, cause })
        const stopAll = Effect.gen(function* () {
          if (!isUp) {
            const limit = Math.min(Math.ceil(stopTimeout / 3), maxBootEndMillis)
            const ended = yield* Deadline.within(Fiber.interrupt(boot), limit)
            if (!hasFailedToStart) {
              for (const [service, problem] of records.failedStarts) {
                // The error of the app reports this one already.
                if (!origin.startsWith(`${service} > `)) records.problems.push(problem)
              }
            }
            if (Option.isNone(ended)) {
              for (const { path, state } of Owner.unfinished(members)) {
                const after = Duration.millis(limit)
                if (state === "Starting")
                  ShutdownRecorder.addProblem(records, path, { _tag: "StartHung", after })
              }
              // Stop directly: a layer releases what it acquired only when its build has ended.
              yield* Owner.stopMembers(members)
            }
          }
          yield* Scope.close(scope, Exit.void)
        })
        const begunAt = yield* Monotonic.millis
        const ended = yield* Deadline.within(Effect.uninterruptible(stopAll), stopTimeout)
        const took = yield* Monotonic.since(begunAt)
        yield* AppLoggers.outlive(loggers)
        if (Option.isNone(ended)) {
          const late = Owner.unfinished(members)
          if (!late.some(({ state }) => state === "Stopping"))
            records.problems.push("a layer that is no service hung")
          for (const { doing, path, state, work } of late) {
            // A service that is not stopping yet was only waiting for its turn.
            const alive = state === "Stopping" ? work : []
            const after = Duration.millis(stopTimeout)
            ShutdownRecorder.addProblem(records, path, { _tag: "Late", after, doing, alive })
          }
          // Services behind the hung one have not been asked to stop. No time is left for an order.
          const stopRest = Effect.forEach([...members], (member) => member.stop, { concurrency: "unbounded" })
          yield* Deadline.within(stopRest, lateStopMillis)
        } else {
          if (Exit.isFailure(ended.value))
            records.problems.push(`a finalizer failed: ${Reason.ofCause(ended.value.cause)}`)
          // The timer of the deadline was held up, too.
          if (Duration.toMillis(took) > stopTimeout)
            records.problems.push(
              `the stop took ${Duration.format(took)}, longer than its deadline: the event loop was blocked`
            )
        }
        // Taken before the state changes, as the last status of the services.
        const last = yield* registry.snapshot
        const failure =
          cause === undefined || Cause.isInterruptedOnly(cause) ? undefined : Reason.ofCause(cause)
        const ending: State =
          failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: failure }
        yield* Owner.become(shared, ending)
        stopped = {
          app: name,
          reason,
          took: yield* Monotonic.since(records.stoppingAt),
          stopTimeout: Duration.millis(stopTimeout),
          services: ShutdownRecorder.stopsUntil(records, yield* Monotonic.millis),
          problems: records.problems,
          failure
        }
        const report = stopReport(stopped)
        yield* journal.append({ _tag: "AppStopped", app: name, report, snapshot: last })
        return yield* outcome(cause, StopReport.problemsOf(report))
      })
    )

  return { launch, crash, stop, unfinished, snapshot, report }
}

/** How long the stop waits for an interrupted boot, at most: a third of the default `stopTimeout`. */
const maxBootEndMillis = 10_000

/** Time for the remaining services after the app's deadline: short, because the process is about to be killed. */
const lateStopMillis = 1_000

/** Keeps the process alive while the effect waits. */
const keepAlive = <A>(effect: Effect.Effect<A>): Effect.Effect<A> => Effect.raceFirst(effect, Latch.never)

/** Why an app ends, unless it is interrupted. */
type End =
  | { readonly _tag: "Failed"; readonly origin: string; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "Asked"; readonly reason: string }

/** The exit of the boot. */
interface Booted<E> {
  readonly _tag: "Booted"
  readonly exit: Exit.Exit<unknown, E>
}
const asBooted = <E>(exit: Exit.Exit<unknown, E>): Booted<E> => ({ _tag: "Booted", exit })

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

/** The cause that ends the app; undefined when a stop was requested. */
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

/** The exit of `launch`: interrupted, when nothing went wrong. */
const outcome = <E>(cause: Cause.Cause<E> | undefined, problems: ReadonlyArray<string>) =>
  Effect.fiberIdWith((id): Effect.Effect<never, E | UncleanStopError> => {
    const why = cause === undefined ? Cause.interrupt(id) : printable(cause)
    return Effect.failCause(
      problems.length === 0 ? why : Cause.sequential(why, Cause.fail(new UncleanStopError({ problems })))
    )
  })

/**
 * As it is, if it can be printed. Effect's `runPromise` and a fiber that nobody
 * observes print what they fail with; where that throws, the promise is never
 * settled, or the process ends without a reason. `Cause.originalError` gives what
 * an error stands for, and the journal has it.
 */
const printable = <E>(cause: Cause.Cause<E>): Cause.Cause<E> => {
  if (Printable.isPrintable(cause)) return cause
  const rebuilt = (error: unknown) => {
    if (Reason.isA(error, StartError))
      return new StartError({
        service: error.service,
        step: error.step,
        cause: Printable.ofCause(error.cause)
      })
    if (Reason.isA(error, ServiceFailedError))
      return new ServiceFailedError({ origin: error.origin, cause: Printable.ofCause(error.cause) })
    return undefined
  }
  // An error of the layer that cannot be printed is given as one that can: no type says that.
  return Printable.ofCause(cause, rebuilt) as Cause.Cause<E>
}
