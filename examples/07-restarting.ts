// Restarting: what failed is started anew, within a budget, and what depends on it waits for the new one.
import { Console, Deferred, Effect, Layer, Schedule } from "effect"
import { Failure, Service } from "effect-services"
import { NodeApp } from "effect-services/node"

// A connection, which the server closes after two queries.
class Connection extends Service.make<Connection>()("Connection", {
  onStart: Effect.gen(function* () {
    const closed = yield* Deferred.make<never>()
    yield* Service.spawn(Deferred.await(closed), { name: "socket" })
    let queries = 0
    return {
      query: (sql: string) =>
        Effect.zipRight(
          Console.log(sql),
          Effect.suspend(() => (++queries === 2 ? Deferred.die(closed, "connection reset") : Effect.void))
        )
    }
  })
}) {}

// What others depend on is not the connection but the service that keeps one. It stays the same when
// the connection is another, and `current` waits for that one.
class Database extends Service.make<Database>()("Database", {
  onStart: Effect.gen(function* () {
    const connection = yield* Service.adopt(Connection, {
      onFailure: Failure.restart({
        backoff: Schedule.spaced("250 millis"),
        budget: { restarts: 1, within: "1 minute" }
      })
    })
    return { query: (sql: string) => Effect.flatMap(connection.current, (_) => _.query(sql)) }
  })
}) {}

class Reports extends Service.make<Reports>()("Reports", {
  onStart: Effect.gen(function* () {
    const database = yield* Database
    yield* Service.interval(database.query("select 1"), "200 millis")
  })
}) {}

// The second restart within a minute is one too many. Without `onExhausted`, the failure goes up, to the app.
NodeApp.runMain(Layer.provide(Reports.layer, Database.layer), { name: "Example" })

// prints, and exits with 1:
// INFO Example > Database > Connection started in 1ms
// INFO Example > Database started in 1ms
// INFO Example > Reports started in 1ms
// INFO Example started in 1ms, with 2 services
// select 1
// select 1
// ERROR Example > Database > Connection failed, because socket failed
// INFO Example > Database > Connection stopped in 1ms
// WARN Example > Database > Connection restarts in 1ms (restart 1), because Example > Database > Connection > socket failed
// INFO Example > Database > Connection started in 1ms
// select 1
// select 1
// ERROR Example > Database > Connection failed, because socket failed
// INFO Example > Database > Connection stopped in 1ms
// WARN Example > Database: child Connection failed again after 1 restart, and is given up
// ERROR Example > Database failed, because child Connection failed
// ERROR Example > Database > Connection > socket failed, so the app was stopped: connection reset
// INFO Example is stopping: Example > Database > Connection > socket failed
// INFO Example > Reports stopped in 1ms
// INFO Example > Database stopped in 1ms
// INFO Example stopped in 1ms, after a failure
