/** The tree of services as JSON, for `/status` and who reads it. Times are milliseconds, and there are no secrets in it. */
import * as Schema from "effect/Schema"
import * as Redaction from "../Redaction.ts"
import { type ServiceStatus, type Snapshot as Tree, steps } from "./ServiceStatus.ts"

/** A text from anywhere. What it becomes in JSON has no credentials in it. */
const Text = Schema.transform(Schema.String, Schema.String, {
  strict: true,
  decode: (text) => text,
  encode: Redaction.masked
})

const Millis = Schema.DurationFromMillis
const Moment = Schema.Number

const State = Schema.Union(
  Schema.TaggedStruct("Starting", {}),
  Schema.TaggedStruct("Running", {}),
  Schema.TaggedStruct("Restarting", { reason: Text, nextStart: Schema.UndefinedOr(Moment) }),
  Schema.TaggedStruct("Stopping", { step: Schema.Literal(...steps, "services") }),
  Schema.TaggedStruct("Stopped", {}),
  Schema.TaggedStruct("Failed", { reason: Text })
)

const Check = Schema.Struct({
  name: Schema.UndefinedOr(Text),
  isCritical: Schema.Boolean,
  state: Schema.Union(
    Schema.TaggedStruct("Pending", {}),
    Schema.TaggedStruct("Healthy", {}),
    Schema.TaggedStruct("Unhealthy", { reason: Text })
  ),
  since: Moment,
  lastStart: Schema.UndefinedOr(Moment),
  lastDuration: Schema.UndefinedOr(Millis)
})

const Task = Schema.Struct({
  kind: Schema.Literal("interval", "cron", "timeout", "spawn"),
  name: Text,
  schedule: Schema.String,
  runs: Schema.Number,
  failures: Schema.Number,
  skipped: Schema.Number,
  isRunning: Schema.Boolean,
  lastStart: Schema.UndefinedOr(Moment),
  lastDuration: Schema.UndefinedOr(Millis),
  nextRun: Schema.UndefinedOr(Moment),
  lastError: Schema.UndefinedOr(Text)
})

const Listener = Schema.Struct({
  event: Schema.String,
  handled: Schema.Number,
  failed: Schema.Number,
  queued: Schema.Number,
  dropped: Schema.Number,
  lag: Millis
})

/** All of a service but its children. */
const own = {
  name: Text,
  path: Text,
  state: State,
  since: Moment,
  restarts: Schema.Number,
  isCritical: Schema.Boolean,
  lastFailure: Schema.UndefinedOr(Schema.Struct({ at: Moment, work: Text, reason: Text })),
  startedAfter: Schema.UndefinedOr(Millis),
  startTook: Schema.UndefinedOr(Millis),
  stopTimeout: Millis,
  isStopTimeoutSet: Schema.Boolean,
  dependencies: Schema.Array(Text),
  checks: Schema.Array(Check),
  tasks: Schema.Array(Task),
  listeners: Schema.Array(Listener)
}

/** A service in JSON. */
interface ServiceJson extends Schema.Struct.Encoded<typeof own> {
  readonly children: ReadonlyArray<ServiceJson>
}

const Service: Schema.Schema<ServiceStatus, ServiceJson> = Schema.Struct({
  ...own,
  children: Schema.Array(Schema.suspend(() => Service))
})

/** A snapshot in JSON. */
export interface SnapshotJson {
  readonly name: string
  readonly state: Schema.Schema.Encoded<typeof State>
  readonly since: number
  readonly at: number
  readonly stopTimeout: number | undefined
  readonly services: ReadonlyArray<ServiceJson>
}

/**
 * The schema of the tree of services. In JSON there are no credentials, moments
 * are milliseconds since the epoch, and durations milliseconds.
 */
// Said to be that of the tree, so that the compiler finds what is missing in it.
export const Snapshot: Schema.Schema<Tree, SnapshotJson> = Schema.Struct({
  name: Text,
  state: State,
  since: Moment,
  at: Moment,
  stopTimeout: Schema.UndefinedOr(Millis),
  services: Schema.Array(Service)
})
