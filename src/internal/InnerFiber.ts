/**
 * What each fiber of Effect has in it. There is one implementation of
 * `RuntimeFiber`; what it shows of this are copies, and answers that take turns.
 */
import type * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import type * as FiberRefs from "effect/FiberRefs"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scheduler from "effect/Scheduler"
import type * as Supervisor from "effect/Supervisor"

/** A fiber, from inside. */
export interface InnerFiber extends Omit<Fiber.RuntimeFiber<void>, "currentContext"> {
  readonly _fiberRefs: FiberRefs.FiberRefs
  /** What it has been told, and has not looked at: it does so before each step. */
  readonly _queue: ReadonlyArray<unknown>
  /** Who is told of its end. */
  readonly _observers: ReadonlyArray<unknown>
  /** What it waits for, while it does; none for a promise. */
  readonly _asyncBlockingOn?: FiberId.FiberId | null
  currentContext: Context.Context<any>
  readonly currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  /** Where it is resumed. */
  currentScheduler: Scheduler.Scheduler
  readonly currentSupervisor: Supervisor.Supervisor<any>
  readonly getChildren: () => ReadonlySet<unknown>
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
  readonly tell: (message: { readonly _tag: string }) => void
}

/** A fiber, seen from inside. */
export const of = (fiber: Fiber.RuntimeFiber<any, any>): InnerFiber => fiber as unknown as InnerFiber
