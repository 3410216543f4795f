/** Replacements of services in a test, however their layers are nested. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Input from "../internal/Input.ts"
import type { Replacement } from "../internal/TestHooks.ts"

/** The name of a service, and its replacement. */
export type Replacing = readonly [name: string, replacement: Replacement]

/** A service class. A plain tag has no layer to replace. */
type ServiceClass<Self, Shape> = Context.Tag<Self, Shape> & { readonly layer: unknown }

/**
 * Replaces a service, which is not started; the services it needs are. A method
 * that is left out throws when it is used, with its name.
 */
export const stub = <Self, Shape>(
  service: ServiceClass<Self, Shape>,
  methods: Partial<NoInfer<Shape>>
): Replacing => {
  const what = check("TestApp.stub", service, "methods", methods)
  const shape = new Proxy(what, {
    get: (target, method, receiver) => {
      // What inspects, awaits or prints an object asks for these.
      const isOfAll = typeof method === "symbol" || method === "then" || method === "toJSON"
      if (method in target || isOfAll) return Reflect.get(target, method, receiver)
      throw new Error(`"${method}" of ${service.key} was asked for, but the test's stub does not have it.`)
    }
  })
  return [service.key, { onStart: () => Effect.succeed(shape), stops: false }]
}

/** Starts a service, and replaces some of its methods: with slow, failing or observed ones. */
export const override = <Self, Shape>(
  service: ServiceClass<Self, Shape>,
  change: (real: Shape) => Partial<NoInfer<Shape>>
): Replacing => {
  Input.callable("TestApp.override", "change", change)
  const changed = (real: Shape) => {
    const what = check("TestApp.override", service, `what ${service.key} offers`, real)
    const instead = check("TestApp.override", service, "what change returns", change(real))
    return new Proxy(what, {
      get: (target, key) => {
        if (Object.hasOwn(instead, key)) return Reflect.get(instead, key)
        // With the service itself as `this`, since it may have private members.
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === "function" ? value.bind(target) : value
      }
    })
  }
  return [service.key, { onStart: (real) => Effect.map(real, changed), stops: true }]
}

/** Replacements by the name of their service, and the names of those not used yet. Throws `InputError` when a service has two. */
export const all = (where: string, replace: ReadonlyArray<Replacing>) => {
  const unused = new Set(replace.map(([name]) => name))
  if (unused.size < replace.length) {
    const expected = "one stand-in for each service"
    throw new Input.InputError({ where, input: "replace", expected, actual: "two for one" })
  }
  const noted = ([name, { onStart, stops }]: Replacing): Replacing => {
    const started = (real: Effect.Effect<any, any, any>) =>
      Effect.suspend(() => {
        unused.delete(name)
        return onStart(real)
      })
    return [name, { onStart: started, stops }]
  }
  return { replacements: new Map(replace.map(noted)), unused: () => [...unused] }
}

const check = (where: string, service: unknown, input: string, value: unknown): object => {
  if (typeof service !== "function" || !("layer" in service)) {
    throw new Input.InputError({
      where,
      input: "service",
      expected: "a class of Service.make",
      actual: service
    })
  }
  if (typeof value !== "object" || value === null) {
    throw new Input.InputError({ where, input, expected: "an object with methods", actual: value })
  }
  return value
}
