/** What the children of one service are called: each name once, and kept by its child over restarts. */
import type { Few } from "../Few.ts"

/** The labels that are taken, and who asks. */
export interface Labels {
  readonly taken: Map<string, Claim>
  readonly by: Claim
}

/** The claim of a child to its labels. */
export interface Claim {
  readonly labels: Few<string>
  /** Nothing of the child will start any more. */
  isOver: boolean
}

/** Who bears labels: the services of one life of a child. */
interface Bearers {
  readonly labels: Labels | undefined
  readonly members: Iterable<{ readonly label: string }>
}

/** Takes a label for a service, if it is free, or was left by an earlier life of the same child. */
export const take = ({ labels, members }: Bearers, label: string): boolean => {
  if (labels === undefined) return true
  const holder = labels.taken.get(label)
  if (holder !== undefined && (holder !== labels.by || isBorne(members, label))) return false
  labels.taken.set(label, labels.by)
  labels.by.labels.add(label)
  return true
}

/** Gives back the labels that nobody bears any more, when the claim is over. */
export const free = ({ labels, members }: Bearers): void => {
  if (labels === undefined || !labels.by.isOver) return
  for (const label of labels.by.labels) {
    if (isBorne(members, label)) continue
    labels.by.labels.delete(label)
    labels.taken.delete(label)
  }
}

const isBorne = (members: Bearers["members"], label: string): boolean =>
  [...members].some((member) => member.label === label)
