/**
 * An application made of services: it boots, runs until it is interrupted or a
 * service fails, and stops in order and in time.
 */
import * as Cause from "effect/Cause"
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
import * as Deadline from "./Deadline.ts"
import * as EventBus from "./EventBus.ts"
import * as Input from "./Input.ts"
import * as Journal from "./Journal.ts"
import * as Monotonic from "./Monotonic.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"

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

/** An app that can be asked what in it is still up. For runtimes such as `NodeApp`. */
export interface App {
  readonly launch: <A, E, R>(
    layer: Layer.Layer<A, E, R>
  ) => Effect.Effect<never, E | ServiceFailedError | UncleanStopError, Exclude<R, Journal.Journal>>
  /** The services that have not stopped, by path, each with what it is doing. */
  readonly unfinished: () => ReadonlyArray<string>
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
): Effect.Effect<never, E | ServiceFailedError | UncleanStopError, Exclude<R, Journal.Journal>> =>
  Effect.suspend(() => make(options).launch(layer))

/** An app before its launch. Throws `InputError` on a blank name or a useless duration. */
export const make = (options: Options = {}): App => {
  const name = Input.name("App.launch", "name", options.name ?? "App")
  const stopTimeout = Input.positiveMillis("App.launch", "stopTimeout", options.stopTimeout ?? "30 seconds")
  const members = new Set<Owner.Member>()
  const unfinished = () => [...members].flatMap((member) => member.unfinished())

  const launch = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const problems: Array<string> = []
        const journal = collecting(problems, yield* journalOfContext)
        const end = Deferred.unsafeMake<End>(FiberId.none)
        const app = Owner.makeApp(journal)
        const owner: Owner.Owner = {
          app,
          path: name,
          parent: undefined,
          members,
          labels: undefined,
          label: (service) => service,
          failed: (_, origin, cause) => Deferred.succeed(end, { _tag: "Failed", origin, cause }),
          stopAsked: (member) => Deferred.succeed(end, { _tag: "Asked", by: member.path })
        }
        // A bus from outside the app holds what is sent until all have subscribed, as one inside does.
        const outer = yield* Effect.serviceOption(EventBus.EventBus)
        if (Option.isSome(outer)) app.boot.onOpen.push(outer.value.holdBoot())

        const startedAt = yield* Monotonic.millis
        const scope = yield* Scope.make()
        // A fiber of its own, so that a start that cannot be interrupted does not hold up the stop.
        const boot = yield* Layer.makeMemoMap.pipe(
          Effect.flatMap((memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope)),
          Effect.provideService(Owner.Owner, owner),
          Effect.provideService(Journal.Journal, journal),
          Effect.interruptible,
          Effect.forkDaemon
        )
        const booted = yield* Effect.exit(
          restore(
            Effect.raceFirst(
              Effect.map(Deferred.await(end), Option.some),
              Effect.as(Fiber.join(boot), Option.none<End>())
            )
          )
        )
        Owner.openBoot(app.boot)
        const isUp = Exit.isSuccess(booted) && Option.isNone(booted.value)
        if (isUp) {
          const took = yield* Monotonic.since(startedAt)
          yield* journal.append({ _tag: "AppStarted", app: name, services: members.size, took })
        }
        const exit = isUp
          ? yield* Effect.exit(restore(Deferred.await(end)))
          : Exit.map(booted, Option.getOrThrow)

        const stoppingAt = yield* Monotonic.millis
        yield* journal.append({ _tag: "AppStopping", app: name, reason: reasonOf(exit) })
        const stopped = yield* Deadline.within(
          Effect.uninterruptible(Effect.zipRight(Fiber.interrupt(boot), Scope.close(scope, Exit.void))),
          stopTimeout
        )
        if (Option.isNone(stopped)) {
          const waited = Duration.format(stopTimeout)
          problems.push(...unfinished().map((left) => `${left} had not stopped after ${waited}`))
          if (problems.length === 0)
            problems.push(`a layer that is no service had not stopped after ${waited}`)
        } else if (Exit.isFailure(stopped.value)) {
          problems.push(`a finalizer failed: ${Reason.ofCause(stopped.value.cause)}`)
        }
        yield* journal.append({
          _tag: "AppStopped",
          app: name,
          took: yield* Monotonic.since(stoppingAt),
          problems
        })
        return yield* outcome(exit, problems)
      })
    )

  return { launch, unfinished }
}

/** Why an app ends, when it is not interrupted and did not fail to start. */
type End =
  | { readonly _tag: "Failed"; readonly origin: string; readonly cause: Cause.Cause<unknown> }
  | {
      readonly _tag: "Asked"
      readonly by: string
    }

const journalOfContext = Effect.flatMap(
  Effect.serviceOption(Journal.Journal),
  Option.match({ onNone: () => Journal.make, onSome: Effect.succeed })
)

/** A journal that also notes what was not clean about a stop. */
const collecting = (problems: Array<string>, journal: Journal.Journal["Type"]): Journal.Journal["Type"] => ({
  ...journal,
  append: (entry) => {
    if (entry._tag === "StopTimedOut") problems.push(Journal.format(entry))
    if (entry._tag === "StopStepFailed")
      problems.push(`${Journal.format(entry)}: ${Reason.ofCause(entry.cause)}`)
    return journal.append(entry)
  }
})

const reasonOf = (exit: Exit.Exit<End, unknown>): string => {
  if (Exit.isFailure(exit))
    return Cause.isInterruptedOnly(exit.cause) ? "it was asked to" : "it did not start"
  return exit.value._tag === "Failed" ? `${exit.value.origin} failed` : `${exit.value.by} asked for it`
}

const outcome = <E>(exit: Exit.Exit<End, E>, problems: ReadonlyArray<string>) =>
  Effect.fiberIdWith((id): Effect.Effect<never, E | ServiceFailedError | UncleanStopError> => {
    const why: Cause.Cause<E | ServiceFailedError> = Exit.isFailure(exit)
      ? exit.cause
      : exit.value._tag === "Failed"
        ? Cause.fail(new ServiceFailedError(exit.value))
        : Cause.interrupt(id)
    return Effect.failCause(
      problems.length === 0 ? why : Cause.sequential(why, Cause.fail(new UncleanStopError({ problems })))
    )
  })
