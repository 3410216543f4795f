/** Errors of services that were given what they cannot own. */
import * as Data from "effect/Data"

/** A service was asked to own work after the step of its stop that ends such work. */
export class ServiceStoppedError extends Data.TaggedError("ServiceStoppedError")<{
  readonly service: string
  /** The work, as `interval 1m`. */
  readonly work: string
}> {
  override get message(): string {
    return `Service "${this.service}" is stopping, so it cannot own ${this.work} any more.`
  }
}

/** A service adopted two children of one name. */
export class DuplicateChildError extends Data.TaggedError("DuplicateChildError")<{
  /** The path of the service that adopted both. */
  readonly service: string
  readonly child: string
}> {
  override get message(): string {
    return (
      `Service "${this.service}" has a child "${this.child}" already. ` +
      "Give each child a name of its own: Service.adopt(Child, { name }), or { child, name } in Service.adoptAll."
    )
  }
}

/** Two service classes of one app have the same name, so one would be given out for the other. */
export class DuplicateServiceError extends Data.TaggedError("DuplicateServiceError")<{
  readonly service: string
  /** Where the two were made. */
  readonly locations: readonly [string, string]
}> {
  override get message(): string {
    return (
      `Two different services are named "${this.service}": one made at ${this.locations[0]}, ` +
      `the other at ${this.locations[1]}. Rename one of them.`
    )
  }
}
