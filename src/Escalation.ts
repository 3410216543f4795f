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

/** Journals a failure and does what its policy says. An interruption is journaled, and is no failure. */
export const applyPolicy = <E, R>(service: Lifetime, report: Report<E, R>): Effect.Effect<void, never, R> => {
  const { cause, entry, policy, work } = report
  const { journal } = service.owner.shared
  // Not run when the work is cancelled, or ends with its service: then its fiber is over.
  if (Cause.isInterruptedOnly(cause))
    return journal.append({ _tag: "WorkInterrupted", service: service.path, work })
  const journaled = entry === undefined ? Effect.void : journal.append(entry)
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
    const failed = service.owner.shared.journal.append({
      _tag: "ServiceFailed",
      service: service.path,
      work,
      origin,
      cause
    })
    // One that has failed or is stopping is being dealt with already, but it must not fail further in silence.
    if (state._tag !== "Starting" && state._tag !== "Running") return failed
    if (state._tag === "Running") service.state = { _tag: "Failed", onStop: state.onStop }
    else {
      service.state = { _tag: "Starting", pending: cause }
      service.interruptStart()
    }
    return Effect.zipRight(failed, service.owner.failed(service, origin, cause))
  })
