/** What follows when owned work fails, or when a service asks to be stopped. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Failure from "./Failure.ts"
import type * as Journal from "./Journal.ts"
import type { Lifetime } from "./ServiceScope.ts"

/** A failure of owned work, and what is to be done about it. */
export interface Report<E, R> {
  readonly policy: Failure.Failure<E, R>
  readonly cause: Cause.Cause<E>
  readonly work: string
  /** The entry that tells of it, where none has yet. */
  readonly entry?: Journal.Unstamped | undefined
  /** The path down to what failed first, where that is not `work`. */
  readonly origin?: string | undefined
}

/** Journals a failure and does what its policy says. Interruption is not a failure. */
export const applyPolicy = <E, R>(service: Lifetime, report: Report<E, R>): Effect.Effect<void, never, R> => {
  const { cause, entry, policy, work } = report
  if (Cause.isInterruptedOnly(cause)) return Effect.void
  const journaled = entry === undefined ? Effect.void : service.owner.shared.journal.append(entry)
  switch (policy._tag) {
    case "Log":
      return journaled
    case "Escalate":
      return Effect.zipRight(journaled, fail(service, work, cause, report.origin))
    case "Handle": {
      const handled = Effect.suspend(() => policy.handle(cause, { service: service.path, work }))
      return Effect.asVoid(Effect.zipRight(journaled, handled)).pipe(
        Effect.catchAllCause((failure) =>
          taskFailed(service, `the failure handler of ${work}`, failure, Failure.log)
        )
      )
    }
  }
}

/** Journals the failure of a task and does what its policy says. */
export const taskFailed = <E, R>(
  service: Lifetime,
  task: string,
  cause: Cause.Cause<E>,
  policy: Failure.Failure<E, R>
): Effect.Effect<void, never, R> =>
  applyPolicy(service, {
    policy,
    cause,
    work: task,
    entry: { _tag: "TaskFailed", service: service.path, task, cause, answer: policy._tag }
  })

/** Asks the owner to stop the service; one that still starts is stopped when it has started. */
export const askStop = (service: Lifetime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    const journaled = service.owner.shared.journal.append({ _tag: "StopAsked", service: service.path })
    if (state._tag === "Running") return Effect.zipRight(journaled, service.owner.stopAsked(service))
    if (state._tag !== "Starting" || state.pending !== undefined) return Effect.void
    service.state = { _tag: "Starting", pending: "stop" }
    return journaled
  })

/** Fails the service: its owner decides what follows. */
const fail = (
  service: Lifetime,
  work: string,
  cause: Cause.Cause<unknown>,
  origin: string = `${service.path} > ${work}`
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    switch (state._tag) {
      case "Starting":
        service.state = { _tag: "Starting", pending: cause }
        service.interruptStart()
        break
      case "Running":
        service.state = { _tag: "Failed", onStop: state.onStop }
        break
      default:
        return Effect.void
    }
    return Effect.zipRight(
      service.owner.shared.journal.append({
        _tag: "ServiceFailed",
        service: service.path,
        work,
        origin,
        cause
      }),
      service.owner.failed(service, origin, cause)
    )
  })
