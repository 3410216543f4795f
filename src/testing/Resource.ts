/** Stand-ins for what is opened and closed, such as a connection or a file, and a record of what became of them. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Step from "./Step.ts"

/** Something that is open. */
export interface Resource {
  /** Uses it. Dies with `UsedAfterCloseError` when it is closed. */
  readonly use: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** A resource was used after it had been closed. */
export class UsedAfterCloseError extends Data.TaggedError("UsedAfterCloseError")<{
  readonly resource: string
}> {
  override get message(): string {
    return `${this.resource} was used after it had been closed`
  }
}

/** The resources of one simulation. */
export class Ledger extends Context.Tag("effect-services/testing/Ledger")<
  Ledger,
  {
    /** The open ones, in the order in which they were opened. */
    readonly open: Set<Opened>
    /** What went wrong, as text. */
    readonly problems: Array<string>
  }
>() {}

interface Opened {
  readonly text: string
  readonly service: string | undefined
}

/**
 * Opens a stand-in for something that must be closed, such as a stub's
 * connection or a file. `ServiceLaws.check` sees whether it is closed, once,
 * before what was opened before it, and not used afterwards. Elsewhere it
 * checks nothing.
 */
export const open = (name: string): Effect.Effect<Resource> =>
  Effect.map(Effect.zip(Effect.serviceOption(Ledger), Step.current), ([found, step]) => {
    const ledger = Option.getOrUndefined(found)
    const by = Option.match(step, { onNone: () => "", onSome: (it) => `, opened by ${Step.name(it)},` })
    const opened: Opened = { text: `${name}${by}`, service: Option.getOrUndefined(step)?.service }
    const report = (problem: string) => ledger?.problems.push(`${opened.text} ${problem}`)
    let isOpen = true
    ledger?.open.add(opened)
    return {
      use: Effect.suspend(() => {
        if (isOpen) return Effect.void
        report("was used after it had been closed")
        return Effect.die(new UsedAfterCloseError({ resource: name }))
      }),
      close: Effect.map(Step.current, (closing) => {
        if (!isOpen) report("was closed again")
        isOpen = false
        const isCleanup = Option.exists(closing, ({ work }) => work === "a cleanup")
        const newest = [...(ledger?.open ?? [])].findLast(({ service }) => service === opened.service)
        if (isCleanup && newest !== undefined && newest !== opened && ledger?.open.has(opened) === true) {
          report(`was closed before ${newest.text} which was opened after it`)
        }
        ledger?.open.delete(opened)
      })
    }
  })
