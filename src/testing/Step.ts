/** The step of a service that some code runs in: its start, a task, a listener, a part of its stop. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"

/** A step of a service. */
export interface Step {
  /** The path of the service. */
  readonly service: string
  /** As the journal names it: `interval 1m`, `onStop`. */
  readonly work: string
}

/**
 * What a fiber forks is of the same step, whatever became of the step. It is no
 * part of the context, since finalizers bring their own.
 */
const currentStep = FiberRef.unsafeMake(Option.none<Step>())

/** `Shop > Mailer: interval 1m`. */
export const name = ({ service, work }: Step): string => `${service}: ${work}`

/** Whether a step with this name is one of a service. */
export const isOf = (step: string, service: string): boolean => step.startsWith(`${service}: `)

/** Runs an effect as a step. */
export const within: (step: Step) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = (
  step
) => Effect.locally(currentStep, Option.some(step))

/** The step that asks. */
export const current: Effect.Effect<Option.Option<Step>> = FiberRef.get(currentStep)

/** The step that a fiber belongs to. */
export const of = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Option.Option<Step> =>
  fiber.getFiberRef(currentStep)
