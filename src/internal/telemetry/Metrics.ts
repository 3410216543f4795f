/**
 * Metrics of services, as Effect metrics for any exporter. README.md lists them.
 *
 * Labels are names from the code, not paths, to bound the number of series: the
 * service class, and per class at most 50 events, 50 tasks and 50 health checks;
 * the rest share the label `other`.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricKeyType from "effect/MetricKeyType"
import * as MetricLabel from "effect/MetricLabel"

/** Metrics of a task across all services of a class. */
export interface OfTask {
  readonly succeeded: (tookMillis: number) => void
  readonly failed: (tookMillis: number) => void
  readonly skipped: (slots: number) => void
}

/** Metrics of the listeners of an event across all services of a class. */
export interface OfListener {
  readonly handled: () => void
  readonly failed: () => void
  readonly dropped: (events: number) => void
  /** Changes the number of queued events. */
  readonly queued: (change: number) => void
  /** Records the time an event was queued before its delivery. */
  readonly waited: (millis: number) => void
}

/** Metrics of a service class. */
export interface ServiceMetrics {
  /** Records a state change. Undefined stands for before the start or after the stop. */
  readonly moved: (from: string | undefined, to: string | undefined) => void
  /** Records a restart, which may still fail. */
  readonly restarted: () => void
  /** Records a failure of work, a start or a stop. */
  readonly failed: () => void
  /** Records the state changes of a health check. Undefined stands for before or after its existence. */
  readonly check: (name: string) => ServiceMetrics["moved"]
  readonly task: (name: string) => OfTask
  readonly listener: (event: string) => OfListener
}

/** Metrics by service class, with additional labels for all of them. */
export const of = (labels: ReadonlyArray<MetricLabel.MetricLabel>): ((service: string) => ServiceMetrics) => {
  const key = JSON.stringify(labels.map((label) => [label.key, label.value]))
  const known = byLabels.get(key) ?? memoize((service) => make(service, labels))
  byLabels.set(key, known)
  return known
}

/** Lives as long as the process, because Effect's metric registry never removes an entry. */
const byLabels = new Map<string, (service: string) => ServiceMetrics>()

const make = (service: string, labels: ReadonlyArray<MetricLabel.MetricLabel>): ServiceMetrics => {
  const ofService = [...labels, MetricLabel.make("service", service)]
  const restarts = measure(keys.restarts, ofService)
  const failures = measure(keys.failures, ofService)
  const ofTask = memoize((task) => {
    const all = [...ofService, MetricLabel.make("task", task)]
    const runs = measure(keys.taskRuns, all)
    const failures = measure(keys.taskFailures, all)
    const skips = measure(keys.taskSkipped, all)
    const duration = measure(keys.taskDuration, all)
    const ran = (tookMillis: number) => {
      runs.update(1)
      duration.update(tookMillis)
    }
    return {
      succeeded: ran,
      failed: (tookMillis: number) => {
        ran(tookMillis)
        failures.update(1)
      },
      skipped: skips.update
    }
  })
  const ofCheck = (check: string) =>
    stateGauges(keys.health, [...ofService, MetricLabel.make("check", check)])
  return {
    moved: stateGauges(keys.state, ofService),
    restarted: () => restarts.update(1),
    failed: () => failures.update(1),
    check: bounded(memoize(ofCheck)),
    task: bounded(ofTask),
    listener: bounded(
      memoize((event) => {
        const all = [...ofService, MetricLabel.make("event", event)]
        const handled = measure(keys.handled, all)
        const failed = measure(keys.failed, all)
        return {
          handled: () => handled.update(1),
          failed: () => failed.update(1),
          dropped: measure(keys.dropped, all).update,
          queued: measure(keys.queueDepth, all).modify,
          waited: measure(keys.lag, all).update
        }
      })
    )
  }
}

/** More tasks, checks or events than a class has, unless their names contain data. */
const maxNames = 50

/** Keeps the first names and replaces further ones with `other`. */
const bounded = <A>(f: (name: string) => A): ((name: string) => A) => {
  const names = new Set<string>()
  return (name) => {
    if (names.size < maxNames) names.add(name)
    return f(names.has(name) ? name : "other")
  }
}

/** From 1 millisecond to about 9 minutes. */
const millis = MetricBoundaries.exponential({ start: 1, factor: 2, count: 20 })

const inUnit = <Type extends MetricKeyType.MetricKeyType<any, any>>(
  key: MetricKey.MetricKey<Type>,
  unit: string
): MetricKey.MetricKey<Type> => MetricKey.taggedWithLabels(key, [MetricLabel.make("unit", unit)])

const counter = (name: string, description: string) =>
  MetricKey.counter(`effect_services_${name}`, { description, incremental: true })
const gauge = (name: string, description: string) =>
  MetricKey.gauge(`effect_services_${name}`, { description })
const histogram = (name: string, description: string) =>
  inUnit(MetricKey.histogram(`effect_services_${name}`, millis, description), "ms")

const keys = {
  state: inUnit(gauge("state", "Services in this state"), "{service}"),
  restarts: inUnit(counter("restarts", "Starts of services anew, by those that adopted them"), "{restart}"),
  failures: inUnit(counter("failures", "Failures of work, starts and stops"), "{failure}"),
  health: inUnit(gauge("health", "Health checks in this state"), "{check}"),
  taskRuns: inUnit(counter("task_runs", "Runs of a task that have ended"), "{run}"),
  taskFailures: inUnit(counter("task_failures", "Runs of a task that failed"), "{run}"),
  taskSkipped: inUnit(counter("task_skipped", "Runs that were left out because one took too long"), "{run}"),
  taskDuration: histogram("task_duration", "How long a run of a task takes"),
  handled: inUnit(counter("listener_handled", "Events that a listener has handled"), "{event}"),
  failed: inUnit(counter("listener_failed", "Tries to handle an event that failed"), "{event}"),
  dropped: inUnit(counter("listener_dropped", "Events that a listener did not get"), "{event}"),
  queueDepth: inUnit(gauge("listener_queue_depth", "Published events that wait for a listener"), "{event}"),
  lag: histogram("listener_lag", "How long a published event waits for a listener")
}

const noLabels: ReadonlyArray<MetricLabel.MetricLabel> = []

/** Synchronous updates of one labelled metric, which looks up its hook only once. */
const measure = (
  key: MetricKey.MetricKey<MetricKeyType.MetricKeyType<number, any>>,
  labels: ReadonlyArray<MetricLabel.MetricLabel>
) => {
  const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, labels))
  // Starts at 0 instead of missing, so that the first increase is visible.
  if (!MetricKeyType.isHistogramKey(key.keyType)) metric.unsafeModify(0, noLabels)
  return {
    update: (value: number): void => metric.unsafeUpdate(value, noLabels),
    modify: (change: number): void => metric.unsafeModify(change, noLabels)
  }
}

/** Gauges of how many are in each state. */
const stateGauges = (
  key: MetricKey.MetricKey.Gauge<number>,
  labels: ReadonlyArray<MetricLabel.MetricLabel>
): ServiceMetrics["moved"] => {
  const states = memoize((state) => measure(key, [...labels, MetricLabel.make("state", state)]))
  return (from, to) => {
    if (from !== undefined) states(from).modify(-1)
    if (to !== undefined) states(to).modify(1)
  }
}

const memoize = <A>(f: (name: string) => A): ((name: string) => A) => {
  const results = new Map<string, A>()
  return (name) => {
    const known = results.get(name)
    if (known !== undefined) return known
    const fresh = f(name)
    results.set(name, fresh)
    return fresh
  }
}
