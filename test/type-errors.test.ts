/** Compile errors of TypeScript 6 and 7, and hovers of TypeScript 6, as full texts. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import ts from "typescript"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const domain = `
import { Context, Data, Effect, Layer, Schema } from "effect"
import { Event, EventBus, Failure, Service } from "effect-services"

export class DbError extends Data.TaggedError("DbError")<{ readonly why: string }> {}
export class Db extends Context.Tag("Db")<Db, { readonly query: Effect.Effect<number, DbError> }>() {}
export class Cache extends Context.Tag("Cache")<Cache, { readonly size: number }>() {}
export const query = Effect.flatMap(Db, (db) => db.query)
export const charge = Effect.fail(new DbError({ why: "declined" }))
export const OrderCompleted = Event.make("order:completed", Schema.Struct({ id: Schema.String, total: Schema.Number }))
export class Orders extends Service.make<Orders>()("Orders", { onStart: Effect.map(query, (count) => ({ count })) }) {}
export class Prices extends Service.make<Prices>()("Prices", { onStart: Effect.as(Cache, { vat: 0.2 }) }) {}
export class Tenant extends Service.make<Tenant>()("Tenant", { onStart: (id: string) => Effect.succeed({ id }) }) {}
`

const header = `
import { Context, Effect, Layer } from "effect"
import { App, EventBus, Failure, Service } from "effect-services"
import { NodeApp } from "effect-services/node"
import { Cache, charge, Db, OrderCompleted, Orders, Prices, query, Tenant } from "./domain.ts"
`

interface Mistake {
  readonly name: string
  readonly code: string
  /** What TypeScript 7 says. */
  readonly says: string
  /** What TypeScript 6 says, if it differs: it reports all overloads. */
  readonly saysAs6?: string
}

const mistakes: ReadonlyArray<Mistake> = [
  {
    name: "names the service that nobody provides to an app",
    code: "NodeApp.runMain(Orders.layer)",
    says: `Argument of type 'Layer<Orders, StartError<DbError>, Db>' is not assignable to parameter of type 'Layer<Orders, StartError<DbError>, Db> & { readonly "services that nobody provides": Db; }'.
  Property '"services that nobody provides"' is missing in type 'Layer<Orders, StartError<DbError>, Db>' but required in type '{ readonly "services that nobody provides": Db; }'.`
  },
  {
    name: "names each of several services that nobody provides to an app",
    code: "NodeApp.runMain(Layer.merge(Orders.layer, Prices.layer))",
    says: `Argument of type 'Layer<Orders | Prices, StartError<DbError>, Cache | Db>' is not assignable to parameter of type 'Layer<Orders | Prices, StartError<DbError>, Cache | Db> & { readonly "services that nobody provides": Cache | Db; }'.
  Property '"services that nobody provides"' is missing in type 'Layer<Orders | Prices, StartError<DbError>, Cache | Db>' but required in type '{ readonly "services that nobody provides": Cache | Db; }'.`
  },
  {
    name: "names the service that a launched app still requires",
    code: "Effect.runFork(App.launch(Orders.layer))",
    says: `Argument of type 'Effect<never, ServiceFailedError | StartError<DbError> | UncleanStopError, Db>' is not assignable to parameter of type 'Effect<never, ServiceFailedError | StartError<DbError> | UncleanStopError, never>'.
  Type 'Db' is not assignable to type 'never'.`
  },
  {
    name: "says that Service.make needs the type of its class",
    code: `export class A extends Service.make()("A", { onStart: Effect.void }) {}`,
    says: `This expression is not callable.
  Type '{ readonly "Service.make needs the type of its class: class X extends Service.make<X>()(...)": never; }' has no call signatures.`
  },
  {
    name: "names a misspelt option of a service",
    code: `export class A extends Service.make<A>()("A", { onStart: Effect.void, stopTimout: "1 second" }) {}`,
    says: `No overload matches this call.
  The last overload gave the following error.
    Object literal may only specify known properties, but 'stopTimout' does not exist in type 'Lifecycle<Effect<void, never, never>, void, never, undefined>'. Did you mean to write 'stopTimeout'?`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(name: "A", lifecycle: Lifecycle<(...args: readonly any[]) => Effect<unknown, unknown, unknown>, unknown, never, undefined>): ClassWith<A, "A", readonly any[], unknown, StartError<unknown>, unknown>', gave the following error.
    Type 'Effect<void, never, never>' is not assignable to type '(...args: readonly any[]) => Effect<unknown, unknown, unknown>'.
      Type 'Effect<void, never, never>' provides no match for the signature '(...args: readonly any[]): Effect<unknown, unknown, unknown>'.
  Overload 2 of 2, '(name: "A", lifecycle: Lifecycle<Effect<void, never, never>, void, never, undefined>): Class<A, "A", void, never, never>', gave the following error.
    Object literal may only specify known properties, but 'stopTimout' does not exist in type 'Lifecycle<Effect<void, never, never>, void, never, undefined>'. Did you mean to write 'stopTimeout'?`
  },
  {
    name: "shows what onStop must be",
    code: `export class A extends Service.make<A>()("A", { onStart: Effect.void, onStop: Effect.void }) {}`,
    says: `No overload matches this call.
  The last overload gave the following error.
    Type 'Effect<void, never, never>' is not assignable to type '(service: void) => Effect<unknown, unknown, never>'.
      Type 'Effect<void, never, never>' provides no match for the signature '(service: void): Effect<unknown, unknown, never>'.`,
    saysAs6: `No overload matches this call.
  Overload 2 of 2, '(name: "A", lifecycle: Lifecycle<Effect<void, never, never>, void, never, undefined>): Class<A, "A", void, never, never>', gave the following error.
    Type 'Effect<void, never, never>' is not assignable to type '(service: void) => Effect<unknown, unknown, never>'.
      Type 'Effect<void, never, never>' provides no match for the signature '(service: void): Effect<unknown, unknown, never>'.`
  },
  {
    name: "names a property that the service does not offer in onStop",
    code: `export class A extends Service.make<A>()("A", { onStart: Effect.succeed({ n: 1 }), onStop: ({ m }) => Effect.log(m) }) {}`,
    says: `Property 'm' does not exist on type '{ n: number; }'.`
  },
  {
    name: "says that a handler must return an effect",
    code: "export const listening = Service.listen(OrderCompleted, () => {})",
    says: `No overload matches this call.
  The last overload gave the following error.
    Argument of type '() => void' is not assignable to parameter of type '(payload: { readonly id: string; readonly total: number; }) => Effect<unknown, unknown, unknown>'.
      Type 'void' is not assignable to type 'Effect<unknown, unknown, unknown>'.`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(events: readonly [Event<string, any>, ...Event<string, any>[]], handler: (payload: any, event: string) => Effect<unknown, unknown, unknown>, options?: Options<unknown, never, any> | undefined): Effect<...>', gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'readonly [Event<string, any>, ...Event<string, any>[]]'.
  Overload 2 of 2, '(event: Event<string, { readonly id: string; readonly total: number; }>, handler: (payload: { readonly id: string; readonly total: number; }) => Effect<unknown, unknown, unknown>, options?: Options<unknown, never, NoInfer<{ ...; }>> | undefined): Effect<...>', gave the following error.
    Argument of type '() => void' is not assignable to parameter of type '(payload: { readonly id: string; readonly total: number; }) => Effect<unknown, unknown, unknown>'.
      Type 'void' is not assignable to type 'Effect<unknown, unknown, unknown>'.`
  },
  {
    name: "says how a payload differs from what a handler takes",
    code: "export const listening = Service.listen(OrderCompleted, (order: { id: number }) => Effect.log(order.id))",
    says: `No overload matches this call.
  The last overload gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'Event<string, { id: number; }>'.
      The types of 'schema.Type.id' are incompatible between these types.
        Type 'string' is not assignable to type 'number'.`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(events: readonly [Event<string, any>, ...Event<string, any>[]], handler: (payload: any, event: string) => Effect<void, never, never>, options?: Options<never, never, any> | undefined): Effect<...>', gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'readonly [Event<string, any>, ...Event<string, any>[]]'.
  Overload 2 of 2, '(event: Event<string, { id: number; }>, handler: (payload: { id: number; }) => Effect<void, never, never>, options?: Options<never, never, NoInfer<{ id: number; }>> | undefined): Effect<...>', gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'Event<string, { id: number; }>'.
      The types of 'schema.Type.id' are incompatible between these types.
        Type 'string' is not assignable to type 'number'.`
  },
  {
    name: "names a misspelt option of a listener",
    code: `export const listening = Service.listen(OrderCompleted, () => Effect.void, { onful: "wait" })`,
    says: `No overload matches this call.
  The last overload gave the following error.
    Object literal may only specify known properties, but 'onful' does not exist in type 'Options<never, never, NoInfer<{ readonly id: string; readonly total: number; }>>'. Did you mean to write 'onFull'?`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(events: readonly [Event<string, any>, ...Event<string, any>[]], handler: (payload: any, event: string) => Effect<void, never, never>, options?: Options<never, never, any> | undefined): Effect<...>', gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'readonly [Event<string, any>, ...Event<string, any>[]]'.
  Overload 2 of 2, '(event: Event<string, { readonly id: string; readonly total: number; }>, handler: (payload: { readonly id: string; readonly total: number; }) => Effect<void, never, never>, options?: Options<...> | undefined): Effect<...>', gave the following error.
    Object literal may only specify known properties, but 'onful' does not exist in type 'Options<never, never, NoInfer<{ readonly id: string; readonly total: number; }>>'. Did you mean to write 'onFull'?`
  },
  {
    name: "lists what a listener does when its queue is full",
    code: `export const listening = Service.listen(OrderCompleted, () => Effect.void, { onFull: "drop" })`,
    says: `No overload matches this call.
  The last overload gave the following error.
    Type '"drop"' is not assignable to type '"dropNewest" | "dropOldest" | "wait" | undefined'.`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(events: readonly [Event<string, any>, ...Event<string, any>[]], handler: (payload: any, event: string) => Effect<void, never, never>, options?: Options<never, never, any> | undefined): Effect<...>', gave the following error.
    Argument of type 'Event<"order:completed", { readonly id: string; readonly total: number; }>' is not assignable to parameter of type 'readonly [Event<string, any>, ...Event<string, any>[]]'.
  Overload 2 of 2, '(event: Event<string, { readonly id: string; readonly total: number; }>, handler: (payload: { readonly id: string; readonly total: number; }) => Effect<void, never, never>, options?: Options<...> | undefined): Effect<...>', gave the following error.
    Type '"drop"' is not assignable to type '"dropNewest" | "dropOldest" | "wait" | undefined'.`
  },
  {
    name: "shows what a spawned effect fails with, when nothing is said about that",
    code: "export const spawned = Service.spawn(charge)",
    says: `Argument of type 'Effect<never, DbError, never>' is not assignable to parameter of type 'Effect<never, never, never>'.
  Type 'DbError' is not assignable to type 'never'.`
  },
  {
    name: "shows what a spawned effect fails with, when `onFailure` is missing from the options",
    code: `export const spawned = Service.spawn(charge, { name: "charge" })`,
    says: `No overload matches this call.
  The last overload gave the following error.
    Argument of type 'Effect<never, DbError, never>' is not assignable to parameter of type 'Effect<never, never, never>'.
      Type 'DbError' is not assignable to type 'never'.`,
    saysAs6: `No overload matches this call.
  Overload 1 of 2, '(effect: Effect<never, DbError, never>, options: FallibleSpawnOptions<NoInfer<DbError>, never>): Effect<Spawned<never, DbError>, never, ServiceScope>', gave the following error.
    Argument of type '{ name: string; }' is not assignable to parameter of type 'FallibleSpawnOptions<NoInfer<DbError>, never>'.
      Property 'onFailure' is missing in type '{ name: string; }' but required in type 'FallibleSpawnOptions<NoInfer<DbError>, never>'.
  Overload 2 of 2, '(effect: Effect<never, never, never>, options?: SpawnOptions<never, never> | undefined): Effect<Spawned<never, never>, never, ServiceScope>', gave the following error.
    Argument of type 'Effect<never, DbError, never>' is not assignable to parameter of type 'Effect<never, never, never>'.
      Type 'DbError' is not assignable to type 'never'.`
  },
  {
    name: "names a misspelt option of an adopted class",
    code: `export const adopted = Service.adopt(Orders, { nam: "first" })`,
    says: `Object literal may only specify known properties, but 'nam' does not exist in type 'Options<never>'. Did you mean to write 'name'?`
  },
  {
    name: "names a misspelt option of an adopted layer",
    code: `export const adopted = Service.adopt(Tenant.layer("acme"), { nam: "acme" })`,
    says: `Object literal may only specify known properties, but 'nam' does not exist in type 'Options<never>'. Did you mean to write 'name'?`
  },
  {
    name: "shows which parameters an adopted class needs",
    code: "export const adopted = Service.adopt(Tenant)",
    says: `Argument of type 'typeof Tenant' is not assignable to parameter of type 'Class<Tenant, string, { id: string; }, unknown, unknown> | Layer<Tenant, unknown, unknown>'.
  Type 'typeof Tenant' is not assignable to type 'Class<Tenant, string, { id: string; }, unknown, unknown>'.
    Types of property 'layer' are incompatible.
      Type '(id: string) => Layer<Tenant, never, never>' is not assignable to type 'Layer<Tenant, unknown, unknown>'.`
  },
  {
    name: "requires Service.Scope for work outside of a service",
    code: `Effect.runFork(Service.interval(Effect.void, "1 second"))`,
    says: `Argument of type 'Effect<Handle, never, ServiceScope>' is not assignable to parameter of type 'Effect<Handle, never, never>'.
  Type 'ServiceScope' is not assignable to type 'never'.`
  }
]

interface Hover {
  readonly name: string
  /** The hover is that of the name after the mark. */
  readonly code: string
  readonly shows: string
}

const hovers: ReadonlyArray<Hover> = [
  {
    name: "shows the payload of an event in a handler",
    code: "Service.listen(OrderCompleted, (/*?*/order) => Effect.log(order.id))",
    shows: `(parameter) order: {
    readonly id: string;
    readonly total: number;
}`
  },
  {
    name: "shows what listening requires",
    code: "export const /*?*/listening = Service.listen(OrderCompleted, () => query)",
    shows: "const listening: Effect.Effect<Service.Handle, never, Db | EventBus.EventBus | Service.Scope>"
  },
  {
    name: "shows what an interval requires",
    code: `Service./*?*/interval(query, "1 minute")`,
    shows: `(alias) interval<number, DbError, Db, never>(effect: Effect.Effect<number, DbError, Db>, every: DurationInput, options?: Service.IntervalOptions<NoInfer<DbError>, never>): Effect.Effect<Service.Handle, never, Db | Service.Scope>
export interval`
  },
  {
    name: "shows the layer of a class, with its errors and requirements",
    code: "Orders./*?*/layer",
    shows: `(property) Class<Orders, "Orders", { count: number; }, StartError<DbError>, Db>.layer: Layer.Layer<Orders, Service.StartError<DbError>, Db>`
  },
  {
    name: "shows the parameters of a layer",
    code: "Tenant./*?*/layer",
    shows: `(property) ClassWith<Tenant, "Tenant", [id: string], { id: string; }, never, never>.layer: (id: string) => Layer.Layer<Tenant, never, never>`
  },
  {
    name: "shows one StartError, however deep children adopt",
    code: `class Shop extends Service.make<Shop>()("Shop", { onStart: Service.adopt(Orders) }) {}
class Town extends Service.make<Town>()("Town", { onStart: Service.adopt(Shop) }) {}
Town./*?*/layer`,
    shows: `(property) Class<Town, "Town", Child<Child<{ count: number; }>>, StartError<DbError>, Db>.layer: Layer.Layer<Town, Service.StartError<DbError>, Db>`
  },
  {
    name: "shows that the cause of a StartError may hold that of a child",
    code: `Effect.catchTag(Layer.launch(Orders.layer), "StartError", ({ /*?*/cause }) => Effect.log(cause))`,
    shows: "(parameter) cause: Cause<DbError | Service.StartError<DbError> | TimeoutException>"
  },
  {
    name: "shows what an adopted class offers",
    code: "export const /*?*/adopted = Service.adopt(Orders)",
    shows: `const adopted: Effect.Effect<Service.Child<{
    count: number;
}>, Service.StartError<DbError>, Db | Service.Scope>`
  },
  {
    name: "shows what an adopted layer offers",
    code: `export const /*?*/adopted = Service.adopt(Tenant.layer("acme"))`,
    shows: `const adopted: Effect.Effect<Service.Child<{
    id: string;
}>, never, Service.Scope>`
  }
]

const fileOf = (i: number, kind: string) => `${kind}${i}.ts`
let folder: string
let service: ts.LanguageService
let said: (file: string) => { readonly by6: string; readonly by7: string }

beforeAll(async () => {
  // Inside the project, so that the package finds itself by name.
  folder = resolve(mkdtempSync("check-types-"))
  const write = (file: string, code: string) => writeFileSync(join(folder, file), code)
  write("domain.ts", domain)
  for (const [i, { code }] of mistakes.entries()) write(fileOf(i, "mistake"), header + code)
  for (const [i, { code }] of hovers.entries()) write(fileOf(i, "hover"), header + code)
  const compilerOptions = { plugins: [], noUnusedLocals: false, exactOptionalPropertyTypes: false }
  write("tsconfig.json", JSON.stringify({ extends: "../tsconfig.json", compilerOptions, include: ["."] }))

  const by7 = compiledBy7(folder)
  service = serviceOf(folder)
  const texts = await by7
  said = (file) => ({
    by6: service
      .getSemanticDiagnostics(join(folder, file))
      .map(({ messageText }) => tidy(ts.flattenDiagnosticMessageText(messageText, "\n")))
      .join("\n"),
    by7: (texts.get(file) ?? []).map(tidy).join("\n")
  })
}, 60_000)

afterAll(() => {
  service.dispose()
  rmSync(folder, { recursive: true, force: true })
})

describe("a compile error", () => {
  it("does not occur in correct code", () => {
    assert.deepStrictEqual(said("domain.ts"), { by6: "", by7: "" })
  })

  for (const [i, { name, says, saysAs6 }] of mistakes.entries()) {
    it(name, () => {
      const { by6, by7 } = said(fileOf(i, "mistake"))
      assert.strictEqual(by7, says)
      assert.strictEqual(by6, saysAs6 ?? says)
    })
  }
})

describe("a hover", () => {
  for (const [i, { name, code, shows }] of hovers.entries()) {
    it(name, () => {
      const file = fileOf(i, "hover")
      assert.strictEqual(said(file).by6, "")
      const at = header.length + code.indexOf(mark) + mark.length
      const info = service.getQuickInfoAtPosition(join(folder, file), at)
      assert.strictEqual(tidy(ts.displayPartsToString(info?.displayParts)), shows)
    })
  }
})

const mark = "/*?*/"

/** Sorts the members of unions: their order means nothing, and differs between the compilers. */
const tidy = (text: string): string =>
  text.replaceAll(union, (members) => members.split(" | ").toSorted().join(" | "))

const member = String.raw`(?:"[^"]*"|[\w.]+(?:<[\w.]*>)?)`
const union = new RegExp(String.raw`${member}(?: \| ${member})+`, "g")

/** The errors of TypeScript 7, by file. */
const compiledBy7 = (folder: string): Promise<ReadonlyMap<string, ReadonlyArray<string>>> =>
  new Promise((done) => {
    const arguments_ = ["node_modules/@typescript/native/bin/tsc", "-p", folder, "--pretty", "false"]
    // The exit code is 2, as there are errors.
    execFile(process.execPath, arguments_, (_, stdout) => {
      const texts = new Map<string, Array<string>>()
      for (const [, file, text] of stdout.matchAll(
        /^\S*?([^/\s]+)\(\d+,\d+\): error \w+: (.*(?:\n .*)*)/gm
      )) {
        texts.set(file!, [...(texts.get(file!) ?? []), text!])
      }
      done(texts)
    })
  })

/** The language service of TypeScript 6, which editors use. */
const serviceOf = (folder: string): ts.LanguageService => {
  const path = join(folder, "tsconfig.json")
  const { config } = ts.readConfigFile(path, (file) => ts.sys.readFile(file))
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, folder)
  return ts.createLanguageService({
    getCompilationSettings: () => options,
    getScriptFileNames: () => fileNames,
    getScriptVersion: () => "1",
    getScriptSnapshot: (file) => {
      const text = ts.sys.readFile(file)
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
    },
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (file) => ts.sys.fileExists(file),
    readFile: (file) => ts.sys.readFile(file),
    directoryExists: (folder) => ts.sys.directoryExists(folder)
  })
}
