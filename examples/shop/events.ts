/** All that happens in the shop, and what is told of it. */
import { Schema } from "effect"
import { Event } from "effect-services"
import { Order } from "./Order.ts"

export const OrderCompleted = Event.make("order:completed", Order)

export const Figures = Schema.Struct({
  /** The 99th percentile since the last update: how long a timer waits for its turn. */
  eventLoopDelayMs: Schema.Number,
  heapMb: Schema.Number,
  cpuPercent: Schema.Number,
  ordersSinceStart: Schema.Number,
  revenueSinceStart: Schema.Number
})
export const MetricsUpdated = Event.make("metrics:updated", Figures)

export const Progress = Schema.Struct({
  file: Schema.String,
  placed: Schema.Number,
  /** Rows whose order the shop had already, as after an import that a stop cut short. */
  known: Schema.Number,
  rejected: Schema.Number
})
export const ImportProgress = Event.make("import:progress", Progress)
