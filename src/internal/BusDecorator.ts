/** What a test puts around each bus that its app makes. */
import * as Context from "effect/Context"

/** Gives another bus for one that has just been made. */
export type Decorate<Bus> = (bus: Bus) => Bus

export class BusDecorator extends Context.Tag("effect-services/BusDecorator")<
  BusDecorator,
  Decorate<any>
>() {}
