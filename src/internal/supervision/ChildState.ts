/** A child that is kept running, over all its lives: what is wanted of it, and how it is. */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Latch from "../Latch.ts"
import type * as ChildInstance from "./ChildInstance.ts"
import * as Names from "../lifecycle/Names.ts"
import * as Monotonic from "../Monotonic.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import * as Reason from "../Reason.ts"
import type { OwnedChild } from "../lifecycle/Lifetime.ts"
import type { LastFailure, ServiceStatus, State } from "../status/ServiceStatus.ts"

/** A child that is kept running. */
export interface ChildState {
  readonly plan: ChildInstance.Plan
  wanted: Wanted
  /** What there is of it now. */
  instance: ChildInstance.ChildInstance | undefined
  /** Open while it is up, and when it is over. */
  readonly ready: Latch.Latch
  /** Open when it will not come up again. */
  readonly over: Latch.Latch
  /** What its parent knows of it. */
  owned: OwnedChild | undefined
  /** The owner of the services of its last instance. */
  owner: Owner.Owner | undefined
  /** Its services when it was last up, each with its last failure in an earlier instance. */
  services: ReadonlyArray<Known>
  /** How often it was begun anew. */
  restarts: number
  /** When it came up, by both clocks. */
  upSince: number
  upAt: number
}

/** What is to become of a child. A instance that is not wanted ends; what is wanted follows. */
type Wanted = Data.TaggedEnum<{
  /** With `again`, it is on its way up after a restart. */
  Up: { readonly again: Again | undefined }
  /** To be begun anew, not before a time, in monotonic milliseconds; undefined until that is decided. */
  Restart: Again & { readonly notBefore: number | undefined }
  /** To be down for good; with a failure, because of that. */
  Down: { readonly since: number; readonly failure: string | undefined }
}>

/** Why and since when it is not up, and with what others it comes up, in their order. */
interface Again {
  readonly reason: string
  readonly since: number
  readonly batch: object
}

interface Known extends Pick<Owner.Member, "key" | "label"> {
  readonly lastFailure: LastFailure | undefined
}

/** A child that has not been begun. */
export const make = (plan: ChildInstance.Plan): ChildState => ({
  plan,
  wanted: { _tag: "Up", again: undefined },
  instance: undefined,
  ready: Latch.make(),
  over: Latch.make(),
  owned: undefined,
  owner: undefined,
  services: [],
  restarts: 0,
  upSince: plan.parent.clock.unsafeCurrentTimeMillis(),
  upAt: 0
})

/** Whether it is up, or on its first way there, and so nothing is to be done about it. */
export const isAtRest = ({ wanted }: ChildState): boolean =>
  wanted._tag === "Up" && wanted.again === undefined

/** What it offers, if it is up and is to stay so. */
export const offered = ({ instance, wanted }: ChildState): Context.Context<unknown> | undefined =>
  wanted._tag === "Up" ? instance?.context() : undefined

/** Why it restarts, or has ended, as far as it failed. */
export const reasonOf = ({ wanted }: ChildState): string | undefined => {
  switch (wanted._tag) {
    case "Up":
      return wanted.again?.reason
    case "Restart":
      return wanted.reason
    case "Down":
      return wanted.failure
  }
}

/** It is to be begun anew. What is down for good stays so. */
export const wantRestart = (
  child: ChildState,
  reason: string,
  batch: object,
  notBefore: number | undefined
): void => {
  const { wanted } = child
  const since = (wanted._tag === "Up" ? wanted.again?.since : wanted.since) ?? now(child)
  if (wanted._tag !== "Down") want(child, { _tag: "Restart", reason, since, batch, notBefore })
}

/** Which of some children is to come up first, and when: those of a batch one after another, as far as it is decided. */
export const nextOf = (children: ReadonlyArray<ChildState>) => {
  let next: { readonly child: ChildState; readonly at: number } | undefined
  for (const child of children) {
    const { wanted } = child
    if (wanted._tag !== "Restart" || wanted.notBefore === undefined) continue
    const isFirst = children.find((each) => batchOf(each) === wanted.batch) === child
    if (isFirst && (next === undefined || wanted.notBefore < next.at)) next = { child, at: wanted.notBefore }
  }
  return next
}

/** With what others it comes up, if it is on its way. */
const batchOf = ({ wanted }: ChildState): object | undefined =>
  wanted._tag === "Restart" ? wanted.batch : wanted._tag === "Up" ? wanted.again?.batch : undefined

/** It is to be down for good. */
export const wantDown = (child: ChildState, failure: string | undefined): void => {
  if (child.wanted._tag !== "Down") want(child, { _tag: "Down", since: now(child), failure })
}

const want = (child: ChildState, wanted: Wanted): void => {
  child.services = knownServices(child)
  child.ready.unsafeClose()
  change(child, () => {
    child.wanted = wanted
  })
  // Last: whoever hears of it must see what is wanted now.
  child.instance?.giveUp()
}

/** Its instance has ended. */
export const wentDown = (child: ChildState): void =>
  change(child, () => {
    child.instance = undefined
  })

/** Another instance of it begins. */
export const begins = (child: ChildState): void => {
  child.restarts++
  for (const { key } of child.services) child.plan.parent.owner.shared.metrics(key).restarted()
  change(child, () => {
    child.wanted = { _tag: "Up", again: child.wanted._tag === "Restart" ? child.wanted : undefined }
  })
}

/** A service of it did not start. */
export const didNotStart = (
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

/** It is up. */
export const cameUp = (child: ChildState): void => {
  const { clock, lostChildren } = child.plan.parent
  child.upSince = now(child)
  child.upAt = Monotonic.unsafeMillis(clock)
  child.wanted = { _tag: "Up", again: undefined }
  const members = [...(child.instance?.members ?? [])]
  child.services = knownServices(child).filter(({ label }) =>
    members.some((member) => member.label === label)
  )
  const names = new Set(child.services.map(({ label }) => label))
  lostChildren.splice(0, lostChildren.length, ...lostChildren.filter(({ name }) => !names.has(name)))
  child.ready.unsafeOpen()
  child.plan.parent.owner.shared.changes.note()
}

/** It is down for good: what it was called is free again. */
export const isOver = (child: ChildState): void => {
  const { claim, parent } = child.plan
  claim.isOver = true
  if (child.owned !== undefined) parent.children.delete(child.owned)
  if (child.owner !== undefined) Names.release(child.owner)
  if (child.wanted._tag === "Down" && child.wanted.failure !== undefined) {
    parent.lostChildren.push(...status(child))
    parent.lostChildren.splice(0, parent.lostChildren.length - mostLost)
  }
  child.over.unsafeOpen()
  child.ready.unsafeOpen()
  parent.owner.shared.changes.note()
}

/** What its services are called, as far as that is known. */
export const nameOf = (child: ChildState): string => namesOf(child).join(", ")

/** The paths of its services. */
export const pathsOf = (child: ChildState): ReadonlyArray<string> =>
  namesOf(child).map((name) => pathOf(child, name))

/** The services in it. */
export const status = (child: ChildState): ReadonlyArray<ServiceStatus> => {
  const members = new Map(Array.from(child.instance?.members ?? [], (member) => [member.label, member]))
  const known = new Map(child.services.map((service) => [service.label, service]))
  const ofAll = state(child)
  return Array.from(namesOf(child), (name): ServiceStatus => {
    const own = members.get(name)?.status()
    // One of several may have stopped before the others.
    const rest: State = ofAll._tag === "Stopping" && members.size > 0 ? { _tag: "Stopped" } : ofAll
    const isOwn = own !== undefined && ofAll._tag !== "Restarting"
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

/** How it is as a whole; of several services, as the first is that does not simply run. */
export const state = (child: ChildState): State => {
  const { plan, wanted } = child
  const members = [...(child.instance?.members ?? [])]
  const ofServices = members.map((member) => member.shown()).find(({ _tag }) => _tag !== "Running")
  switch (wanted._tag) {
    case "Up":
      if (wanted.again !== undefined)
        return { _tag: "Restarting", reason: wanted.again.reason, nextStart: undefined }
      return ofServices ?? { _tag: offered(child) === undefined ? "Starting" : "Running" }
    case "Restart": {
      const { clock } = plan.parent
      const left =
        wanted.notBefore === undefined ? undefined : wanted.notBefore - Monotonic.unsafeMillis(clock)
      const nextStart = left === undefined ? undefined : Math.round(now(child) + left)
      return { _tag: "Restarting", reason: wanted.reason, nextStart }
    }
    case "Down":
      if (!plan.claim.isOver) return ofServices ?? { _tag: "Stopping", step: "cleanups" }
      return wanted.failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: wanted.failure }
  }
}

const namesOf = (child: ChildState): ReadonlyArray<string> => {
  const known = knownServices(child)
  return known.length === 0 ? [child.plan.label("a layer")] : known.map(({ label }) => label)
}
const pathOf = ({ plan }: ChildState, name: string): string => `${plan.parent.path} > ${name}`

const sinceOf = ({ upSince, wanted }: ChildState): number =>
  wanted._tag === "Up" ? (wanted.again?.since ?? upSince) : wanted.since

const now = (child: ChildState): number => child.plan.parent.clock.unsafeCurrentTimeMillis()

/** Those of the instance there is, or else of the last one. */
const knownServices = ({ instance, services }: ChildState): ReadonlyArray<Known> => {
  const before = new Map(services.map((service) => [service.label, service]))
  for (const member of instance?.members ?? []) {
    const { key, label } = member
    const lastFailure = member.lastFailure ?? before.get(label)?.lastFailure
    before.set(label, { key, label, lastFailure })
  }
  return [...before.values()]
}

/** Changes what is wanted or is there, and tells metrics whether its services are now on their way up again. */
const change = (child: ChildState, f: () => void): void => {
  const isRestarting = () => child.instance === undefined && child.wanted._tag === "Restart"
  const { changes, metrics } = child.plan.parent.owner.shared
  const was = isRestarting()
  f()
  const is = isRestarting()
  if (was !== is) {
    const [from, to] = is ? [undefined, "restarting"] : ["restarting", undefined]
    for (const { key } of child.services) metrics(key).moved(from, to)
  }
  changes.note()
}

/** A service shows the last ten of its children that failed for good: a screenful, and no leak. */
const mostLost = 10
