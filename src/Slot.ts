/** A child that is kept running, over all its lives: what is wanted of it, and how it is. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Incarnation from "./Incarnation.ts"
import * as Owner from "./Owner.ts"
import type { OwnedChild } from "./ServiceScope.ts"
import type { ServiceStatus, State } from "./ServiceStatus.ts"

/** A child that is kept running. */
export interface Slot {
  readonly plan: Incarnation.Plan
  life: Incarnation.Incarnation | undefined
  /** What its parent knows of it. */
  owned: OwnedChild | undefined
  /** The owner of the services of its last life. */
  owner: Owner.Owner | undefined
  wanted: "up" | "down"
  /** Its life is to end, to be followed by another. */
  isStale: boolean
  /** Open while it is up, and when it is over. (A latch has a quarter of the size of a `Deferred`.) */
  readonly ready: Effect.Latch
  /** Open when it will not come up again. */
  readonly over: Effect.Latch
  /** Its services when it was last up: what they are called, and the keys of their classes. */
  services: ReadonlyArray<Pick<Owner.Member, "key" | "label">>
  restarts: number
  /** When it came up, or began to come up again, in milliseconds since the epoch. */
  since: number
  /** Why it went down, and whether that is the end of it. */
  reason: string | undefined
  hasFailed: boolean
  /** Whether metrics count its services as restarting. */
  isCounted: boolean
  /** When it is to come up, in milliseconds since the epoch, while it waits for that. */
  nextStart: number | undefined
}

/** A child that is not up yet. */
export const make = (plan: Incarnation.Plan): Slot => ({
  plan,
  life: undefined,
  owned: undefined,
  owner: undefined,
  wanted: "up",
  isStale: false,
  ready: Effect.unsafeMakeLatch(),
  over: Effect.unsafeMakeLatch(),
  services: [],
  restarts: 0,
  since: plan.parent.clock.unsafeCurrentTimeMillis(),
  reason: undefined,
  hasFailed: false,
  isCounted: false,
  nextStart: undefined
})

/** What it offers, if it is up and is to stay so. */
export const offered = (slot: Slot): Context.Context<unknown> | undefined =>
  slot.wanted === "up" && !slot.isStale ? slot.life?.context() : undefined

/** It is to go down: for good, or to come up again. */
export const lower = (slot: Slot, wanted: "up" | "down", reason: string): void => {
  if (slot.wanted === "down") return
  if (offered(slot) !== undefined) slot.since = slot.plan.parent.clock.unsafeCurrentTimeMillis()
  slot.reason = reason
  slot.wanted = wanted
  slot.isStale = true
  slot.nextStart = undefined
  slot.ready.unsafeClose()
  slot.life?.giveUp()
  slot.plan.parent.owner.shared.changes.note()
}

/** It has come up. */
export const raised = (slot: Slot, life: Incarnation.Incarnation): void => {
  const { clock, lostChildren, owner } = slot.plan.parent
  slot.services = Array.from(life.owner.members, ({ key, label }) => ({ key, label }))
  slot.since = clock.unsafeCurrentTimeMillis()
  const names = new Set(slot.services.map(({ label }) => label))
  lostChildren.splice(0, lostChildren.length, ...lostChildren.filter(({ name }) => !names.has(name)))
  if (slot.restarts > 0) {
    for (const { key } of slot.services) owner.shared.metrics(key).restarted()
  }
  tell(slot)
}

/** It has gone down for good: what it was called is free again. */
export const ended = (slot: Slot): void => {
  const { claim, parent } = slot.plan
  claim.isOver = true
  if (slot.owned !== undefined) parent.children.delete(slot.owned)
  if (slot.owner !== undefined) Owner.freeLabels(slot.owner)
  count(slot, false)
  if (slot.hasFailed) {
    parent.lostChildren.push(...status(slot))
    parent.lostChildren.splice(0, parent.lostChildren.length - mostLost)
  }
  slot.over.unsafeOpen()
  tell(slot)
}

/** Whether metrics are to count its services as restarting. */
export const count = (slot: Slot, isRestarting: boolean): void => {
  if (slot.isCounted === isRestarting) return
  slot.isCounted = isRestarting
  for (const { key } of slot.services) {
    const metrics = slot.plan.parent.owner.shared.metrics(key)
    if (isRestarting) metrics.moved(undefined, "restarting")
    else metrics.moved("restarting", undefined)
  }
}

/** What its services are called, as far as that is known. */
export const nameOf = ({ life, plan, services }: Slot): string => {
  const known = services.length > 0 ? services : [...(life?.owner.members ?? [])]
  return known.map(({ label }) => label).join(", ") || plan.label("a layer")
}

/** The services in it. */
export const status = (slot: Slot): ReadonlyArray<ServiceStatus> => {
  const { label, parent } = slot.plan
  const alive = new Map<string, ServiceStatus>()
  for (const member of slot.life?.owner.members ?? []) alive.set(member.label, member.status())
  const names = new Set([...slot.services.map((service) => service.label), ...alive.keys()])
  if (names.size === 0) names.add(label("a layer"))
  const ofAll = state(slot)
  return Array.from(names, (name) => {
    const own = alive.get(name)
    const isOwn = own !== undefined && ofAll._tag !== "Restarting"
    return {
      name,
      path: `${parent.path} > ${name}`,
      state: isOwn ? own.state : ofAll,
      since: isOwn ? own.since : slot.since,
      restarts: slot.restarts,
      lastFailure: own?.lastFailure,
      dependencies: own?.dependencies ?? [],
      tasks: own?.tasks ?? [],
      listeners: own?.listeners ?? [],
      children: own?.children ?? []
    }
  })
}

/** How it is as a whole; of several services, as the first is that does not simply run. */
export const state = (slot: Slot): State => {
  const members = [...(slot.life?.owner.members ?? [])]
  const ofServices = members.map((member) => member.status().state).find(({ _tag }) => _tag !== "Running")
  if (slot.plan.claim.isOver) {
    return slot.hasFailed ? { _tag: "Failed", reason: slot.reason ?? "" } : { _tag: "Stopped" }
  }
  if (slot.wanted === "down") return ofServices ?? { _tag: "Stopping", step: "cleanups" }
  if (offered(slot) !== undefined) return ofServices ?? { _tag: "Running" }
  return slot.reason === undefined
    ? { _tag: "Starting" }
    : { _tag: "Restarting", reason: slot.reason, nextStart: slot.nextStart }
}

const tell = (slot: Slot): void => {
  slot.ready.unsafeOpen()
  slot.plan.parent.owner.shared.changes.note()
}

/** A service shows the last ten of its children that failed for good: a screenful, and no leak. */
const mostLost = 10
