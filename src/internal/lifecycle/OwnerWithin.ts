/** Who the services answer to that work of a service provides to itself, as for one request. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Escalation from "../supervision/Escalation.ts"
import type { Few } from "../Few.ts"
import type * as Owner from "./Owner.ts"
import type * as ServiceScope from "./Lifetime.ts"

export class OwnerWithin implements Owner.Owner {
  // Many at a time may be alike.
  readonly labels = undefined
  private readonly service: ServiceScope.Lifetime
  private offered: Owner.Owner["offers"] | undefined = undefined

  constructor(service: ServiceScope.Lifetime) {
    this.service = service
  }

  get shared(): Owner.Shared {
    return this.service.owner.shared
  }

  get path(): string {
    return this.service.path
  }

  get isCritical(): boolean {
    return this.service.owner.isCritical
  }

  get parent(): Owner.Owner {
    return this.service.owner
  }

  get members(): Few<Owner.Member> {
    return this.service.provided
  }

  get offers(): Owner.Owner["offers"] {
    return (this.offered ??= new Map())
  }

  label(name: string): string {
    return name
  }

  /** One that has not started yet fails whoever provides it, who may handle that. */
  failed(member: Owner.Member, origin: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return member.shown()._tag === "Starting"
      ? Effect.void
      : Escalation.fail(this.service, `service ${member.label}`, cause, origin)
  }

  stopAsked({ path }: Owner.Member): Effect.Effect<void> {
    return this.shared.journal.append({ _tag: "StopNotPossible", service: path })
  }
}
