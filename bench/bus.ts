/**
 * What an event costs: emitted, published one at a time, and published without
 * a pause, against what others have and against what one would write by hand.
 *
 * Every listener is a closure of its own, and each bus has 1,000 listeners of
 * other events besides, but for the one `PubSub`: there each would cost as much
 * as a listener of the event itself, so what is compared with has none, and
 * rows of their own show what they do. Handlers of ours are Effects that use the
 * environment of their service; journal, metrics, status and receipts are as
 * they are by default. Each call of a handler is counted.
 */
import { byHand, pubSub, toolkit } from "./buses.ts"
import { emittery, eventEmitter3, moleculer, nest } from "./busPeers.ts"
import { type Count, makeCount } from "./count.ts"
import type { Suite } from "./main.ts"
import { nanos } from "./report.ts"
import { atRest, expectCount, paired, perOperation, ratios } from "./rounds.ts"

type Run = (n: number) => Promise<unknown>

const ours = "effect-services"
const streams = "one PubSub, a Stream per listener"
const hand = "by hand: exit and provide per listener"
/** What each is told one event at a time, and waits until all have handled it. */
const others = { moleculer: "moleculer, broker.emit", nest: "@nestjs/event-emitter, emitAsync" }

export const bus: Suite = async (quick, report) => {
  const [rounds, millis] = quick ? [7, 8] : [15, 30]
  /** Loops in which `listeners` handlers are called each time. */
  const counted = (count: Count, listeners: number, run: Run, least?: number) =>
    perOperation(
      millis,
      async (n) => {
        const before = count.handled
        await run(n)
        expectCount("handler calls", count.handled - before, n * listeners)
      },
      least
    )

  // Fewer would all fit into a queue, or be over before it is full.
  const leastOf = (verb: string) => (verb !== "publishAll" ? 1 : quick ? 256 : 1_024)

  for (const { atMostAll, listeners } of sizes) {
    const count = makeCount()
    const setting = { count, listeners, others: 1_000 }
    const buses = {
      checked: await toolkit(setting),
      unchecked: await toolkit({ ...setting, validate: false }),
      streams: await pubSub({ ...setting, others: 0 }),
      emittery: await emittery(setting),
      eventEmitter3: await eventEmitter3(setting),
      moleculer: await moleculer(setting),
      nest: await nest(setting)
    }
    const to = toListeners(listeners)

    const compare = async (
      way: string,
      verb: "emit" | "publishOne" | "publishAll",
      against: Readonly<Record<string, Run | undefined>>,
      goals: ReadonlyArray<{ goal: string; of: string; atMost: number }>
    ) => {
      const runs = {
        [ours]: buses.checked[verb],
        [`${ours}, without validation`]: buses.unchecked[verb],
        ...against,
        emittery: buses.emittery?.emit,
        [others.moleculer]: buses.moleculer?.emit,
        [others.nest]: buses.nest?.emit
      }
      const least = leastOf(verb)
      const costs = await paired(
        rounds,
        Object.fromEntries(
          Object.entries(runs).map(([name, run]) => [name, run && counted(count, listeners, run, least)])
        )
      )
      report.variants(`${way} ${to}`, nanos, costs)
      for (const { atMost, goal, of } of [
        ...goals,
        { goal: "5", of: others.moleculer, atMost: 1 },
        { goal: "5", of: others.nest, atMost: 1 }
      ]) {
        report.goal({
          goal,
          what: `${way} ${to}, of ${of}`,
          atMost,
          values: ratios(costs[ours]!, costs[of]!)
        })
      }
    }

    await compare(
      "emit",
      "emit",
      { [hand]: byHand(setting).emit, "eventemitter3, which waits for nobody": buses.eventEmitter3?.emit },
      [
        ...(listeners === 1 ? [{ goal: "1", of: "emittery", atMost: 1.5 }] : []),
        { goal: "1", of: hand, atMost: 0.25 }
      ]
    )
    await compare("publish one at a time", "publishOne", { [streams]: buses.streams.publishOne }, [
      { goal: "2", of: streams, atMost: atMostOne }
    ])
    await compare("publish without a pause", "publishAll", { [streams]: buses.streams.publishAll }, [
      { goal: "2", of: streams, atMost: atMostAll }
    ])
    for (const bus of Object.values(buses)) await bus?.stop()
  }

  const count = makeCount()
  const alone = await toolkit({ count, listeners: 1, others: 0 })
  const crowded = await toolkit({ count, listeners: 1, others: 10_000 })
  for (const [way, verb] of [
    ["emit", "emit"],
    ["publish one at a time", "publishOne"]
  ] as const) {
    const costs = await paired(rounds, {
      "10,000 listeners of other events": counted(count, 1, crowded[verb]),
      "no other listeners": counted(count, 1, alone[verb])
    })
    const what = `${way} to 1 listener`
    report.variants(what, nanos, costs)
    report.goal({
      goal: "3",
      what: `${what}, with 10,000 others, of without`,
      atMost: 2,
      values: ratios(costs["10,000 listeners of other events"], costs["no other listeners"])
    })
  }
  await alone.stop()
  await crowded.stop()

  // As the goal has it: with 1,000 others on both sides. A Stream looks at each event, so few rounds tell.
  for (const { atMostAll, listeners } of sizes) {
    const setting = { count, listeners, others: 1_000 }
    const both = { [ours]: await toolkit(setting), [streams]: await pubSub(setting) }
    for (const [way, verb, atMost] of [
      ["publish one at a time", "publishOne", atMostOne],
      ["publish without a pause", "publishAll", atMostAll]
    ] as const) {
      const what = `${way} ${toListeners(listeners)}, both with 1,000 others`
      const least = leastOf(verb)
      // When all listeners have handled, a thousand Streams have still to look at the event: that is not the next one's time.
      const turns = (bus: typeof ours | typeof streams) => {
        const turn = counted(count, listeners, both[bus][verb], least)
        return async () => {
          await atRest()
          return turn()
        }
      }
      const costs = await paired(quick ? 3 : 7, { [ours]: turns(ours), [streams]: turns(streams) })
      report.variants(what, nanos, costs)
      const values = ratios(costs[ours], costs[streams])
      report.goal({ goal: "2", what: `${what}, of ${streams}`, atMost, values })
    }
    await both[ours].stop()
    await both[streams].stop()
  }
}

const toListeners = (listeners: number): string => `to ${listeners} listener${listeners === 1 ? "" : "s"}`

/** 40 times faster one at a time, and so many times faster without a pause. */
const atMostOne = 1 / 40
const sizes = [
  { listeners: 1, atMostAll: 1 / 1.2 },
  { listeners: 10, atMostAll: 1 / 1.8 },
  { listeners: 100, atMostAll: 1 / 2 }
]
