/**
 * The fibers of an app in virtual time: which are alive, what they wait for, and
 * which have failed unnoticed. A `Supervisor` sees each fiber begin, wait and
 * end; `Fiber.status` gives what a fiber waits for; `Fiber.unsafeRoots` lists
 * those without a parent.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as FiberStatus from "effect/FiberStatus"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import type * as Scheduler from "effect/Scheduler"
import * as Supervisor from "effect/Supervisor"
import * as Step from "./Step.ts"

/** A fiber, whatever its result. */
export type AnyFiber = Fiber.RuntimeFiber<any, any>

/** A fiber that a step forked, as a daemon or into a scope, and that failed unnoticed. */
export interface Forgotten {
  readonly step: Step.Step
  readonly cause: Cause.Cause<unknown>
}

/** The supervisor of the fibers of one app. */
export class AppFibers extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  /** Those on the stack: one that is forked to run at once runs on top of the other. */
  private readonly running: Array<AnyFiber> = []
  private readonly living = new Set<AnyFiber>()
  /** Those that another fiber of the app forked. */
  private readonly forked = new WeakSet<AnyFiber>()
  /** Those that a step forked as daemons or into a scope, until they end. */
  private readonly daemons = new Set<AnyFiber>()
  /** Those that a step forked outside the app, as `Effect.runFork` does. */
  private readonly outsiders = new Map<AnyFiber, Step.Step>()
  private readonly knownRoots = new WeakSet<AnyFiber>()
  private readonly failed: Array<Forgotten> = []
  /** Those that have run since they were last asked for their status. */
  private readonly touched = new Set<AnyFiber>()
  /** What each waits for, as last asked. */
  private readonly waits = new Map<AnyFiber, FiberId.FiberId>()
  private readonly isOfApp: (fiber: AnyFiber) => boolean
  private readonly isScheduled: (fiber: AnyFiber) => boolean

  /** No fibers yet. `isOfApp` tells whether a fiber belongs to any app in virtual time, `isScheduled` whether it is about to run. */
  constructor(isOfApp: (fiber: AnyFiber) => boolean, isScheduled: (fiber: AnyFiber) => boolean) {
    super()
    this.isOfApp = isOfApp
    this.isScheduled = isScheduled
  }

  /** The steps whose fibers have not ended, one for each; none for a fiber of the test itself. */
  alive(): ReadonlyArray<Option.Option<Step.Step>> {
    return [...Array.from(this.living, Step.of), ...Array.from(this.livingOutsiders().values(), Option.some)]
  }

  /** Whether a fiber outside the app has not ended: it may do so in a later turn of the event loop. */
  hasOutsiders(): boolean {
    return this.livingOutsiders().size > 0
  }

  /**
   * The fibers that failed while nothing waited for them, after the step that
   * forked them had ended. There is no public way to see that a fiber is asked
   * for its exit later, so a step that is still running may do so.
   */
  forgotten(): ReadonlyArray<Forgotten> {
    return this.failed
  }

  /** The fibers that wait for something real: neither for time nor, as far as can be told, for a fiber of an app. */
  waiting(): ReadonlyArray<AnyFiber> {
    this.ask()
    const outsiders = new Set(Array.from(this.livingOutsiders().keys(), (fiber) => fiber.id().id))
    return [...this.waits].flatMap(([fiber, blockingOn]) => {
      const isReal =
        blockingOn._tag === "None" || (blockingOn._tag === "Runtime" && outsiders.has(blockingOn.id))
      return isReal ? [fiber] : []
    })
  }

  /** Runs a step. Fibers that it forks belong to it; what it forks outside the app is noted before it ends. */
  during<A, E, R>(step: Step.Step, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const noteForks = Effect.sync(() => {
      const fiber = this.running.at(-1)
      if (fiber !== undefined) this.noteRootsOf(fiber)
    })
    const noted = Step.within(step)(Effect.ensuring(effect, noteForks))
    return Effect.zipRight(noteForks, noted)
  }

  /** Called after each run of a fiber. Where there are daemons, it notes what waits for them before they can fail. */
  afterRun(): void {
    if (this.daemons.size > 0) this.ask()
  }

  override onStart<A, E, R>(
    _context: Context.Context<R>,
    _effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    this.living.add(fiber)
    if (Option.isSome(parent)) this.forked.add(fiber)
  }

  override onEnd<A, E>(exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.living.delete(fiber)
    this.waits.delete(fiber)
    if (!this.daemons.delete(fiber) || Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return
    const step = Step.endedOf(fiber)
    if (Option.isSome(step) && !this.isAwaited(fiber))
      this.failed.push({ step: step.value, cause: exit.cause })
  }

  override onResume<A, E>(fiber: Fiber.RuntimeFiber<A, E>): void {
    const forker = this.running.at(-1)
    // What code outside the app has forked so far is not the app's.
    if (forker === undefined) this.noteRoots(() => {})
    else this.noteRootsOf(forker)
    this.running.push(fiber)
  }

  override onSuspend<A, E>(fiber: Fiber.RuntimeFiber<A, E>): void {
    this.noteRootsOf(fiber)
    const place = this.running.lastIndexOf(fiber)
    if (place >= 0) this.running.length = place
    if (fiber.unsafePoll() === null) this.touched.add(fiber)
  }

  /** Notes the fibers without a parent that a fiber has forked since it was resumed. */
  private noteRootsOf(fiber: AnyFiber): void {
    this.noteRoots((root) => {
      const step = Step.of(fiber)
      if (Option.isNone(step)) return
      if (this.forked.has(root)) this.daemons.add(root)
      else if (!this.isOfApp(root)) this.outsiders.set(root, step.value)
    })
  }

  private noteRoots(note: (root: AnyFiber) => void): void {
    for (const root of Fiber.unsafeRoots()) {
      if (this.knownRoots.has(root)) continue
      this.knownRoots.add(root)
      note(root)
    }
  }

  private livingOutsiders(): ReadonlyMap<AnyFiber, Step.Step> {
    for (const fiber of this.outsiders.keys()) {
      if (fiber.unsafePoll() !== null) this.outsiders.delete(fiber)
    }
    return this.outsiders
  }

  private isAwaited(fiber: AnyFiber): boolean {
    const { id } = fiber.id()
    return [...this.waits.values()].some((blockingOn) => HashSet.has(FiberId.ids(blockingOn), id))
  }

  /** Asks those that have run what they wait for. */
  private ask(): void {
    for (const fiber of this.touched) {
      // It would run first, and then answer.
      if (this.isScheduled(fiber)) continue
      this.touched.delete(fiber)
      this.waits.delete(fiber)
      if (fiber.unsafePoll() !== null) continue
      const status = statusOf(fiber)
      if (status?._tag !== "Suspended") continue
      // Null for a fiber that has not begun, whatever the type says.
      const { blockingOn }: { readonly blockingOn: FiberId.FiberId | null } = status
      if (blockingOn !== null) this.waits.set(fiber, blockingOn)
    }
  }
}

/** Runs the fibers that ask for a status, outside the order of the app. */
const atOnce: Scheduler.Scheduler = {
  shouldYield: () => false,
  scheduleTask: (task) => task()
}

/** The fiber that is being asked for its status. */
let asked: AnyFiber | undefined

/** Whether a fiber is being asked for its status. Its scheduler lets it answer at once; this is no step of the app. */
export const isAsked = (fiber: AnyFiber | undefined): boolean => fiber !== undefined && fiber === asked

/** The status of a fiber that waits; none if it has a scheduler of its own, and answers later. */
const statusOf = (fiber: AnyFiber): FiberStatus.FiberStatus | undefined => {
  asked = fiber
  try {
    const exit = Effect.runFork(fiber.status, { scheduler: atOnce }).unsafePoll()
    return exit !== null && Exit.isSuccess(exit) ? exit.value : undefined
  } finally {
    asked = undefined
  }
}
