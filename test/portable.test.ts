/** All but `effect-services/node` runs where there is no Node: in browsers, workers and edge runtimes. */
import { createContext, runInContext } from "node:vm"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { expect, it } from "vitest"

const bundle = async (contents: string) => {
  const result = await build({
    stdin: { contents, loader: "ts", resolveDir: fileURLToPath(new URL("..", import.meta.url)) },
    bundle: true,
    write: false,
    metafile: true,
    format: "iife",
    platform: "browser",
    conditions: ["effect-services:source"],
    // Kept as imports, to be told with the file that has them.
    external: ["node:*"],
    logLevel: "silent"
  })
  const imports = Object.entries(result.metafile.inputs).flatMap(([file, input]) =>
    input.imports.filter((to) => to.external === true).map((to) => `${file} imports ${to.path}`)
  )
  return { code: result.outputFiles[0]!.text, imports }
}

/** What every JavaScript runtime has, and nothing of Node. */
const bare = (log: (line: string) => void) =>
  createContext({
    AbortController,
    clearInterval,
    clearTimeout,
    console: { log },
    queueMicrotask,
    setInterval,
    setTimeout,
    TextDecoder,
    TextEncoder,
    URL
  })

const app = `
  import { Effect, Layer, Schema } from "effect"
  import * as All from "effect-services"
  const { App, Event, EventBus, Service } = All

  const Ping = Event.make("ping", { n: Schema.Number })

  class Child extends Service.make<Child>()("Child", {
    onStart: Service.listen(Ping, ({ n }) => Effect.sync(() => console.log("> ping " + n)))
  }) {}

  class Parent extends Service.make<Parent>()("Parent", {
    onStart: Effect.gen(function* () {
      yield* Service.adopt(Child)
      yield* Service.addCleanup(Effect.sync(() => console.log("> cleaned up")))
      yield* Service.timeout(Effect.zipRight(EventBus.emit(Ping, { n: 1 }), Service.stop), "1 millis")
    }),
    onStop: () => Effect.sync(() => console.log("> stops"))
  }) {}

  Effect.runFork(App.launch(Layer.provide(Parent.layer, EventBus.layer))).addObserver((exit) =>
    console.log(exit.cause._tag)
  )
`

it("bundles for a browser, with no import of a Node module", async () => {
  const { imports } = await bundle(`import * as All from "effect-services"; console.log(All)`)
  expect(imports).toEqual([])
  expect((await bundle(`import "node:fs"`)).imports).toEqual(["<stdin> imports node:fs"])
})

it("starts, sends events and stops without process, Buffer, require and the rest of Node", async () => {
  const { code } = await bundle(app)
  const said: Array<string> = []
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the app did not end: ${said.join("\n")}`)), 10_000)
    const context = bare((line) => {
      if (line.startsWith(">") || line === "Interrupt") said.push(line)
      if (line === "Interrupt") {
        clearTimeout(timer)
        resolve()
      }
    })
    expect(runInContext("typeof process + typeof Buffer + typeof require", context)).toBe(
      "undefined".repeat(3)
    )
    runInContext(code, context)
  })
  expect(said).toEqual(["> ping 1", "> stops", "> cleaned up", "Interrupt"])
})

it("leaves nothing in a bundle that imports it and uses nothing of it", async () => {
  const { code } = await bundle(`import "effect-services"; import * as All from "effect-services"`)
  expect(code.length).toBeLessThan(100)
})
