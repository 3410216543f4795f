/** Variants that take turns in one process, so that what disturbs one disturbs all. */

/** What each variant costs, round by round. */
export type Costs<Name extends string, Cost = number> = Readonly<Record<Name, ReadonlyArray<Cost>>>

/**
 * Runs each variant once per round. Each round begins with a different variant,
 * so that none always runs after the same one. The first `warmUps` rounds do not
 * count. A variant that is undefined (its peer is not installed) has no costs.
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
      // One after another, or they would disturb each other.
      const cost = await ends(name, variants[name]?.())
      if (cost !== undefined && round >= 0) costs[name].push(cost)
    }
  }
  return costs
}

/** Far more than any variant takes, even on a loaded machine. */
const longestMinutes = 15

/** Fails when the run hangs, for example because a handler was never called. */
const ends = async <A>(name: string, run: Promise<A> | undefined): Promise<A | undefined> => {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`"${name}" did not end within ${longestMinutes} minutes`)),
      longestMinutes * 60_000
    )
  })
  try {
    return await Promise.race([run, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

/** Picks one number from costs that have several. */
export const figure = <Name extends string, Cost>(
  costs: Costs<Name, Cost>,
  of: (cost: Cost) => number
): Costs<Name> =>
  Object.fromEntries(
    Object.entries<ReadonlyArray<Cost>>(costs).map(([name, all]) => [name, all.map(of)])
  ) as unknown as Costs<Name>

/** Ratios of two variants, round by round. */
export const ratios = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): ReadonlyArray<number> =>
  ours.map((cost, round) => cost / theirs[round]!)

/**
 * Nanoseconds per operation, from loops of about `millis` each and at least
 * `least` operations. `loop` performs `n` operations, and throws if one was not
 * done. It is warmed up before the first measurement.
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

/**
 * Milliseconds of CPU time that it takes: of the whole process, garbage
 * collection included. Other work on the machine hardly changes it, as it would
 * wall time.
 */
export const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const start = process.cpuUsage()
  await run()
  const { system, user } = process.cpuUsage(start)
  return (system + user) / 1_000
}

/** Throws when something did not happen exactly as often as expected. */
export const expectCount = (what: string, actual: number, expected: number): void => {
  if (actual !== expected) throw new Error(`${what}: ${actual} instead of ${expected}`)
}

/** Collects the garbage of the last variant, so that the next does not pay for it. Needs `--expose-gc`. */
export const collect = (): void => globalThis.gc?.()

/** The heap in use after a collection, in bytes. */
export const heap = (): number => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

/** Waits until the last variant's leftover work has ended. Returns the heap in use then. */
export const atRest = async (): Promise<number> => {
  await pause(100)
  return heap()
}

/** Waits in real time. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return below + (above - below) * (at % 1)
}
