/** Names: of the service classes of an app, and of the children of one service. */
import { DuplicateServiceError } from "./Errors.ts"

/** A service class, as written in the code. */
export interface Definition {
  readonly name: string
  /** Where it was made, as far as the platform tells. */
  readonly location: string
  /** Whether it sets a `stopTimeout`. */
  readonly isStopTimeoutSet: boolean
}

/** The caller of whatever made this stack, as far as the platform tells. */
export const madeAt = (stack: string | undefined): string =>
  stack?.split("\n")[2]?.match(/\(?([^\s(]+:\d+:\d+)\)?$/)?.[1] ?? "an unknown place"

/** The classes of an app by name, each with the number of its services. */
export type Definitions = Map<string, { readonly definition: Definition; readonly count: number }>

/** Registers a service. Throws `DuplicateServiceError` when another class has its name. */
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

/** Removes a service that has stopped. The name is free when the last one has. */
export const undefine = (definitions: Definitions, { name }: Definition): void => {
  const known = definitions.get(name)
  if (known === undefined) return
  if (known.count === 1) definitions.delete(name)
  else definitions.set(name, { ...known, count: known.count - 1 })
}

/** The labels of children: each is unique below a parent, and a child keeps its own over restarts. */
export interface Labels {
  readonly taken: Map<string, Claim>
  readonly claim: Claim
}

/** The labels that one child holds. */
export interface Claim {
  readonly labels: Set<string>
  /** Whether the child is down for good. */
  isOver: boolean
}

interface Holder {
  readonly labels: Labels | undefined
  readonly members: Iterable<{ readonly label: string }>
}

/** Claims a label for a service: if it is free, or was left by an earlier instance of the same child. */
export const claim = ({ labels, members }: Holder, label: string): boolean => {
  if (labels === undefined) return true
  const holder = labels.taken.get(label)
  if (holder !== undefined && (holder !== labels.claim || isUsed(members, label))) return false
  labels.taken.set(label, labels.claim)
  labels.claim.labels.add(label)
  return true
}

/** Frees the labels that no service uses any more, when the child is down for good. */
export const release = ({ labels, members }: Holder): void => {
  if (labels === undefined || !labels.claim.isOver) return
  for (const label of labels.claim.labels) {
    if (isUsed(members, label)) continue
    labels.claim.labels.delete(label)
    labels.taken.delete(label)
  }
}

const isUsed = (members: Holder["members"], label: string): boolean =>
  [...members].some((member) => member.label === label)
