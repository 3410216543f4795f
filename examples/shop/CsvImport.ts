/**
 * Imports one CSV file, row by row, and ends. A file that was imported to its
 * end is moved to the folder `done`. One that was cut short stays where it is
 * and is imported again from its first line, which harms nothing: `Orders`
 * takes each order once.
 */
import { FileSystem, Path } from "@effect/platform"
import { NodeStream } from "@effect/platform-node"
import { type CsvError, type Info, parse } from "csv-parse"
import { Data, DateTime, Duration, Effect, ParseResult, Schema, Stream } from "effect"
import { EventBus, Failure, Service } from "effect-services"
import { ImportProgress } from "./events.ts"
import { OrderRow } from "./Order.ts"
import { Orders } from "./Orders.ts"
import { Settings } from "./Settings.ts"

const columns = ["id", "email", "item", "quantity", "total"]
const reportEveryRows = 50
/** No order is so long: a quote was opened and never closed, and the rest of the file would be one row. */
const longestRow = 10_000

export class CsvImport extends Service.make<CsvImport>()("CsvImport", {
  onStart: ({ file }: { readonly file: string }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const orders = yield* Orders
      const { doneDir, importRowsPerSecond, importSlowAfter } = yield* Settings
      const name = path.basename(file)
      const counts = { placed: 0, known: 0 }
      const rejected: Array<{ readonly line: number; readonly why: string }> = []
      const progress = Effect.sync(() => ({ file: name, ...counts, rejected: rejected.length }))

      const report = (when: string) =>
        Effect.gen(function* () {
          const now = yield* progress
          yield* EventBus.emit(ImportProgress, now)
          yield* Effect.log(
            `${when}: ${now.placed} orders placed, ${now.known} known, ${now.rejected} rows rejected`
          )
        })
      const reject = (line: number, why: string) => void rejected.push({ line, why })

      const importRow = ({ info, record }: Row) =>
        Schema.decodeUnknown(OrderRow, { errors: "all" })(record).pipe(
          Effect.flatMap(orders.place),
          Effect.flatMap(({ isNew }) => {
            counts[isNew ? "placed" : "known"]++
            // The pace leaves the store to customers who wait. Orders that it has already cost it nothing.
            return isNew ? Effect.sleep(Duration.millis(1_000 / importRowsPerSecond)) : Effect.void
          }),
          Effect.catchTag("ParseError", (error) => Effect.sync(() => reject(info.lines, inWords(error))))
        )

      const importRows = fs.stream(file).pipe(
        NodeStream.pipeThroughDuplex<WrongHeaderError | CsvError, Row>(
          () => parser((error) => reject(Number(error.lines), error.message)),
          // The parser fails with nothing else.
          (error) => error as WrongHeaderError | CsvError
        ),
        Stream.mapEffect(importRow),
        Stream.grouped(reportEveryRows),
        Stream.runForEach(() => report("so far")),
        Effect.catchTag("WrongHeaderError", ({ message }) => Effect.sync(() => reject(1, message)))
      )

      const finish = Effect.gen(function* () {
        // With the time in front, so that a second file of the same name overwrites nothing.
        const now = DateTime.formatIso(yield* DateTime.now).replaceAll(":", "-")
        const done = path.join(doneDir, `${now}-${name}`)
        if (rejected.length > 0) {
          const lines = rejected
            .toSorted((a, b) => a.line - b.line)
            .map(({ line, why }) => `line ${line}: ${why}`)
          yield* fs.writeFileString(`${done}.rejected.txt`, `${lines.join("\n")}\n`)
          yield* Effect.logWarning(`rejected rows are listed in ${done}.rejected.txt, the first: ${lines[0]}`)
        }
        yield* fs.rename(file, done)
        yield* report("in all")
        yield* Service.stop
      })

      // A disk that is full or gone, or a file that is no CSV, fails the import as a whole. Inbox has said what happens then.
      yield* Service.spawn(Effect.zipRight(importRows, Effect.uninterruptible(finish)), {
        name: "rows",
        onFailure: Failure.escalate
      })
      yield* Service.timeout(
        Effect.logWarning(`still importing after ${Duration.format(importSlowAfter)}`),
        importSlowAfter
      )
      return { progress }
    })
}) {}

/** The columns are not ours, so no row can be read. */
class WrongHeaderError extends Data.TaggedError("WrongHeaderError")<{ readonly message: string }> {}

interface Row {
  readonly info: Info
  readonly record: Readonly<Record<string, string>>
}

/**
 * Parses CSV as spreadsheets write it. A row with a stray quote or too few or
 * many fields is skipped, and told of. One that does not end is the end of all.
 */
const parser = (onSkip: (error: CsvError) => void) => {
  const stream = parse({
    bom: true,
    info: true,
    skip_empty_lines: true,
    trim: true,
    max_record_size: longestRow,
    skip_records_with_error: true,
    on_skip: (error) => {
      if (error?.code === "CSV_MAX_RECORD_SIZE") stream.destroy(error)
      else if (error !== undefined) onSkip(error)
      return undefined
    },
    columns: (header: Array<string>) => {
      if (columns.every((column) => header.includes(column))) return header
      throw new WrongHeaderError({
        message: `the first line must name the columns ${columns.join(", ")}, but is: ${header.join(", ")}`
      })
    }
  })
  return stream
}

const inWords = (error: ParseResult.ParseError): string =>
  ParseResult.ArrayFormatter.formatErrorSync(error)
    .map(({ message, path }) => `${path.join(".")} ${message}`)
    .join("; ")
