/** The types of service classes. */
import type * as Context from "effect/Context"
import type * as Layer from "effect/Layer"

const TypeId = "~effect-services/Service"

/** The type of the instances of a service class; there are none at run time. */
export interface Instance<Name extends string, Shape> extends Context.TagClassShape<Name, Shape> {
  readonly [TypeId]: Shape
}

/** A service class whose `onStart` takes no parameters. */
export interface Class<Self, Name extends string, Shape, E, R> extends Context.Tag<Self, Shape> {
  new (_: never): Instance<Name, Shape>
  readonly key: Name
  /** The service as a layer. One value, so that it is built once however often it is provided. */
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
  /** The service as a layer. Each call makes another: keep it in a const to provide one in two places. */
  readonly layer: (...args: Args) => Layer.Layer<Self, E, R>
}
