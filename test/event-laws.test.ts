import { existsSync, readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { Cause, Duration, Effect, Logger } from "effect"
import type { ServiceRegistry } from "effect-services"
import { arbitrary, boomsIn, type Chatter, live, type Moment, type Send } from "./chatter.ts"
import {
  type Handling,
  hasTimedOut,
  isAtTimeout,
  isEarlier,
  type Listener,
  type Model,
  modelOf
} from "./chatterModel.ts"
import { leavesNothing } from "./support.ts"

const show = (send: Send) => `${send.event}#${send.id}`
const showAll = (handling: Handling) => `${show(handling.send)} at ${handling.listener.name}`
const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((one, other) => one + other, 0)

/** Each gives what breaks it. */
export const laws: Record<string, (model: Model) => Iterable<string>> = {
  "every listener that is there gets an emitted event, at once": function* ({
    handlingOf,
    isPresent,
    listeners,
    story
  }) {
    for (const send of story.sends) {
      for (const listener of listeners) {
        if (send.verb !== "emit" || isPresent(send, listener) !== "surely") continue
        const handling = handlingOf(send, listener)
        // One that is cut at that very moment may not have begun.
        if (handling === undefined && listener.cut?.at === send.begun.at) continue
        if (handling?.runs[0]!.begun.at !== send.begun.at) yield `${show(send)} at ${listener.name}`
      }
    }
  },

  "no listener gets an event twice, nor one that was not for it": function* ({ handlings, of, reaches }) {
    const again = new Set(of("WorkRestarting").flatMap(({ cause }) => boomsIn(cause)))
    for (const handling of handlings) {
      if (reaches(handling.send, handling.listener) === "no") yield `${showAll(handling)} is not for it`
      for (const run of handling.runs.slice(0, -1)) {
        const isAgain =
          hasTimedOut(run) || isAtTimeout(run) || (run.boom !== undefined && again.has(run.boom))
        if (handling.listener.spec.onFailure !== "again" || !isAgain) yield `${showAll(handling)} twice`
      }
    }
  },

  "a receipt has one outcome for each listener that was there, in order of subscription": function* ({
    isPresent,
    listeners,
    story
  }) {
    for (const send of story.sends) {
      if (send.receipt === undefined) continue
      const { event, failed, handled, outcomes } = send.receipt
      const tags = outcomes.map(({ _tag }) => _tag)
      const count = (...of: ReadonlyArray<string>) => tags.filter((tag) => of.includes(tag)).length
      if (event !== send.event) yield `${show(send)} is told of as ${event}`
      if (handled !== count("Handled") || failed !== count("Failed", "TimedOut"))
        yield `${show(send)} is not summed up`
      // Of the lives of one service, only one can have been there.
      const sure = listeners.filter((one) => isPresent(send, one) === "surely")
      for (const listener of sure) {
        const index = outcomes.findIndex(({ service }) => service === listener.path)
        if (index < 0) yield `${show(send)} has no outcome of ${listener.name}`
        const later = sure.filter(
          (other) => outcomes.findIndex(({ service }) => service === other.path) > index
        )
        if (later.some(({ since }) => isEarlier(since, listener.asked)))
          yield `${show(send)} has ${listener.name} out of order`
      }
      for (const [index, { service }] of outcomes.entries()) {
        if (outcomes.findIndex((other) => other.service === service) !== index)
          yield `${show(send)} has two of ${service}`
        if (!listeners.some((one) => one.path === service && isPresent(send, one) !== "no"))
          yield `${show(send)} tells of ${service}, which was not there`
      }
    }
  },

  "an outcome is what became of the event at that listener": function* ({
    handlingOf,
    isPresent,
    listeners,
    story
  }) {
    for (const send of story.sends) {
      for (const outcome of send.receipt?.outcomes ?? []) {
        const there = listeners.filter((one) => one.path === outcome.service && isPresent(send, one) !== "no")
        if (there.length !== 1) continue
        const listener = there[0]!
        const handling = handlingOf(send, listener)
        const run = handling?.last
        const says = `${show(send)} is ${outcome._tag} at ${listener.name}`
        if (outcome._tag === "Interrupted") {
          const isEnding = listener.closing !== undefined && listener.closing.n < send.over!.n
          if (!isEnding && run?.isOwnDoing === undefined) yield `${says}, which goes on`
          continue
        }
        if (run?.over === undefined || run.over.n > send.over!.n) {
          yield `${says}, but it was not over`
          continue
        }
        const took = run.over.at - run.begun.at
        if (Duration.toMillis(outcome.took) !== took) yield `${says}, but took ${took}`
        const isSo =
          outcome._tag === "Handled"
            ? run.end === "done"
            : outcome._tag === "TimedOut"
              ? hasTimedOut(run) || isAtTimeout(run)
              : run.boom !== undefined && boomsIn(outcome.cause).includes(run.boom)
        if (!isSo) yield `${says}, but was ${run.end}`
      }
    }
  },

  "an emitter goes on when the last listener has handled the event or is gone": function* ({
    handlings,
    listeners,
    isPresent,
    story
  }) {
    for (const send of story.sends) {
      if (send.verb !== "emit" || !send.isDone) continue
      const own = handlings.filter((handling) => handling.send === send && handling.way === "at once")
      const ends = own.map(({ last, listener }) => {
        const { over } = last
        const gone = listener.cut === undefined ? undefined : latest(listener.cut, send.begun)
        return over === undefined || (gone !== undefined && gone.at < over.at)
          ? (gone?.at ?? Infinity)
          : over.at
      })
      const due = Math.max(send.begun.at, ...ends)
      if (send.over!.at < due) yield `${show(send)} was over before that`
      const isUnknown = listeners.some((one) => isPresent(send, one) === "maybe")
      if (send.over!.at > due && !isUnknown) yield `${show(send)} was over after that, which was at ${due}`
    }
  },

  "one at a time, or as many as a listener says, and as soon as one can be": function* ({ handlings }) {
    for (const handling of handlings) {
      if (handling.way !== "queued") continue
      const { listener, send } = handling
      const begun = handling.runs[0]!.begun
      const { concurrency = 1 } = listener.spec
      const earlier = handlings.filter(
        (other) => other.listener === listener && other.way !== "at once" && other.runs[0]!.begun.n < begun.n
      )
      const busy = earlier.filter(({ last }) => last.over === undefined || last.over.n > begun.n)
      if (busy.filter(({ way }) => way === "queued").length >= concurrency)
        yield `${showAll(handling)} is one too many`
      const asked = latest(send.begun, listener.asked)
      const due = listener.since === undefined ? asked : latest(asked, listener.since)
      if (begun.at <= due.at) continue
      const late = earlier.filter(({ last }) => last.over === undefined || last.over.at >= begun.at)
      if (late.length < concurrency) yield `${showAll(handling)} waits for nothing`
    }
  },

  "published events are handled in the order in which they were accepted, the same at each listener":
    function* ({ handlings, isBefore, isPresent, listeners }) {
      const queued = new Map<Listener, ReadonlyArray<Handling>>()
      for (const listener of listeners) {
        const own = handlings.filter((one) => one.listener === listener && one.way === "queued")
        queued.set(
          listener,
          own.toSorted((one, other) => one.runs[0]!.begun.n - other.runs[0]!.begun.n)
        )
        for (const [index, later] of queued.get(listener)!.entries()) {
          for (const earlier of queued.get(listener)!.slice(0, index)) {
            const isSame = earlier.runs[0]!.begun.at === later.runs[0]!.begun.at
            if (isSame && (listener.spec.concurrency ?? 1) > 1) continue
            if (isBefore(later.send, earlier.send.begun))
              yield `${showAll(later)} comes after ${show(earlier.send)}`
          }
        }
      }
      const live = (listener: Listener) =>
        queued.get(listener)!.flatMap(({ send }) => (isPresent(send, listener) === "surely" ? [send] : []))
      const serial = listeners.filter(({ spec }) => (spec.concurrency ?? 1) === 1)
      for (const one of serial) {
        for (const other of serial) {
          if (one.spec.on !== other.spec.on || one === other) continue
          const [mine, others] = [live(one), live(other)]
          const common = mine.filter((send) => others.includes(send))
          const different = common.filter(
            (send, index) => others.filter((_) => common.includes(_))[index] !== send
          )
          if (different.length > 0)
            yield `${one.name} and ${other.name} do not agree on ${different.map(show).join(", ")}`
        }
      }
    },

  "what a listener is to get it handles, or it is counted as dropped": function* ({
    handlingOf,
    listeners,
    of,
    reaches,
    story,
    way
  }) {
    for (const listener of listeners) {
      const { onFull = "wait" } = listener.spec
      const queued = story.sends.filter(
        (send) => reaches(send, listener) !== "no" && way(send, listener) !== "at once"
      )
      const isOver = (send: Send) => handlingOf(send, listener)?.isOver ?? "no"
      const isSure = (send: Send) =>
        reaches(send, listener) === "surely" &&
        way(send, listener) === "queued" &&
        // One that still waits for room is taken back when its sender is interrupted.
        (onFull !== "wait" || send.verb === "emit" || send.isDone || handlingOf(send, listener) !== undefined)
      const least = queued.filter((send) => isSure(send) && isOver(send) === "no")
      const most = queued.filter((send) => isOver(send) !== "surely")
      const entries = of("EventsDropped", listener.told).filter(({ event }) => event === listener.spec.on)
      const dropped = sum(entries.map(({ count }) => count))
      if (dropped < least.length)
        yield `${listener.name} tells of ${dropped} drops, but has not handled ${least.map(show).join(", ")}`
      if (dropped > most.length)
        yield `${listener.name} tells of ${dropped} drops, but only of ${most.map(show).join(", ")} can that be`
      for (const { reason } of entries) {
        if (reason === "queue full" && onFull === "wait") yield `${listener.name} drops, though it is to wait`
        if (reason === "service stopped" && listener.cut === undefined)
          yield `${listener.name} drops, though it is not cut`
      }
      // Which are dropped of a full queue: those that found it full, or those that were followed by as many as it holds.
      if (entries.some(({ reason }) => reason === "service stopped") || onFull === "wait") continue
      for (const send of least) {
        if (handlingOf(send, listener) !== undefined) continue
        const others = queued.filter((other) => {
          const begun = handlingOf(other, listener)?.runs[0]!.begun
          if (onFull === "dropOldest")
            return !isOrdered(other, send) && (begun === undefined || begun.n > send.begun.n)
          return !isOrdered(send, other) && begun !== undefined && begun.n > send.begun.n
        })
        const { capacity = 256 } = listener.spec
        if (others.filter((other) => other !== send).length < capacity)
          yield `${listener.name} drops ${show(send)}, and had room`
      }
    }
    function isOrdered(one: Send, other: Send) {
      return one.begun.at < other.begun.at || (one.over !== undefined && one.over.n < other.begun.n)
    }
  },

  "no more wait in a queue than its capacity, and a publisher waits no longer than for that": function* ({
    handlingOf,
    isBefore,
    isPresent,
    listeners,
    story,
    way
  }) {
    for (const listener of listeners) {
      const { capacity = 256 } = listener.spec
      const live = story.sends.filter(
        (send) =>
          send.verb === "publish" &&
          isPresent(send, listener) === "surely" &&
          handlingOf(send, listener) !== undefined
      )
      for (const { begun: now } of live) {
        const waiting = live.filter(
          (send) =>
            send.isDone &&
            send.over!.at <= now.at &&
            handlingOf(send, listener)!.runs[0]!.begun.at > now.at &&
            !(listener.closing !== undefined && listener.closing.at <= now.at)
        )
        if (waiting.length > capacity)
          yield `${listener.name} holds ${waiting.map(show).join(", ")} at ${now.at}`
      }
    }
    for (const send of story.sends) {
      if (send.verb === "publish" && !send.isDone && send.over !== undefined) {
        const { over } = send
        for (const listener of listeners) {
          const { capacity = 256, onFull = "wait" } = listener.spec
          if (
            onFull !== "wait" ||
            handlingOf(send, listener) === undefined ||
            isEarlier(listener.closing, over)
          )
            continue
          const waiting = story.sends.filter((other) => {
            const begun = handlingOf(other, listener)?.runs[0]!.begun
            return (
              way(other, listener) === "queued" &&
              isPresent(other, listener) === "surely" &&
              isBefore(other, send.begun) &&
              begun !== undefined &&
              begun.at > over.at
            )
          })
          if (waiting.length >= capacity)
            yield `${show(send)} was taken back by its sender, and is handled by ${listener.name}`
        }
      }
      if (send.verb !== "publish" || !send.isDone) continue
      const there = listeners.filter(
        (one) => isPresent(send, one) !== "no" && (one.spec.onFull ?? "wait") === "wait"
      )
      if (there.some((one) => isPresent(send, one) !== "surely")) continue
      const dues = there.map((listener) => {
        const { capacity = 256 } = listener.spec
        const closing = listener.closing?.at ?? Infinity
        const before = story.sends.filter(
          (other) =>
            other.verb === "publish" &&
            isPresent(other, listener) !== "no" &&
            way(other, listener) === "queued" &&
            other.begun.at <= send.begun.at &&
            other !== send
        )
        const begins = before.map((other) => handlingOf(other, listener)?.runs[0]!.begun.at ?? Infinity)
        const isUnknown = before.some(
          (other) =>
            !other.isDone || isPresent(other, listener) !== "surely" || other.begun.at === send.begun.at
        )
        // There is room when all but so many of those before it have been taken.
        const room = begins.toSorted((one, other) => other - one)[capacity - 1] ?? 0
        return { isUnknown, at: Math.min(Math.max(send.begun.at, room), Math.max(send.begun.at, closing)) }
      })
      const due = Math.max(send.begun.at, ...dues.map(({ at }) => at))
      if (send.over!.at > due && !Number.isNaN(due))
        yield `${show(send)} was accepted at ${send.over!.at}, and there was room at ${due}`
      if (send.over!.at < due && !dues.some(({ isUnknown }) => isUnknown))
        yield `${show(send)} was accepted at ${send.over!.at}, and there was no room until ${due}`
    }
  },

  "nothing cuts a handler but its timeout and the stop of its service": function* ({ handlings }) {
    for (const handling of handlings) {
      const { isOver, last, listener, runs } = handling
      if (
        isOver === "no" &&
        (last.over === undefined || !isEarlier(listener.cut, last.over)) &&
        !(listener.cut !== undefined && last.boom !== undefined)
      )
        yield `${showAll(handling)} is cut`
      const { timeout = Infinity, does } = listener.spec
      for (const { begun, over } of runs) {
        const isShielded = does.some((step) => step.startsWith("shield"))
        if (!isShielded && over !== undefined && over.at - begun.at > timeout)
          yield `${showAll(handling)} takes too long`
      }
    }
  },

  "no handler runs after the stop of its service": function* ({ handlings }) {
    for (const handling of handlings) {
      const { gone } = handling.listener
      for (const run of handling.runs) {
        if (gone === undefined) continue
        if (run.begun.n > gone.n) yield `${showAll(handling)} begins`
        const isLeft = run.isShielded || run.ear.spec.does.some((step) => step.startsWith("shield"))
        if (!isLeft && (run.seen.at > gone.at || (run.over?.at ?? Infinity) > gone.at))
          yield `${showAll(handling)} goes on`
      }
    }
  },

  "what fails in a handler is journaled once, and so is what interrupts itself": function* ({
    listeners,
    of,
    story,
    handlings
  }) {
    for (const listener of listeners) {
      const failures = of("HandlerFailed", listener.told).filter(({ event }) => event === listener.spec.on)
      const runs = story.runs.filter(({ ear }) => ear === listener.ear)
      const told = failures.flatMap(({ cause }) => boomsIn(cause))
      for (const run of runs) {
        const { boom, end } = run
        if (boom === undefined) continue
        const times = told.filter((one) => one === boom).length
        // Where a fiber that is interrupted yields, Effect itself may lose what it fails in then.
        const mayBeLost = story.chatter.seed !== undefined && (end === "interrupted" || isAtTimeout(run))
        if (times !== 1 && !(mayBeLost && times === 0))
          yield `boom ${boom} of ${listener.name} is told of ${times} times`
      }
      const timeouts = failures.filter(({ cause }) => boomsIn(cause).length === 0)
      for (const { cause } of timeouts) {
        if (!(Cause.squash(cause) instanceof Cause.TimeoutException))
          yield `${listener.name} failed with ${Cause.pretty(cause)}`
      }
      const may = runs.filter((run) => hasTimedOut(run) || isAtTimeout(run))
      const sure = runs.filter(
        (run) =>
          hasTimedOut(run) &&
          run.boom === undefined &&
          run.isOwnDoing === undefined &&
          !isEarlier(listener.cut, run.over)
      )
      if (timeouts.length < sure.length || timeouts.length > may.length) {
        yield `${listener.name} tells of ${timeouts.length} timeouts, and there were ${sure.length} to ${may.length}`
      }
      const interrupted = of("WorkInterrupted", listener.told).filter(
        ({ work }) => work === `listener ${listener.spec.on}`
      )
      const own = handlings
        .filter((one) => one.listener === listener)
        .flatMap((one) => one.runs)
        .filter((run) => run.isOwnDoing !== undefined)
      const surely = own.filter(
        (run) => run.isOwnDoing === "interrupt" && !isEarlier(listener.cut, run.over) && !isAtTimeout(run)
      )
      if (interrupted.length < surely.length || interrupted.length > own.length) {
        yield `${listener.name} tells of ${interrupted.length} interruptions, and there were ${surely.length} to ${own.length}`
      }
    }
  },

  "what happens often is journaled while somebody reads it, once": function* ({ listeners, of, story }) {
    if (!story.chatter.isRead) return
    for (const verb of ["emit", "publish"] as const) {
      const told =
        of(verb === "emit" ? "EventEmitted" : "EventPublished").length -
        story.after.length * (verb === "emit" ? 1 : 0)
      const sent = story.sends.filter((send) => send.verb === verb)
      const sure = sent.filter(({ isDone }) => isDone)
      if (told < sure.length || told > sent.length)
        yield `${told} times ${verb}, and there were ${sure.length} to ${sent.length}`
    }
    for (const listener of listeners) {
      const told = of("EventHandled", listener.told).filter(({ event }) => event === listener.spec.on).length
      const done = story.runs.filter(({ ear, end }) => ear === listener.ear && end === "done")
      const sure = done.filter((run) => !isAtTimeout(run) && !isEarlier(listener.cut, run.over))
      if (told < sure.length || told > done.length)
        yield `${listener.name} tells of ${told}, and handled ${sure.length} to ${done.length}`
    }
  },

  "the registry counts what happened": function* ({ handlingOf, listeners, reaches, story, way }) {
    const { snapshot, when } = story.before
    for (const listener of listeners) {
      const status = statusOf(snapshot.services, listener.path)?.listeners.find(
        ({ event }) => event === listener.spec.on
      )
      const { cancelling, closing, since } = listener
      if (!isEarlier(since, when) || isEarlier(closing, when) || isEarlier(cancelling, when)) continue
      if (status === undefined) {
        yield `${listener.name} is not in it`
        continue
      }
      const runs = story.runs.filter(({ ear, over }) => ear === listener.ear && isEarlier(over, when))
      const says = `${listener.name} has ${JSON.stringify(status)}`
      if (!runs.some(isAtTimeout)) {
        const [handled, failed] = [
          runs.filter(({ end }) => end === "done"),
          runs.filter((run) => run.end === "failed" || hasTimedOut(run))
        ]
        if (status.handled !== handled.length) yield `${says}, but handled ${handled.length}`
        if (status.failed !== failed.length) yield `${says}, but failed ${failed.length} times`
      }
      const queued = story.sends.filter((send) => send.begun.n < when.n && way(send, listener) !== "at once")
      const isWaiting = (send: Send) => !isEarlier(handlingOf(send, listener)?.runs[0]!.begun, when)
      const isTaken = (send: Send) => send.isDone && send.over!.n < when.n
      const least = queued.filter(
        (send) =>
          isWaiting(send) &&
          reaches(send, listener) === "surely" &&
          isTaken(send) &&
          way(send, listener) === "queued"
      )
      const most = queued.filter((send) => isWaiting(send) && reaches(send, listener) !== "no")
      const open = status.queued + status.dropped
      if (open < least.length || open > most.length)
        yield `${says}, but ${least.length} to ${most.length} wait or were dropped`
    }
  },

  "all ends, and nothing is left": function* ({ story }) {
    if (!story.isOver) yield "the app does not end"
    if (story.sleepers > 0) yield `${story.sleepers} sleep`
    for (const send of story.sends)
      if (send.over === undefined) yield `${show(send)} is still being sent by ${send.by}`
    for (const run of story.runs)
      if (run.over === undefined) yield `${run.ear.path} still handles ${show(run.send)}`
    for (const { event, outcomes } of story.after)
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
    const found = status.path === path ? status : statusOf(status.children, path)
    if (found !== undefined) return found
  }
  return undefined
}

const fixture = "test/fixtures/event-law-cases.json"
/** Cases in which the laws were once broken. */
const found = existsSync(fixture)
  ? (JSON.parse(readFileSync(fixture, "utf8")) as ReadonlyArray<{ readonly chatter: Chatter }>).map(
      ({ chatter }) => [chatter] as [Chatter]
    )
  : []

it.effect.prop(
  "whatever is sent, by whom and when, and however it is handled: the promises of events hold",
  [arbitrary],
  ([chatter]) =>
    Effect.gen(function* () {
      const story = yield* live(chatter)
      const model = modelOf(story)
      const broken = Object.entries(laws).flatMap(([law, check]) =>
        [...check(model)].map((by) => `${law}: ${by}`)
      )
      assert.isTrue(broken.length === 0, `${broken.join("\n")}\n\n${story.render()}\n`)
    }).pipe(leavesNothing, Effect.provide(Logger.remove(Logger.defaultLogger))),
  // The same cases each time, so that a rare find turns no unrelated change red. LAW_RUNS looks at that many others.
  {
    fastCheck: {
      ...(process.env["LAW_RUNS"] === undefined ? { seed: 1 } : {}),
      numRuns: Number(process.env["LAW_RUNS"] ?? 150),
      examples: found
    },
    timeout: 600_000
  }
)
