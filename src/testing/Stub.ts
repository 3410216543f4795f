/** Stand-ins for services: what a test puts in their place, whatever way their layers are nested. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Input from "../Input.ts"
import type { Replacement } from "../Replacements.ts"

/** A service by its name, and what stands in for it. */
export type Replacing = readonly [name: string, replacement: Replacement]

/**
 * Puts this in the place of a service, which is not started. Methods that are
 * left out die, with the name of what was called.
 */
export const stub = <Self, Shape>(
  service: Context.Tag<Self, Shape>,
  methods: Partial<NoInfer<Shape>>
): Replacing => {
  if (typeof methods !== "object" || methods === null) {
    throw new Input.InputError({
      where: "TestApp.stub",
      input: "methods",
      expected: "an object with methods of the service",
      actual: methods
    })
  }
  const shape = new Proxy(methods, {
    get: (target, method, receiver) => {
      // Symbols are asked for by who inspects it.
      if (method in target || typeof method === "symbol") return Reflect.get(target, method, receiver)
      throw new Error(`"${method}" of ${service.key} was asked for, but the test's stub does not have it.`)
    }
  })
  return [service.key, { onStart: () => Effect.succeed(shape), stops: false }]
}

/** Starts a service as it is, and changes what it offers: a method made slow, failing or observed. */
export const override = <Self, Shape>(
  service: Context.Tag<Self, Shape>,
  change: (real: Shape) => Partial<NoInfer<Shape>>
): Replacing => {
  Input.callable("TestApp.override", "change", change)
  return [
    service.key,
    { onStart: (real) => Effect.map(real, (shape: Shape) => ({ ...shape, ...change(shape) })), stops: true }
  ]
}
