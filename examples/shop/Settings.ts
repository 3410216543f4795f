/**
 * The settings of the shop, from the environment. All have a default, so that
 * it runs on a clean clone; one that cannot be used ends the start with a line
 * that names it.
 */
import { fileURLToPath } from "node:url"
import { FileSystem, Path } from "@effect/platform"
import {
  Config,
  ConfigError,
  Context,
  Cron,
  Data,
  Duration,
  Effect,
  Either,
  Layer,
  Option,
  Redacted
} from "effect"

const config = Config.all({
  /** 0 picks a free port, which the log tells. */
  port: number("PORT", 3000, (n) => Number.isInteger(n) && n >= 0 && n <= 65_535, "a port, 0 to 65535"),
  /** Under Kubernetes, 5 seconds: about as long as it takes until nobody sends requests to a pod that ends. */
  readinessDelay: duration("READINESS_DELAY", "0 seconds", 0),
  dataDir: Config.option(text("DATA_DIR")),
  inboxDir: Config.option(text("INBOX_DIR")),
  spoolDir: Config.option(text("SPOOL_DIR")),
  metricsEvery: duration("METRICS_EVERY", "5 seconds"),
  /** Watchers of folders lose events, on network drives all of them. */
  inboxScanEvery: duration("INBOX_SCAN_EVERY", "10 seconds"),
  /** At most: keeps a big file from crowding out the customers who wait for an answer. */
  importRowsPerSecond: number("IMPORT_ROWS_PER_SECOND", 200, (n) => n > 0, "a number above 0"),
  importSlowAfter: duration("IMPORT_SLOW_AFTER", "1 minute"),
  mailFrom: text("MAIL_FROM", (from) => from.includes("@"), "an email address").pipe(
    Config.withDefault("Shop <orders@shop.example>")
  ),
  /** The relay that empties the spool knows it too. Mails that stay on this machine need no real one. */
  mailApiKey: Config.redacted("MAIL_API_KEY").pipe(Config.withDefault(Redacted.make("not-a-real-key"))),
  /** In UTC. */
  spoolTidyCron: text("SPOOL_TIDY_CRON", isCron, 'a cron expression, like "0 3 * * *"').pipe(
    Config.withDefault("0 3 * * *")
  ),
  spoolKeep: duration("SPOOL_KEEP", "30 days")
})

const read = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const values = yield* config

  /** A folder of our own is made; one that the user names must be there, since a typing error would look like it. */
  const folder = (name: string, given: Option.Option<string>, ours: string) =>
    Effect.gen(function* () {
      if (Option.isNone(given)) return yield* Effect.as(fs.makeDirectory(ours, { recursive: true }), ours)
      const dir = path.resolve(given.value)
      const isFolder = Effect.map(fs.stat(dir), (info) => info.type === "Directory")
      if (yield* Effect.orElseSucceed(isFolder, () => false)) return dir
      const message = `${name}: there is no folder ${dir}. Create it, or leave ${name} out to have one made.`
      return yield* new SettingsError({ message })
    })

  const dataDir = yield* folder("DATA_DIR", values.dataDir, fileURLToPath(new URL("data", import.meta.url)))
  const inboxDir = yield* folder("INBOX_DIR", values.inboxDir, path.join(dataDir, "inbox"))
  const spoolDir = yield* folder("SPOOL_DIR", values.spoolDir, path.join(dataDir, "spool"))
  // Below the inbox, and so on the same disk: files are moved there in one step.
  const doneDir = path.join(inboxDir, "done")
  const failedDir = path.join(inboxDir, "failed")
  for (const dir of [doneDir, failedDir]) yield* fs.makeDirectory(dir, { recursive: true })
  return { ...values, dataDir, inboxDir, doneDir, failedDir, spoolDir }
})

export class Settings extends Context.Tag("Settings")<Settings, Effect.Effect.Success<typeof read>>() {
  static readonly layer = Layer.effect(Settings, read)
}

/** A setting cannot be used. */
class SettingsError extends Data.TaggedError("SettingsError")<{ readonly message: string }> {}

/** A text that fits. An empty one counts as left out, as shells and compose files mean it. */
function text(name: string, fits: (value: string) => boolean = () => true, expected = "a text") {
  const message = (value: string) => `must be ${expected}, but is ${JSON.stringify(value)}`
  return Config.nonEmptyString().pipe(
    Config.mapOrFail((value) =>
      fits(value) ? Either.right(value) : Either.left(ConfigError.InvalidData([], message(value)))
    ),
    Config.nested(name)
  )
}

function number(name: string, fallback: number, fits: (value: number) => boolean, expected: string) {
  const isNumber = (value: string) => fits(Number(value)) && Number.isFinite(Number(value))
  return text(name, isNumber, expected).pipe(Config.map(Number), Config.withDefault(fallback))
}

function duration(name: string, fallback: Duration.DurationInput, least = 1) {
  const isUseful = (value: string) =>
    !value.startsWith("-") &&
    Option.exists(
      Duration.decodeUnknown(value),
      (read) => Duration.toMillis(read) >= least && Duration.isFinite(read)
    )
  return text(name, isUseful, `a duration${least > 0 ? " above zero" : ""}, like "5 seconds"`).pipe(
    Config.map((value) => Duration.decode(value as Duration.DurationInput)),
    Config.withDefault(Duration.decode(fallback))
  )
}

function isCron(text: string) {
  return Either.isRight(Cron.parse(text))
}
