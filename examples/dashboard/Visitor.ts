/** Asks the controllers of examples 11 to 13 from outside, as soon as the app is up, and ends it. */
import { HttpServer } from "@effect/platform"
import { Console, Effect } from "effect"
import { Service } from "effect-services"

export class Visitor extends Service.make<Visitor>()("Visitor", {
  onStart: (...paths: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const server = yield* HttpServer.addressFormattedWith(Effect.succeed)
      const visit = (path: string) =>
        Effect.promise(() =>
          fetch(server + path).then(async (_) => `${path}: ${_.status} ${(await _.text()).trim()}`)
        )
      const visits = Effect.forEach(paths, (path) => Effect.flatMap(visit(path), Console.log))
      yield* Service.timeout(Effect.zipRight(visits, Service.stop), "50 millis")
    })
}) {}
