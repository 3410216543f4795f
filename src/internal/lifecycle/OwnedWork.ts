/** Work that a service owns, as the service sees it. */
import type * as Effect from "effect/Effect"
import type { CheckStatus, TaskStatus } from "../status/ServiceStatus.ts"

/** Work that a service owns: it ends before the service does. */
export interface OwnedWork {
  readonly name: string
  /** The source of its work. */
  readonly source: object
  /** How it is, if it is a task, or a health check. */
  readonly shown: Shown
  /** Whether it runs now, or has run and is still told of. */
  readonly isRunning: boolean
  /** Begins no more of it, and cuts what runs, or lets it come to its end. Does not wait. */
  readonly end: (cuts: boolean) => void
  /** Waits for its end. */
  readonly await: Effect.Effect<unknown>
}

/** How work is, as the registry shows it. */
export interface Shown {
  readonly task?: () => TaskStatus
  readonly check?: () => CheckStatus
}
