/** Variants that take turns in one process, so that what disturbs one disturbs all, and what their costs say. */

/** What a variant costs, round by round, in a unit that all of them share. */
export type Costs<Name extends string> = Readonly<Record<Name, ReadonlyArray<number>>>

/**
 * Runs each variant once per round, after one round that does not count, to
 * warm up. Each round begins with another variant, so that none always runs in
 * what the same one left.
 */
export const paired = async <const Name extends string>(
  rounds: number,
  variants: Readonly<Record<Name, (() => Promise<number>) | undefined>>,
  warmUp: boolean = true
): Promise<Costs<Name>> => {
  const all = Object.entries<(() => Promise<number>) | undefined>(variants)
  const given = all.flatMap(([name, run]) => (run === undefined ? [] : [{ name, run, costs: [] as Array<number> }]))
  for (let round = warmUp ? -1 : 0; round < rounds; round++) {
    const first = (round + given.length) % given.length
    for (const { costs, run } of [...given.slice(first), ...given.slice(0, first)]) {
      // In turns, or they would disturb each other.
      // eslint-disable-next-line no-await-in-loop
      const cost = await run()
      if (round >= 0) costs.push(cost)
    }
  }
  // A variant that was not given, as its peer is not installed, has no costs.
  return Object.fromEntries(all.map(([name]) => [name, given.find((_) => _.name === name)?.costs ?? []])) as any
}

/** Ratios of two variants, round by round; none when one of them did not run. */
export const ratios = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): ReadonlyArray<number> =>
  theirs.length === 0 ? [] : ours.map((cost, round) => cost / theirs[round]!)

/**
 * Nanoseconds for one operation, of loops that take about `millis` each. `loop`
 * does it `n` times, and throws when something of it was not done.
 */
export const perOperation = (millis: number, loop: (n: number) => Promise<unknown>): (() => Promise<number>) => {
  let n = 1
  return async () => {
    for (;;) {
      // eslint-disable-next-line no-await-in-loop
      const took = await timed(() => loop(n))
      const used = n
      n = Math.max(1, Math.ceil(n * Math.min(10, millis / Math.max(took, 0.001))))
      if (took > millis / 3 || used > 1e7) return (took / used) * 1e6
    }
  }
}

/** Milliseconds until it is done. */
export const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return performance.now() - start
}

/** Throws when something was not done as often as it should have been. */
export const expectCount = (what: string, actual: number, expected: number): void => {
  if (actual !== expected) throw new Error(`${what}: ${actual} instead of ${expected}`)
}

/** What is in use after a collection, in bytes. Node runs with `--expose-gc`. */
export const heap = (): number => {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return below + (above - below) * (at % 1)
}
