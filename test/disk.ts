/** Files in memory, in the time of whoever uses them; they fail when a test says so. */
import { Error, FileSystem } from "@effect/platform"
import { Clock, Effect, Option, PubSub, Stream } from "effect"

interface File {
  readonly bytes: Uint8Array
  readonly changedAt: number
}

/** A disk with nothing but a folder `/data`. */
export const make = () => {
  const files = new Map<string, File>()
  const folders = new Set(["/data"])
  let fault: ((method: string, path: string) => boolean) | undefined
  const changes = Effect.runSync(PubSub.unbounded<FileSystem.WatchEvent>())

  const failure = (method: string, path: string, reason: Error.SystemErrorReason) =>
    new Error.SystemError({ module: "FileSystem", method, pathOrDescriptor: path, reason })
  /** What a method does, unless the disk is broken. */
  const doing = <A>(method: string, path: string, what: (now: number) => A | Error.SystemError) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const done = fault?.(method, path) === true ? failure(method, path, "Unknown") : what(now)
      return done instanceof Error.SystemError ? Effect.fail(done) : Effect.succeed(done)
    })
  const fileAt = (method: string, path: string) => files.get(path) ?? failure(method, path, "NotFound")
  const changed = (path: string) => PubSub.publish(changes, FileSystem.WatchEventUpdate({ path }))
  const namesIn = (folder: string) =>
    [...files.keys(), ...folders]
      .filter((path) => path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes("/"))
      .map((path) => path.slice(folder.length + 1))

  const read = (path: string) =>
    doing("readFile", path, () => {
      const file = fileAt("readFile", path)
      return file instanceof Error.SystemError ? file : file.bytes
    })
  const write = (path: string, bytes: Uint8Array, options?: FileSystem.WriteFileOptions) =>
    Effect.zipRight(
      doing("writeFile", path, (now) => {
        const before = options?.flag === "a" ? (files.get(path)?.bytes ?? new Uint8Array()) : new Uint8Array()
        files.set(path, { bytes: Buffer.concat([before, bytes]), changedAt: now })
      }),
      changed(path)
    )
  const fs = FileSystem.makeNoop({
    access: (path) =>
      doing("access", path, () => {
        if (!folders.has(path) && !files.has(path)) return failure("access", path, "NotFound")
      }),
    exists: (path) => doing("exists", path, () => folders.has(path) || files.has(path)),
    makeDirectory: (path) => doing("makeDirectory", path, () => void folders.add(path)),
    readDirectory: (path) => doing("readDirectory", path, () => namesIn(path)),
    readFile: read,
    readFileString: (path) => Effect.map(read(path), (bytes) => Buffer.from(bytes).toString()),
    remove: (path) => doing("remove", path, () => void files.delete(path)),
    rename: (from, to) =>
      doing("rename", from, () => {
        const file = fileAt("rename", from)
        if (file instanceof Error.SystemError) return file
        files.delete(from)
        files.set(to, file)
      }),
    stat: (path) =>
      doing("stat", path, () => {
        const file = folders.has(path) ? undefined : fileAt("stat", path)
        return file instanceof Error.SystemError ? file : info(file)
      }),
    stream: (path) => Stream.fromEffect(read(path)),
    watch: () => Stream.fromPubSub(changes),
    writeFile: write,
    writeFileString: (path, text, options) => write(path, Buffer.from(text), options)
  })

  return {
    fs,
    /** Fails each call for which this is true, from now on; with nothing, it is whole again. */
    breaks: (when?: (method: string, path: string) => boolean) => void (fault = when),
    text: (path: string) => Buffer.from(files.get(path)?.bytes ?? []).toString(),
    /** The paths of all files, in order. */
    paths: () => [...files.keys()].toSorted()
  }
}

const info = (file: File | undefined): FileSystem.File.Info => ({
  type: file === undefined ? "Directory" : "File",
  size: FileSystem.Size(file?.bytes.length ?? 0),
  mtime: Option.some(new Date(file?.changedAt ?? 0)),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: 0,
  ino: Option.none(),
  mode: 0,
  nlink: Option.none(),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  blksize: Option.none(),
  blocks: Option.none()
})
