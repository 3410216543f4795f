/** The laws that every service keeps, and whether a rehearsal has kept them. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Journal from "../Journal.ts"
import * as Reason from "../internal/Reason.ts"
import { counted } from "../internal/Format.ts"
import type { Rehearsal } from "./Rehearsal.ts"
import { appName, nameOf, parentName } from "./Scenario.ts"
import * as Step from "./Step.ts"
import * as Timeline from "./Timeline.ts"

/** The laws, by what they are called, each as a sentence about a service. */
export const laws = {
  starts: "when nothing goes wrong it starts, each time anew",
  works: "when nothing goes wrong, nothing of it fails",
  "stops once": "it stops once, however many ask, and from wherever they do",
  "stops in time":
    "it stops before its deadline, whatever goes wrong; only a step that was made to hang is left",
  "closes what it opens": "what it has opened is closed, once, in reverse order, and not used afterwards",
  "leaves nothing":
    "when it has stopped, or not started, nothing of it is left: no fiber, timer, socket or listener",
  "goes quiet": "when it has stopped, it does nothing any more",
  "fails aloud": "what goes wrong in it is in the journal",
  "is interrupted quietly": "that it is interrupted is told as a failure by nobody",
  "restarts as it was": "when it is restarted, it has all that it had before, and no more"
} as const

/** The name of a law. */
export type Law = keyof typeof laws

/** The names of all laws. */
export const names = Object.keys(laws) as ReadonlyArray<Law>

/** A law was not kept. */
export interface Breach {
  readonly law: Law
  /** What was seen, as text. */
  readonly what: string
}

/** What a rehearsal has broken, of all laws but these, in the order of the laws. */
export const judge = (rehearsal: Rehearsal, except: ReadonlyArray<Law>): ReadonlyArray<Breach> =>
  names.flatMap((law) => (except.includes(law) ? [] : judges[law](rehearsal).map((what) => ({ law, what }))))

type Judge = (rehearsal: Rehearsal) => ReadonlyArray<string>

const judges: Record<Law, Judge> = {
  starts: (it) => {
    if (!isLeftAlone(it) || it.isUp) return []
    if (it.stuck !== undefined) return [it.stuck]
    if (it.exit === undefined) return ["it does not start"]
    // An app never ends by itself in success.
    const cause = Exit.isFailure(it.exit) ? it.exit.cause : Cause.empty
    // One that asks for its stop while it starts is never up.
    if (Cause.isInterruptedOnly(cause) && it.entries.some(({ _tag }) => _tag === "StopAsked")) return []
    return [`it does not start: ${Reason.ofCause(cause)}`]
  },
  works: (it) => {
    if (!isLeftAlone(it) || !it.isUp) return []
    return [
      ...it.entries.filter(({ _tag }) => failures.has(_tag) && !judgedElsewhere.has(_tag)).map(text),
      ...(it.asked === undefined ? [] : [`what it was asked failed: ${Reason.ofCause(it.asked)}`])
    ]
  },
  "stops once": (it) => {
    const times = new Map<string, { starts: number; stops: number }>()
    for (const entry of it.entries) {
      if (entry._tag !== "ServiceStarting" && entry._tag !== "ServiceStopping") continue
      const of = times.get(entry.service) ?? { starts: 0, stops: 0 }
      times.set(entry.service, of)
      of[entry._tag === "ServiceStarting" ? "starts" : "stops"]++
    }
    return [...times].flatMap(([service, { starts, stops }]) =>
      stops > starts
        ? [`${nameOf(service)} was started ${counted(starts, "time")}, and stopped ${counted(stops, "time")}`]
        : []
    )
  },
  "stops in time": (it) => [
    ...(it.isUp && it.stuck !== undefined ? [it.stuck] : []),
    ...it.entries
      .filter((entry) => entry._tag === "StopTimedOut")
      .filter((entry) => !wasMadeToHang(it, nameOf(entry.service), entry.step))
      .map(text),
    ...it.entries
      .flatMap((entry) => (entry._tag === "AppStopped" ? entry.report.services : []))
      .filter(({ problems }) => problems.some(({ _tag }) => _tag === "StartHung"))
      .filter(({ service }) => !hasChildMadeToHang(it, nameOf(service)))
      .map(({ service }) => `the start of ${nameOf(service)} did not let itself be interrupted`)
  ],
  "closes what it opens": (it) => (it.exit === undefined ? [] : it.resources),
  "leaves nothing": (it) => it.left,
  "goes quiet": (it) => [
    ...it.handledAfter.map((listener) => `${listener} was told of an event when all was over`),
    ...it.entries.flatMap((entry, index) => {
      const service = "service" in entry ? entry.service : "sender" in entry ? entry.sender : undefined
      if (service === undefined || !work.has(entry._tag)) return []
      const last = it.entries
        .slice(0, index)
        .findLast((other) => turns.has(other._tag) && "service" in other && other.service === service)
      return last?._tag === "ServiceStopped" ? [`it had stopped, and then: ${text(entry)}`] : []
    })
  ],
  "fails aloud": (it) => [
    ...[...it.injected].flatMap(([{ at, trouble }, error]) => {
      if (trouble !== "fail" && trouble !== "die") return []
      const isKnown = it.handled.has(error) || (it.reached.get(at) === "start" && isAnswered(it, at))
      return isKnown || isTold(it, error) ? [] : [`${error.message} is nowhere in the journal`]
    }),
    ...it.unheard
      .filter(({ step }) => !mayYetBeAsked(it, step))
      .filter(({ cause }) => !errorsOf(cause).some((error) => isTold(it, error)))
      .map(
        ({ cause, step }) =>
          `a fiber, forked by ${Step.name(step)}, failed, and nobody was told: ${Reason.ofCause(cause)}. ` +
          "Work that Service.spawn forks is watched"
      )
  ],
  "is interrupted quietly": (it) => [
    ...it.interruptionsLogged.map((message) => `logged as a warning or an error: ${message}`),
    ...it.entries
      .filter((entry) => failures.has(entry._tag) && causesOf(entry).some(Cause.isInterruptedOnly))
      .map(text)
  ],
  "restarts as it was": (it) => it.changed
}

/** Whether nothing was done to it but to start and stop it, when it was up. */
const isLeftAlone = ({ scenario: { faults = [], stopAfter } }: Rehearsal): boolean =>
  faults.length === 0 && stopAfter === undefined

/** Entries that tell of a failure. */
const failures = new Set<Journal.Entry["_tag"]>([
  "AppCrashed",
  "StartFailed",
  "ServiceFailed",
  "StopStepFailed",
  "StopTimedOut",
  "TaskFailed",
  "HandlerFailed",
  "WorkRestarting",
  "WorkRetrying",
  "RestartsExhausted",
  "RetriesExhausted"
])

/** Failures that are no matter of `works`: samples of events are no fair trial of what handles them, and deadlines have a law. */
const judgedElsewhere = new Set<Journal.Entry["_tag"]>(["HandlerFailed", "StopTimedOut"])

/** Entries that tell of work. */
const work = new Set<Journal.Entry["_tag"]>(["TaskTicked", "EventHandled", "EventEmitted", "EventPublished"])

/** Entries between which a service is there, or is not. */
const turns = new Set<Journal.Entry["_tag"]>(["ServiceStarting", "ServiceStopped"])

/** Whether a step of a stop was made to hang, or waits for what was. */
const wasMadeToHang = (it: Rehearsal, service: string, step: string): boolean =>
  hasChildMadeToHang(it, service) ||
  madeToHang(it).some(([at, kind]) => {
    if (!Step.isOf(at, service)) return false
    if (kind === "handler") return step === "listeners" || step.startsWith("listener ")
    if (kind !== "stop") return false
    return at.endsWith(": onStop") ? step === "onStop" : step === "a cleanup"
  })

/** Whether something that a service has adopted was made to hang: it may wait for that. */
const hasChildMadeToHang = (it: Rehearsal, service: string): boolean =>
  madeToHang(it).some(([at]) =>
    service === parentName ? !Step.isOf(at, service) : at.startsWith(`${service} > `)
  )

/** The steps that were made to hang, each with its kind. */
const madeToHang = ({ injected, reached }: Rehearsal) =>
  [...injected.keys()].flatMap(({ at, trouble }) =>
    trouble === "hang" ? [[at, reached.get(at)] as const] : []
  )

/** Whether who was to ask for a fiber was kept from it: by what went wrong in its service, or in a start that did not end. */
const mayYetBeAsked = ({ entries, injected }: Rehearsal, { service, work }: Step.Step): boolean =>
  [...injected.keys()].some(({ at }) => Step.isOf(at, nameOf(service))) ||
  (work === "onStart" &&
    !entries.some((entry) => entry._tag === "ServiceStarted" && nameOf(entry.service) === nameOf(service)))

/** Whether the journal tells how the start of the service of this step has ended: with what is told first. */
const isAnswered = ({ entries }: Rehearsal, at: string): boolean =>
  entries.some(
    (entry) =>
      (entry._tag === "ServiceStarted" || entry._tag === "StartFailed") &&
      Step.isOf(at, nameOf(entry.service))
  )

/** Whether an error is in the journal: in a cause, or as the reason why a service is unhealthy. */
const isTold = ({ entries }: Rehearsal, error: unknown): boolean =>
  entries.some((entry) =>
    entry._tag === "HealthChanged"
      ? entry.reason === Reason.ofCause(Cause.fail(error))
      : causesOf(entry)
          .flatMap(errorsOf)
          .some((other) => isSame(other, error))
  )

/** The cause that an entry tells of, if there is one. */
const causesOf = (entry: Journal.Entry): ReadonlyArray<Cause.Cause<unknown>> =>
  "cause" in entry && entry.cause !== undefined ? [entry.cause] : []

/** Whether it is the same error: Effect gives out stand-ins for errors that have gone through a span. */
const isSame = (one: unknown, other: unknown): boolean =>
  one === other || (one instanceof Error && other instanceof Error && String(one) === String(other))

/** The errors in a cause, and those in the causes that they have in turn. */
const errorsOf = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  const inner = errors.flatMap((error) =>
    typeof error === "object" && error !== null && "cause" in error && Cause.isCause(error.cause)
      ? errorsOf(error.cause)
      : []
  )
  return [...errors, ...inner]
}

/** As the timeline has it. */
const text = (entry: Journal.Entry): string => Timeline.line(appName, entry)
