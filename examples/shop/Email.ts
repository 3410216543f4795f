/** Writes a mail for each order into the spool, a folder that a mail relay empties. */
import { createHmac } from "node:crypto"
import { FileSystem, Path } from "@effect/platform"
import { Clock, DateTime, Duration, Effect, Option, Redacted, Schedule } from "effect"
import { Service } from "effect-services"
import { createTransport } from "nodemailer"
import { OrderCompleted } from "./events.ts"
import type { Order } from "./Order.ts"
import { Settings } from "./Settings.ts"

/** Three tries of 2 seconds, and the pauses, are well below `stopTimeout`: a slow disk does not fail the stop. */
const retry = Schedule.exponential("200 millis").pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(2))
)

export class Email extends Service.make<Email>()("Email", {
  onStart: ({ apiKey, from }: { readonly from: string; readonly apiKey: Redacted.Redacted }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const { spoolDir, spoolKeep, spoolTidyCron } = yield* Settings
      const mailer = createTransport({ streamTransport: true, buffer: true, newline: "windows" })

      const write = (order: Order) =>
        Effect.gen(function* () {
          const { message } = yield* Effect.tryPromise(() => mailer.sendMail(compose(order, from, apiKey)))
          const file = path.join(spoolDir, `${order.id}.eml`)
          // Renamed when it is whole, so that the relay never reads half a mail.
          yield* fs.writeFile(`${file}.tmp`, message as Buffer)
          yield* fs.rename(`${file}.tmp`, file)
        })

      // Orders are taken without mails too, so this one is not critical.
      yield* Service.health(fs.access(spoolDir, { writable: true }), { name: "spool", critical: false })

      // A mail that fails for good is logged, and that is all: `Failure.log` is the default of `listen`.
      yield* Service.listen(
        OrderCompleted,
        (order) => write(order).pipe(Effect.timeout("2 seconds"), Effect.retry(retry)),
        { concurrency: 4 }
      )

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
      yield* Service.cron(tidy, spoolTidyCron, { name: "tidy the spool" })
    }),
  // At a stop there may be a full queue of mails to write. With the time of the server it fits into the app's 30 seconds.
  stopTimeout: "15 seconds"
}) {}

const compose = (order: Order, from: string, apiKey: Redacted.Redacted) => ({
  from,
  to: order.email,
  date: DateTime.toDate(order.placedAt),
  messageId: `<${order.id}@shop.example>`,
  subject: `Your order ${order.id}`,
  text: `Thank you for your order.\n\n${order.quantity} x ${order.item}\nTotal: ${order.total.toFixed(2)}\n`,
  // The relay sees that the mail is the shop's, and the key itself stays out of the file.
  headers: { "X-Shop-Signature": createHmac("sha256", Redacted.value(apiKey)).update(order.id).digest("hex") }
})
