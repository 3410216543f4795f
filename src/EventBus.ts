/**
 * Delivers events to listeners in the same process.
 *
 * `emit` runs the listeners now and waits for them; `publish` queues the event and
 * returns. Services subscribe with `Service.listen`, other code with `stream`.
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
export type { Outcome } from "./internal/events/Handler.ts"

/**
 * Runs all current listeners of an event, and waits until each has handled it.
 *
 * Emitted events do not queue, neither behind published ones nor behind each
 * other. Interrupting the emitter does not interrupt the handlers. Never fails:
 * the receipt has the outcome of each listener, and failures are journaled by the
 * listener's service.
 *
 * Dies with `PayloadError` when the payload does not match the event's schema, and
 * with `DuplicateEventError` when the bus knows a different event of the same name.
 */
export const emit = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<Receipt, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.emit(event, payload))

/**
 * Queues an event for all listeners and returns. Waits for room only where a queue
 * is full and the listener's `onFull` is `"wait"`, the default. Never fails.
 *
 * Dies with `PayloadError` when the payload does not match the event's schema, and
 * with `DuplicateEventError` when the bus knows a different event of the same name.
 */
export const publish = <A>(
  event: Event.Event<string, A>,
  payload: NoInfer<A>
): Effect.Effect<void, never, EventBus> => Effect.flatMap(EventBus, (bus) => bus.publish(event, payload))

/**
 * Subscribes to an event, and returns the stream of its payloads, emitted and
 * published alike. It has all events sent after this effect has returned and,
 * during the boot of an app, those sent earlier in the boot.
 *
 * The stream never slows a sender: a reader more than 4,096 events behind loses the
 * oldest, which is journaled. Use `Service.listen` where every event counts. The
 * stream ends with the scope or the bus.
 *
 * Dies with `DuplicateEventError` when the bus knows a different event of the same
 * name.
 */
export const stream = <A>(
  event: Event.Event<string, A>
): Effect.Effect<Stream.Stream<A>, never, EventBus | Scope.Scope> =>
  Effect.flatMap(EventBus, (bus) => bus.stream(event))

/** Provides a bus with default options. */
export const layer: Layer.Layer<EventBus> = Layer.suspend(() => layerWith({}))

/**
 * Provides a bus with options.
 *
 * - `validate`: whether payloads are checked against the event's schema when sent.
 *   Defaults to `true`. Turn it off at high event rates, where types suffice.
 */
export const layerWith = (options: { readonly validate?: boolean | undefined }): Layer.Layer<EventBus> =>
  Layer.scoped(
    EventBus,
    Effect.gen(function* () {
      if (options.validate !== undefined)
        Input.oneOf("EventBus.layerWith", "validate", [true, false], options.validate)
      const { shared } = yield* Owner.Owner
      const made = yield* Bus.make(options.validate ?? true, shared)
      const decorator = yield* Effect.serviceOption(BusDecorator)
      const bus = Option.isSome(decorator) ? decorator.value(made) : made
      if (!shared.boot.isOpen) shared.boot.onOpen.push(bus.holdBoot())
      return bus
    })
  ).pipe(Layer.provide(Owner.layer))
