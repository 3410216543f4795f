/**
 * A named kind of thing that happens, with the schema of what it carries.
 *
 * Define an event once and import it: the value is its identity, and its name
 * is what logs, metrics and brokers show.
 */
import * as Array from "effect/Array"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Input from "./internal/Input.ts"

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
  /** What does not fit, and where; without the values, which may be personal or secret. */
  readonly problem: string
}> {
  override get message(): string {
    return `Event "${this.event}" was refused, because its payload does not fit its schema: ${this.problem}`
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
  const named = Input.name("Event.make", "name", name)
  const schema = schemaOf(of)
  const validate = ParseResult.validateEither(Schema.typeSchema(schema))
  return {
    [TypeId]: TypeId,
    name: named,
    schema,
    reject: (payload: unknown) => {
      const result = validate(payload)
      return Either.isRight(result)
        ? undefined
        : new PayloadError({ event: named, problem: problemsOf(result.left, []).join("; ") })
    }
  }
}

/** Whether a value was made by `Event.make`. */
export const isEvent = (u: unknown): u is Event<string, unknown> =>
  typeof u === "object" && u !== null && TypeId in u

/** The names of some events in a line, each once. */
export const namesOf = (events: ReadonlyArray<Event<string, any>>): string =>
  [...new Set(events)].map(({ name }) => name).join(", ")

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

/** What is wrong, in words without values: Effect's own formatters quote what they find. */
const problemsOf = (
  issue: ParseResult.ParseIssue,
  path: ReadonlyArray<string>,
  within?: ParseResult.Composite["ast"]
): ReadonlyArray<string> => {
  const at = path.length === 0 ? "it" : path.join(".")
  switch (issue._tag) {
    case "Composite":
      return Array.ensure(issue.issues).flatMap((inner) => problemsOf(inner, path, issue.ast))
    case "Pointer": {
      const keys = Array.ensure(issue.path).map((key) => (isOfSchema(key, within) ? String(key) : "*"))
      return problemsOf(issue.issue, [...path, ...keys])
    }
    case "Refinement":
      return issue.kind === "From" ? problemsOf(issue.issue, path) : [`${at} must be ${String(issue.ast)}`]
    case "Transformation":
      return problemsOf(issue.issue, path)
    case "Missing":
      return [`${at} is missing`]
    case "Unexpected":
      return [`${at} is not expected`]
    case "Forbidden":
      return [`${at} cannot be checked at once`]
    case "Type": {
      const { actual } = issue
      const is = actual === null ? "null" : globalThis.Array.isArray(actual) ? "an array" : typeof actual
      return [`${at} must be ${String(issue.ast)}, but is of type ${is}`]
    }
  }
}

/** Whether a key is written in the schema, or a place in a list. The key of a record is a value, as what it leads to. */
const isOfSchema = (key: PropertyKey, within: ParseResult.Composite["ast"] | undefined): boolean =>
  typeof key === "number" ||
  (within?._tag === "TypeLiteral" && within.propertySignatures.some(({ name }) => name === key))
