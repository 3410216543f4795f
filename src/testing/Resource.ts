/** Stand-ins for what is opened and closed, as a connection or a file, and what has become of them. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Step from "./Step.ts"

/** Something that has been opened. */
export interface Resource {
  /** Uses it. Dies with `UsedAfterCloseError` when it has been closed. */
  readonly use: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** A resource was used when it had been closed. */
export class UsedAfterCloseError extends Data.TaggedError("UsedAfterCloseError")<{
  readonly resource: string
}> {
  override get message(): string {
    return `${this.resource} was used after it had been closed`
  }
}

/** What has become of the resources of one run. */
export class Ledger extends Context.Tag("effect-services/testing/Ledger")<
  Ledger,
  {
    /** Those that are open, in the order in which they were opened. */
    readonly open: Set<Opened>
    /** What went wrong, as text. */
    readonly wrongs: Array<string>
  }
>() {}

interface Opened {
  readonly text: string
  readonly service: string | undefined
}

/**
 * Opens a stand-in for something that must be closed: a stub's connection, a
 * file. `ServiceLaws.check` then sees whether it is closed, once, before what
 * was opened before it, and not used afterwards; elsewhere nobody looks.
 */
export const open = (name: string): Effect.Effect<Resource> =>
  Effect.map(Effect.zip(Effect.serviceOption(Ledger), Step.current), ([found, step]) => {
    const ledger = Option.getOrUndefined(found)
    const by = Option.match(step, { onNone: () => "", onSome: (it) => `, opened by ${Step.name(it)},` })
    const opened: Opened = { text: `${name}${by}`, service: Option.getOrUndefined(step)?.service }
    const wrong = (what: string) => ledger?.wrongs.push(`${opened.text} ${what}`)
    let isOpen = true
    ledger?.open.add(opened)
    return {
      use: Effect.suspend(() => {
        if (isOpen) return Effect.void
        wrong("was used after it had been closed")
        return Effect.die(new UsedAfterCloseError({ resource: name }))
      }),
      close: Effect.map(Step.current, (closing) => {
        if (!isOpen) wrong("was closed again")
        isOpen = false
        const isCleanup = Option.exists(closing, ({ work }) => work === "a cleanup")
        const later = [...(ledger?.open ?? [])].findLast(({ service }) => service === opened.service)
        if (isCleanup && later !== undefined && later !== opened && ledger?.open.has(opened) === true) {
          wrong(`was closed before ${later.text} which was opened after it`)
        }
        ledger?.open.delete(opened)
      })
    }
  })
