/** Fault injection: makes steps of services go wrong, and records which steps there are. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Tracer from "effect/Tracer"
import * as Latch from "../internal/Latch.ts"
import type { DecorateWork } from "../internal/TestHooks.ts"
import * as Lifetime from "../internal/lifecycle/Lifetime.ts"
import * as ServiceFailure from "../internal/lifecycle/ServiceFailure.ts"
import { type Fault, nameOf, type StepKind } from "./Scenario.ts"
import * as Step from "./Step.ts"

/** The error, or the defect, of a step that is made to fail or die. */
export class InjectedFault extends Data.TaggedError("InjectedFault")<{ readonly at: string }> {
  override get message(): string {
    return `the failure that was injected at ${this.at}`
  }
}

/** Injects faults, and records what came of them. */
export interface Faults {
  readonly decorateWork: DecorateWork
  /** The steps that were reached, in order. */
  readonly reached: ReadonlyMap<string, StepKind>
  /** The faults that were injected, with their errors. */
  readonly injected: ReadonlyMap<Fault, InjectedFault>
  /** The errors that a start has recovered from. */
  readonly handled: ReadonlySet<InjectedFault>
}

/** Injects each of these faults once. */
export const make = (faults: ReadonlyArray<Fault>): Faults => {
  const reached = new Map<string, StepKind>()
  const injected = new Map<Fault, InjectedFault>()
  const handled = new Set<InjectedFault>()
  /** How many cleanups each service has run. */
  const cleanups = new Map<string, number>()

  /** Records that a step is reached. Gives the fault to inject there, if any. */
  const reach = (service: string, work: string, kind: StepKind): Fault | undefined => {
    const at = Step.name({ service: nameOf(service), work })
    reached.set(at, kind)
    return faults.find((one) => one.at === at && !injected.has(one))
  }
  /** Goes wrong in place of a step; "stop" and "slow" come before it. */
  const inject = (fault: Fault): Effect.Effect<void> => {
    const error = new InjectedFault({ at: fault.at })
    injected.set(fault, error)
    switch (fault.trouble) {
      case "fail":
        // A step that cannot fail by its type may still do so at run time.
        return Effect.fail(error) as Effect.Effect<never>
      case "die":
        return Effect.die(error)
      case "interrupt":
        return Effect.interrupt
      case "hang":
        return hang
      case "stop":
        return askStop
      case "slow":
        return Effect.sleep("1 second")
    }
  }
  /** A start, a run or a handling: the fault takes its place. */
  const before = <A, E, R>(service: string, work: string, kind: StepKind, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend((): Effect.Effect<A, E, R> => {
      const fault = reach(service, work, kind)
      return fault === undefined ? effect : Effect.zipRight(inject(fault), effect)
    })
  /** A step of a stop: the fault comes after it, so that it has released what it releases. */
  const after = <A, E, R>(service: string, work: string, effect: Effect.Effect<A, E, R>) =>
    Effect.tap(effect, () => {
      const fault = reach(service, work, "stop")
      return fault === undefined ? Effect.void : inject(fault)
    })
  /** A cleanup. All have the same name, so they are numbered. */
  const aroundCleanup = <A, E, R>(service: string, cleanup: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const count = (cleanups.get(service) ?? 0) + 1
      cleanups.set(service, count)
      return after(service, `cleanup ${count}`, cleanup)
    })
  /** A start: faults come before it, after each thing that the service comes to own, and at its end. */
  const aroundStart = <A, E, R>(service: string, onStart: Effect.Effect<A, E, R>) => {
    cleanups.delete(service)
    const earlier = injected.size
    const counts = new Map<string, number>()
    const onOwned = (what: string) => {
      const count = (counts.get(what) ?? 0) + 1
      counts.set(what, count)
      return reach(service, `onStart after ${what}${count === 1 ? "" : ` (${count})`}`, "start")
    }
    return before(service, "onStart", "start", watchOwned(onStart, onOwned, inject)).pipe(
      Effect.zipLeft(before(service, "the end of onStart", "start", Effect.void)),
      Effect.onExit((exit) => Effect.sync(() => recordHandled(service, earlier, exit)))
    )
  }
  /** A start that ends without an error that was injected into it has handled that error. */
  const recordHandled = (service: string, earlier: number, exit: Exit.Exit<unknown, unknown>) => {
    const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
    // As text: Effect replaces an error that passes a span by a proxy.
    const errors = new Set([...Cause.failures(cause), ...Cause.defects(cause)].map(String))
    for (const [{ at }, error] of [...injected].slice(earlier)) {
      const isOfStart = reached.get(at) === "start" && Step.isOf(at, nameOf(service))
      if (isOfStart && !errors.has(String(error))) handled.add(error)
    }
  }

  return {
    reached,
    injected,
    handled,
    decorateWork: ({ path }, kind, work, effect) => {
      switch (kind) {
        case "start":
          return Effect.suspend(() => aroundStart(path, effect))
        case "stop":
          return work === "a cleanup" ? aroundCleanup(path, effect) : after(path, work, effect)
        case "run":
        case "handler":
          return before(path, work, kind, effect)
        case "wait":
          return effect
      }
    }
  }
}

/** Hangs, without seeming to wait for something real. */
const hang: Effect.Effect<never> = Effect.async<never>(() => {}, Latch.internal)

/** The service whose work runs this. All decorated work has it in its context. */
const lifetime = Lifetime.lifetime as Effect.Effect<Lifetime.Lifetime>

/** As `Service.stop`. */
const askStop: Effect.Effect<void> = Effect.flatMap(lifetime, ServiceFailure.askStop)

/**
 * Runs a start. After each thing that the service comes to own, it asks
 * `onOwned` for a fault, which is injected before the next operation of the
 * fiber. A tracer sees each operation, so the start itself needs no hooks.
 */
const watchOwned = <A, E, R>(
  onStart: Effect.Effect<A, E, R>,
  onOwned: (what: string) => Fault | undefined,
  inject: (fault: Fault) => Effect.Effect<void>
): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const service = yield* lifetime
    const tracer = yield* Effect.tracer
    const starting = Option.getOrUndefined(Fiber.getCurrentFiber())
    let known = countOf(service)
    let next: Fault | undefined
    const watching = Tracer.make({
      span: (...args) => tracer.span(...args),
      context: (operation, fiber) => {
        if (fiber !== starting) return tracer.context(operation, fiber)
        const count = countOf(service)
        if (count.total > known.total) {
          next = onOwned(newestOf(service, known, count)) ?? next
          known = count
        }
        // In an uninterruptible region, such as that of `acquireRelease`, a hang would be unfair.
        if (next === undefined || !isInterruptible(fiber)) return tracer.context(operation, fiber)
        const fault = next
        next = undefined
        // An operation returns the effect that follows it.
        return inject(fault) as ReturnType<typeof operation>
      }
    })
    return yield* Effect.withTracer(onStart, watching)
  })

const isInterruptible = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean => {
  // To read all FiberRefs brings that of the flags up to date.
  fiber.getFiberRefs()
  return RuntimeFlags.interruptible(fiber.getFiberRef(FiberRef.currentRuntimeFlags))
}

interface Count {
  readonly work: number
  readonly listeners: number
  readonly children: number
  readonly total: number
}

/** How many things a service owns. What it puts straight into its scope cannot be counted. */
const countOf = ({ children, cleanups, listeners, work }: Lifetime.Lifetime): Count => ({
  work: work.size,
  listeners: listeners.size,
  children: children.size,
  total: work.size + listeners.size + children.size + cleanups.size
})

/** The newest thing that a service owns, by name. */
const newestOf = (service: Lifetime.Lifetime, before: Count, now: Count): string => {
  if (now.work > before.work) return [...service.work].at(-1)?.name ?? "work"
  if (now.listeners > before.listeners)
    return `listener ${[...service.listeners].at(-1)?.status().event ?? ""}`
  return now.children > before.children ? "a child" : "a cleanup"
}
