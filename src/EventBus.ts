/**
 * Carries events from those who send them to those who listen.
 *
 * `emit` runs the listeners now and waits for them; `publish` queues and goes
 * on. Services listen with `Service.listen`; anything else can use `stream`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Event from "./Event.ts"
import * as Input from "./internal/Input.ts"
import { BusDecorator } from "./internal/TestHooks.ts"
import * as Bus from "./internal/events/Bus.ts"
import { EventBus, type Receipt } from "./internal/events/Bus.ts"
import * as Owner from "./internal/lifecycle/Owner.ts"

export { DuplicateEventError, EventBus } from "./internal/events/Bus.ts"
export type { Receipt } from "./internal/events/Bus.ts"
export type { Outcome } from "./internal/events/Delivery.ts"

/**
 * Tells every listener of the event, at once, and waits until all have handled
 * it. Never fails: what a listener did is in the receipt, and its failure is
 * journaled by its service. Interrupting the emitter does not cut the handlers.
 *
 * Dies with `PayloadError` when the payload does not fit the event's schema.
 */
export const emit = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<Receipt, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.emit(event, payload))

/**
 * Queues the event for every listener and returns. Waits only for listeners
 * whose queue is full and whose `onFull` is `"wait"`. Never fails.
 *
 * Dies with `PayloadError` when the payload does not fit the event's schema.
 */
export const publish = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<void, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.publish(event, payload))

/**
 * The event's payloads, emitted and published alike, from now on: when this
 * returns, the stream is subscribed. It never slows a sender: a reader that is
 * 4,096 events behind loses the oldest, which is journaled. Where every event
 * counts, use `Service.listen`.
 */
export const stream = <A>(
  event: Event.Event<string, A>
): Effect.Effect<Stream.Stream<A>, never, EventBus | Scope.Scope> =>
  Effect.flatMap(EventBus, (bus) => bus.stream(event))

/** A bus with default options. */
export const layer: Layer.Layer<EventBus> = Layer.suspend(() => layerWith({}))

/**
 * A bus.
 *
 * - `validate`: whether payloads are checked against their event's schema when
 *   sent. Defaults to true. The types already say it: switch it off where
 *   senders are typed and events are many.
 */
export const layerWith = (options: { readonly validate?: boolean | undefined }): Layer.Layer<EventBus> =>
  Layer.scoped(
    EventBus,
    Effect.gen(function* () {
      if (options.validate !== undefined)
        Input.oneOf("EventBus.layerWith", "validate", [true, false], options.validate)
      const { shared } = yield* Owner.Owner
      const made = yield* Bus.make(options.validate ?? true, shared.journal, yield* Effect.clock)
      const decorator = yield* Effect.serviceOption(BusDecorator)
      const bus = Option.isSome(decorator) ? decorator.value(made) : made
      if (!shared.boot.isOpen) shared.boot.onOpen.push(bus.holdBoot())
      yield* Effect.addFinalizer(() => made.end)
      return bus
    })
  ).pipe(Layer.provide(Owner.layer))
