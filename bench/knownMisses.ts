/**
 * Limits that are missed, with what was measured. Each handling, tick and task is
 * a fiber of its own, made by `Runtime.runFork`, and Effect's public API has no
 * cheaper one. A suite fails when such a ratio becomes worse than it is here.
 */
export const knownMisses: Readonly<Record<string, number>> = {
  "emit to listeners with a service each: 1, of a loop by hand: provide and exit for each": 0.75,
  "emit to listeners with a service each: 10, of a loop by hand: provide and exit for each": 0.65,
  "emit to listeners with a service each: 100, of a loop by hand: provide and exit for each": 0.65,
  "publish one at a time to listeners with a service each: 1, of one PubSub, a Stream each": 0.8,
  "publish one at a time to listeners with a service each: 10, of one PubSub, a Stream each": 0.4,
  "publish one at a time to listeners with a service each: 100, of one PubSub, a Stream each": 0.4,
  "publish without a pause to listeners with a service each: 1, of one PubSub, a Stream each": 7,
  "publish without a pause to listeners with a service each: 10, of one PubSub, a Stream each": 7.5,
  "publish without a pause to listeners with a service each: 100, of one PubSub, a Stream each": 6,
  "publish one at a time, with 300 listeners of other events, to listeners with a service each: 100, of one PubSub, a Stream each": 0.05,
  "10,000 listeners of other events: publish one at a time, of no other listeners": 1.4,
  "services as layers, start and stop: 100, of by hand: Layer.scoped, a repeating fiber, a Stream": 0.65,
  "adopted services, start and stop: 1,000, of by hand: Layer.scoped, a repeating fiber, a Stream": 0.85,
  "TestClock.adjust by 5 s over 30 intervals of 1 s, of a repeating fiber each": 0.13,
  "a short task, of Effect.forkIn": 2.5,
  "heap of an idle adopted service: interval, listener, cleanup, of a Layer.scoped with a finalizer": 2.7,
  "bundle in kB, a service with an interval and a cleanup, imported: from packages, of plain Effect, the difference": 40,
  "bundle in kB, a service with an interval and a cleanup, imported: by paths, of plain Effect, the difference": 40,
  "bundle in kB, a service with an interval, a listener and a cleanup, imported: from packages, of plain Effect, the difference": 47,
  "bundle in kB, a service with an interval, a listener and a cleanup, imported: by paths, of plain Effect, the difference": 48
}
