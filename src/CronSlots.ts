/** The moments at which a cron expression matches. */
import * as Cron from "effect/Cron"
import * as Either from "effect/Either"
import * as Input from "./Input.ts"

/** Reads an expression. Throws `InputError` when it or the zone is malformed, or when it never matches. */
export const parse = (expression: string, timeZone: string | undefined, now: number): Cron.Cron => {
  const problem = (expected: string, actual: unknown, input = "expression") =>
    new Input.InputError({ where: "Service.cron", input, expected, actual })
  if (typeof expression !== "string") throw problem('a cron expression, like "0 3 * * *"', expression)
  const parsed = Cron.parse(expression, timeZone)
  if (Either.isLeft(parsed)) {
    throw timeZone !== undefined && Either.isRight(Cron.parse(expression))
      ? problem('an IANA time zone, like "Europe/Berlin"', timeZone, "timeZone")
      : problem(`a cron expression, like "0 3 * * *" (${parsed.left.message})`, expression)
  }
  try {
    Cron.next(parsed.right, new Date(now))
  } catch {
    throw problem("a cron expression that matches some day", expression)
  }
  return parsed.right
}

/** Past this, the exact number of missed slots tells nothing more. */
const mostCounted = 1_000

/** How many slots lie after `from` and before `to`, or `mostCounted`. */
export const countBetween = (parsed: Cron.Cron, from: number, to: number): number => {
  let count = 0
  for (let at = Cron.next(parsed, new Date(from)).getTime(); at < to && count < mostCounted; count++) {
    at = Cron.next(parsed, new Date(at)).getTime()
  }
  return count
}
