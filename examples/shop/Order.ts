/** An order, and in which words a bad one is refused. */
import { randomUUID } from "node:crypto"
import { Schema } from "effect"

const saying = (message: string) => ({ message: () => message })

/** Only what is safe in a file name: the mail of an order is named after it. */
const Id = Schema.String.pipe(
  Schema.pattern(/^[\w-]{1,64}$/, saying("must be 1 to 64 letters, digits, _ or -"))
)
const Email = Schema.String.pipe(
  Schema.pattern(/^[^\s@<>",;]+@[^\s@<>",;]+\.[^\s@<>",;]+$/, saying("must be an email address"))
)
const Item = Schema.Trim.pipe(Schema.length({ min: 1, max: 200 }, saying("must be 1 to 200 characters")))
const Quantity = Schema.Number.pipe(
  Schema.filter(
    (n) => Number.isInteger(n) && n >= 1 && n <= 10_000,
    saying("must be a whole number, 1 to 10,000")
  )
)
const Total = Schema.Number.pipe(Schema.between(0, 1_000_000, saying("must be a number, 0 to 1,000,000")))
const NumberFromText = Schema.String.pipe(
  Schema.pattern(/^-?\d+(\.\d+)?$/, saying("must be a number, like 12.50")),
  Schema.compose(Schema.NumberFromString)
)

/** What a customer sends. Sending the same `id` again places no second order. */
export const NewOrder = Schema.Struct({
  id: Schema.optionalWith(Id, { exact: true, default: () => randomUUID() }),
  email: Email,
  item: Item,
  quantity: Quantity,
  total: Total
})
export type NewOrder = typeof NewOrder.Type

/** A row of a CSV file, which is all text. */
export const OrderRow = Schema.Struct({
  id: Id,
  email: Email,
  item: Item,
  quantity: Schema.compose(NumberFromText, Quantity),
  total: Schema.compose(NumberFromText, Total)
})

/** An order that the shop has taken. */
export const Order = Schema.Struct({
  id: Id,
  email: Email,
  item: Schema.typeSchema(Item),
  quantity: Quantity,
  total: Total,
  placedAt: Schema.DateTimeUtc
})
export type Order = typeof Order.Type
