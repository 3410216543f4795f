/** Why a service does not own what it was asked to own. */
import * as Data from "effect/Data"

/** A service was asked to own something after that part of it had stopped. */
export class ServiceStoppedError extends Data.TaggedError("ServiceStoppedError")<{
  readonly service: string
  /** What it was to own, as `interval 1m`. */
  readonly work: string
}> {
  override get message(): string {
    return `Service "${this.service}" is stopping, so it cannot own ${this.work} any more.`
  }
}

/** A service adopted two children that cannot be told apart. */
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
