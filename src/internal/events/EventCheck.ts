/** Run-time checks of events, and how they are named in messages. */
import * as Event from "../../Event.ts"
import * as Input from "../Input.ts"

/** Throws `InputError` unless the value was created by `Event.make`. */
export const check = (where: string, event: unknown): void => {
  if (!Event.isEvent(event)) {
    throw new Input.InputError({ where, input: "event", expected: "made by Event.make", actual: event })
  }
}

/** The distinct names of events, separated by commas. */
export const namesOf = (events: ReadonlyArray<Event.Event<string, any>>): string =>
  [...new Set(events)].map(({ name }) => name).join(", ")
