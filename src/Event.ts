/**
 * An event type: a name and the schema of its payload.
 *
 * Define an event once and import it: the value is its identity. The name
 * appears in logs, metrics and brokers.
 */
import * as Array from "effect/Array"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as Input from "./internal/Input.ts"

const TypeId = "~effect-services/Event"

/** An event named `Name` with a payload of type `Payload`. */
export interface Event<out Name extends string, in out Payload> {
  readonly [TypeId]: typeof TypeId
  readonly name: Name
  readonly schema: Schema.Schema<Payload, any, any>
  /** The error if `payload` does not match the schema, otherwise undefined. */
  readonly reject: (payload: unknown) => PayloadError | undefined
}

/** A payload does not match the schema of its event. The event was not sent. */
export class PayloadError extends Data.TaggedError("PayloadError")<{
  readonly event: string
  /** The mismatches and their paths, without values, which may be personal or secret. */
  readonly problem: string
}> {
  override get message(): string {
    return `Event "${this.event}" was refused, because its payload does not fit its schema: ${this.problem}`
  }
}

/**
 * Creates an event from a name and either the fields of a struct or a schema.
 * Throws `InputError` if the name is blank or the second argument is neither.
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
  ): Event<Name, Types.Simplify<Schema.Struct.Type<Fields>>>
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

/** Whether a value was created by `Event.make`. */
export const isEvent = (u: unknown): u is Event<string, unknown> =>
  typeof u === "object" && u !== null && TypeId in u

const schemaOf = (of: Schema.Schema.Any | Schema.Struct.Fields): Schema.Schema.AnyNoContext => {
  const isValid =
    Schema.isSchema(of) || (typeof of === "object" && of !== null && Object.values(of).every(isField))
  if (!isValid) {
    throw new Input.InputError({
      where: "Event.make",
      input: "fieldsOrSchema",
      expected: "a Schema, or a record of Schemas",
      actual: of
    })
  }
  // Validation only uses the type side, which needs no context.
  return (Schema.isSchema(of) ? of : Schema.Struct(of)) as Schema.Schema.AnyNoContext
}

const isField = (u: unknown): boolean => Schema.isSchema(u) || Schema.isPropertySignature(u)

/** Describes a mismatch without values; Effect's own formatters quote them. */
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
      const keys = Array.ensure(issue.path).map((key) => (isDeclared(key, within) ? String(key) : "*"))
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

/** Whether a key is declared in the schema or is an index. Keys of a record are data, and hidden like values. */
const isDeclared = (key: PropertyKey, within: ParseResult.Composite["ast"] | undefined): boolean =>
  typeof key === "number" ||
  (within?._tag === "TypeLiteral" && within.propertySignatures.some(({ name }) => name === key))
