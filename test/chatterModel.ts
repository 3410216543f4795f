/**
 * What is to be said of the story of a case before it is judged: who was there
 * when something was sent, who is to get it, and what became of it.
 */
import { boomsIn, type Ear, type Moment, type Run, type Send, type Story, type Told } from "./chatter.ts"

export type Degree = "surely" | "maybe" | "no"

/** A listener, and when it was there. */
export interface Listener extends Ear {
  readonly ear: Ear
  readonly name: string
  /** Before this it takes what is sent, whatever else happens. */
  readonly closing: Moment | undefined
  /** After this it takes nothing. */
  readonly closed: Moment | undefined
  /** Nothing of it is cut before this. */
  readonly cut: Moment | undefined
  /** Nothing of it runs after this. */
  readonly gone: Moment | undefined
  /** What was told of its service while that lived. */
  readonly told: ReadonlyArray<Told>
}

/** An event at a listener that has begun to handle it: once, or again as its policy says. */
export interface Handling {
  readonly listener: Listener
  readonly send: Send
  readonly runs: ReadonlyArray<Run>
  readonly last: Run
  /** Through the queue of the listener, or at once; an event of the boot may come either way. */
  readonly way: "queued" | "at once" | "unknown"
  /** Whether it came to its end by itself. */
  readonly isOver: Degree
}

/**
 * What is to be said of all that happened in a case. Where fibers run in random
 * order an instant is a window: what _surely_ came before is demanded, and what
 * _may_ have is allowed.
 */
export const modelOf = (story: Story) => {
  const of = <Tag extends Told["_tag"]>(tag: Tag, among: ReadonlyArray<Told> = story.told) =>
    among.filter((told): told is Extract<Told, { readonly _tag: Tag }> => told._tag === tag)

  const listeners = story.ears.map((ear): Listener => {
    const { asked, cancelled, cancelling, path, spec } = ear
    const ofService: ReadonlyArray<Told> = story.told.filter(
      (told): boolean => "service" in told && told.service === path
    )
    const starts = of("ServiceStarting", ofService).map(({ when }) => when.n)
    const from = starts.findLast((n) => n < asked.n) ?? -1
    const to = starts.find((n) => n > asked.n) ?? Infinity
    const told = ofService.filter(({ when }) => when.n > from && when.n < to)

    const stopping = of("ServiceStopping", told)[0]?.when
    const hung = (step: string) => of("StopTimedOut", told).find((entry) => entry.step === step)?.when
    const onStop = earliest(of("OnStopOver", told)[0]?.when, hung("onStop"))
    const closing = earliest(onStop ?? stopping, cancelling)
    const cleaned = of("CleanedUp", told).find(({ when }) => stopping !== undefined && when.n > stopping.n)
    const gone = earliest(cleaned?.when, of("ServiceStopped", told)[0]?.when)
    const cut = earliest(hung("listeners"), hung(`listener ${spec.on}`))
    return {
      ...ear,
      ear,
      name: `${path} on ${spec.on}`,
      closing,
      closed: earliest(gone, cancelled),
      cut,
      gone,
      told
    }
  })

  const runsOf = new Map<Send, ReadonlyArray<Run>>()
  for (const run of story.runs) runsOf.set(run.send, [...(runsOf.get(run.send) ?? []), run])

  /** Whether the bus has it: its sender may have been interrupted before. */
  const isSent = (send: Send) =>
    send.isDone || runsOf.has(send) || (send.over !== undefined && send.over.at > send.begun.at)
  /** Whether it was on its way for sure before something else. It is so before time moves. */
  const isBefore = (send: Send, moment: Moment | undefined) =>
    moment === undefined || (send.over !== undefined && send.over.n < moment.n) || send.begun.at < moment.at

  const over = earliest(of("AppStarted")[0]?.when, of("AppStopping")[0]?.when)
  const lastUp = of("ServiceStarted").findLast(
    ({ service, when }) => service.split(" > ").length === 2 && isEarlier(when, over)
  )
  /** Before this the boot is not over. */
  const bootUntil = of("AppStarted").length === 0 ? undefined : lastUp?.when

  /** Whether a listener was there when an event was sent. */
  const isPresent = (send: Send, listener: Listener): Degree => {
    if (send.event !== listener.spec.on) return "no"
    const { asked, closed, closing, since } = listener
    if (isEarlier(since, send.begun) && isBefore(send, closing) && isSent(send)) return "surely"
    return isBefore(send, asked) || isEarlier(closed, send.begun) ? "no" : "maybe"
  }
  /** Whether a listener is to get an event, then or, if it was sent in the boot, later. */
  const reaches = (send: Send, listener: Listener): Degree => {
    const present = isPresent(send, listener)
    const { asked, closed, closing, since, spec } = listener
    if (present === "surely" || send.event !== spec.on) return present
    const inBoot = isEarlier(since, bootUntil) && isBefore(send, bootUntil) && bootUntil !== undefined
    if (inBoot && isSent(send)) return isBefore(send, closing) ? "surely" : "maybe"
    const mayBeInBoot = over === undefined || (send.begun.n < over.n && asked.n < over.n)
    return mayBeInBoot && !isEarlier(closed, send.begun) ? "maybe" : present
  }
  const way = (send: Send, { asked, since }: Listener): Handling["way"] =>
    send.verb === "publish" || isBefore(send, asked)
      ? "queued"
      : isEarlier(since, send.begun)
        ? "at once"
        : "unknown"

  const repeated = new Set(of("WorkRestarting").flatMap(({ cause }) => boomsIn(cause)))
  const timeouts = of("WorkRestarting").filter(({ cause }) => boomsIn(cause).length === 0)
  const handlings = listeners.flatMap((listener) =>
    story.sends.flatMap((send): ReadonlyArray<Handling> => {
      const runs = (runsOf.get(send) ?? []).filter(({ ear }) => ear === listener.ear)
      const last = runs.at(-1)
      if (last === undefined) return []
      const { boom, end, isOwnDoing, over } = last
      const isAgain = boom !== undefined && repeated.has(boom)
      const isTimedOutAgain = timeouts.some(
        ({ service, when }) => service === listener.path && when.at === over?.at
      )
      const isOver: Degree =
        over === undefined || isAgain
          ? "no"
          : // Of one that was over at the very moment of the cut, nobody can tell.
            isEarlier(listener.cut, over) ||
              listener.cut?.at === over.at ||
              (hasTimedOut(last) && isTimedOutAgain)
            ? end === "done" || end === "failed" || hasTimedOut(last) || isOwnDoing !== undefined
              ? "maybe"
              : "no"
            : end !== "interrupted" || hasTimedOut(last) || isOwnDoing !== undefined
              ? "surely"
              : "no"
      return [{ listener, send, runs, last, way: way(send, listener), isOver }]
    })
  )
  const handlingOf = (send: Send, listener: Listener) =>
    handlings.find((handling) => handling.send === send && handling.listener === listener)

  return { story, listeners, handlings, of, isBefore, isPresent, reaches, way, handlingOf }
}
export type Model = ReturnType<typeof modelOf>

export const earliest = (...moments: ReadonlyArray<Moment | undefined>): Moment | undefined =>
  moments.reduce(
    (one, other) => (one === undefined || (other !== undefined && other.n < one.n) ? other : one),
    undefined
  )
export const isEarlier = (one: Moment | undefined, other: Moment | undefined): boolean =>
  one !== undefined && (other === undefined || one.n < other.n)

/** Whether the run took as long as it may, or longer where it could not be interrupted. */
export const hasTimedOut = ({ begun, ear, end, over }: Run): boolean =>
  ear.spec.timeout !== undefined &&
  over !== undefined &&
  end === "interrupted" &&
  over.at - begun.at >= ear.spec.timeout
/** It was over at the very moment: then nobody can tell. */
export const isAtTimeout = ({ begun, ear, over }: Run): boolean =>
  ear.spec.timeout !== undefined && over !== undefined && over.at - begun.at === ear.spec.timeout
