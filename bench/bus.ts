/**
 * The cost of an event: emitted, published one at a time, and published without
 * a pause, to 1, 10 and 100 listeners. The real case is a service for each
 * listener, and it has the limits. All listeners in one service are measured
 * beside it.
 *
 * Each listener is a closure of its own. Handlers of ours are Effects that use
 * their service's context, with journal, metrics, status, receipts and the check
 * of payloads as they are by default. Each call of a handler is counted.
 */
import { byHand, pubSub, toolkit } from "./buses.ts"
import { emittery, moleculer, nest } from "./busPeers.ts"
import { type Count, makeCount } from "./count.ts"
import type { Suite } from "./main.ts"
import { expectCount, paired, pause, perOperation, ratios } from "./rounds.ts"

const ours = "effect-services, a service each"
const inOne = "effect-services, all in one service"
const hand = "a loop by hand: provide and exit for each"
const streams = "one PubSub, a Stream each"

/** The limits of the ratios, for each number of listeners. */
const sizes = [
  { listeners: 1, emit: 0.45, publishOne: 0.4, publishAll: 3.8 },
  { listeners: 10, emit: 0.35, publishOne: 0.2, publishAll: 3.3 },
  { listeners: 100, emit: 0.32, publishOne: 0.12, publishAll: 2.8 }
]

export const bus: Suite = async (quick, report) => {
  const [rounds, millis] = quick ? [5, 20] : [15, 30]
  /** Nanoseconds for an event. */
  const each = (
    { count, listeners }: { readonly count: Count; readonly listeners: number },
    run: (n: number) => Promise<unknown>,
    least?: number
  ) =>
    perOperation(
      millis,
      async (n) => {
        const before = count.handled
        await run(n)
        expectCount("handler calls", count.handled - before, n * listeners)
      },
      least
    )

  for (const { listeners, ...atMost } of sizes) {
    const at = String(listeners)
    const setting = { count: makeCount(), listeners }
    const buses = {
      [ours]: await toolkit("a service each", setting),
      [inOne]: await toolkit("one service", setting),
      [streams]: await pubSub(setting)
    }
    const peers = {
      "Emittery, emit; plain functions": await emittery(setting),
      "Moleculer, broker.emit; plain functions": await moleculer(setting),
      "NestJS, emitAsync; plain functions": await nest(setting)
    }

    const emitted = await paired(rounds, {
      [ours]: each(setting, buses[ours].emit),
      [inOne]: each(setting, buses[inOne].emit),
      [hand]: each(setting, byHand(setting).emit),
      ...Object.fromEntries(
        Object.entries(peers).map(([name, bus]) => [name, bus && each(setting, bus.emit)])
      )
    })
    report.costs("emit, number of listeners", at, "ns", emitted)
    const values = ratios(emitted[ours], emitted[hand])
    report.limit({ what: "emit to listeners with a service each", of: hand, at, atMost: atMost.emit, values })

    for (const [verb, way] of [
      ["publishOne", "publish one at a time"],
      ["publishAll", "publish without a pause"]
    ] as const) {
      // Without a pause, fewer events would all fit into the queues.
      const least = verb === "publishOne" ? 1 : quick ? 256 : 1_024
      const published = await paired(rounds, {
        [ours]: each(setting, buses[ours][verb], least),
        [inOne]: each(setting, buses[inOne][verb], least),
        [streams]: each(setting, buses[streams][verb], least)
      })
      report.costs(`${way}, number of listeners`, at, "ns", published)
      report.limit({
        what: `${way} to listeners with a service each`,
        of: streams,
        at,
        atMost: atMost[verb],
        values: ratios(published[ours], published[streams])
      })
    }
    for (const bus of Object.values({ ...buses, ...peers })) await bus?.stop()
  }

  // Each Stream of another event looks at each event too, which takes so long that a few rounds are enough.
  for (const { listeners } of sizes) {
    const at = String(listeners)
    const setting = { count: makeCount(), listeners, others: 300 }
    const buses = { [ours]: await toolkit("a service each", setting), [streams]: await pubSub(setting) }
    const turn = (bus: typeof ours | typeof streams) => {
      const run = each(setting, buses[bus].publishOne, 20)
      return async () => {
        // After the last call of a handler, the other Streams have yet to look at the event. No collection: code would be cold.
        await pause(100)
        return run()
      }
    }
    const costs = await paired(quick ? 3 : 7, { [ours]: turn(ours), [streams]: turn(streams) })
    const what = "publish one at a time, with 300 listeners of other events"
    report.costs(`${what}, number of listeners`, at, "ns", costs)
    report.limit({
      what: `${what}, to listeners with a service each`,
      of: streams,
      at,
      atMost: 0.025,
      values: ratios(costs[ours], costs[streams])
    })
    for (const bus of Object.values(buses)) await bus.stop()
  }

  const setting = { count: makeCount(), listeners: 1 }
  const [crowd, none] = ["10,000 listeners of other events", "no other listeners"]
  const crowded = await toolkit("a service each", { ...setting, others: 10_000 })
  const alone = await toolkit("a service each", setting)
  for (const [verb, way] of [
    ["emit", "emit"],
    ["publishOne", "publish one at a time"]
  ] as const) {
    const costs = await paired(rounds, {
      [crowd]: each(setting, crowded[verb]),
      [none]: each(setting, alone[verb])
    })
    report.costs("an event to 1 listener", way, "ns", costs)
    report.limit({
      what: crowd,
      of: none,
      at: way,
      atMost: 1.2,
      values: ratios(costs[crowd]!, costs[none]!)
    })
  }
  await crowded.stop()
  await alone.stop()
}
