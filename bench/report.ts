/** Tables of what was measured, and what it says of the goals. */
import { median, quantile } from "./rounds.ts"

/** What a ratio must be. */
export interface Goal {
  /** Its number in `README.md`. */
  readonly goal: string
  readonly what: string
  readonly atMost: number
  /** One for each round; none when the peer is not installed. */
  readonly values: ReadonlyArray<number>
}

/** What became of a goal. */
export interface Verdict {
  readonly goal: Goal
  readonly measured: number | undefined
}

/** Takes what a suite measures. */
export interface Report {
  /**
   * Prints the costs of variants, and how that of the first stands to each.
   * Those without costs say that they did not run.
   */
  readonly variants: (
    title: string,
    unit: (cost: number) => string,
    costs: Readonly<Record<string, ReadonlyArray<number>>>
  ) => void
  readonly goal: (goal: Goal) => void
  readonly note: (text: string) => void
}

export const make = (): Report & { readonly verdicts: ReadonlyArray<Verdict> } => {
  const verdicts: Array<Verdict> = []
  return {
    verdicts,
    variants: (title, unit, costs) => {
      const [reference] = Object.values(costs)
      print(
        [title, "median (quartiles)", "first / this"],
        Object.entries(costs).map(([name, values]) =>
          values.length === 0
            ? [name, "not installed", ""]
            : [
                name,
                spread(values, unit),
                reference!.some((value) => value === 0)
                  ? ""
                  : spread(
                      values.map((value, i) => reference![i]! / value),
                      show
                    )
              ]
        )
      )
    },
    goal: (goal) => {
      verdicts.push({ goal, measured: goal.values.length === 0 ? undefined : median(goal.values) })
    },
    note: (text) => console.log(`${text}\n`)
  }
}

/** Prints how the goals of a suite stand. */
export const printVerdicts = (verdicts: ReadonlyArray<Verdict>): void =>
  print(
    ["goal", "", "at most", "measured (quartiles)", "rounds", ""],
    verdicts.map(({ goal: { atMost, goal, values, what }, measured }) => [
      goal,
      what,
      show(atMost),
      measured === undefined ? "skipped: peer not installed" : spread(values, show),
      String(values.length),
      measured === undefined ? "" : measured <= atMost ? "met" : `**missed by ${show(measured / atMost)} x**`
    ])
  )

export const nanos = (ns: number): string =>
  ns < 1e3 ? `${show(ns)} ns` : ns < 1e6 ? `${show(ns / 1e3)} us` : `${show(ns / 1e6)} ms`
export const millis = (ms: number): string => nanos(ms * 1e6)
export const percent = (share: number): string => `${show(share * 100)} %`
export const bytes = (b: number): string => (b < 10_240 ? `${show(b)} B` : `${show(b / 1_024)} kB`)

const show = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString("en")
    : value === 0 || value >= 0.001
      ? String(Number(value.toPrecision(2)))
      : value.toExponential(1)

const spread = (values: ReadonlyArray<number>, unit: (value: number) => string): string =>
  values.length === 1
    ? unit(values[0]!)
    : `${unit(median(values))} (${unit(quantile(values, 0.25))} to ${unit(quantile(values, 0.75))})`

const print = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  for (const row of [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows]) {
    console.log(`| ${row.join(" | ")} |`)
  }
  console.log("")
}
