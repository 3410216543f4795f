import { existsSync, readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { Cause, Duration, Effect, Logger } from "effect"
import type { ServiceRegistry } from "effect-services"
import { arbitrary, failureIdsIn, type Scenario, simulate, type Moment, type Send } from "./simulation.ts"
import {
  type Delivery,
  hasTimedOut,
  isAtTimeout,
  isEarlier,
  type Listener,
  type Model,
  modelOf
} from "./simulationModel.ts"
import { leavesNothing } from "./support.ts"

const describeSend = (send: Send) => `${send.event}#${send.id}`
const describeDelivery = (delivery: Delivery) => `${describeSend(delivery.send)} at ${delivery.listener.name}`
const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((one, other) => one + other, 0)

/** Each yields its violations. */
export const invariants: Record<string, (model: Model) => Iterable<string>> = {
  "every registered listener receives an emitted event immediately": function* ({
    deliveryOf,
    isPresent,
    listeners,
    history
  }) {
    for (const send of history.sends) {
      for (const listener of listeners) {
        if (send.verb !== "emit" || isPresent(send, listener) !== "yes") continue
        const delivery = deliveryOf(send, listener)
        // A delivery that is aborted at that instant may not have started.
        if (delivery === undefined && listener.aborted?.at === send.started.at) continue
        if (delivery?.runs[0]!.started.at !== send.started.at)
          yield `${describeSend(send)} at ${listener.name}`
      }
    }
  },

  "no listener receives an event twice, or an event it did not subscribe to": function* ({
    deliveries,
    of,
    reaches
  }) {
    const retry = new Set(of("WorkRestarting").flatMap(({ cause }) => failureIdsIn(cause)))
    for (const delivery of deliveries) {
      if (reaches(delivery.send, delivery.listener) === "no")
        yield `${describeDelivery(delivery)} was not sent to it`
      for (const run of delivery.runs.slice(0, -1)) {
        const isRetry =
          hasTimedOut(run) || isAtTimeout(run) || (run.failureId !== undefined && retry.has(run.failureId))
        if (delivery.listener.spec.onFailure !== "retry" || !isRetry)
          yield `${describeDelivery(delivery)} ran twice`
      }
    }
  },

  "a receipt has one outcome for each registered listener, in order of registration": function* ({
    isPresent,
    listeners,
    history
  }) {
    for (const send of history.sends) {
      if (send.receipt === undefined) continue
      const { event, failed, handled, outcomes } = send.receipt
      const tags = outcomes.map(({ _tag }) => _tag)
      const count = (...of: ReadonlyArray<string>) => tags.filter((tag) => of.includes(tag)).length
      if (event !== send.event) yield `${describeSend(send)} has a receipt for ${event}`
      if (handled !== count("Handled") || failed !== count("Failed", "TimedOut"))
        yield `${describeSend(send)} has wrong totals`
      // Of the instances of one service, only one can have been registered.
      const certain = listeners.filter((one) => isPresent(send, one) === "yes")
      for (const listener of certain) {
        const index = outcomes.findIndex(({ service }) => service === listener.path)
        if (index < 0) yield `${describeSend(send)} has no outcome of ${listener.name}`
        const later = certain.filter(
          (other) => outcomes.findIndex(({ service }) => service === other.path) > index
        )
        if (later.some(({ registered }) => isEarlier(registered, listener.registering)))
          yield `${describeSend(send)} has ${listener.name} out of order`
      }
      for (const [index, { service }] of outcomes.entries()) {
        if (outcomes.findIndex((other) => other.service === service) !== index)
          yield `${describeSend(send)} has two outcomes of ${service}`
        if (!listeners.some((one) => one.path === service && isPresent(send, one) !== "no"))
          yield `${describeSend(send)} has an outcome of ${service}, which was not registered`
      }
    }
  },

  "an outcome reports how the delivery to that listener ended": function* ({
    deliveryOf,
    isPresent,
    listeners,
    history
  }) {
    for (const send of history.sends) {
      for (const outcome of send.receipt?.outcomes ?? []) {
        const present = listeners.filter(
          (one) => one.path === outcome.service && isPresent(send, one) !== "no"
        )
        if (present.length !== 1) continue
        const listener = present[0]!
        const delivery = deliveryOf(send, listener)
        const run = delivery?.last
        const label = `${describeSend(send)} is ${outcome._tag} at ${listener.name}`
        if (outcome._tag === "Interrupted") {
          const isEnding = listener.closing !== undefined && listener.closing.n < send.ended!.n
          if (!isEnding && run?.selfInterrupt === undefined) yield `${label}, which keeps running`
          continue
        }
        if (run?.ended === undefined || run.ended.n > send.ended!.n) {
          yield `${label}, but the delivery had not ended`
          continue
        }
        const took = run.ended.at - run.started.at
        if (Duration.toMillis(outcome.took) !== took) yield `${label}, but took ${took}`
        const isSo =
          outcome._tag === "Handled"
            ? run.end === "done"
            : outcome._tag === "TimedOut"
              ? hasTimedOut(run) || isAtTimeout(run)
              : run.failureId !== undefined && failureIdsIn(outcome.cause).includes(run.failureId)
        if (!isSo) yield `${label}, but was ${run.end}`
      }
    }
  },

  "emit returns when the last listener has handled the event or has stopped": function* ({
    deliveries,
    listeners,
    isPresent,
    history
  }) {
    for (const send of history.sends) {
      if (send.verb !== "emit" || !send.isDone) continue
      const own = deliveries.filter((delivery) => delivery.send === send && delivery.route === "immediate")
      const ends = own.map(({ last, listener }) => {
        const { ended } = last
        const stopped = listener.aborted === undefined ? undefined : latest(listener.aborted, send.started)
        return ended === undefined || (stopped !== undefined && stopped.at < ended.at)
          ? (stopped?.at ?? Infinity)
          : ended.at
      })
      const due = Math.max(send.started.at, ...ends)
      if (send.ended!.at < due) yield `${describeSend(send)} returned before that`
      const isUnknown = listeners.some((one) => isPresent(send, one) === "maybe")
      if (send.ended!.at > due && !isUnknown)
        yield `${describeSend(send)} returned late; it was due at ${due}`
    }
  },

  "a listener runs at most `concurrency` queued deliveries, and starts each as soon as it can": function* ({
    deliveries
  }) {
    for (const delivery of deliveries) {
      if (delivery.route !== "queued") continue
      const { listener, send } = delivery
      const started = delivery.runs[0]!.started
      const { concurrency = 1 } = listener.spec
      const earlier = deliveries.filter(
        (other) =>
          other.listener === listener && other.route !== "immediate" && other.runs[0]!.started.n < started.n
      )
      const busy = earlier.filter(({ last }) => last.ended === undefined || last.ended.n > started.n)
      if (busy.filter(({ route }) => route === "queued").length >= concurrency)
        yield `${describeDelivery(delivery)} exceeds the concurrency`
      const registering = latest(send.started, listener.registering)
      const due = listener.registered === undefined ? registering : latest(registering, listener.registered)
      if (started.at <= due.at) continue
      const late = earlier.filter(({ last }) => last.ended === undefined || last.ended.at >= started.at)
      if (late.length < concurrency) yield `${describeDelivery(delivery)} started late`
    }
  },

  "published events are handled in the order of acceptance, which is the same for each listener": function* ({
    deliveries,
    isBefore,
    isPresent,
    listeners
  }) {
    const queued = new Map<Listener, ReadonlyArray<Delivery>>()
    for (const listener of listeners) {
      const own = deliveries.filter((one) => one.listener === listener && one.route === "queued")
      queued.set(
        listener,
        own.toSorted((one, other) => one.runs[0]!.started.n - other.runs[0]!.started.n)
      )
      for (const [index, later] of queued.get(listener)!.entries()) {
        for (const earlier of queued.get(listener)!.slice(0, index)) {
          const isSame = earlier.runs[0]!.started.at === later.runs[0]!.started.at
          if (isSame && (listener.spec.concurrency ?? 1) > 1) continue
          if (isBefore(later.send, earlier.send.started))
            yield `${describeDelivery(later)} started after ${describeSend(earlier.send)}`
        }
      }
    }
    const certainAt = (listener: Listener) =>
      queued.get(listener)!.flatMap(({ send }) => (isPresent(send, listener) === "yes" ? [send] : []))
    const serial = listeners.filter(({ spec }) => (spec.concurrency ?? 1) === 1)
    for (const one of serial) {
      for (const other of serial) {
        if (one.spec.on !== other.spec.on || one === other) continue
        const [own, others] = [certainAt(one), certainAt(other)]
        const common = own.filter((send) => others.includes(send))
        const different = common.filter(
          (send, index) => others.filter((_) => common.includes(_))[index] !== send
        )
        if (different.length > 0)
          yield `${one.name} and ${other.name} disagree on the order of ${different.map(describeSend).join(", ")}`
      }
    }
  },

  "an event is handled by its listener, or counted as dropped": function* ({
    deliveryOf,
    listeners,
    of,
    reaches,
    history,
    route
  }) {
    for (const listener of listeners) {
      const { onFull = "wait" } = listener.spec
      const queued = history.sends.filter(
        (send) => reaches(send, listener) !== "no" && route(send, listener) !== "immediate"
      )
      const isEnded = (send: Send) => deliveryOf(send, listener)?.isEnded ?? "no"
      const isCertain = (send: Send) =>
        reaches(send, listener) === "yes" &&
        route(send, listener) === "queued" &&
        // An event that still waits for space is withdrawn when its publisher is interrupted.
        (onFull !== "wait" || send.verb === "emit" || send.isDone || deliveryOf(send, listener) !== undefined)
      const atLeast = queued.filter((send) => isCertain(send) && isEnded(send) === "no")
      const atMost = queued.filter((send) => isEnded(send) !== "yes")
      const entries = of("EventsDropped", listener.recorded).filter(({ event }) => event === listener.spec.on)
      const dropped = sum(entries.map(({ count }) => count))
      if (dropped < atLeast.length)
        yield `${listener.name} recorded ${dropped} drops, but did not handle ${atLeast.map(describeSend).join(", ")}`
      if (dropped > atMost.length)
        yield `${listener.name} recorded ${dropped} drops, but can only have dropped ${atMost.map(describeSend).join(", ")}`
      for (const { reason } of entries) {
        if (reason === "queue full" && onFull === "wait")
          yield `${listener.name} dropped an event, though it should wait for space`
        if (reason === "service stopped" && listener.aborted === undefined)
          yield `${listener.name} dropped an event at its stop, though nothing was aborted`
      }
      // A full queue drops the event that found it full, or its oldest one, which was followed by `capacity` others.
      if (entries.some(({ reason }) => reason === "service stopped") || onFull === "wait") continue
      for (const send of atLeast) {
        if (deliveryOf(send, listener) !== undefined) continue
        const others = queued.filter((other) => {
          const started = deliveryOf(other, listener)?.runs[0]!.started
          if (onFull === "dropOldest")
            return !isOrdered(other, send) && (started === undefined || started.n > send.started.n)
          return !isOrdered(send, other) && started !== undefined && started.n > send.started.n
        })
        const { capacity = 256 } = listener.spec
        if (others.filter((other) => other !== send).length < capacity)
          yield `${listener.name} drops ${describeSend(send)} with space left`
      }
    }
    function isOrdered(one: Send, other: Send) {
      return one.started.at < other.started.at || (one.ended !== undefined && one.ended.n < other.started.n)
    }
  },

  "a queue holds at most `capacity` events, and a publisher waits only while it is full": function* ({
    deliveryOf,
    isBefore,
    isPresent,
    listeners,
    history,
    route
  }) {
    for (const listener of listeners) {
      const { capacity = 256 } = listener.spec
      const accepted = history.sends.filter(
        (send) =>
          send.verb === "publish" &&
          isPresent(send, listener) === "yes" &&
          deliveryOf(send, listener) !== undefined
      )
      for (const { started: now } of accepted) {
        const waiting = accepted.filter(
          (send) =>
            send.isDone &&
            send.ended!.at <= now.at &&
            deliveryOf(send, listener)!.runs[0]!.started.at > now.at &&
            !(listener.closing !== undefined && listener.closing.at <= now.at)
        )
        if (waiting.length > capacity)
          yield `${listener.name} queued ${waiting.map(describeSend).join(", ")} at ${now.at}`
      }
    }
    for (const send of history.sends) {
      if (send.verb === "publish" && !send.isDone && send.ended !== undefined) {
        const { ended } = send
        for (const listener of listeners) {
          const { capacity = 256, onFull = "wait" } = listener.spec
          if (
            onFull !== "wait" ||
            deliveryOf(send, listener) === undefined ||
            isEarlier(listener.closing, ended)
          )
            continue
          const waiting = history.sends.filter((other) => {
            const started = deliveryOf(other, listener)?.runs[0]!.started
            return (
              route(other, listener) === "queued" &&
              isPresent(other, listener) === "yes" &&
              isBefore(other, send.started) &&
              started !== undefined &&
              started.at > ended.at
            )
          })
          if (waiting.length >= capacity)
            yield `${describeSend(send)} was withdrawn by its publisher, but handled by ${listener.name}`
        }
      }
      if (send.verb !== "publish" || !send.isDone) continue
      const present = listeners.filter(
        (one) => isPresent(send, one) !== "no" && (one.spec.onFull ?? "wait") === "wait"
      )
      if (present.some((one) => isPresent(send, one) !== "yes")) continue
      const dues = present.map((listener) => {
        const { capacity = 256 } = listener.spec
        const closing = listener.closing?.at ?? Infinity
        const before = history.sends.filter(
          (other) =>
            other.verb === "publish" &&
            isPresent(other, listener) !== "no" &&
            route(other, listener) === "queued" &&
            other.started.at <= send.started.at &&
            other !== send
        )
        const begins = before.map((other) => deliveryOf(other, listener)?.runs[0]!.started.at ?? Infinity)
        const isUnknown = before.some(
          (other) =>
            !other.isDone || isPresent(other, listener) !== "yes" || other.started.at === send.started.at
        )
        // There is space when fewer than `capacity` of the earlier events still wait.
        const room = begins.toSorted((one, other) => other - one)[capacity - 1] ?? 0
        return {
          isUnknown,
          at: Math.min(Math.max(send.started.at, room), Math.max(send.started.at, closing))
        }
      })
      const due = Math.max(send.started.at, ...dues.map(({ at }) => at))
      if (send.ended!.at > due && !Number.isNaN(due))
        yield `${describeSend(send)} was accepted at ${send.ended!.at}, but there was space at ${due}`
      if (send.ended!.at < due && !dues.some(({ isUnknown }) => isUnknown))
        yield `${describeSend(send)} was accepted at ${send.ended!.at}, but there was no space until ${due}`
    }
  },

  "only its timeout and the stop of its service interrupt a handler": function* ({ deliveries }) {
    for (const delivery of deliveries) {
      const { isEnded, last, listener, runs } = delivery
      if (
        isEnded === "no" &&
        (last.ended === undefined || !isEarlier(listener.aborted, last.ended)) &&
        !(listener.aborted !== undefined && last.failureId !== undefined)
      )
        yield `${describeDelivery(delivery)} was interrupted`
      const { timeout = Infinity, steps } = listener.spec
      for (const { started, ended } of runs) {
        const isUninterruptible = steps.some((step) => step.startsWith("uninterruptible"))
        if (!isUninterruptible && ended !== undefined && ended.at - started.at > timeout)
          yield `${describeDelivery(delivery)} exceeded its timeout`
      }
    }
  },

  "no handler runs after the stop of its service": function* ({ deliveries }) {
    for (const delivery of deliveries) {
      const { stopped } = delivery.listener
      for (const run of delivery.runs) {
        if (stopped === undefined) continue
        if (run.started.n > stopped.n) yield `${describeDelivery(delivery)} started`
        const mayOutlive =
          run.isUninterruptible ||
          run.subscription.spec.steps.some((step) => step.startsWith("uninterruptible"))
        if (!mayOutlive && (run.lastActive.at > stopped.at || (run.ended?.at ?? Infinity) > stopped.at))
          yield `${describeDelivery(delivery)} kept running`
      }
    }
  },

  "a failure in a handler is recorded once, and so is a handler that interrupts itself": function* ({
    listeners,
    of,
    history,
    deliveries
  }) {
    for (const listener of listeners) {
      const failures = of("HandlerFailed", listener.recorded).filter(
        ({ event }) => event === listener.spec.on
      )
      const runs = history.runs.filter(({ subscription }) => subscription === listener.subscription)
      const recorded = failures.flatMap(({ cause }) => failureIdsIn(cause))
      for (const run of runs) {
        const { failureId, end } = run
        if (failureId === undefined) continue
        const times = recorded.filter((one) => one === failureId).length
        // When an interrupted fiber yields, Effect itself may lose a failure in its finalizers.
        const mayBeLost = history.scenario.seed !== undefined && (end === "interrupted" || isAtTimeout(run))
        if (times !== 1 && !(mayBeLost && times === 0))
          yield `failure ${failureId} of ${listener.name} was recorded ${times} times`
      }
      const timeouts = failures.filter(({ cause }) => failureIdsIn(cause).length === 0)
      for (const { cause } of timeouts) {
        if (!(Cause.squash(cause) instanceof Cause.TimeoutException))
          yield `${listener.name} failed with ${Cause.pretty(cause)}`
      }
      const possible = runs.filter((run) => hasTimedOut(run) || isAtTimeout(run))
      const certain = runs.filter(
        (run) =>
          hasTimedOut(run) &&
          run.failureId === undefined &&
          run.selfInterrupt === undefined &&
          !isEarlier(listener.aborted, run.ended)
      )
      if (timeouts.length < certain.length || timeouts.length > possible.length) {
        yield `${listener.name} recorded ${timeouts.length} timeouts, but there were ${certain.length} to ${possible.length}`
      }
      const interrupted = of("WorkInterrupted", listener.recorded).filter(
        ({ work }) => work === `listener ${listener.spec.on}`
      )
      const own = deliveries
        .filter((one) => one.listener === listener)
        .flatMap((one) => one.runs)
        .filter((run) => run.selfInterrupt !== undefined)
      const certainlyOwn = own.filter(
        (run) =>
          run.selfInterrupt === "interrupt" && !isEarlier(listener.aborted, run.ended) && !isAtTimeout(run)
      )
      if (interrupted.length < certainlyOwn.length || interrupted.length > own.length) {
        yield `${listener.name} recorded ${interrupted.length} interruptions, but there were ${certainlyOwn.length} to ${own.length}`
      }
    }
  },

  "frequent entries are recorded once while the journal has a reader": function* ({
    listeners,
    of,
    history
  }) {
    if (!history.scenario.hasReader) return
    for (const verb of ["emit", "publish"] as const) {
      const recorded =
        of(verb === "emit" ? "EventEmitted" : "EventPublished").length -
        history.after.length * (verb === "emit" ? 1 : 0)
      const sent = history.sends.filter((send) => send.verb === verb)
      const certain = sent.filter(({ isDone }) => isDone)
      if (recorded < certain.length || recorded > sent.length)
        yield `recorded ${verb} ${recorded} times, but there were ${certain.length} to ${sent.length}`
    }
    for (const listener of listeners) {
      const recorded = of("EventHandled", listener.recorded).filter(
        ({ event }) => event === listener.spec.on
      ).length
      const done = history.runs.filter(
        ({ subscription, end }) => subscription === listener.subscription && end === "done"
      )
      const certain = done.filter((run) => !isAtTimeout(run) && !isEarlier(listener.aborted, run.ended))
      if (recorded < certain.length || recorded > done.length)
        yield `${listener.name} recorded ${recorded}, but handled ${certain.length} to ${done.length}`
    }
  },

  "the registry counts deliveries, failures, queued and dropped events": function* ({
    deliveryOf,
    listeners,
    reaches,
    history,
    route
  }) {
    const { snapshot, when } = history.before
    for (const listener of listeners) {
      const status = statusOf(snapshot.services, listener.path)?.listeners.find(
        ({ event }) => event === listener.spec.on
      )
      const { cancelling, closing, registered } = listener
      if (!isEarlier(registered, when) || isEarlier(closing, when) || isEarlier(cancelling, when)) continue
      if (status === undefined) {
        yield `${listener.name} is missing`
        continue
      }
      const runs = history.runs.filter(
        ({ subscription, ended }) => subscription === listener.subscription && isEarlier(ended, when)
      )
      const label = `${listener.name} has ${JSON.stringify(status)}`
      if (!runs.some(isAtTimeout)) {
        const [handled, failed] = [
          runs.filter(({ end }) => end === "done"),
          runs.filter((run) => run.end === "failed" || hasTimedOut(run))
        ]
        if (status.handled !== handled.length) yield `${label}, but handled ${handled.length}`
        if (status.failed !== failed.length) yield `${label}, but failed ${failed.length} times`
      }
      const queued = history.sends.filter(
        (send) => send.started.n < when.n && route(send, listener) !== "immediate"
      )
      const isWaiting = (send: Send) => !isEarlier(deliveryOf(send, listener)?.runs[0]!.started, when)
      const isTaken = (send: Send) => send.isDone && send.ended!.n < when.n
      const atLeast = queued.filter(
        (send) =>
          isWaiting(send) &&
          reaches(send, listener) === "yes" &&
          isTaken(send) &&
          route(send, listener) === "queued"
      )
      const atMost = queued.filter((send) => isWaiting(send) && reaches(send, listener) !== "no")
      const open = status.queued + status.dropped
      if (open < atLeast.length || open > atMost.length)
        yield `${label}, but ${atLeast.length} to ${atMost.length} were queued or dropped`
    }
  },

  "the app ends, and leaves no fiber, send, handler or listener behind": function* ({ history }) {
    if (!history.isEnded) yield "the app did not end"
    if (history.sleepers > 0) yield `${history.sleepers} fibers still sleep`
    for (const send of history.sends)
      if (send.ended === undefined) yield `${describeSend(send)} is still being sent by ${send.by}`
    for (const run of history.runs)
      if (run.ended === undefined) yield `${run.subscription.path} still handles ${describeSend(run.send)}`
    for (const { event, outcomes } of history.after)
      if (outcomes.length > 0) yield `${event} still has listeners`
  }
}

const latest = (one: Moment, other: Moment): Moment =>
  one.at > other.at || (one.at === other.at && one.n > other.n) ? one : other

const statusOf = (
  services: ReadonlyArray<ServiceRegistry.ServiceStatus>,
  path: string
): ServiceRegistry.ServiceStatus | undefined => {
  for (const status of services) {
    const regressions = status.path === path ? status : statusOf(status.children, path)
    if (regressions !== undefined) return regressions
  }
  return undefined
}

const fixture = "test/fixtures/event-law-cases.json"
/** Cases in which an invariant was once violated. */
const regressions = existsSync(fixture)
  ? (JSON.parse(readFileSync(fixture, "utf8")) as ReadonlyArray<{ readonly scenario: Scenario }>).map(
      ({ scenario }) => [scenario] as [Scenario]
    )
  : []

it.effect.prop(
  "the invariants of events hold for any services, listeners, senders and time of stop",
  [arbitrary],
  ([scenario]) =>
    Effect.gen(function* () {
      const history = yield* simulate(scenario)
      const model = modelOf(history)
      const violations = Object.entries(invariants).flatMap(([invariant, check]) =>
        [...check(model)].map((by) => `${invariant}: ${by}`)
      )
      assert.isTrue(violations.length === 0, `${violations.join("\n")}\n\n${history.render()}\n`)
    }).pipe(leavesNothing, Effect.provide(Logger.remove(Logger.defaultLogger))),
  // The same cases each time, so that a rare find turns no unrelated change red. LAW_RUNS looks at that many others.
  {
    fastCheck: {
      ...(process.env["LAW_RUNS"] === undefined ? { seed: 1 } : {}),
      numRuns: Number(process.env["LAW_RUNS"] ?? 150),
      examples: regressions
    },
    timeout: 600_000
  }
)
