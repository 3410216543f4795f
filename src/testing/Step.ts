/** The steps of a service: its start, the runs of its tasks, its listeners, and the parts of its stop. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"

/** A step of a service. */
export interface Step {
  /** The path of the service below its app. */
  readonly service: string
  /** The name of the work in the journal: `interval 1m`, `onStop`. */
  readonly work: string
}

/** One run of a step. */
interface Run extends Step {
  hasEnded: boolean
}

/**
 * A fiber inherits the step of the fiber that forked it, and keeps it after the
 * step has ended. Not in the context, which finalizers replace with their own.
 */
const currentRun = FiberRef.unsafeMake(Option.none<Run>())

/** Runs an effect as a step. */
export const within =
  ({ service, work }: Step) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const run: Run = { service, work, hasEnded: false }
      return Effect.ensuring(
        Effect.locally(effect, currentRun, Option.some(run)),
        Effect.sync(() => (run.hasEnded = true))
      )
    })

/** The step that runs this effect. */
export const current: Effect.Effect<Option.Option<Step>> = FiberRef.get(currentRun)

/** The step that a fiber belongs to. */
export const of = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Option.Option<Step> =>
  fiber.getFiberRef(currentRun)

/** The step that a fiber belongs to, if that has ended. */
export const endedOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Option.Option<Step> =>
  Option.filter(fiber.getFiberRef(currentRun), ({ hasEnded }) => hasEnded)

/** `Shop > Mailer: interval 1m`. */
export const name = ({ service, work }: Step): string => `${service}: ${work}`

/** Whether a step with this name belongs to a service. */
export const isOf = (step: string, service: string): boolean => step.startsWith(`${service}: `)
