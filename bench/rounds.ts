/** Variants that take turns in one process, so that what disturbs one disturbs all, and what their costs say. */

/** What a variant costs, round by round, in a unit that all of them share. */
export type Costs<Name extends string, Cost = number> = Readonly<Record<Name, ReadonlyArray<Cost>>>

/**
 * Runs each variant once per round. Each round begins with another variant, so
 * that none always runs in what the same one left. `warmUps` are rounds before
 * them that do not count. A variant that is undefined, as its peer is not
 * installed, has no costs.
 */
export const paired = async <const Name extends string, Cost = number>(
  rounds: number,
  variants: Readonly<Record<Name, (() => Promise<Cost>) | undefined>>,
  warmUps: number = 0
): Promise<Costs<Name, Cost>> => {
  const names = Object.keys(variants) as Array<Name>
  const costs = Object.fromEntries(names.map((name) => [name, [] as Array<Cost>])) as Record<
    Name,
    Array<Cost>
  >
  for (let round = -warmUps; round < rounds; round++) {
    const first = (round + warmUps) % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      // In turns, or they would disturb each other.
      const cost = await ends(name, variants[name]?.())
      if (cost !== undefined && round >= 0) costs[name].push(cost)
    }
  }
  return costs
}

/** Far more than any takes, on a machine that others load. */
const longestMinutes = 15

/** Fails when it does not end: what is waited for was then not done. */
const ends = async <A>(name: string, run: Promise<A> | undefined): Promise<A | undefined> => {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`"${name}" hangs: it did not end in ${longestMinutes} minutes`)),
      longestMinutes * 60_000
    )
  })
  try {
    return await Promise.race([run, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

/** One figure of costs that have several. */
export const figure = <Name extends string, Cost>(
  costs: Costs<Name, Cost>,
  of: (cost: Cost) => number
): Costs<Name> =>
  Object.fromEntries(
    Object.entries<ReadonlyArray<Cost>>(costs).map(([name, all]) => [name, all.map(of)])
  ) as unknown as Costs<Name>

/** Ratios of two variants, round by round; none when one of them did not run. */
export const ratios = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): ReadonlyArray<number> =>
  theirs.length === 0 ? [] : ours.map((cost, round) => cost / theirs[round]!)

/**
 * Nanoseconds for one operation, of loops that take about `millis` each, and do
 * it `least` times or more often. `loop` does it `n` times, and throws when
 * something of it was not done. It is warmed up before the first is measured.
 */
export const perOperation = (
  millis: number,
  loop: (n: number) => Promise<unknown>,
  least: number = 1
): (() => Promise<number>) => {
  let n = least
  let toWarmUp = 15 * millis
  const once = async () => {
    const took = await timed(() => loop(n))
    const each = took / n
    n = Math.min(Math.max(least, Math.ceil(millis / Math.max(each, 1e-6))), 10 * n)
    return { took, each: each * 1e6 }
  }
  return async () => {
    while (toWarmUp > 0) toWarmUp -= (await once()).took
    return (await once()).each
  }
}

/** Milliseconds until it is done. */
export const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const start = now()
  await run()
  return now() - start
}

let now = () => performance.now()

/**
 * From now on `timed` gives CPU time of the process, all its threads together.
 * Where others load the machine it says more than wall time, of which they have
 * a part.
 */
export const measureCpuTime = (): void => {
  now = () => {
    const { system, user } = process.cpuUsage()
    return (system + user) / 1_000
  }
}

/** Throws when something was not done as often as it should have been. */
export const expectCount = (what: string, actual: number, expected: number): void => {
  if (actual !== expected) throw new Error(`${what}: ${actual} instead of ${expected}`)
}

/** Collects what the last variant left, so that the next does not pay for it. Node runs with `--expose-gc`. */
export const collect = (): void => globalThis.gc?.()

/** What is in use after a collection, in bytes. */
export const heap = (): number => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

/** Waits until all that the last variant has left has ended. Gives what is in use then. */
export const atRest = async (): Promise<number> => {
  await new Promise((resolve) => void setTimeout(resolve, 100))
  return heap()
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return below + (above - below) * (at % 1)
}
