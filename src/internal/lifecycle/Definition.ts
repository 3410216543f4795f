/** Which services there are in the code of an app: each name is that of one. */
import * as Data from "effect/Data"

/** A service as written down in the code. */
export interface Definition {
  readonly name: string
  /** Where it was made, as far as the platform tells. */
  readonly location: string
  /** Whether it says how long its stop may take. */
  readonly isStopTimeoutSet: boolean
}

/** Who has called what made this stack, as far as the platform tells. */
export const madeAt = (stack: string | undefined): string =>
  stack?.split("\n")[2]?.match(/\(?([^\s(]+:\d+:\d+)\)?$/)?.[1] ?? "an unknown place"

/** The services of an app by name, and how many of each there are, so that two of one name are told apart. */
export type Definitions = Map<string, { readonly definition: Definition; readonly count: number }>

/** Two services of one app have the same name, so one would be given out for the other. */
export class DuplicateServiceError extends Data.TaggedError("DuplicateServiceError")<{
  readonly service: string
  /** Where the two were made. */
  readonly locations: readonly [string, string]
}> {
  override get message(): string {
    return (
      `Two different services are named "${this.service}": one made at ${this.locations[0]}, ` +
      `the other at ${this.locations[1]}. Rename one of them.`
    )
  }
}

/** Notes a service that begins to start. Throws `DuplicateServiceError` when another has its name. */
export const define = (definitions: Definitions, definition: Definition): void => {
  const known = definitions.get(definition.name)
  if (known !== undefined && known.definition !== definition) {
    throw new DuplicateServiceError({
      service: definition.name,
      locations: [known.definition.location, definition.location]
    })
  }
  definitions.set(definition.name, { definition, count: (known?.count ?? 0) + 1 })
}

/** Notes that a service has stopped. */
export const undefine = (definitions: Definitions, { name }: Definition): void => {
  const known = definitions.get(name)
  if (known === undefined) return
  if (known.count === 1) definitions.delete(name)
  else definitions.set(name, { ...known, count: known.count - 1 })
}
