/** Sends a mail for each order. */
import { createHmac } from "node:crypto"
import { DateTime, Effect, Redacted, Schedule } from "effect"
import { Service } from "effect-services"
import { createTransport } from "nodemailer"
import { OrderCompleted } from "./events.ts"
import type { Order } from "./Order.ts"
import { Spool } from "./Spool.ts"

/** Three tries of 2 seconds, and the pauses, are well below `stopTimeout`: a slow disk does not fail the stop. */
const retry = Schedule.exponential("200 millis").pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(2))
)

export class Email extends Service.make<Email>()("Email", {
  onStart: ({ apiKey, from }: { readonly from: string; readonly apiKey: Redacted.Redacted }) =>
    Effect.gen(function* () {
      const spool = yield* Spool
      const mailer = createTransport({ streamTransport: true, buffer: true, newline: "windows" })

      const send = (order: Order) =>
        Effect.gen(function* () {
          const { message } = yield* Effect.tryPromise(() => mailer.sendMail(compose(order, from, apiKey)))
          yield* spool.put(order.id, message as Buffer)
        })

      // A mail that fails for good is logged, and that is all: `Failure.log` is the default of `listen`.
      yield* Service.listen(
        OrderCompleted,
        (order) => send(order).pipe(Effect.timeout("2 seconds"), Effect.retry(retry)),
        { concurrency: 4 }
      )
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
