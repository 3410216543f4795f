/**
 * Health checks of a service.
 *
 * A check runs periodically as work of its service. Probes report its last
 * result: they neither run it nor wait for it.
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
  /** Name in probes, below the service. Required when the service has several checks. */
  readonly name?: string | undefined
  /** How often the check runs. Defaults to `10 seconds`, the default probe period of Kubernetes. */
  readonly every?: Duration.DurationInput | undefined
  /**
   * How long a run may take before it counts as unhealthy. Defaults to `5 seconds`
   * or half of `every`, whichever is less, so that a hung run is interrupted before
   * the next is due.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Whether the app is ready only while the check is healthy. Defaults to `true`.
   * With `false`, the result is reported and has no other effect.
   */
  readonly critical?: boolean | undefined
}

/**
 * Checks the health of this service periodically, first at once.
 *
 * A check is unhealthy when it fails, dies, or exceeds its timeout. Until its
 * first result it is pending, and the app is not ready if the check is critical.
 * Changes are journaled. An unhealthy check does not fail the service.
 *
 * Runs never overlap: the next one waits for a late run that cannot be
 * interrupted. `cancel` of the handle removes the check.
 *
 * Dies with `InputError` when another check has the same name, when a service has
 * several checks and one is unnamed, and on invalid options.
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
        ? Math.min(defaultTimeoutMillis, millis / 2)
        : Input.positiveMillis(where, "timeout", timeout)
    Input.oneOf(where, "critical", [true, false], critical)

    const record = recordOf(service, name, critical && service.owner.isCritical)
    const work = name === undefined ? "health check" : `health check ${name}`
    let removeFromMetric = () => {}
    const run = Effect.scoped(service.owner.shared.around(service, "run", work, check))
    const slots = new Slots.Grid(service.clock, millis, "atOnce")
    const spec = {
      name: work,
      checkStatus: record.status,
      run: () => Effect.interruptible(runOf(run, timeoutMillis, record)),
      finished: Effect.sync(() => removeFromMetric())
    }
    return Effect.map(ScheduledWork.schedule(service, slots, spec), (owned) => {
      // After `schedule`, which may refuse the check.
      removeFromMetric = record.addToMetric()
      return Handle.of(owned)
    })
  })

/** Half of the default `every`. */
const defaultTimeoutMillis = 5_000

/** One run, in a fiber of its own, so that the timeout holds for a check that cannot be interrupted. */
const runOf = <A, E, R>(
  check: Effect.Effect<A, E, R>,
  timeoutMillis: number,
  record: CheckRecord
): Effect.Effect<void, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      record.begin()
      const startedAt = yield* Monotonic.millis
      const fiber = yield* Effect.forkDaemon(Fork.told(Effect.interruptible(check)))
      const recorded = Effect.gen(function* () {
        const exit = yield* Deadline.awaitWithin(fiber, timeoutMillis)
        yield* record.end(stateOf(exit, timeoutMillis), yield* Monotonic.since(startedAt))
        yield* Fiber.await(fiber)
      })
      yield* Effect.onInterrupt(restore(recorded), () => Fiber.interrupt(fiber))
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

/** The last result of a check. */
interface CheckRecord {
  readonly status: () => CheckStatus
  /** Records the start of a run. */
  readonly begin: () => void
  /** Records the result of a run. */
  readonly end: (state: CheckState, took: Duration.Duration) => Effect.Effect<void>
  /** Adds the check to the metric of checks. Returns its removal. */
  readonly addToMetric: () => () => void
}

const recordOf = (service: Lifetime.Lifetime, name: string | undefined, isCritical: boolean): CheckRecord => {
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
    end: (next, took) =>
      Effect.suspend(() => {
        const before = state
        state = next
        lastDuration = took
        if (before._tag !== next._tag) {
          since = now()
          moved(before._tag.toLowerCase(), next._tag.toLowerCase())
        }
        changes.note()
        // A first healthy result needs no entry, nor does another reason of the same state.
        if (before._tag === next._tag || (before._tag === "Pending" && next._tag === "Healthy"))
          return Effect.void
        const reason = next._tag === "Unhealthy" ? next.reason : undefined
        return journal.append({ _tag: "HealthChanged", service: path, check: name, isCritical, reason })
      }),
    addToMetric: () => {
      moved(undefined, "pending")
      return () => moved(state._tag.toLowerCase(), undefined)
    }
  }
}
