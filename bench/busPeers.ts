/** Buses of others, with the same listeners as ours. Each is nothing when it is not installed. */
import type { Setting } from "./buses.ts"
import { handled, range } from "./count.ts"
import { load } from "./peers.ts"

interface Bus {
  /** Emits so often, and each time waits until all listeners have handled it. */
  readonly emit: (n: number) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

/** Its listeners are plain async functions. */
export const emittery = async ({ count, listeners, others }: Setting): Promise<Bus | undefined> => {
  const module = await load<{
    readonly default: new () => {
      readonly on: (event: string, listener: (event: unknown) => Promise<void>) => void
      readonly emit: (event: string, data: unknown) => Promise<void>
      readonly clearListeners: () => void
    }
  }>("emittery")
  if (module === undefined) return undefined
  const emitter = new module.default()
  range(listeners).forEach(() => emitter.on("ping", async () => handled(count)))
  range(others).forEach((i) => emitter.on(`other:${i}`, async () => handled(count)))
  return {
    emit: (n) => sequentially(n, (n) => emitter.emit("ping", { n })),
    stop: async () => emitter.clearListeners()
  }
}

/** The floor: plain functions, called at once, that nobody waits for. */
export const eventEmitter3 = async ({ count, listeners, others }: Setting): Promise<Bus | undefined> => {
  const module = await load<{
    readonly default: new () => {
      readonly on: (event: string, listener: (event: unknown) => void) => void
      readonly emit: (event: string, data: unknown) => boolean
      readonly removeAllListeners: () => void
    }
  }>("eventemitter3")
  if (module === undefined) return undefined
  const emitter = new module.default()
  range(listeners).forEach(() => emitter.on("ping", () => handled(count)))
  range(others).forEach((i) => emitter.on(`other:${i}`, () => handled(count)))
  return {
    emit: async (n) => {
      for (let i = 0; i < n; i++) emitter.emit("ping", { n: i })
    },
    stop: async () => emitter.removeAllListeners()
  }
}

/** `emit` tells one instance of each service, so each listener has its service. */
export const moleculer = async ({ count, listeners, others }: Setting): Promise<Bus | undefined> => {
  const module = await load<{
    readonly default: {
      readonly ServiceBroker: new (options: object) => {
        readonly createService: (schema: object) => unknown
        readonly start: () => Promise<void>
        readonly stop: () => Promise<void>
        readonly emit: (event: string, payload: unknown) => Promise<unknown>
      }
    }
  }>("moleculer")
  if (module === undefined) return undefined
  const broker = new module.default.ServiceBroker({ logger: false, skipProcessEventRegistration: true })
  range(listeners).forEach((i) =>
    broker.createService({ name: `listener-${i}`, events: { ping: async () => handled(count) } })
  )
  broker.createService({
    name: "others",
    events: Object.fromEntries(range(others).map((i) => [`other.${i}`, async () => handled(count)]))
  })
  await broker.start()
  return { emit: (n) => sequentially(n, (n) => broker.emit("ping", { n })), stop: () => broker.stop() }
}

/** An application context with one provider whose methods listen with `@OnEvent`. */
export const nest = async ({ count, listeners, others }: Setting): Promise<Bus | undefined> => {
  const reflect = await load("reflect-metadata")
  const common = await load<{ readonly Module: (options: object) => (module: object) => void }>(
    "@nestjs/common"
  )
  const core = await load<{
    readonly NestFactory: {
      readonly createApplicationContext: (
        module: object,
        options: object
      ) => Promise<{ readonly get: (token: object) => any; readonly close: () => Promise<void> }>
    }
  }>("@nestjs/core")
  const events = await load<{
    readonly EventEmitterModule: { readonly forRoot: () => object }
    readonly EventEmitter2: object
    readonly OnEvent: (event: string) => (target: object, key: string, descriptor: PropertyDescriptor) => void
  }>("@nestjs/event-emitter")
  if (!reflect || !common || !core || !events) return undefined
  // Nest asks for classes.
  /* eslint-disable typescript/no-extraneous-class */
  class Listeners {}
  class Root {}
  /* eslint-enable typescript/no-extraneous-class */
  const listen = (event: string, method: string) => {
    Object.defineProperty(Listeners.prototype, method, {
      value: async () => handled(count),
      configurable: true,
      writable: true
    })
    const descriptor = Object.getOwnPropertyDescriptor(Listeners.prototype, method)!
    events.OnEvent(event)(Listeners.prototype, method, descriptor)
  }
  range(listeners).forEach((i) => listen("ping", `ping${i}`))
  range(others).forEach((i) => listen(`other:${i}`, `other${i}`))
  common.Module({ imports: [events.EventEmitterModule.forRoot()], providers: [Listeners] })(Root)
  const app = await core.NestFactory.createApplicationContext(Root, { logger: false })
  await (app as unknown as { readonly init: () => Promise<unknown> }).init()
  const emitter: { readonly emitAsync: (event: string, payload: unknown) => Promise<unknown> } = app.get(
    events.EventEmitter2
  )
  return { emit: (n) => sequentially(n, (n) => emitter.emitAsync("ping", { n })), stop: () => app.close() }
}

const sequentially = async (n: number, emit: (n: number) => Promise<unknown>): Promise<void> => {
  // One at a time is what is measured.
  for (let i = 0; i < n; i++) await emit(i)
}
