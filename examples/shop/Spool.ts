/** The spool: a folder of mails, which a mail relay empties. */
import { FileSystem, Path } from "@effect/platform"
import { Clock, Duration, Effect, Option } from "effect"
import { Service } from "effect-services"
import { Settings } from "./Settings.ts"

export class Spool extends Service.make<Spool>()("Spool", {
  onStart: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const { spoolDir, spoolKeep, spoolTidyCron } = yield* Settings

    /** Puts a mail into the spool. The same name again is the same mail. */
    const put = (name: string, mail: Uint8Array) =>
      Effect.gen(function* () {
        const file = path.join(spoolDir, `${name}.eml`)
        // Renamed when it is whole, so that the relay never reads half a mail.
        yield* fs.writeFile(`${file}.tmp`, mail)
        yield* fs.rename(`${file}.tmp`, file)
      })

    // Orders are taken without mails too, so this one is not critical.
    yield* Service.health(fs.access(spoolDir, { writable: true }), { name: "folder", critical: false })

    const tidy = Effect.gen(function* () {
      const oldest = (yield* Clock.currentTimeMillis) - Duration.toMillis(spoolKeep)
      const names = (yield* fs.readDirectory(spoolDir)).filter((name) => /\.eml(\.tmp)?$/.test(name))
      const old = yield* Effect.filter(names, (name) =>
        Effect.map(fs.stat(path.join(spoolDir, name)), ({ mtime }) =>
          Option.exists(mtime, (date) => date.getTime() < oldest)
        )
      )
      yield* Effect.forEach(old, (name) => fs.remove(path.join(spoolDir, name)), { discard: true })
      yield* Effect.log(`tidied the spool: ${old.length} of ${names.length} mails were old`)
    })
    yield* Service.cron(tidy, spoolTidyCron, { name: "tidy", timeZone: "UTC" })
    return { put }
  })
}) {}
