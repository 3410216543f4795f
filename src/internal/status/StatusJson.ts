/** The JSON schema of the service tree, served at `/status`. Encoding redacts credentials. */
import * as Schema from "effect/Schema"
import * as Redaction from "../Redaction.ts"
import { type ServiceStatus, type Snapshot as Tree, steps } from "./ServiceStatus.ts"

/** Text from any source. Encoding redacts credentials. */
const Text = Schema.transform(Schema.String, Schema.String, {
  strict: true,
  decode: (text) => text,
  encode: Redaction.redact
})

const Millis = Schema.DurationFromMillis
const Timestamp = Schema.Number

const State = Schema.Union(
  Schema.TaggedStruct("Starting", {}),
  Schema.TaggedStruct("Running", {}),
  Schema.TaggedStruct("Restarting", { reason: Text, nextStart: Schema.UndefinedOr(Timestamp) }),
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
  since: Timestamp,
  lastStart: Schema.UndefinedOr(Timestamp),
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
  lastStart: Schema.UndefinedOr(Timestamp),
  lastDuration: Schema.UndefinedOr(Millis),
  nextRun: Schema.UndefinedOr(Timestamp),
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

/** The fields of a service without its children. */
const own = {
  name: Text,
  path: Text,
  state: State,
  since: Timestamp,
  restarts: Schema.Number,
  isCritical: Schema.Boolean,
  lastFailure: Schema.UndefinedOr(Schema.Struct({ at: Timestamp, work: Text, reason: Text })),
  startedAfter: Schema.UndefinedOr(Millis),
  startTook: Schema.UndefinedOr(Millis),
  stopTimeout: Millis,
  isStopTimeoutSet: Schema.Boolean,
  dependencies: Schema.Array(Text),
  checks: Schema.Array(Check),
  tasks: Schema.Array(Task),
  listeners: Schema.Array(Listener)
}

/** An encoded service. */
interface ServiceJson extends Schema.Struct.Encoded<typeof own> {
  readonly children: ReadonlyArray<ServiceJson>
}

const Service: Schema.Schema<ServiceStatus, ServiceJson> = Schema.Struct({
  ...own,
  children: Schema.Array(Schema.suspend(() => Service))
})

/** An encoded snapshot. */
export interface SnapshotJson {
  readonly name: string
  readonly state: Schema.Schema.Encoded<typeof State>
  readonly since: number
  readonly at: number
  readonly stopTimeout: number | undefined
  readonly services: ReadonlyArray<ServiceJson>
}

/**
 * The schema of the service tree. The JSON contains no credentials; timestamps
 * are milliseconds since the epoch, durations are milliseconds.
 */
// The annotation makes the compiler report fields that the schema lacks.
export const Snapshot: Schema.Schema<Tree, SnapshotJson> = Schema.Struct({
  name: Text,
  state: State,
  since: Timestamp,
  at: Timestamp,
  stopTimeout: Schema.UndefinedOr(Millis),
  services: Schema.Array(Service)
})
