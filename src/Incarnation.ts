/** One life of an adopted layer: it is built under a service, and closed once. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Gate from "./Gate.ts"
import type * as Journal from "./Journal.ts"
import type * as Labels from "./Labels.ts"
import * as Deadline from "./Deadline.ts"
import * as Owner from "./Owner.ts"
import * as Reason from "./Reason.ts"
import * as ServiceScope from "./ServiceScope.ts"
import * as Shutdown from "./Shutdown.ts"
import { rootOf, StartError } from "./StartError.ts"

/** What is brought to life, as often as it takes. */
export interface Plan {
  readonly parent: ServiceScope.Lifetime
  /** What it needs, the types of `Service.adopt` tell. */
  readonly layer: Layer.Layer<unknown, unknown, any>
  /** What a service of the layer is called below its parent. */
  readonly label: (service: string) => string
  readonly claim: Labels.Claim
  /** Whether the app cannot do without it. */
  readonly isCritical: boolean
}

/** What went wrong, and the path down to it. */
export interface Failure {
  readonly cause: Cause.Cause<unknown>
  readonly origin: string
  /** The origin, and what went wrong there, in words. */
  readonly reason: string
  /** The entry that tells of it, where the service that failed has not journaled it. */
  readonly entry: Omit<Journal.Of<"ServiceFailed">, "at"> | undefined
}

/** One life. */
export interface Incarnation {
  readonly owner: Owner.Owner
  /** Its services, as they are called below the parent. */
  readonly name: () => string
  /** What it has built; undefined until then. */
  readonly context: () => Context.Context<unknown> | undefined
  /** Waits for that exit. */
  readonly built: Effect.Effect<Exit.Exit<Context.Context<unknown>, unknown>>
  /** Takes over what the build has changed in its fiber, as a build in this fiber would. */
  readonly inherit: Effect.Effect<void>
  /** The exit of its build, when that has ended or been given up. */
  readonly settled: () => Exit.Exit<Context.Context<unknown>, unknown> | undefined
  /** Why it was not built, when it was not. It is told of by a name, where no service of it tells its own. */
  readonly failure: (name: string) => Failure
  /** Ends the build, if it still goes on, and the waiting for it. */
  readonly giveUp: () => void
  /** Stops all of it, in order and within its deadlines, and waits for that. */
  readonly close: Effect.Effect<void>
  /** How long `close` may take, in milliseconds. */
  readonly stopLimit: () => number
  /** Whether a service of it asked to be stopped before all was built. */
  readonly wantsStop: () => boolean
}

/** What a life tells: that its build has ended, and then what happens to it until it is closed. */
export interface Hooks {
  readonly settled: () => void
  readonly failed: (failure: Failure) => void
  readonly stopAsked: () => void
}

/** Begins to build a layer. */
export const begin = (
  { claim, isCritical, label, layer, parent }: Plan,
  hooks: Hooks
): Effect.Effect<Incarnation, never, any> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const closed = Gate.make()
    const settled = Gate.make()
    let ended: Exit.Exit<Context.Context<unknown>, unknown> | undefined
    let isClosing = false
    let isGivenUp = false
    let wantsStop = false
    // One service of the layer may fail while others still start: then they need not go on.
    let early: Failure | undefined

    const owner: Owner.Owner = {
      shared: parent.owner.shared,
      path: parent.path,
      isCritical,
      parent: parent.owner,
      members: new Set(),
      offers: new Map(),
      labels: { taken: parent.childLabels, by: claim },
      label,
      failed: (member, origin, cause) =>
        Effect.sync(() => {
          // One that dies while it is closed is being dealt with.
          if (isClosing) return
          if (ended !== undefined) return hooks.failed(told(origin, cause))
          // One that starts would fail the build with this, had it been waited for.
          const isStarting = member.shown()._tag === "Starting"
          const error = new StartError({ service: member.path, step: "onStart", cause })
          early ??= { ...told(origin, cause), cause: isStarting ? Cause.die(error) : cause }
          giveUp()
        }),
      stopAsked: () =>
        Effect.sync(() => {
          if (ended === undefined) wantsStop = true
          else if (!isClosing) hooks.stopAsked()
        })
    }
    // It begins with the next turn of the scheduler, when `building` is there to be interrupted.
    const building = yield* Layer.makeMemoMap.pipe(
      Effect.flatMap((memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope)),
      Effect.provideService(Owner.Owner, owner),
      Effect.interruptible,
      Effect.forkDaemon
    )
    building.addObserver((exit) => {
      ended = exit
      settle()
    })
    const settle = () => {
      settled.unsafeOpen()
      hooks.settled()
    }
    const giveUp = () => {
      if (ended !== undefined || isGivenUp) return
      isGivenUp = true
      building.unsafeInterruptAsFork(building.id())
      settle()
    }
    const exit = () => {
      const built = ended ?? (isGivenUp ? Exit.interrupt(FiberId.none) : undefined)
      if (built === undefined || early === undefined) return built
      return Exit.failCause(causeOf(built, early.cause))
    }

    const name = () => [...owner.members].map((member) => member.label).join(", ") || label("a layer")
    // A layer that is no service has no deadline of its own, and gets its parent's.
    const stopLimit = () =>
      Math.max(
        parent.stopTimeout,
        [...owner.members].reduce((sum, member) => sum + member.stopLimit(), 0)
      )
    const closing = Effect.gen(function* () {
      const limitMillis = stopLimit()
      const alive = () => Owner.unfinished(owner.members).map(Owner.describe)
      // What a build is in the middle of is undone first, since a layer releases what it has built only then.
      if (ended === undefined) {
        const limit = Math.min(Math.ceil(limitMillis / 3), longestBuildEnd)
        yield* Shutdown.step(parent, `the start of child ${name()}`, Fiber.await(building), {
          limitMillis: limit,
          alive
        })
      }
      const reached = ended === undefined ? Owner.stopMembers(owner.members) : Effect.void
      const all = Effect.uninterruptible(Effect.zipRight(reached, Scope.close(scope, Exit.void)))
      yield* Shutdown.step(parent, `child ${name()}`, all, { limitMillis, alive })
      // Where something hung, those behind it have not even been asked.
      yield* Deadline.within(Owner.stopMembers(owner.members), ServiceScope.lateStepMillis)
    }).pipe(Effect.ensuring(closed.open))

    return {
      owner,
      name,
      stopLimit,
      wantsStop: () => wantsStop,
      context: () => (ended !== undefined && Exit.isSuccess(ended) ? ended.value : undefined),
      settled: exit,
      // It is there when `settled` is open.
      built: Effect.map(settled.await, () => exit() ?? Exit.interrupt(FiberId.none)),
      inherit: Fiber.inheritAll(building),
      failure: (name) => {
        if (early !== undefined) return early
        const itself = new Cause.InterruptedException("it interrupted itself")
        const failed = ended !== undefined && Exit.isFailure(ended) ? ended.cause : Cause.empty
        const cause = Cause.isInterruptedOnly(failed) ? Cause.die(itself) : failed
        const root = rootOf(cause)
        const service = root.at?.service ?? `${parent.path} > ${name}`
        const work = root.at?.step ?? "its start"
        const origin = `${service} > ${work}`
        const entry = { _tag: "ServiceFailed", service, work, origin, cause: root.cause } as const
        return { cause, origin, reason: `${origin}: ${Reason.ofCause(root.cause)}`, entry }
      },
      giveUp,
      close: Effect.suspend(() => {
        if (!isClosing) {
          isClosing = true
          Runtime.runFork(parent.runtime)(closing)
        }
        return closed.await
      })
    }
  })

/** How long the end of an interrupted build is waited for, at most, as that of an app. */
const longestBuildEnd = 10_000

/** What the layer's type tells of comes first; a service that fails on its own in the middle is a defect to it. */
const causeOf = (exit: Exit.Exit<unknown, unknown>, early: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) return exit.cause
  if (!Cause.isEmpty(early)) return Cause.die(Cause.squash(early))
  return Exit.isFailure(exit) ? exit.cause : Cause.empty
}

/** A failure that its service has journaled. */
const told = (origin: string, cause: Cause.Cause<unknown>): Failure => ({
  cause,
  origin,
  reason: `${origin}: ${Reason.ofCause(rootOf(cause).cause)}`,
  entry: undefined
})
