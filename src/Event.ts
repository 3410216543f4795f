/**
 * A named kind of thing that happens, with the schema of what it carries.
 *
 * Define an event once and import it: the value is its identity, and its name
 * is what logs, metrics and brokers show.
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Input from "./Input.ts"

const TypeId = "~effect-services/Event"

/** An event named `Name` that carries `Payload`. */
export interface Event<out Name extends string, in out Payload> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly schema: Schema.Schema<Payload, any, any>
  /** Why `payload` does not fit the schema, or undefined when it fits. */
  readonly reject: (payload: unknown) => PayloadError | undefined
}

/** A payload did not fit the schema of its event, so nobody was told of it. */
export class PayloadError extends Data.TaggedError("PayloadError")<{
  readonly event: string
  /** The schema's own words. */
  readonly problem: string
}> {
  override get message(): string {
    return `Event "${this.event}" was refused, because its payload does not fit its schema.\n${this.problem}`
  }
}

/**
 * Makes an event from a name and either the fields of a struct or a schema.
 * Throws `InputError` when the name is empty or the second argument is neither.
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Event } from "effect-services"
 *
 * const OrderCompleted = Event.make("order:completed", { id: Schema.String, total: Schema.Number })
 * const Tick = Event.make("tick", Schema.Void)
 * ```
 */
export const make: {
  <const Name extends string, A, I, R>(name: Name, schema: Schema.Schema<A, I, R>): Event<Name, A>
  <const Name extends string, Fields extends Schema.Struct.Fields>(
    name: Name,
    fields: Fields
  ): Event<Name, Schema.Struct.Type<Fields>>
} = (name: string, of: Schema.Schema.Any | Schema.Struct.Fields): any => {
  Input.name("Event.make", "name", name)
  const schema = schemaOf(of)
  const validate = ParseResult.validateEither(Schema.typeSchema(schema))
  return {
    [TypeId]: TypeId,
    name,
    schema,
    reject: (payload: unknown) => {
      const result = validate(payload)
      return Either.isRight(result)
        ? undefined
        : new PayloadError({ event: name, problem: ParseResult.TreeFormatter.formatIssueSync(result.left) })
    }
  }
}

/** Whether a value was made by `Event.make`. */
export const isEvent = (u: unknown): u is Event<string, unknown> =>
  typeof u === "object" && u !== null && TypeId in u

/** Throws `InputError` when the value was not made by `Event.make`. */
export const check = (where: string, event: unknown): void => {
  if (!isEvent(event)) {
    throw new Input.InputError({ where, input: "event", expected: "made by Event.make", actual: event })
  }
}

const schemaOf = (of: Schema.Schema.Any | Schema.Struct.Fields): Schema.Schema.AnyNoContext => {
  const fits =
    Schema.isSchema(of) || (typeof of === "object" && of !== null && Object.values(of).every(isField))
  if (!fits) {
    throw new Input.InputError({
      where: "Event.make",
      input: "fieldsOrSchema",
      expected: "a Schema, or a record of Schemas",
      actual: of
    })
  }
  // Only the type side is used to check payloads, and it needs no context.
  return (Schema.isSchema(of) ? of : Schema.Struct(of)) as Schema.Schema.AnyNoContext
}

const isField = (u: unknown): boolean => Schema.isSchema(u) || Schema.isPropertySignature(u)
