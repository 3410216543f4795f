/** Makes steps of services go wrong, and notes which steps there are. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Tracer from "effect/Tracer"
import * as Finalizers from "../internal/Finalizers.ts"
import * as Latch from "../internal/Latch.ts"
import * as Escalation from "../internal/supervision/Escalation.ts"
import * as InnerFiber from "../internal/InnerFiber.ts"
import * as ServiceScope from "../internal/lifecycle/Lifetime.ts"
import type * as WorkDecorator from "../internal/WorkDecorator.ts"
import { type Fault, nameOf, type Trouble } from "./Scenario.ts"
import * as Step from "./Step.ts"

/** What a step fails with, or dies of, when it is made to. */
export class InjectedFault extends Data.TaggedError("InjectedFault")<{ readonly at: string }> {
  override get message(): string {
    return `the failure that was injected at ${this.at}`
  }
}

/** What part of a service's life a step is of. To wait for others is none. */
export type Kind = Exclude<WorkDecorator.Kind, "wait">

/** What can go wrong with each kind of step. */
export const troublesOf: Record<Kind, ReadonlyArray<Trouble>> = {
  start: ["fail", "die", "interrupt", "hang"],
  run: ["fail", "die", "interrupt", "hang", "stop"],
  handler: ["fail", "die", "interrupt", "hang", "stop", "slow"],
  stop: ["fail", "die", "interrupt", "hang"]
}

/** What makes steps go wrong, and what it has seen. */
export interface Faults {
  readonly around: WorkDecorator.Decorate
  /** The steps that have been reached, in that order. */
  readonly reached: ReadonlyMap<string, Kind>
  /** What has gone wrong, each with the error that it went wrong with, if it did with one. */
  readonly injected: ReadonlyMap<Fault, InjectedFault>
  /** The errors that a start has handled itself. */
  readonly handled: ReadonlySet<InjectedFault>
}

/** Makes these go wrong, each once. */
export const make = (faults: ReadonlyArray<Fault>): Faults => {
  const reached = new Map<string, Kind>()
  const injected = new Map<Fault, InjectedFault>()
  const handled = new Set<InjectedFault>()
  /** How many cleanups of a service have been run. */
  const cleanups = new Map<string, number>()

  /** A step is reached: gives what is to go wrong with it, if something is. */
  const reach = (service: string, work: string, kind: Kind): Fault | undefined => {
    const at = Step.name({ service: nameOf(service), work })
    reached.set(at, kind)
    return faults.find((one) => one.at === at && !injected.has(one))
  }
  /** Goes wrong, in place of a step; but "stop" and "slow" do something before it. */
  const goWrong = (fault: Fault): Effect.Effect<void> => {
    const error = new InjectedFault({ at: fault.at })
    injected.set(fault, error)
    switch (fault.trouble) {
      case "fail":
        // That a step cannot fail, by its type, is no promise at run time.
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
  /** A run of some work: what goes wrong does so in its place. */
  const ran = <A, E, R>(service: string, work: string, kind: Kind, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend((): Effect.Effect<A, E, R> => {
      const fault = reach(service, work, kind)
      return fault === undefined ? effect : Effect.zipRight(goWrong(fault), effect)
    })
  /** A step of a stop: what goes wrong does so after it, so that what it releases is released. */
  const stepped = <A, E, R>(service: string, work: string, effect: Effect.Effect<A, E, R>) =>
    Effect.tap(effect, () => {
      const fault = reach(service, work, "stop")
      return fault === undefined ? Effect.void : goWrong(fault)
    })
  /** A cleanup. All are called the same, so they are numbered. */
  const cleaned = <A, E, R>(service: string, cleanup: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const count = (cleanups.get(service) ?? 0) + 1
      cleanups.set(service, count)
      return stepped(service, `cleanup ${count}`, cleanup)
    })
  /** A start: goes wrong before it, after each thing that the service comes to own, and at the end. */
  const begun = <A, E, R>(service: string, onStart: Effect.Effect<A, E, R>) => {
    cleanups.delete(service)
    const before = injected.size
    const after = new Map<string, number>()
    const grown = (what: string) => {
      const count = (after.get(what) ?? 0) + 1
      after.set(what, count)
      return reach(service, `onStart after ${what}${count === 1 ? "" : ` (${count})`}`, "start")
    }
    return ran(service, "onStart", "start", watched(onStart, grown, goWrong)).pipe(
      Effect.zipLeft(ran(service, "the end of onStart", "start", Effect.void)),
      Effect.onExit((exit) => Effect.sync(() => noteHandled(service, before, exit)))
    )
  }
  /** A start has ended: what went wrong in it, and is not what it ended with, it has handled. */
  const noteHandled = (service: string, before: number, exit: Exit.Exit<unknown, unknown>) => {
    const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
    // As text, since an error that has gone through a span is given out as a stand-in.
    const errors = new Set([...Cause.failures(cause), ...Cause.defects(cause)].map(String))
    for (const [{ at }, error] of [...injected].slice(before)) {
      const isOfStart = reached.get(at) === "start" && Step.isOf(at, nameOf(service))
      if (isOfStart && !errors.has(String(error))) handled.add(error)
    }
  }

  return {
    reached,
    injected,
    handled,
    around: ({ path }, kind, work, effect) => {
      switch (kind) {
        case "start":
          return Effect.suspend(() => begun(path, effect))
        case "stop":
          return work === "a cleanup" ? cleaned(path, effect) : stepped(path, work, effect)
        case "run":
        case "handler":
          return ran(path, work, kind, effect)
        case "wait":
          return effect
      }
    }
  }
}

/** Does not end by itself, and is known to wait for nothing real. */
const hang: Effect.Effect<never> = Effect.async<never>(() => {}, Latch.ours)

/** As `Service.stop`, in whatever work of a service. */
const askStop: Effect.Effect<void> = Effect.flatMap(
  // What runs in a service has it.
  ServiceScope.lifetime as Effect.Effect<ServiceScope.Lifetime>,
  Escalation.askStop
)

/**
 * Runs a start, and asks after each thing that the service comes to own what is
 * to happen instead of the next step of its fiber. A tracer sees each step, and
 * so this needs nothing of what starts.
 */
const watched = <A, E, R>(
  onStart: Effect.Effect<A, E, R>,
  grown: (what: string) => Fault | undefined,
  goWrong: (fault: Fault) => Effect.Effect<void>
): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    // What starts has it.
    const service = yield* ServiceScope.lifetime as Effect.Effect<ServiceScope.Lifetime>
    const tracer = yield* Effect.tracer
    const starting = Option.getOrUndefined(Fiber.getCurrentFiber())
    let most = countOf(service)
    let next: Fault | undefined
    const watching = Tracer.make({
      span: (...args) => tracer.span(...args),
      context: (step, fiber) => {
        if (fiber !== starting) return tracer.context(step, fiber)
        const count = countOf(service)
        if (count.total > most.total) {
          next = grown(addedTo(service, most, count)) ?? next
          most = count
        }
        // In an uninterruptible region, as that of `acquireRelease`, a hang would be no fair one.
        const flags = InnerFiber.of(fiber).currentRuntimeFlags
        if (next === undefined || !RuntimeFlags.interruptible(flags)) return tracer.context(step, fiber)
        const fault = next
        next = undefined
        // A step gives the effect that comes next.
        return goWrong(fault) as ReturnType<typeof step>
      }
    })
    return yield* Effect.withTracer(onStart, watching)
  })

interface Count {
  readonly work: number
  readonly listeners: number
  readonly children: number
  readonly total: number
}

/** How much a service owns. */
const countOf = ({ children, listeners, scope, work }: ServiceScope.Lifetime): Count => ({
  work: work.size,
  listeners: listeners.size,
  children: children.size,
  total: work.size + listeners.size + children.size + Finalizers.of(scope).size
})

/** What has been added to what a service owns, by name. */
const addedTo = (service: ServiceScope.Lifetime, before: Count, now: Count): string => {
  if (now.work > before.work) return [...service.work].at(-1)?.name ?? "work"
  if (now.listeners > before.listeners)
    return `listener ${[...service.listeners].at(-1)?.status().event ?? ""}`
  return now.children > before.children ? "a child" : "a cleanup"
}
