import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, FastCheck, Layer, Logger, LogLevel, TestClock } from "effect"
import { Journal, Service, ServiceRegistry } from "effect-services"
import * as VirtualTime from "../src/testing/VirtualTime.ts"
import { advance, build } from "./support.ts"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

interface Cron {
  readonly expression: string
  readonly timeZone?: string
  /** When the service starts, by its wall clock. */
  readonly from: string
  /** How long each run takes. */
  readonly takes?: number
}

const quiet = Logger.withMinimumLogLevel(LogLevel.None)

/** A cron on a machine whose wall clock can be set, and which can be suspended. */
const machine = ({ expression, from, takes = 0, timeZone = "UTC" }: Cron) =>
  Effect.gen(function* () {
    const runs: Array<string> = []
    let skipped = 0
    let woken = 0
    // The monotonic clock begins at another time, so that nobody takes the one for the other.
    const time = VirtualTime.make(1_000_000)
    let ahead = Date.parse(from) - time.now()
    const wall = () => new Date(time.now() + ahead).toISOString().replace(/(:00)?\.000Z$/, "")
    const tick = Effect.zipRight(
      Effect.sync(() => void runs.push(wall())),
      Effect.sleep(takes)
    )
    class Job extends Service.make<Job>()("Job", {
      onStart: Service.cron(tick, expression, { timeZone, name: "job" })
    }) {}
    const app = Effect.clockWith((clock) => {
      const set: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
        unsafeCurrentTimeMillis: () => time.now() + ahead,
        currentTimeMillis: Effect.sync(() => time.now() + ahead),
        sleep: (duration: Parameters<Clock.Clock["sleep"]>[0]) => {
          woken++
          return clock.sleep(duration)
        }
      })
      return Effect.withClock(build(Layer.mergeAll(Job.layer, Journal.layer, ServiceRegistry.layer)), set)
    })
    const fiber = yield* time.fork(quiet(app))
    advance(time, 0)
    const built = fiber.unsafePoll()
    if (built === null || Exit.isFailure(built)) return yield* Effect.dieMessage("does not start")
    const { context, stop } = built.value
    return {
      runs,
      /** How often a sleep has begun. */
      woken: () => woken,
      /** How many slots were told as skipped since it was asked last. */
      skipped: Effect.map(Effect.provide(ServiceRegistry.snapshot, context), ({ services }) => {
        const all = services[0]!.tasks[0]!.skipped
        const more = all - skipped
        skipped = all
        return more
      }),
      told: Effect.map(Effect.provide(Journal.recent, context), (entries) =>
        entries.flatMap((entry) => (entry._tag === "TicksSkipped" ? [Journal.format(entry)] : []))
      ),
      nextRun: Effect.map(Effect.provide(ServiceRegistry.snapshot, context), ({ services }) =>
        new Date(services[0]!.tasks[0]!.nextRun!).toISOString()
      ),
      /** Both clocks go on. */
      awake: (millis: number) => advance(time, millis),
      /** The wall clock goes on alone. */
      suspend: (millis: number) => void (ahead += millis),
      setWall: (to: string) => void (ahead = Date.parse(to) - time.now()),
      stop: Effect.gen(function* () {
        const stopping = yield* time.fork(quiet(stop))
        advance(time, minute)
        assert.isNotNull(stopping.unsafePoll(), "stops")
        assert.strictEqual(time.sleepers(), 0, "leaves no timer")
      })
    }
  })

type Machine = Effect.Effect.Success<ReturnType<typeof machine>>

const on = (cron: Cron, test: (machine: Machine) => Effect.Effect<void> | void) =>
  Effect.gen(function* () {
    const one = yield* machine(cron)
    const tested = test(one)
    if (tested !== undefined) yield* tested
    yield* one.stop
  })

/** What runs in some time. */
const runsIn = (cron: Cron, millis: number) =>
  Effect.gen(function* () {
    const one = yield* machine(cron)
    one.awake(millis)
    yield* one.stop
    return one.runs
  })

const Berlin = "Europe/Berlin"

describe("in the hour that comes twice", () => {
  it.effect("a daily job runs once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn({ expression: "30 2 * * *", timeZone: Berlin, from: "2026-10-24T12:00Z" }, 2 * day),
        ["2026-10-25T00:30", "2026-10-26T01:30"]
      )
    })
  )

  it.effect("a daily job of a service that starts in its second half runs the day after", () =>
    Effect.gen(function* () {
      const daily: Cron = { expression: "30 2 * * *", timeZone: Berlin, from: "2026-10-25T01:10Z" }
      assert.deepStrictEqual(yield* runsIn(daily, day), [])
      assert.deepStrictEqual(yield* runsIn(daily, 2 * day), ["2026-10-26T01:30"])
    })
  )

  it.effect("a daily job whose run ends in its second half runs once", () =>
    Effect.gen(function* () {
      const late: Cron = { expression: "59 2 * * *", timeZone: Berlin, from: "2026-10-24T12:00Z" }
      assert.deepStrictEqual(yield* runsIn({ ...late, takes: 2 * minute }, day), ["2026-10-25T00:59"])
      assert.deepStrictEqual(yield* runsIn({ ...late, takes: 70 * minute }, day), ["2026-10-25T00:59"])
    })
  )

  it.effect("a list of times runs once, too", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn(
          { expression: "0,40 1-3 * * *", timeZone: Berlin, from: "2026-10-24T22:00Z" },
          8 * hour
        ),
        [
          "2026-10-24T23:00",
          "2026-10-24T23:40",
          "2026-10-25T00:00",
          "2026-10-25T00:40",
          "2026-10-25T02:00",
          "2026-10-25T02:40"
        ]
      )
    })
  )

  it.effect("a job by the quarter of an hour runs four times in each real hour", () =>
    Effect.gen(function* () {
      for (const expression of [
        "*/15 * * * *",
        "0,15,30,45 * * * *",
        "0,15,30,45 0-23 * * *",
        "0-59/15 1-5 * * *"
      ]) {
        const runs = yield* runsIn({ expression, timeZone: Berlin, from: "2026-10-24T23:59Z" }, 3 * hour)
        const isRecurrent = expression !== "0-59/15 1-5 * * *"
        assert.deepStrictEqual(
          runs.map((run) => run.slice(11)),
          ["00:00", "00:15", "00:30", "00:45"]
            .concat(isRecurrent ? ["01:00", "01:15", "01:30", "01:45"] : [])
            .concat(["02:00", "02:15", "02:30", "02:45"]),
          expression
        )
      }
    })
  )

  it.effect("where half an hour comes twice, the same holds", () =>
    Effect.gen(function* () {
      const LordHowe = "Australia/Lord_Howe"
      // At 15:00 UTC, two o'clock is half past one again.
      const from = "2026-04-04T14:25Z"
      assert.deepStrictEqual(
        yield* runsIn({ expression: "45 1 * * *", timeZone: LordHowe, from }, 2 * hour),
        ["2026-04-04T14:45"]
      )
      assert.deepStrictEqual(yield* runsIn({ expression: "*/15 * * * *", timeZone: LordHowe, from }, hour), [
        "2026-04-04T14:30",
        "2026-04-04T14:45",
        "2026-04-04T15:00",
        "2026-04-04T15:15"
      ])
    })
  )
})

describe("in the hour that is left out", () => {
  it.effect("a daily job runs once, right after it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn({ expression: "30 2 * * *", timeZone: Berlin, from: "2026-03-28T12:00Z" }, 2 * day),
        ["2026-03-29T01:00", "2026-03-30T00:30"]
      )
    })
  )

  it.effect("several appointments make one run, which may be that of the hour after it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn({ expression: "0,30 2,3 * * *", timeZone: Berlin, from: "2026-03-28T12:00Z" }, day),
        ["2026-03-29T01:00", "2026-03-29T01:30"]
      )
    })
  )

  it.effect("a job by the quarter of an hour goes on by the quarter of an hour", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn({ expression: "*/15 * * * *", timeZone: Berlin, from: "2026-03-29T00:31Z" }, hour),
        ["2026-03-29T00:45", "2026-03-29T01:00", "2026-03-29T01:15", "2026-03-29T01:30"]
      )
    })
  )

  it.effect("a midnight that does not exist is one o'clock", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* runsIn(
          { expression: "0 0 * * *", timeZone: "America/Sao_Paulo", from: "2018-11-03T12:00Z" },
          2 * day
        ),
        ["2018-11-04T03:00", "2018-11-05T02:00"]
      )
    })
  )

  it.effect("a day that does not exist is not made up for", () =>
    Effect.gen(function* () {
      // Samoa went from the 29th to the 31st.
      assert.deepStrictEqual(
        yield* runsIn(
          { expression: "0 9 * * *", timeZone: "Pacific/Apia", from: "2011-12-29T12:00Z" },
          2 * day
        ),
        ["2011-12-29T19:00", "2011-12-30T19:00"]
      )
    })
  )
})

describe("on a machine that was suspended", () => {
  it.effect("appointments of the day are kept to the minute, however long the nights were", () =>
    on({ expression: "0 13 * * *", from: "2026-05-04T09:00Z" }, ({ awake, runs, suspend }) => {
      for (let night = 0; night < 3; night++) {
        awake(14 * hour)
        suspend(10 * hour)
      }
      assert.deepStrictEqual(runs, ["2026-05-04T13:00", "2026-05-05T13:00", "2026-05-06T13:00"])
    })
  )

  it.effect("what came due meanwhile runs within a minute of waking, once, and the rest is told", () =>
    on({ expression: "0 * * * *", from: "2026-05-04T21:30:20Z" }, ({ awake, runs, skipped, suspend, told }) =>
      Effect.gen(function* () {
        awake(hour)
        suspend(10 * hour)
        awake(minute)
        assert.strictEqual(runs.length, 2)
        assert.strictEqual(runs[0], "2026-05-04T22:00")
        assert.isBelow(Date.parse(`${runs[1]}Z`), Date.parse("2026-05-05T08:31:21Z"))
        assert.strictEqual(yield* skipped, 9)
        assert.deepStrictEqual(yield* told, ["Job: job skipped 9 runs, because it ran long or late"])
        awake(hour)
        assert.deepStrictEqual(runs.slice(2), ["2026-05-05T09:00"])
        assert.strictEqual(yield* skipped, 0)
      })
    )
  )

  it.effect("a nightly job runs in the morning", () =>
    on({ expression: "0 3 * * *", from: "2026-05-04T21:00Z" }, ({ awake, runs, skipped, suspend }) =>
      Effect.gen(function* () {
        awake(2 * hour)
        suspend(10 * hour)
        awake(4 * hour)
        assert.strictEqual(runs.length, 1)
        assert.match(runs[0]!, /^2026-05-05T09:0[01]/)
        assert.strictEqual(yield* skipped, 0)
      })
    )
  )

  it.effect("the status shows the new time of the next run within a minute", () =>
    on({ expression: "0 13 * * *", from: "2026-05-04T09:00Z" }, ({ awake, nextRun, suspend }) =>
      Effect.gen(function* () {
        awake(30_000)
        suspend(2 * hour)
        awake(minute)
        assert.strictEqual(yield* nextRun, "2026-05-04T13:00:00.000Z")
      })
    )
  )

  it.effect("a run that was suspended in its middle counts as one", () =>
    on(
      { expression: "* * * * *", from: "2026-05-04T21:00:30Z", takes: 20_000 },
      ({ awake, runs, skipped, suspend }) =>
        Effect.gen(function* () {
          awake(40_000)
          suspend(hour)
          awake(2 * minute)
          assert.deepStrictEqual(runs, ["2026-05-04T21:01", "2026-05-04T22:02", "2026-05-04T22:03"])
          assert.strictEqual(yield* skipped, 60)
        })
    )
  )
})

describe("when the wall clock is set", () => {
  it.effect("by years forward at the boot, nothing is made up for", () =>
    on({ expression: "0 3 * * *", from: "1970-01-01T00:00Z" }, ({ awake, runs, setWall, skipped }) =>
      Effect.gen(function* () {
        awake(5_000)
        setWall("2026-05-04T02:00Z")
        awake(30 * hour)
        assert.deepStrictEqual(runs, ["2026-05-04T03:00", "2026-05-05T03:00"])
        assert.strictEqual(yield* skipped, 0)
      })
    )
  )

  it.effect("by years back, what runs by the minute and by the day goes on at once", () =>
    Effect.gen(function* () {
      for (const [expression, expected] of [
        ["* * * * *", ["2026-05-04T02:01", "2026-05-04T02:02", "2026-05-04T02:03"]],
        ["2 2 * * *", ["2026-05-04T02:02"]]
      ] as const) {
        yield* on({ expression, from: "2031-01-01T00:00Z" }, ({ awake, runs, setWall }) => {
          awake(5_000)
          setWall("2026-05-04T02:00:10Z")
          awake(3 * minute)
          assert.deepStrictEqual(runs, [...expected])
        })
      }
    })
  )

  it.effect("by more than three hours back, a daily job runs at its time by the new clock", () =>
    on({ expression: "0 13 * * *", from: "2026-05-04T12:59Z" }, ({ awake, runs, setWall }) => {
      awake(2 * minute)
      setWall("2026-05-04T09:00Z")
      awake(5 * hour)
      assert.deepStrictEqual(runs, ["2026-05-04T13:00", "2026-05-04T13:00"])
    })
  )

  it.effect("by up to three hours, a daily job neither runs twice nor is left out", () =>
    Effect.gen(function* () {
      yield* on({ expression: "0 13 * * *", from: "2026-05-04T12:59Z" }, ({ awake, runs, setWall }) => {
        awake(2 * minute)
        setWall("2026-05-04T10:30Z")
        awake(5 * hour)
        assert.deepStrictEqual(runs, ["2026-05-04T13:00"])
      })
      yield* on({ expression: "0 13 * * *", from: "2026-05-04T12:29Z" }, ({ awake, runs, setWall }) => {
        awake(2 * minute)
        setWall("2026-05-04T15:00Z")
        awake(minute)
        assert.strictEqual(runs.length, 1)
        awake(day)
        assert.deepStrictEqual(runs.slice(1), ["2026-05-05T13:00"])
      })
    })
  )

  it.effect("by seconds or minutes, each minute has one run", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(
            FastCheck.tuple(
              FastCheck.integer({ min: -290, max: 290 }),
              FastCheck.integer({ min: 60, max: 400 })
            ),
            { minLength: 1, maxLength: 4 }
          ),
          (steps) =>
            Effect.runPromise(
              on({ expression: "* * * * *", from: "2026-05-04T02:00:30Z" }, (machine) =>
                Effect.gen(function* () {
                  for (const [seconds, later] of steps) {
                    machine.suspend(seconds * 1_000)
                    machine.awake(later * 1_000)
                  }
                  machine.awake(30 * minute)
                  assert.strictEqual(yield* machine.skipped, 0)
                  // A run may be late, but there are as many as minutes have begun.
                  const last = Math.floor(Date.parse(`${machine.runs.at(-1)}Z`) / minute)
                  assert.strictEqual(machine.runs.length, last - Date.parse("2026-05-04T02:00Z") / minute)
                })
              )
            )
        ),
        { numRuns: 25 }
      )
    )
  )

  it.effect("two hours forward by mistake and back, what runs by the minute runs in each real minute", () =>
    on({ expression: "* * * * *", from: "2026-05-04T15:00Z" }, ({ awake, runs, setWall }) => {
      awake(90_000)
      setWall("2026-05-04T17:00Z")
      awake(5 * minute)
      setWall("2026-05-04T15:06:30Z")
      awake(3 * hour)
      // As late as the look that finds the clock set.
      assert.deepStrictEqual(runs.slice(0, 9), [
        "2026-05-04T15:01",
        "2026-05-04T17:00:30",
        "2026-05-04T17:01",
        "2026-05-04T17:02",
        "2026-05-04T17:03",
        "2026-05-04T17:04",
        "2026-05-04T17:05",
        "2026-05-04T15:07:20",
        "2026-05-04T15:08"
      ])
      assert.strictEqual(runs.length, 7 + 180)
      assert.strictEqual(runs.at(-1), "2026-05-04T18:06")
    })
  )

  it.effect("an appointment that comes before the next look at the clock is kept", () =>
    Effect.gen(function* () {
      for (const from of ["1970-01-01T00:00:05Z", "2031-01-01T00:00:05Z"]) {
        yield* on({ expression: "30 2 * * *", from }, ({ awake, runs, setWall }) => {
          awake(25_000)
          setWall("2026-05-04T02:29:50Z")
          awake(day)
          assert.strictEqual(runs.length, 1)
          assert.match(runs[0]!, /^2026-05-04T02:30/)
        })
      }
    })
  )

  it.effect("within its period, an hourly job does not run again", () =>
    on({ expression: "0 * * * *", from: "2026-05-04T09:59Z" }, ({ awake, runs, suspend }) => {
      awake(90_000)
      suspend(-10 * minute)
      awake(2 * hour)
      assert.deepStrictEqual(runs, ["2026-05-04T10:00", "2026-05-04T11:00"])
    })
  )
})

describe("a look at the wall clock", () => {
  it.effect("is taken once a minute by a cron, and not by an interval", () =>
    Effect.gen(function* () {
      const cron = yield* machine({ expression: "0 0 1 1 *", from: "2026-05-04T00:00Z" })
      cron.awake(hour)
      assert.isAtLeast(cron.woken(), 60)
      assert.isAtMost(cron.woken(), 62)
      yield* cron.stop
      const time = VirtualTime.make(0)
      let slept = 0
      const counted = Effect.clockWith((clock) => {
        const own: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
          unsafeCurrentTimeMillis: () => 1e12 + time.now(),
          sleep: (duration: Parameters<Clock.Clock["sleep"]>[0]) => {
            slept++
            return clock.sleep(duration)
          }
        })
        class Job extends Service.make<Job>()("Job", { onStart: Service.interval(Effect.void, "1 hour") }) {}
        return Effect.withClock(build(Job.layer), own)
      })
      yield* time.fork(quiet(counted))
      advance(time, 2 * hour)
      assert.isAtMost(slept, 3)
    })
  )

  it.effect("is not taken with a clock of tests, of which each look costs real time", () =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      class Job extends Service.make<Job>()("Job", {
        onStart: Service.cron(
          Effect.map(Clock.currentTimeMillis, (now) => void runs.push(now)),
          "0 0 1 * *",
          { timeZone: "UTC" }
        )
      }) {}
      const { stop } = yield* build(Job.layer)
      yield* TestClock.adjust("31 days")
      assert.deepStrictEqual(runs, [31 * day])
      yield* stop
    })
  )
})

describe("any expression, in any zone", () => {
  /** Of a zone, the offset in minutes at each quarter of an hour: where offsets change. */
  const offsets = new Map<string, (at: number) => number>()
  const offsetOf = (zone: string) => {
    const known = offsets.get(zone)
    if (known !== undefined) return known
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      timeZoneName: "longOffset",
      hour: "numeric"
    })
    const cache = new Map<number, number>()
    const offset = (at: number) => {
      const quarter = Math.floor(at / (15 * minute))
      let found = cache.get(quarter)
      if (found === undefined) {
        const [, sign, hours, minutes] = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(
          format.format(quarter * 15 * minute)
        )!
        found =
          sign === undefined ? 0 : (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * minute
        cache.set(quarter, found)
      }
      return found
    }
    offsets.set(zone, offset)
    return offset
  }

  interface Field {
    readonly text: string
    readonly values: ReadonlySet<number>
  }
  const all = (from: number, to: number): Field => ({
    text: "*",
    values: new Set(Array.from({ length: to - from + 1 }, (_, index) => from + index))
  })
  const every = (from: number, to: number, step: number): Field => ({
    text: `*/${step}`,
    values: new Set([...all(from, to).values].filter((value) => (value - from) % step === 0))
  })
  const list = (...values: ReadonlyArray<number>): Field => ({ text: values.join(), values: new Set(values) })
  const span = (from: number, to: number): Field => ({ text: `${from}-${to}`, values: all(from, to).values })

  const { constant, constantFrom, integer, oneof, tuple } = FastCheck
  const aMinute = oneof(
    integer({ min: 0, max: 59 }).map((one) => list(one)),
    constantFrom(0, 15, 30, 45).map((one) => list(one)),
    tuple(integer({ min: 0, max: 29 }), integer({ min: 30, max: 59 })).map((two) => list(...two)),
    constantFrom(5, 7, 15, 20, 30).map((step) => every(0, 59, step))
  )
  // The odd hours lie between eleven and four o'clock.
  const anHour = oneof(
    constantFrom(0, 1, 2, 2, 2, 3, 9, 23).map((one) => list(one)),
    constantFrom(0, 1, 2).map((from) => span(from, from + 2)),
    constantFrom(2, 3, 12).map((step) => every(0, 23, step)),
    constantFrom(list(2, 14), list(1, 2), list(0, 3)),
    constant(span(0, 23)),
    constant(all(0, 23))
  )
  const aDay = oneof(
    constant(all(1, 31)),
    constant(all(1, 31)),
    integer({ min: 1, max: 31 }).map((one) => list(one)),
    constant(span(25, 31))
  )
  const aMonth = oneof(
    constant(all(1, 12)),
    constant(all(1, 12)),
    constantFrom(list(3, 10), list(4, 11), span(2, 11))
  )
  const aWeekday = oneof(constant(all(0, 6)), constant(all(0, 6)), constantFrom(list(0), list(1), list(0, 6)))

  const zones = [
    Berlin,
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "UTC",
    "America/Sao_Paulo"
  ]

  /** Slots by a look at each minute, after `from` up to `to`. */
  const scanned = (
    [minutes, hours, days, months, weekdays]: readonly [Field, Field, Field, Field, Field],
    zone: string,
    from: number,
    to: number
  ) => {
    const offset = offsetOf(zone)
    const matches = (local: number) => {
      const date = new Date(local)
      const isDay = days.values.has(date.getUTCDate())
      const isWeekday = weekdays.values.has(date.getUTCDay())
      return (
        minutes.values.has(date.getUTCMinutes()) &&
        hours.values.has(date.getUTCHours()) &&
        months.values.has(date.getUTCMonth() + 1) &&
        (days.text === "*" || weekdays.text === "*" ? isDay && isWeekday : isDay || isWeekday)
      )
    }
    const isRecurrent = minutes.text.startsWith("*") || hours.text.startsWith("*") || hours.values.size === 24
    const slots: Array<number> = []
    // No clock has shown these yet.
    let unseen = Number.NEGATIVE_INFINITY
    for (let at = (Math.floor(from / minute) - 24 * 60) * minute; at <= to; at += minute) {
      const local = at + offset(at)
      let isSlot = matches(local) && (isRecurrent || local >= unseen)
      const leftOut = at - minute + offset(at - minute) + minute
      if (!isRecurrent) for (let one = leftOut; one < local; one += minute) isSlot ||= matches(one)
      unseen = Math.max(unseen, local + minute)
      if (isSlot && at > from) slots.push(at)
    }
    return slots
  }

  const run = (expression: string, timeZone: string, from: number, lasts: number) =>
    Effect.gen(function* () {
      const runs: Array<number> = []
      const time = VirtualTime.make(from)
      class Job extends Service.make<Job>()("Job", {
        onStart: Service.cron(
          Effect.sync(() => void runs.push(time.now())),
          expression,
          { timeZone }
        )
      }) {}
      const fiber = yield* time.fork(quiet(Layer.launch(Job.layer)))
      advance(time, lasts)
      fiber.unsafeInterruptAsFork(fiber.id())
      advance(time, 0)
      return runs
    })

  it.effect(
    "runs at each minute at which it is to run by the rules, and at no other",
    () =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            tuple(aMinute, anHour, aDay, aMonth, aWeekday),
            constantFrom(...zones),
            // Into the days before a change: of the north, the south, and of Brazil.
            constantFrom(
              "2018-03-08",
              "2018-03-22",
              "2018-03-29",
              "2017-10-12",
              "2017-10-26",
              "2017-11-02",
              "2018-02-15",
              "2018-10-04",
              "2018-11-01"
            ),
            integer({ min: 0, max: 4 * day }),
            async (fields, zone, base, into) => {
              const expression = fields.map(({ text }) => text).join(" ")
              const from = Date.parse(base) + into
              // Over one change by the minute, and over two where that is not too much.
              const isSeldom = fields[2].text !== "*" || fields[4].text !== "*"
              const lasts = isSeldom && !fields[0].text.startsWith("*") ? 250 * day : 6 * day
              const runs = await Effect.runPromise(run(expression, zone, from, lasts))
              const expected = scanned(fields, zone, from, from + lasts)
              const shown = (times: ReadonlyArray<number>) => times.map((at) => new Date(at).toISOString())
              assert.deepStrictEqual(shown(runs), shown(expected), `${expression} in ${zone}`)
            }
          ),
          { numRuns: 40 }
        )
      ),
    60_000
  )
})
