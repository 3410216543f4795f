/** A child that is kept running, over all its lives: what is wanted of it, and how it is. */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Latch from "../Latch.ts"
import type * as ChildInstance from "./ChildInstance.ts"
import * as Labels from "../lifecycle/Labels.ts"
import * as Monotonic from "../Monotonic.ts"
import type * as Owner from "../lifecycle/Owner.ts"
import * as Reason from "../Reason.ts"
import type { OwnedChild } from "../lifecycle/Lifetime.ts"
import type { LastFailure, ServiceStatus, State } from "../status/ServiceStatus.ts"

/** A child that is kept running. */
export interface Slot {
  readonly plan: ChildInstance.Plan
  wanted: Wanted
  /** What there is of it now. */
  life: ChildInstance.Incarnation | undefined
  /** Open while it is up, and when it is over. */
  readonly ready: Latch.Latch
  /** Open when it will not come up again. */
  readonly over: Latch.Latch
  /** What its parent knows of it. */
  owned: OwnedChild | undefined
  /** The owner of the services of its last life. */
  owner: Owner.Owner | undefined
  /** Its services when it was last up, each with its last failure in an earlier life. */
  services: ReadonlyArray<Known>
  /** How often it was begun anew. */
  restarts: number
  /** When it came up, by both clocks. */
  upSince: number
  upAt: number
}

/** What is to become of a child. A life that is not wanted ends; what is wanted follows. */
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
export const make = (plan: ChildInstance.Plan): Slot => ({
  plan,
  wanted: { _tag: "Up", again: undefined },
  life: undefined,
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
export const isAtRest = ({ wanted }: Slot): boolean => wanted._tag === "Up" && wanted.again === undefined

/** What it offers, if it is up and is to stay so. */
export const offered = ({ life, wanted }: Slot): Context.Context<unknown> | undefined =>
  wanted._tag === "Up" ? life?.context() : undefined

/** Why it restarts, or has ended, as far as it failed. */
export const reasonOf = ({ wanted }: Slot): string | undefined => {
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
  slot: Slot,
  reason: string,
  batch: object,
  notBefore: number | undefined
): void => {
  const { wanted } = slot
  const since = (wanted._tag === "Up" ? wanted.again?.since : wanted.since) ?? now(slot)
  if (wanted._tag !== "Down") want(slot, { _tag: "Restart", reason, since, batch, notBefore })
}

/** Which of some children is to come up first, and when: those of a batch one after another, as far as it is decided. */
export const nextOf = (slots: ReadonlyArray<Slot>) => {
  let next: { readonly slot: Slot; readonly at: number } | undefined
  for (const slot of slots) {
    const { wanted } = slot
    if (wanted._tag !== "Restart" || wanted.notBefore === undefined) continue
    const isFirst = slots.find((each) => batchOf(each) === wanted.batch) === slot
    if (isFirst && (next === undefined || wanted.notBefore < next.at)) next = { slot, at: wanted.notBefore }
  }
  return next
}

/** With what others it comes up, if it is on its way. */
const batchOf = ({ wanted }: Slot): object | undefined =>
  wanted._tag === "Restart" ? wanted.batch : wanted._tag === "Up" ? wanted.again?.batch : undefined

/** It is to be down for good. */
export const wantDown = (slot: Slot, failure: string | undefined): void => {
  if (slot.wanted._tag !== "Down") want(slot, { _tag: "Down", since: now(slot), failure })
}

const want = (slot: Slot, wanted: Wanted): void => {
  slot.services = knownServices(slot)
  slot.ready.unsafeClose()
  change(slot, () => {
    slot.wanted = wanted
  })
  // Last: whoever hears of it must see what is wanted now.
  slot.life?.giveUp()
}

/** Its life has ended. */
export const wentDown = (slot: Slot): void =>
  change(slot, () => {
    slot.life = undefined
  })

/** Another life of it begins. */
export const begins = (slot: Slot): void => {
  slot.restarts++
  for (const { key } of slot.services) slot.plan.parent.owner.shared.metrics(key).restarted()
  change(slot, () => {
    slot.wanted = { _tag: "Up", again: slot.wanted._tag === "Restart" ? slot.wanted : undefined }
  })
}

/** A service of it did not start. */
export const didNotStart = (slot: Slot, service: string, work: string, cause: Cause.Cause<unknown>): void => {
  const lastFailure = { at: now(slot), work, reason: Reason.ofCause(cause) }
  slot.services = slot.services.map((known) =>
    pathOf(slot, known.label) === service ? { ...known, lastFailure } : known
  )
}

/** It is up. */
export const cameUp = (slot: Slot): void => {
  const { clock, lostChildren } = slot.plan.parent
  slot.upSince = now(slot)
  slot.upAt = Monotonic.unsafeMillis(clock)
  slot.wanted = { _tag: "Up", again: undefined }
  const members = [...(slot.life?.members ?? [])]
  slot.services = knownServices(slot).filter(({ label }) => members.some((member) => member.label === label))
  const names = new Set(slot.services.map(({ label }) => label))
  lostChildren.splice(0, lostChildren.length, ...lostChildren.filter(({ name }) => !names.has(name)))
  slot.ready.unsafeOpen()
  slot.plan.parent.owner.shared.changes.note()
}

/** It is down for good: what it was called is free again. */
export const isOver = (slot: Slot): void => {
  const { claim, parent } = slot.plan
  claim.isOver = true
  if (slot.owned !== undefined) parent.children.delete(slot.owned)
  if (slot.owner !== undefined) Labels.free(slot.owner)
  if (slot.wanted._tag === "Down" && slot.wanted.failure !== undefined) {
    parent.lostChildren.push(...status(slot))
    parent.lostChildren.splice(0, parent.lostChildren.length - mostLost)
  }
  slot.over.unsafeOpen()
  slot.ready.unsafeOpen()
  parent.owner.shared.changes.note()
}

/** What its services are called, as far as that is known. */
export const nameOf = (slot: Slot): string => namesOf(slot).join(", ")

/** The paths of its services. */
export const pathsOf = (slot: Slot): ReadonlyArray<string> => namesOf(slot).map((name) => pathOf(slot, name))

/** The services in it. */
export const status = (slot: Slot): ReadonlyArray<ServiceStatus> => {
  const members = new Map(Array.from(slot.life?.members ?? [], (member) => [member.label, member]))
  const known = new Map(slot.services.map((service) => [service.label, service]))
  const ofAll = state(slot)
  return Array.from(namesOf(slot), (name): ServiceStatus => {
    const own = members.get(name)?.status()
    // One of several may have stopped before the others.
    const rest: State = ofAll._tag === "Stopping" && members.size > 0 ? { _tag: "Stopped" } : ofAll
    const isOwn = own !== undefined && ofAll._tag !== "Restarting"
    return {
      startedAfter: undefined,
      startTook: undefined,
      stopTimeout: Duration.millis(slot.plan.parent.stopTimeout),
      isStopTimeoutSet: false,
      dependencies: [],
      checks: [],
      tasks: [],
      listeners: [],
      children: [],
      ...own,
      name,
      path: pathOf(slot, name),
      state: isOwn ? own.state : rest,
      since: isOwn ? own.since : sinceOf(slot),
      restarts: slot.restarts,
      isCritical: slot.plan.isCritical,
      lastFailure: own?.lastFailure ?? known.get(name)?.lastFailure
    }
  })
}

/** How it is as a whole; of several services, as the first is that does not simply run. */
export const state = (slot: Slot): State => {
  const { plan, wanted } = slot
  const members = [...(slot.life?.members ?? [])]
  const ofServices = members.map((member) => member.shown()).find(({ _tag }) => _tag !== "Running")
  switch (wanted._tag) {
    case "Up":
      if (wanted.again !== undefined)
        return { _tag: "Restarting", reason: wanted.again.reason, nextStart: undefined }
      return ofServices ?? { _tag: offered(slot) === undefined ? "Starting" : "Running" }
    case "Restart": {
      const { clock } = plan.parent
      const left =
        wanted.notBefore === undefined ? undefined : wanted.notBefore - Monotonic.unsafeMillis(clock)
      const nextStart = left === undefined ? undefined : Math.round(now(slot) + left)
      return { _tag: "Restarting", reason: wanted.reason, nextStart }
    }
    case "Down":
      if (!plan.claim.isOver) return ofServices ?? { _tag: "Stopping", step: "cleanups" }
      return wanted.failure === undefined ? { _tag: "Stopped" } : { _tag: "Failed", reason: wanted.failure }
  }
}

const namesOf = (slot: Slot): ReadonlyArray<string> => {
  const known = knownServices(slot)
  return known.length === 0 ? [slot.plan.label("a layer")] : known.map(({ label }) => label)
}
const pathOf = ({ plan }: Slot, name: string): string => `${plan.parent.path} > ${name}`

const sinceOf = ({ upSince, wanted }: Slot): number =>
  wanted._tag === "Up" ? (wanted.again?.since ?? upSince) : wanted.since

const now = (slot: Slot): number => slot.plan.parent.clock.unsafeCurrentTimeMillis()

/** Those of the life there is, or else of the last one. */
const knownServices = ({ life, services }: Slot): ReadonlyArray<Known> => {
  const before = new Map(services.map((service) => [service.label, service]))
  for (const member of life?.members ?? []) {
    const { key, label } = member
    const lastFailure = member.lastFailure ?? before.get(label)?.lastFailure
    before.set(label, { key, label, lastFailure })
  }
  return [...before.values()]
}

/** Changes what is wanted or is there, and tells metrics whether its services are now on their way up again. */
const change = (slot: Slot, f: () => void): void => {
  const isRestarting = () => slot.life === undefined && slot.wanted._tag === "Restart"
  const { changes, metrics } = slot.plan.parent.owner.shared
  const was = isRestarting()
  f()
  const is = isRestarting()
  if (was !== is) {
    const [from, to] = is ? [undefined, "restarting"] : ["restarting", undefined]
    for (const { key } of slot.services) metrics(key).moved(from, to)
  }
  changes.note()
}

/** A service shows the last ten of its children that failed for good: a screenful, and no leak. */
const mostLost = 10
