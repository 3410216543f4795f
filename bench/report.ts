/** What the suites measured: costs of variants, ratios with limits, and the markdown tables of both. */
import { median, quantile, ratios } from "./rounds.ts"

/** A ratio that has a limit. */
export interface Limit {
  /** The measured operation. Limits with the same `what` and `of` share a row of the summary. */
  readonly what: string
  /** What it is compared with. */
  readonly of: string
  /** The size at which it is measured. */
  readonly at: string
  readonly atMost: number
  /** One ratio per round. */
  readonly values: ReadonlyArray<number>
}

/** What one variant costs at one size. */
interface Cost {
  readonly table: string
  readonly at: string
  readonly variant: string
  readonly unit: keyof typeof units
  readonly median: number
  /** The cost of the table's first variant as a multiple of this one's. */
  readonly ratio: number
}

/** What one suite found. It is written to a file, from which `--tables` prints. */
export interface Result {
  readonly environment: string
  readonly limits: Array<Limit>
  readonly costs: Array<Cost>
}

/** Collects what a suite measures. */
export interface Report {
  /** Costs of variants, one value per round. A variant without values is left out: it is not installed. */
  readonly costs: (
    table: string,
    at: string,
    unit: Cost["unit"],
    variants: Readonly<Record<string, ReadonlyArray<number>>>
  ) => void
  readonly limit: (limit: Limit) => void
}

export const into = (result: Result): Report => ({
  costs: (table, at, unit, variants) => {
    const [first] = Object.values(variants)
    for (const [variant, values] of Object.entries(variants)) {
      if (values.length === 0) continue
      const ratio = median(ratios(first!, values))
      result.costs.push({ table, at, variant, unit, median: median(values), ratio })
    }
  },
  limit: (limit) => result.limits.push(limit)
})

/** How many times its limit a ratio is: more than 1 is a miss. */
export const timesLimit = ({ atMost, values }: Limit): number => median(values) / atMost

/** The comparison in words. */
export const nameOf = ({ at, of, what }: Limit): string => `${titled(what, at)}, of ${of}`

/** One row per comparison, with all its sizes: the table of the main README. */
export const summary = (limits: ReadonlyArray<Limit>): string =>
  table(
    ["", "compared with", "limit", "measured"],
    groups(limits, ({ of, what }) => `${what}\n${of}`).map((group) => {
      const { of, what } = group[0]!
      const sizes = group.map(({ at }) => at).filter((at) => at !== "")
      return [
        titled(what, sizes.join(" / ")),
        of,
        group.map(({ atMost }) => String(atMost)).join(" / "),
        group.map((limit) => emphasized(show(median(limit.values)), timesLimit(limit) > 1)).join(" / ")
      ]
    })
  )

/** One row per limit, with quartiles. */
export const limitsTable = (limits: ReadonlyArray<Limit>): string =>
  table(
    ["", "compared with", "limit", "median", "quartiles", "rounds"],
    limits.map((limit) => {
      const { at, atMost, of, values, what } = limit
      return [
        titled(what, at),
        of,
        String(atMost),
        emphasized(show(median(values)), timesLimit(limit) > 1),
        values.length === 1 ? "" : `${show(quantile(values, 0.25))} to ${show(quantile(values, 0.75))}`,
        String(values.length)
      ]
    })
  )

/** A table for each operation: a row per variant, a column per size. */
export const costTables = (costs: ReadonlyArray<Cost>): string =>
  groups(costs, (cost) => cost.table)
    .map((rows) => {
      const [first] = rows
      const sizes = [...new Set(rows.map(({ at }) => at))]
      return table(
        [first!.table, ...sizes],
        groups(rows, ({ variant }) => variant).map((cells) =>
          [cells[0]!.variant].concat(
            sizes.map((size) => {
              const cell = cells.find(({ at }) => at === size)
              if (cell === undefined) return ""
              const cost = units[cell.unit](cell.median)
              const isReference = cell.variant === first!.variant
              return isReference || cell.unit === "share" ? cost : `${cost} (${show(cell.ratio)})`
            })
          )
        )
      )
    })
    .join("\n")

const units = {
  ns: (ns: number) => nanos(ns),
  ms: (ms: number) => nanos(ms * 1e6),
  share: (share: number) => `${show(share * 100)} %`,
  bytes: (bytes: number) => (bytes < 10_240 ? `${show(bytes)} B` : `${show(bytes / 1_000)} kB`)
}

const nanos = (ns: number): string =>
  ns < 1e3 ? `${show(ns)} ns` : ns < 1e6 ? `${show(ns / 1e3)} us` : `${show(ns / 1e6)} ms`

const show = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString("en")
    : value === 0 || value >= 0.001
      ? String(Number(value.toPrecision(2)))
      : value.toExponential(1)

const groups = <A>(all: ReadonlyArray<A>, by: (a: A) => string): Array<Array<A>> => {
  const found = new Map<string, Array<A>>()
  for (const a of all) found.set(by(a), [...(found.get(by(a)) ?? []), a])
  return [...found.values()]
}

const titled = (what: string, at: string): string => (at === "" ? what : `${what}: ${at}`)

const emphasized = (text: string, isMiss: boolean): string => (isMiss ? `**${text}**` : text)

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows]
    .map((row) => `| ${row.join(" | ")} |\n`)
    .join("")
