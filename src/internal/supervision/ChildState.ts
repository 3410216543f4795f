/** State of an adopted child across its instances: the desired state, and the status it shows. */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Latch from "../Latch.ts"
import * as Monotonic from "../Monotonic.ts"
import * as Reason from "../Reason.ts"
import type { OwnedChild } from "../lifecycle/Lifetime.ts"
import * as Names from "../lifecycle/Names.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import type { LastFailure, ServiceStatus, State } from "../status/ServiceStatus.ts"
import type * as ChildInstance from "./ChildInstance.ts"

/** A supervised child. */
export interface ChildState {
  readonly plan: ChildInstance.Plan
  desired: Desired
  /** The current instance; undefined between instances and after the last. */
  instance: ChildInstance.ChildInstance | undefined
  /** Open while the child is up, and after it has terminated. */
  readonly ready: Latch.Latch
  /** Opens when the child is down for good. */
  readonly terminated: Latch.Latch
  /** The parent's entry for this child. */
  owned: OwnedChild | undefined
  /** Owner of the services of the latest instance. */
  owner: Owner.Owner | undefined
  /** The services of the latest instance that came up, each with its last failure in any instance. */
  services: ReadonlyArray<KnownService>
  restarts: number
  /** When it last came up, in wall-clock milliseconds. */
  upSince: number
  /** When it last came up, in monotonic milliseconds. */
  upAt: number
}

/** Desired state of a child. The supervisor closes an instance that is no longer desired, then acts on the new state. */
type Desired = Data.TaggedEnum<{
  /** `restart` is set until the child has come up again. */
  Up: { readonly restart: Restart | undefined }
  /** `notBefore` is in monotonic milliseconds; undefined until the policy has decided. */
  Restart: Restart & { readonly notBefore: number | undefined }
  /** Down for good. `failure` is the reason, unless it was stopped on request. */
  Down: { readonly since: number; readonly failure: string | undefined }
}>

/** A restart in progress. Children of one `batch` come up one after another, in their order. */
interface Restart {
  readonly reason: string
  readonly since: number
  readonly batch: object
}

interface KnownService extends Pick<Owner.Member, "key" | "label"> {
  readonly lastFailure: LastFailure | undefined
}

/** A child without an instance yet. */
export const make = (plan: ChildInstance.Plan): ChildState => ({
  plan,
  desired: { _tag: "Up", restart: undefined },
  instance: undefined,
  ready: Latch.make(),
  terminated: Latch.make(),
  owned: undefined,
  owner: undefined,
  services: [],
  restarts: 0,
  upSince: plan.parent.clock.unsafeCurrentTimeMillis(),
  upAt: 0
})

/** Whether the supervisor has nothing to do for it: the child is up, or starts for the first time. */
export const isStable = ({ desired }: ChildState): boolean =>
  desired._tag === "Up" && desired.restart === undefined

/** The context it offers, while it is up and is to stay up. */
export const offered = ({ desired, instance }: ChildState): Context.Context<unknown> | undefined =>
  desired._tag === "Up" ? instance?.context() : undefined

/** Why it restarts or has failed. */
export const reasonOf = ({ desired }: ChildState): string | undefined => {
  switch (desired._tag) {
    case "Up":
      return desired.restart?.reason
    case "Restart":
      return desired.reason
    case "Down":
      return desired.failure
  }
}

/** Requests a restart. No effect on a child that is down for good. */
export const requestRestart = (
  child: ChildState,
  reason: string,
  batch: object,
  notBefore: number | undefined
): void => {
  const { desired } = child
  const since = (desired._tag === "Up" ? desired.restart?.since : desired.since) ?? now(child)
  if (desired._tag !== "Down") setDesired(child, { _tag: "Restart", reason, since, batch, notBefore })
}

/** Requests that it goes down for good. The first request sets the reason. */
export const requestStop = (child: ChildState, failure: string | undefined): void => {
  if (child.desired._tag !== "Down") setDesired(child, { _tag: "Down", since: now(child), failure })
}

/** The next child to restart, and when: the first of its batch, with the earliest time of all batches. */
export const nextRestart = (children: ReadonlyArray<ChildState>) => {
  let next: { readonly child: ChildState; readonly at: number } | undefined
  for (const child of children) {
    const { desired } = child
    if (desired._tag !== "Restart" || desired.notBefore === undefined) continue
    const isFirst = children.find((each) => batchOf(each) === desired.batch) === child
    if (isFirst && (next === undefined || desired.notBefore < next.at))
      next = { child, at: desired.notBefore }
  }
  return next
}

/** Removes the closed instance. */
export const removeInstance = (child: ChildState): void =>
  change(child, () => {
    child.instance = undefined
  })

/** Counts a restart; the child is on its way up. */
export const beginRestart = (child: ChildState): void => {
  child.restarts++
  for (const { key } of child.services) child.plan.parent.owner.shared.metrics(key).restarted()
  change(child, () => {
    child.desired = { _tag: "Up", restart: child.desired._tag === "Restart" ? child.desired : undefined }
  })
}

/** Records a failed start as the last failure of the service at that path. */
export const recordFailedStart = (
  child: ChildState,
  service: string,
  work: string,
  cause: Cause.Cause<unknown>
): void => {
  const lastFailure = { at: now(child), work, reason: Reason.ofCause(cause) }
  child.services = child.services.map((known) =>
    pathOf(child, known.label) === service ? { ...known, lastFailure } : known
  )
}

/** Marks the child as up. It replaces a failed child of the same name in the status of its parent. */
export const markUp = (child: ChildState): void => {
  const { clock, lostChildren } = child.plan.parent
  child.upSince = now(child)
  child.upAt = Monotonic.unsafeMillis(clock)
  child.desired = { _tag: "Up", restart: undefined }
  const members = [...(child.instance?.members ?? [])]
  child.services = knownServices(child).filter(({ label }) =>
    members.some((member) => member.label === label)
  )
  const names = new Set(child.services.map(({ label }) => label))
  lostChildren.splice(0, lostChildren.length, ...lostChildren.filter(({ name }) => !names.has(name)))
  child.ready.unsafeOpen()
  child.plan.parent.owner.shared.changes.note()
}

/** Unregisters a child that is down for good, and frees its name. */
export const terminate = (child: ChildState): void => {
  const { claim, parent } = child.plan
  claim.isOver = true
  if (child.owned !== undefined) parent.children.delete(child.owned)
  if (child.owner !== undefined) Names.release(child.owner)
  if (child.desired._tag === "Down" && child.desired.failure !== undefined) {
    parent.lostChildren.push(...status(child))
    parent.lostChildren.splice(0, parent.lostChildren.length - maxLostChildren)
  }
  child.terminated.unsafeOpen()
  child.ready.unsafeOpen()
  parent.owner.shared.changes.note()
}

/** The labels of its services, comma-separated. */
export const nameOf = (child: ChildState): string => labelsOf(child).join(", ")

/** The paths of its services. */
export const pathsOf = (child: ChildState): ReadonlyArray<string> =>
  labelsOf(child).map((label) => pathOf(child, label))

/** The status of each of its services. */
export const status = (child: ChildState): ReadonlyArray<ServiceStatus> => {
  const members = new Map(Array.from(child.instance?.members ?? [], (member) => [member.label, member]))
  const known = new Map(child.services.map((service) => [service.label, service]))
  const whole = state(child)
  return Array.from(labelsOf(child), (name): ServiceStatus => {
    const own = members.get(name)?.status()
    // A service without a member has stopped already, while others of its layer still stop.
    const rest: State = whole._tag === "Stopping" && members.size > 0 ? { _tag: "Stopped" } : whole
    const isOwn = own !== undefined && whole._tag !== "Restarting"
    return {
      startedAfter: undefined,
      startTook: undefined,
      stopTimeout: Duration.millis(child.plan.parent.stopTimeout),
      isStopTimeoutSet: false,
      dependencies: [],
      checks: [],
      tasks: [],
      listeners: [],
      children: [],
      ...own,
      name,
      path: pathOf(child, name),
      state: isOwn ? own.state : rest,
      since: isOwn ? own.since : sinceOf(child),
      restarts: child.restarts,
      isCritical: child.plan.isCritical,
      lastFailure: own?.lastFailure ?? known.get(name)?.lastFailure
    }
  })
}

/** The state of the child as a whole: that of its first service that is not running, if any. */
export const state = (child: ChildState): State => {
  const { desired, plan } = child
  const members = [...(child.instance?.members ?? [])]
  const notRunning = members.map((member) => member.shown()).find(({ _tag }) => _tag !== "Running")
  switch (desired._tag) {
    case "Up":
      if (desired.restart !== undefined)
        return { _tag: "Restarting", reason: desired.restart.reason, nextStart: undefined }
      return notRunning ?? { _tag: offered(child) === undefined ? "Starting" : "Running" }
    case "Restart": {
      const { clock } = plan.parent
      const left =
        desired.notBefore === undefined ? undefined : desired.notBefore - Monotonic.unsafeMillis(clock)
      const nextStart = left === undefined ? undefined : Math.round(now(child) + left)
      return { _tag: "Restarting", reason: desired.reason, nextStart }
    }
    case "Down":
      if (!plan.claim.isOver) return notRunning ?? { _tag: "Stopping", step: "cleanups" }
      return desired.failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: desired.failure }
  }
}

const setDesired = (child: ChildState, desired: Desired): void => {
  child.services = knownServices(child)
  child.ready.unsafeClose()
  change(child, () => {
    child.desired = desired
  })
  // Last, because its hooks read the desired state.
  child.instance?.cancelBuild()
}

const batchOf = ({ desired }: ChildState): object | undefined => {
  switch (desired._tag) {
    case "Up":
      return desired.restart?.batch
    case "Restart":
      return desired.batch
    case "Down":
      return undefined
  }
}

const labelsOf = (child: ChildState): ReadonlyArray<string> => {
  const known = knownServices(child)
  return known.length === 0 ? [child.plan.label("a layer")] : known.map(({ label }) => label)
}

const pathOf = ({ plan }: ChildState, label: string): string => `${plan.parent.path} > ${label}`

const sinceOf = ({ desired, upSince }: ChildState): number =>
  desired._tag === "Up" ? (desired.restart?.since ?? upSince) : desired.since

const now = (child: ChildState): number => child.plan.parent.clock.unsafeCurrentTimeMillis()

/** The services of earlier instances, updated from the current one. */
const knownServices = ({ instance, services }: ChildState): ReadonlyArray<KnownService> => {
  const known = new Map(services.map((service) => [service.label, service]))
  for (const member of instance?.members ?? []) {
    const { key, label } = member
    const lastFailure = member.lastFailure ?? known.get(label)?.lastFailure
    known.set(label, { key, label, lastFailure })
  }
  return [...known.values()]
}

/** Applies a change, notifies observers, and keeps the metric of restarting services in step. */
const change = (child: ChildState, f: () => void): void => {
  const isRestarting = () => child.instance === undefined && child.desired._tag === "Restart"
  const { changes, metrics } = child.plan.parent.owner.shared
  const before = isRestarting()
  f()
  const after = isRestarting()
  if (before !== after) {
    const [from, to] = after ? [undefined, "restarting"] : ["restarting", undefined]
    for (const { key } of child.services) metrics(key).moved(from, to)
  }
  changes.note()
}

/** How many failed children a service shows: about a screenful, and bounded. */
const maxLostChildren = 10
