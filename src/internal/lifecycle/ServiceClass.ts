/** Types of service classes. */
import type * as Context from "effect/Context"
import type * as Layer from "effect/Layer"

const TypeId = "~effect-services/Service"

/** Type of the instances of a service class. Exists at the type level only. */
export interface Instance<Name extends string, Shape> extends Context.TagClassShape<Name, Shape> {
  readonly [TypeId]: Shape
}

/** A service class whose `onStart` takes no parameters. */
export interface Class<Self, Name extends string, Shape, E, R> extends Context.Tag<Self, Shape> {
  new (_: never): Instance<Name, Shape>
  readonly key: Name
  /** Starts and stops the service. A single value, so Effect builds it once however often it is provided. */
  readonly layer: Layer.Layer<Self, E, R>
}

/** A service class whose `onStart` takes parameters. */
export interface ClassWith<
  Self,
  Name extends string,
  Args extends ReadonlyArray<any>,
  Shape,
  E,
  R
> extends Context.Tag<Self, Shape> {
  new (_: never): Instance<Name, Shape>
  readonly key: Name
  /** Starts and stops the service. Each call makes a new layer: keep it in a const to share one service. */
  readonly layer: (...args: Args) => Layer.Layer<Self, E, R>
}
