/** The buses of other libraries, with the same number of listeners. Each is undefined when it is not installed. */
import type { Setting } from "./buses.ts"
import { handled, range } from "./count.ts"
import { load } from "./peers.ts"

interface Bus {
  /** Emits `n` events, one at a time, each time waiting until all listeners have handled it. */
  readonly emit: (n: number) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

/** Listeners are plain async functions. */
export const emittery = async ({ count, listeners }: Setting): Promise<Bus | undefined> => {
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
  return {
    emit: (n) => sequentially(n, (n) => emitter.emit("ping", { n })),
    stop: async () => emitter.clearListeners()
  }
}

/** `emit` reaches one instance of each service, so each listener is a service of its own. */
export const moleculer = async ({ count, listeners }: Setting): Promise<Bus | undefined> => {
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
  await broker.start()
  return { emit: (n) => sequentially(n, (n) => broker.emit("ping", { n })), stop: () => broker.stop() }
}

/** An application context with one provider whose methods listen with `@OnEvent`. */
export const nest = async ({ count, listeners }: Setting): Promise<Bus | undefined> => {
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
  // Nest wants classes.
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
  common.Module({ imports: [events.EventEmitterModule.forRoot()], providers: [Listeners] })(Root)
  const app = await core.NestFactory.createApplicationContext(Root, { logger: false })
  await (app as unknown as { readonly init: () => Promise<unknown> }).init()
  const emitter: { readonly emitAsync: (event: string, payload: unknown) => Promise<unknown> } = app.get(
    events.EventEmitter2
  )
  return { emit: (n) => sequentially(n, (n) => emitter.emitAsync("ping", { n })), stop: () => app.close() }
}

const sequentially = async (n: number, emit: (n: number) => Promise<unknown>): Promise<void> => {
  for (let i = 0; i < n; i++) await emit(i)
}
