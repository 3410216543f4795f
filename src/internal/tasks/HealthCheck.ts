/**
 * Health checks: what a service knows of whether it can do its work.
 *
 * A check runs in the background, as work of its service, and its last result
 * is what probes are told: they never run it, nor wait for it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Fork from "../Fork.ts"
import * as Deadline from "../lifecycle/Deadline.ts"
import * as Handle from "../lifecycle/Handle.ts"
import * as Input from "../Input.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import * as Lifetime from "../lifecycle/Lifetime.ts"
import type { CheckState, CheckStatus } from "../status/ServiceStatus.ts"
import * as ScheduledWork from "./ScheduledWork.ts"
import * as Slots from "./Slots.ts"

/** Options of `health`. */
export interface Options {
  /** What probes call it, below its service. Needed when the service has several. */
  readonly name?: string | undefined
  /** How often it runs. Defaults to `10 seconds`, as often as Kubernetes asks. */
  readonly every?: Duration.DurationInput | undefined
  /**
   * How long it may take. Longer is unhealthy. Defaults to `5 seconds`, or half
   * of `every` if that is less: so what hung has been interrupted before the next is due.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Whether the app is not ready while the check is unhealthy. Defaults to
   * `true`. With `false`, probes tell of it, and that is all.
   */
  readonly critical?: boolean | undefined
}

/**
 * Checks the health of this service again and again, first at once. The check
 * is unhealthy when it fails, has a defect, or passes its timeout; before its
 * first result it is pending, and the app is not ready either. That it became so, and became healthy again, is journaled.
 * It fails nothing: what to do about it is up to who asks, by `Health.ready`.
 *
 * One run at a time: where a check that took too long cannot be interrupted,
 * the next waits for its end. `cancel` of the handle takes the check off.
 *
 * Dies with `InputError` when the service has a check of that name, or any
 * other and one of the two has none, and on options that cannot be used.
 */
export const health = <A, E, R>(
  check: Effect.Effect<A, E, R>,
  options: Options = {}
): Effect.Effect<Handle.Handle, never, Exclude<R, Scope.Scope> | Lifetime.ServiceScope> =>
  Effect.flatMap(Lifetime.lifetime, (service) => {
    const where = "Service.health"
    Input.effect(where, "check", check)
    const { critical = true, every = "10 seconds", timeout } = Input.options(where, options)
    const name = options.name === undefined ? undefined : Input.name(where, "name", options.name)
    const others = Lifetime.checksOf(service).map((other) => other.name)
    if (others.includes(name) || others.includes(undefined) || (name === undefined && others.length > 0)) {
      const expected = `a name that no other check of service "${service.path}" has, as it has several`
      throw new Input.InputError({ where, input: "name", expected, actual: name })
    }
    const millis = Input.positiveMillis(where, "every", every)
    const timeoutMillis =
      timeout === undefined
        ? Math.min(longestRun, millis / 2)
        : Input.positiveMillis(where, "timeout", timeout)
    Input.oneOf(where, "critical", [true, false], critical)

    const record = recordOf(service, name, critical && service.owner.isCritical)
    const work = name === undefined ? "health check" : `health check ${name}`
    let uncount = () => {}
    const run = Effect.scoped(service.owner.shared.around(service, "run", work, check))
    const spec = {
      name: work,
      slots: new Slots.Grid(service.clock, millis, "atOnce"),
      check: record.status,
      run: () => Effect.interruptible(runOf(run, timeoutMillis, record)),
      finished: Effect.sync(() => uncount())
    }
    return Effect.map(ScheduledWork.schedule(service, spec), (owned) => {
      // Counted while it is owned.
      uncount = record.counted()
      return Handle.of(owned)
    })
  })

/** How long a check may take by default, at most, in milliseconds. */
const longestRun = 5_000

/** One run. It has a fiber of its own, so that the result is there in time, whatever the check does. */
const runOf = <A, E, R>(
  check: Effect.Effect<A, E, R>,
  timeoutMillis: number,
  record: Checked
): Effect.Effect<void, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      record.begin()
      const startedAt = yield* Monotonic.millis
      const fiber = yield* Effect.forkDaemon(Fork.told(Effect.interruptible(check)))
      const told = Effect.gen(function* () {
        const exit = yield* Deadline.awaitWithin(fiber, timeoutMillis)
        yield* record.told(stateOf(exit, timeoutMillis), yield* Monotonic.since(startedAt))
        yield* Fiber.await(fiber)
      })
      yield* Effect.onInterrupt(restore(told), () => Fiber.interrupt(fiber))
    })
  )

const stateOf = (exit: Option.Option<Exit.Exit<unknown, unknown>>, timeoutMillis: number): CheckState => {
  if (Option.isNone(exit)) {
    return { _tag: "Unhealthy", reason: `no answer within ${Duration.format(timeoutMillis)}` }
  }
  return Exit.isSuccess(exit.value)
    ? { _tag: "Healthy" }
    : { _tag: "Unhealthy", reason: Reason.ofCause(exit.value.cause) }
}

/** What is known of a check. */
interface Checked {
  readonly status: () => CheckStatus
  /** A run begins. */
  readonly begin: () => void
  /** A run has told this. */
  readonly told: (state: CheckState, took: Duration.Duration) => Effect.Effect<void>
  /** Counts it in the metric, until what this returns is called. */
  readonly counted: () => () => void
}

/** The record of a check that has not run yet. */
const recordOf = (service: Lifetime.Lifetime, name: string | undefined, isCritical: boolean): Checked => {
  const { clock, path } = service
  const { changes, journal } = service.owner.shared
  const moved = service.metrics.check(name ?? "")
  const now = () => clock.unsafeCurrentTimeMillis()
  let state: CheckState = { _tag: "Pending" }
  let since = now()
  let lastStart: number | undefined
  let lastDuration: Duration.Duration | undefined
  return {
    status: () => ({ name, isCritical, state, since, lastStart, lastDuration }),
    begin: () => {
      lastStart = now()
    },
    told: (next, took) =>
      Effect.suspend(() => {
        const before = state
        state = next
        lastDuration = took
        if (before._tag !== next._tag) {
          since = now()
          moved(before._tag.toLowerCase(), next._tag.toLowerCase())
        }
        changes.note()
        // A first result that is healthy is no news, nor is another reason.
        if (before._tag === next._tag || (before._tag === "Pending" && next._tag === "Healthy"))
          return Effect.void
        const reason = next._tag === "Unhealthy" ? next.reason : undefined
        return journal.append({ _tag: "HealthChanged", service: path, check: name, isCritical, reason })
      }),
    counted: () => {
      moved(undefined, "pending")
      return () => moved(state._tag.toLowerCase(), undefined)
    }
  }
}
