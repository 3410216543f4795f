/** How a service fails or asks for its stop, and how failures of its work are recorded. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Journal from "../journal/Journal.ts"
import * as Reason from "../Reason.ts"
import { become, type Lifetime, noteFailure } from "./Lifetime.ts"
import { rootOf } from "./StartError.ts"

/** Asks the owner to stop a service; one that is still starting is stopped when it has started. */
export const askStop = (service: Lifetime): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { state } = service
    const journaled = service.owner.shared.journal.append({ _tag: "StopAsked", service: service.path })
    if (state._tag === "Running") return Effect.zipRight(journaled, service.owner.stopAsked(service))
    if (state._tag !== "Starting" || state.pending !== undefined) return Effect.void
    service.state = { _tag: "Starting", pending: "stop" }
    return journaled
  })

/** Fails a service: its owner decides what follows. */
export const fail = (
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
    // A service that has failed or is stopping needs no second answer, but a further failure must not be silent.
    if (state._tag !== "Starting" && state._tag !== "Running") return failed
    if (state._tag === "Running") {
      const reason = `${origin}: ${Reason.ofCause(rootOf(cause).cause)}`
      become(service, { _tag: "Failed", onStop: state.onStop, reason })
    } else {
      service.state = { _tag: "Starting", pending: cause }
      service.interruptStart?.()
    }
    return Effect.zipRight(failed, service.owner.failed(service, origin, cause))
  })

/** Journals a failure of work. An interruption is not a failure, and is journaled as such. */
export const record = (
  service: Lifetime,
  work: string,
  cause: Cause.Cause<unknown>,
  entry: Journal.Unstamped
): Effect.Effect<void> => {
  const { journal } = service.owner.shared
  if (Cause.isInterruptedOnly(cause))
    return journal.append({ _tag: "WorkInterrupted", service: service.path, work })
  noteFailure(service, work, cause)
  return journal.append(entry)
}

/** The entry of a task that failed. */
export const taskFailed = (
  service: Lifetime,
  task: string,
  cause: Cause.Cause<unknown>,
  answer: Journal.Answered["answer"]
): Journal.Unstamped => ({ _tag: "TaskFailed", service: service.path, task, cause, answer })

/**
 * Records how work ended that answers its own failures: by a bug in a policy or
 * schedule, which fails the service, or by a failure during its interruption,
 * which is journaled. Undefined when there is nothing to record.
 */
export const unanswered = (
  service: Lifetime,
  work: string,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return undefined
  const { cause } = exit
  if (Cause.isInterrupted(cause)) return record(service, work, cause, taskFailed(service, work, cause, "Log"))
  return Effect.zipRight(
    record(service, work, cause, taskFailed(service, work, cause, "Escalate")),
    fail(service, work, cause)
  )
}
