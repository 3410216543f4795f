/**
 * Derives from the history of a simulation what its invariants are about: which
 * listeners were registered when an event was sent, who must receive it, and
 * how each delivery ended.
 */
import {
  failureIdsIn,
  type Subscription,
  type Moment,
  type Run,
  type Send,
  type History,
  type Recorded
} from "./simulation.ts"

export type Certainty = "yes" | "maybe" | "no"

/** A listener of one instance of a service, and when it was registered. */
export interface Listener extends Subscription {
  readonly subscription: Subscription
  readonly name: string
  /** Before this it accepts every event. */
  readonly closing: Moment | undefined
  /** After this it accepts no event. */
  readonly closed: Moment | undefined
  /** Before this none of its deliveries is aborted. */
  readonly aborted: Moment | undefined
  /** After this none of its handlers runs. */
  readonly stopped: Moment | undefined
  /** The entries of this instance of its service. */
  readonly recorded: ReadonlyArray<Recorded>
}

/** An event whose handler has started: once, or again as its policy says. */
export interface Delivery {
  readonly listener: Listener
  readonly send: Send
  readonly runs: ReadonlyArray<Run>
  readonly last: Run
  /** Through the listener's queue or directly; an event sent during the boot may take either route. */
  readonly route: "queued" | "immediate" | "unknown"
  /** Whether it ended on its own. */
  readonly isEnded: Certainty
}

/**
 * The model of a history. When fibers run in random order, the order of two
 * moments may be unknown: `yes` is required by the invariants, `maybe` allowed.
 */
export const modelOf = (history: History) => {
  const of = <Tag extends Recorded["_tag"]>(tag: Tag, among: ReadonlyArray<Recorded> = history.recorded) =>
    among.filter((recorded): recorded is Extract<Recorded, { readonly _tag: Tag }> => recorded._tag === tag)

  const listeners = history.subscriptions.map((subscription): Listener => {
    const { registering, cancelled, cancelling, path, spec } = subscription
    const ofService: ReadonlyArray<Recorded> = history.recorded.filter(
      (recorded): boolean => "service" in recorded && recorded.service === path
    )
    const starts = of("ServiceStarting", ofService).map(({ when }) => when.n)
    const from = starts.findLast((n) => n < registering.n) ?? -1
    const to = starts.find((n) => n > registering.n) ?? Infinity
    const recorded = ofService.filter(({ when }) => when.n > from && when.n < to)

    const stopping = of("ServiceStopping", recorded)[0]?.when
    const timedOut = (step: string) => of("StopTimedOut", recorded).find((entry) => entry.step === step)?.when
    const onStop = earliest(of("OnStopOver", recorded)[0]?.when, timedOut("onStop"))
    const closing = earliest(onStop ?? stopping, cancelling)
    const cleaned = of("CleanedUp", recorded).find(
      ({ when }) => stopping !== undefined && when.n > stopping.n
    )
    const stopped = earliest(cleaned?.when, of("ServiceStopped", recorded)[0]?.when)
    const aborted = earliest(timedOut("listeners"), timedOut(`listener ${spec.on}`))
    return {
      ...subscription,
      subscription,
      name: `${path} on ${spec.on}`,
      closing,
      closed: earliest(stopped, cancelled),
      aborted,
      stopped,
      recorded
    }
  })

  const runsOf = new Map<Send, ReadonlyArray<Run>>()
  for (const run of history.runs) runsOf.set(run.send, [...(runsOf.get(run.send) ?? []), run])

  /** Whether it reached the bus: its sender may have been interrupted first. */
  const isSent = (send: Send) =>
    send.isDone || runsOf.has(send) || (send.ended !== undefined && send.ended.at > send.started.at)
  /** Whether it was certainly sent before a moment. An event is sent before time moves. */
  const isBefore = (send: Send, moment: Moment | undefined) =>
    moment === undefined ||
    (send.ended !== undefined && send.ended.n < moment.n) ||
    send.started.at < moment.at

  const bootOver = earliest(of("AppStarted")[0]?.when, of("AppStopping")[0]?.when)
  const lastStarted = of("ServiceStarted").findLast(
    ({ service, when }) => service.split(" > ").length === 2 && isEarlier(when, bootOver)
  )
  /** The boot had not ended before this. */
  const bootEndedAt = of("AppStarted").length === 0 ? undefined : lastStarted?.when

  /** Whether a listener was registered when an event was sent. */
  const isPresent = (send: Send, listener: Listener): Certainty => {
    if (send.event !== listener.spec.on) return "no"
    const { registering, closed, closing, registered } = listener
    if (isEarlier(registered, send.started) && isBefore(send, closing) && isSent(send)) return "yes"
    return isBefore(send, registering) || isEarlier(closed, send.started) ? "no" : "maybe"
  }
  /** Whether a listener must receive an event: then or, if it was sent during the boot, later. */
  const reaches = (send: Send, listener: Listener): Certainty => {
    const present = isPresent(send, listener)
    const { registering, closed, closing, registered, spec } = listener
    if (present === "yes" || send.event !== spec.on) return present
    const inBoot =
      isEarlier(registered, bootEndedAt) && isBefore(send, bootEndedAt) && bootEndedAt !== undefined
    if (inBoot && isSent(send)) return isBefore(send, closing) ? "yes" : "maybe"
    const mayBeInBoot = bootOver === undefined || (send.started.n < bootOver.n && registering.n < bootOver.n)
    return mayBeInBoot && !isEarlier(closed, send.started) ? "maybe" : present
  }
  const route = (send: Send, { registering, registered }: Listener): Delivery["route"] =>
    send.verb === "publish" || isBefore(send, registering)
      ? "queued"
      : isEarlier(registered, send.started)
        ? "immediate"
        : "unknown"

  const repeated = new Set(of("WorkRestarting").flatMap(({ cause }) => failureIdsIn(cause)))
  const timeouts = of("WorkRestarting").filter(({ cause }) => failureIdsIn(cause).length === 0)
  const deliveries = listeners.flatMap((listener) =>
    history.sends.flatMap((send): ReadonlyArray<Delivery> => {
      const runs = (runsOf.get(send) ?? []).filter(
        ({ subscription }) => subscription === listener.subscription
      )
      const last = runs.at(-1)
      if (last === undefined) return []
      const { failureId, end, selfInterrupt, ended } = last
      const isRetry = failureId !== undefined && repeated.has(failureId)
      const isTimeoutRetry = timeouts.some(
        ({ service, when }) => service === listener.path && when.at === ended?.at
      )
      const isEnded: Certainty =
        ended === undefined || isRetry
          ? "no"
          : // Unknown for a run that ended at the very instant of the abort.
            isEarlier(listener.aborted, ended) ||
              listener.aborted?.at === ended.at ||
              (hasTimedOut(last) && isTimeoutRetry)
            ? end === "done" || end === "failed" || hasTimedOut(last) || selfInterrupt !== undefined
              ? "maybe"
              : "no"
            : end !== "interrupted" || hasTimedOut(last) || selfInterrupt !== undefined
              ? "yes"
              : "no"
      return [{ listener, send, runs, last, route: route(send, listener), isEnded }]
    })
  )
  const deliveryOf = (send: Send, listener: Listener) =>
    deliveries.find((delivery) => delivery.send === send && delivery.listener === listener)

  return { history, listeners, deliveries, of, isBefore, isPresent, reaches, route, deliveryOf }
}
export type Model = ReturnType<typeof modelOf>

export const earliest = (...moments: ReadonlyArray<Moment | undefined>): Moment | undefined =>
  moments.reduce(
    (one, other) => (one === undefined || (other !== undefined && other.n < one.n) ? other : one),
    undefined
  )
export const isEarlier = (one: Moment | undefined, other: Moment | undefined): boolean =>
  one !== undefined && (other === undefined || one.n < other.n)

/** Whether the run reached its timeout, or exceeded it in an uninterruptible step. */
export const hasTimedOut = ({ started, subscription, end, ended }: Run): boolean =>
  subscription.spec.timeout !== undefined &&
  ended !== undefined &&
  end === "interrupted" &&
  ended.at - started.at >= subscription.spec.timeout
/** It ended at the very instant of its timeout, so either outcome is right. */
export const isAtTimeout = ({ started, subscription, ended }: Run): boolean =>
  subscription.spec.timeout !== undefined &&
  ended !== undefined &&
  ended.at - started.at === subscription.spec.timeout
