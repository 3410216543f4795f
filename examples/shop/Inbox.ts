/** Watches a folder, and adopts an import for each CSV file that is dropped there. */
import { FileSystem, Path } from "@effect/platform"
import { Array, Cause, Clock, type Context, DateTime, Duration, Effect, Option, Stream } from "effect"
import { Failure, Service } from "effect-services"
import { CsvImport } from "./CsvImport.ts"
import { Settings } from "./Settings.ts"

/** A file that has not changed for so long has been written to its end. Slow writers should rename into place. */
const settled = Duration.millis(500)

export class Inbox extends Service.make<Inbox>()("Inbox", {
  onStart: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const { failedDir, inboxDir, inboxScanEvery } = yield* Settings
    const imports = new Map<string, Service.Child<Context.Tag.Service<CsvImport>>>()
    const oneAtATime = (yield* Effect.makeSemaphore(1)).withPermits(1)

    const isReady = (file: string) =>
      Effect.gen(function* () {
        const { mtime, size, type } = yield* fs.stat(file)
        const changed = Option.match(mtime, { onNone: () => 0, onSome: (date) => date.getTime() })
        // Either way round: a file from a machine whose clock is ahead must not wait for ever.
        const age = Math.abs((yield* Clock.currentTimeMillis) - changed)
        return type === "File" && size > 0 && age >= Duration.toMillis(settled)
        // It may be gone again by now.
      }).pipe(Effect.orElseSucceed(() => false))

    const scan = Effect.gen(function* () {
      for (const name of yield* fs.readDirectory(inboxDir)) {
        const file = path.join(inboxDir, name)
        if (!name.endsWith(".csv") || imports.has(name) || !(yield* isReady(file))) continue
        // It may be the disk, so it is tried again; after the fourth time it is the file, which then waits for a person.
        const giveUp = Effect.gen(function* () {
          const failed = path.join(failedDir, `${DateTime.formatIso(yield* DateTime.now)}-${name}`)
          yield* fs.rename(file, failed.replaceAll(":", "-"))
          yield* Effect.logWarning(`${name} could not be imported, and is in ${failedDir}`)
        })
        const onFailure = Failure.restart({
          budget: { restarts: 3, within: "1 minute" },
          onExhausted: Failure.handle(() => giveUp)
        })
        const child = yield* Service.adopt(CsvImport.layer({ file }), { name, onFailure })
        imports.set(name, child)
        yield* Service.spawn(Effect.map(child.await, () => imports.delete(name)))
      }
    }).pipe(oneAtATime)

    const watch = fs.watch(inboxDir).pipe(
      Stream.debounce(settled),
      Stream.runForEach(() => scan)
    )
    yield* Service.spawn(watch, {
      name: "watch",
      onFailure: Failure.handle((cause) =>
        Effect.logWarning(`cannot watch ${inboxDir}, and only scans it from now on: ${Cause.pretty(cause)}`)
      )
    })
    // Finds what lay there at the start, and what the watcher missed.
    yield* Service.interval(scan, inboxScanEvery, { name: "scan", first: "atOnce" })

    yield* Effect.log(`drop CSV files into ${inboxDir}`)
    return {
      /** The imports that are running, with how far they are. */
      running: Effect.suspend(() =>
        Effect.forEach([...imports.values()], (child) =>
          Effect.option(Effect.flatMap(child.current, ({ progress }) => progress))
        )
      ).pipe(Effect.map(Array.getSomes))
    }
  }),
  onStop: ({ running }) =>
    Effect.flatMap(running, (imports) =>
      Effect.forEach(imports, ({ file }) =>
        Effect.log(`the import of ${file} is cut short, and taken up at the next start`)
      )
    )
}) {}
