/** What the services of an app have: their tasks, listeners and checks, as text. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as App from "../App.ts"
import type { ServiceStatus } from "../internal/status/ServiceStatus.ts"
import { nameOf } from "./Scenario.ts"
import * as Step from "./Step.ts"

/** The steps of them that are due at times, or with an event. */
export const due = (app: App.App): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(servicesOf(app), (services) =>
    services.flatMap(({ listeners, path, tasks }) =>
      [
        ...tasks.filter(({ kind }) => kind !== "spawn").map(({ name }) => name),
        ...listeners.map(({ event }) => `listener ${event}`)
      ].map((work) => Step.name({ service: nameOf(path), work }))
    )
  )

/** What each service has. */
export const of = (app: App.App): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(servicesOf(app), (services) =>
    services.flatMap(({ checks, listeners, path, tasks }) => {
      const service = nameOf(path)
      const work = [
        ...tasks.map(({ name }) => name),
        ...checks.map(({ name }) => `health check ${name ?? ""}`),
        ...listeners.map(({ event }) => `listener ${event}`)
      ]
      return [service, ...work.map((name) => Step.name({ service, work: name }))]
    })
  )

/** What only one of two lists has. */
export const differences = (
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const rest = [...after]
  const lost = before.filter((one) => {
    const index = rest.indexOf(one)
    if (index >= 0) rest.splice(index, 1)
    return index < 0
  })
  return [...lost.map((one) => `${one} is gone`), ...rest.map((one) => `${one} is new`)]
}

/** All services there are, with those that they have adopted. */
const servicesOf = (app: App.App): Effect.Effect<ReadonlyArray<ServiceStatus>> =>
  Effect.map(
    app.snapshot,
    Option.match({ onNone: () => [], onSome: ({ services }) => services.flatMap(withChildren) })
  )

const withChildren = (status: ServiceStatus): ReadonlyArray<ServiceStatus> => [
  status,
  ...status.children.flatMap(withChildren)
]
