/** The laws that every service keeps, as invariants of a simulation. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Journal from "../Journal.ts"
import * as Reason from "../internal/Reason.ts"
import { counted } from "../internal/Format.ts"
import { line } from "./AppUnderTest.ts"
import { appName, nameOf, parentName } from "./Scenario.ts"
import type { Simulation } from "./Simulation.ts"
import * as Step from "./Step.ts"

/** The laws by name, each as a sentence about a service. */
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

/** A law that was broken. */
export interface Violation {
  readonly law: Law
  /** What was seen, as text. */
  readonly what: string
}

/** How a simulation violates the laws, but for some of them, in the order of the laws. */
export const violations = (simulation: Simulation, except: ReadonlyArray<Law>): ReadonlyArray<Violation> =>
  names.flatMap((law) =>
    except.includes(law) ? [] : invariants[law](simulation).map((what) => ({ law, what }))
  )

/** Gives what was seen against a law, as text. */
type Invariant = (simulation: Simulation) => ReadonlyArray<string>

const invariants: Record<Law, Invariant> = {
  starts: (it) => {
    if (!isUndisturbed(it) || it.isUp) return []
    if (it.stuck !== undefined) return [it.stuck]
    if (it.exit === undefined) return ["it does not start"]
    // An app never ends in success.
    const cause = Exit.isFailure(it.exit) ? it.exit.cause : Cause.empty
    // A service that asks for its stop while it starts is never up.
    if (Cause.isInterruptedOnly(cause) && it.entries.some(({ _tag }) => _tag === "StopAsked")) return []
    return [`it does not start: ${Reason.ofCause(cause)}`]
  },
  works: (it) => {
    if (!isUndisturbed(it) || !it.isUp) return []
    return [
      ...it.entries.filter(({ _tag }) => failures.has(_tag) && !ofOtherLaws.has(_tag)).map(text),
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
  "leaves nothing": (it) => it.leftovers,
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
      const isKnown = it.handled.has(error) || (it.reached.get(at) === "start" && isStartRecorded(it, at))
      return isKnown || isRecorded(it, error) ? [] : [`${error.message} is nowhere in the journal`]
    }),
    ...it.forgotten
      .filter(({ step }) => !wasPrevented(it, step))
      .filter(({ cause }) => !errorsOf(cause).some((error) => isRecorded(it, error)))
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

/** Whether the app was only started and, when it was up, stopped. */
const isUndisturbed = ({ scenario: { faults = [], stopAfter } }: Simulation): boolean =>
  faults.length === 0 && stopAfter === undefined

/** Entries that record a failure. */
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

/** Failures that do not count for `works`: generated events are no fair test of their handlers, and deadlines have a law of their own. */
const ofOtherLaws = new Set<Journal.Entry["_tag"]>(["HandlerFailed", "StopTimedOut"])

/** Entries that record work. */
const work = new Set<Journal.Entry["_tag"]>(["TaskTicked", "EventHandled", "EventEmitted", "EventPublished"])

/** Entries that begin and end the life of a service. */
const turns = new Set<Journal.Entry["_tag"]>(["ServiceStarting", "ServiceStopped"])

/** Whether a step of a stop was made to hang, or waits for one that was. */
const wasMadeToHang = (it: Simulation, service: string, step: string): boolean =>
  hasChildMadeToHang(it, service) ||
  madeToHang(it).some(([at, kind]) => {
    if (!Step.isOf(at, service)) return false
    if (kind === "handler") return step === "listeners" || step.startsWith("listener ")
    if (kind !== "stop") return false
    return at.endsWith(": onStop") ? step === "onStop" : step === "a cleanup"
  })

/** Whether a step of an adopted service was made to hang. Its parent may wait for it. */
const hasChildMadeToHang = (it: Simulation, service: string): boolean =>
  madeToHang(it).some(([at]) =>
    service === parentName ? !Step.isOf(at, service) : at.startsWith(`${service} > `)
  )

/** The steps that were made to hang, each with its kind. */
const madeToHang = ({ injected, reached }: Simulation) =>
  [...injected.keys()].flatMap(({ at, trouble }) =>
    trouble === "hang" ? [[at, reached.get(at)] as const] : []
  )

/** Whether a fault in the service, or the end of its start, may have kept the step from waiting for the fiber. */
const wasPrevented = ({ entries, injected }: Simulation, { service, work }: Step.Step): boolean =>
  [...injected.keys()].some(({ at }) => Step.isOf(at, nameOf(service))) ||
  (work === "onStart" &&
    !entries.some((entry) => entry._tag === "ServiceStarted" && nameOf(entry.service) === nameOf(service)))

/** Whether the journal records how the start of the service of this step ended: with its first failure, if any. */
const isStartRecorded = ({ entries }: Simulation, at: string): boolean =>
  entries.some(
    (entry) =>
      (entry._tag === "ServiceStarted" || entry._tag === "StartFailed") &&
      Step.isOf(at, nameOf(entry.service))
  )

/** Whether an error is in the journal: in a cause, or as the reason of bad health. */
const isRecorded = ({ entries }: Simulation, error: unknown): boolean =>
  entries.some((entry) =>
    entry._tag === "HealthChanged"
      ? entry.reason === Reason.ofCause(Cause.fail(error))
      : causesOf(entry)
          .flatMap(errorsOf)
          .some((other) => isSame(other, error))
  )

/** The cause in an entry, if it has one. */
const causesOf = (entry: Journal.Entry): ReadonlyArray<Cause.Cause<unknown>> =>
  "cause" in entry && entry.cause !== undefined ? [entry.cause] : []

/** Whether two errors are the same. Effect replaces an error that passes a span by a proxy. */
const isSame = (one: unknown, other: unknown): boolean =>
  one === other || (one instanceof Error && other instanceof Error && String(one) === String(other))

/** The errors in a cause, and those in the causes of these errors. */
const errorsOf = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> => {
  const errors = [...Cause.failures(cause), ...Cause.defects(cause)]
  const inner = errors.flatMap((error) =>
    typeof error === "object" && error !== null && "cause" in error && Cause.isCause(error.cause)
      ? errorsOf(error.cause)
      : []
  )
  return [...errors, ...inner]
}

/** An entry as the timeline shows it. */
const text = (entry: Journal.Entry): string => line(appName, entry)
