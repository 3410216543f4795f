/**
 * An application made of services: it boots, runs until it is interrupted or a
 * service fails, and stops in order and in time.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Fork from "./internal/Fork.ts"
import * as Latch from "./internal/Latch.ts"
import * as AppEnd from "./internal/lifecycle/AppEnd.ts"
import * as ShutdownRecorder from "./internal/lifecycle/ShutdownRecorder.ts"
import * as BootReport from "./internal/status/BootReport.ts"
import * as Deadline from "./internal/lifecycle/Deadline.ts"
import * as Bus from "./internal/events/Bus.ts"
import * as Input from "./internal/Input.ts"
import * as Journal from "./internal/journal/Journal.ts"
import * as Monotonic from "./internal/Monotonic.ts"
import * as Owner from "./internal/lifecycle/Owner.ts"
import * as Reason from "./internal/Reason.ts"
import * as ServiceRegistry from "./ServiceRegistry.ts"
import * as Registry from "./internal/status/Registry.ts"
import type { State } from "./internal/status/ServiceStatus.ts"
import * as StopPlan from "./internal/status/StopPlan.ts"
import * as StopReport from "./internal/status/StopReport.ts"

export { ServiceFailedError, UncleanStopError } from "./internal/lifecycle/AppEnd.ts"
export { render as renderBoot } from "./internal/status/BootReport.ts"
export { render as renderPlan } from "./internal/status/StopPlan.ts"
export { render as renderStop } from "./internal/status/StopReport.ts"
export type { BootedService, BootReport, CriticalStep } from "./internal/status/BootReport.ts"
export type { PlannedStop, StopPlan } from "./internal/status/StopPlan.ts"
export type { CriticalPath as Way } from "./internal/status/CriticalPath.ts"
export type { Outcome, Problem, StoppedService, StopReport } from "./internal/status/StopReport.ts"

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

/** What an app provides to what it runs. */
export type Provided = Journal.Journal | ServiceRegistry.ServiceRegistry

/** An app, to be launched once, and what a runtime such as `NodeApp` needs besides. */
export interface App {
  readonly launch: <A, E, R>(
    layer: Layer.Layer<A, E, R>
  ) => Effect.Effect<never, E | AppEnd.ServiceFailedError | AppEnd.UncleanStopError, Exclude<R, Provided>>
  /** Journals an error that nothing has caught, and asks for the stop. */
  readonly crash: (kind: string, error: unknown) => Effect.Effect<void>
  /** Asks for the stop, as an interruption of `launch` does, and says why. */
  readonly stop: (reason: string) => void
  /** The services that have not stopped, by path, each with what it is doing. */
  readonly unfinished: () => ReadonlyArray<string>
  /** How all services are; nothing before the launch. */
  readonly snapshot: Effect.Effect<Option.Option<ServiceRegistry.Snapshot>>
  /** How it has stopped, and with what exit code; nothing before the end. */
  readonly report: Effect.Effect<Option.Option<StopReport.StopReport>>
}

/** How the app will stop, as far as it is known now. */
export const plan: Effect.Effect<StopPlan.StopPlan, never, ServiceRegistry.ServiceRegistry> = Effect.map(
  ServiceRegistry.snapshot,
  StopPlan.make
)

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
): Effect.Effect<never, E | AppEnd.ServiceFailedError | AppEnd.UncleanStopError, Exclude<R, Provided>> =>
  Effect.suspend(() => make(options).launch(layer))

/** An app before its launch. Throws `InputError` on a blank name or a useless duration. */
export const make = (options: Options = {}): App => {
  const where = "App.launch"
  Input.options(where, options)
  const name = Input.name(where, "name", options.name ?? "App")
  const stopTimeout = Input.positiveMillis(where, "stopTimeout", options.stopTimeout ?? "30 seconds")
  const members = new Set<Owner.Member>()
  const unfinished = () => Owner.unfinished(members).map(Owner.describe)
  const end = Deferred.unsafeMake<AppEnd.End>(Latch.ours)
  const stop = (reason: string) => Deferred.unsafeDone(end, Effect.succeed({ _tag: "Asked", reason }))

  let launched: Journal.Journal["Type"] | undefined
  let registry: ServiceRegistry.ServiceRegistry["Type"] | undefined
  const snapshot = Effect.suspend(() =>
    registry === undefined ? Effect.succeedNone : Effect.asSome(registry.snapshot)
  )
  let crashedBy: string | undefined
  let stopped: Omit<StopReport.Facts, "crash"> | undefined
  // A crash may come when all has stopped; the exit code must not be 0 then.
  const stopReport = (facts: Omit<StopReport.Facts, "crash">) =>
    StopReport.make({ ...facts, crash: crashedBy })
  const report = Effect.sync(() => Option.map(Option.fromNullable(stopped), stopReport))
  const crash = (kind: string, error: unknown) =>
    Effect.suspend(() => {
      crashedBy ??= kind
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
        const notes = ShutdownRecorder.make()
        const journal = ShutdownRecorder.taking(notes, yield* Journal.inherited, name, unfinished)
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
          failed: (_, origin, cause) => Deferred.succeed(end, { _tag: "Failed", origin, cause }),
          stopAsked: (member) => Effect.sync(() => stop(`${member.path} asked for it`))
        }
        // A bus from outside the app holds what is sent until all have subscribed, as one inside does.
        const outer = yield* Effect.serviceOption(Bus.EventBus)
        if (Option.isSome(outer)) shared.boot.onOpen.push(Bus.whole(outer.value).holdBoot())

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
          Fork.told,
          Effect.forkDaemon
        )
        const booted = yield* Effect.exit(
          restore(
            keepAlive(Effect.raceFirst(Deferred.await(end), Effect.map(Fiber.await(boot), AppEnd.asBooted)))
          )
        )
        Owner.openBoot(shared.boot)
        yield* Effect.forEach(notes.waiting, Fiber.interruptFork)
        const isUp =
          Exit.isSuccess(booted) && booted.value._tag === "Booted" && Exit.isSuccess(booted.value.exit)
        if (isUp) {
          ShutdownRecorder.isUp(notes)
          Owner.forgetStopped(shared, members)
          yield* Owner.become(shared, { _tag: "Running" })
          yield* Fiber.inheritAll(boot)
          const took = yield* Monotonic.since(shared.root.begunAt)
          const snapshot = yield* registry.snapshot
          const report = BootReport.make(snapshot, took)
          yield* journal.append({ _tag: "AppStarted", app: name, report })
          const told = Effect.suspend(() => Effect.logDebug(BootReport.render(report)))
          yield* Effect.whenLogLevel(told, LogLevel.Debug)
          const plan = StopPlan.make(snapshot)
          if (!plan.fits) yield* journal.append({ _tag: "StopPlanTooLong", app: name, plan })
        }
        const exit = isUp ? yield* Effect.exit(restore(keepAlive(Deferred.await(end)))) : booted

        const hasFailedToStart = Exit.isSuccess(exit) && exit.value._tag === "Booted"
        const hasFailed = Exit.isSuccess(exit) && exit.value._tag !== "Asked"
        ShutdownRecorder.beginStop(notes, yield* Monotonic.millis, hasFailed)
        yield* Owner.become(shared, { _tag: "Stopping", step: "services" })
        const cause = AppEnd.causeOf(exit)
        const reason = AppEnd.reasonOf(exit)
        const origin = Exit.isSuccess(exit) && exit.value._tag === "Failed" ? exit.value.origin : ""
        yield* journal.append({ _tag: "AppStopping", app: name, reason, cause })
        const all = Effect.gen(function* () {
          if (!isUp) {
            const limit = Math.min(Math.ceil(stopTimeout / 3), longestBootEnd)
            const ended = yield* Deadline.within(Fiber.interrupt(boot), limit)
            if (!hasFailedToStart) {
              for (const [service, problem] of notes.failedStarts) {
                // What the app fails with tells of that one already.
                if (!origin.startsWith(`${service} > `)) notes.problems.push(problem)
              }
            }
            if (Option.isNone(ended)) {
              for (const { path, state } of Owner.unfinished(members)) {
                const after = Duration.millis(limit)
                if (state === "Starting")
                  ShutdownRecorder.noteProblem(notes, path, { _tag: "StartHung", after })
              }
              // A layer releases what it has built only when its build has ended.
              yield* Owner.stopMembers(members)
            }
          }
          yield* Scope.close(scope, Exit.void)
        })
        const ended = yield* Deadline.within(Effect.uninterruptible(all), stopTimeout)
        if (Option.isNone(ended)) {
          const late = Owner.unfinished(members)
          if (!late.some(({ state }) => state === "Stopping"))
            notes.problems.push("a layer that is no service hung")
          for (const { doing, path, state, work } of late) {
            // What is not stopping yet has only had to wait.
            const alive = state === "Stopping" ? work : []
            const after = Duration.millis(stopTimeout)
            ShutdownRecorder.noteProblem(notes, path, { _tag: "Late", after, doing, alive })
          }
          // What had to wait has not even been asked yet. It is too late for an order.
          const rest = Effect.forEach([...members], (member) => member.stop, { concurrency: "unbounded" })
          yield* Deadline.within(rest, lateStopMillis)
        } else if (Exit.isFailure(ended.value)) {
          notes.problems.push(`a finalizer failed: ${Reason.ofCause(ended.value.cause)}`)
        }
        // Before the app is over, for which its services have to be: the end as they left it.
        const last = yield* registry.snapshot
        const failure =
          cause === undefined || Cause.isInterruptedOnly(cause) ? undefined : Reason.ofCause(cause)
        const ending: State =
          failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: failure }
        yield* Owner.become(shared, ending)
        stopped = {
          app: name,
          reason,
          took: yield* Monotonic.since(notes.stoppingAt),
          stopTimeout: Duration.millis(stopTimeout),
          services: ShutdownRecorder.stopsUntil(notes, yield* Monotonic.millis),
          problems: notes.problems,
          failure
        }
        const report = stopReport(stopped)
        yield* journal.append({ _tag: "AppStopped", app: name, report, snapshot: last })
        return yield* AppEnd.outcome(cause, StopReport.problemsOf(report))
      })
    )

  return { launch, crash, stop, unfinished, snapshot, report }
}

/** How long an interrupted boot is waited for, at most: a third of the default `stopTimeout`. */
const longestBootEnd = 10_000

/** What is left when the deadline of the app has passed gets this long: little, since the process is about to be killed. */
const lateStopMillis = 1_000

/** The process goes on while it waits. */
const keepAlive = <A>(effect: Effect.Effect<A>): Effect.Effect<A> => Effect.raceFirst(effect, Latch.never)
