import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigError, Data } from "effect"
import { Service } from "effect-services"
import * as Reason from "../src/internal/Reason.ts"

class NoWords extends Data.TaggedError("NoWords")<{ readonly cause?: unknown }> {}

describe("Reason.ofCause", () => {
  const reasons: ReadonlyArray<readonly [Cause.Cause<unknown>, string]> = [
    [Cause.fail("no disk"), "no disk"],
    [Cause.die(new Error("line one\n  line two")), "line one line two"],
    [Cause.fail(new NoWords({ cause: new Error("in use") })), "in use"],
    [Cause.fail(new NoWords({})), "NoWords"],
    [Cause.fail({ code: 7 }), '{"code":7}'],
    [Cause.fail(null), "null"],
    [Cause.parallel(Cause.fail("a"), Cause.parallel(Cause.die("b"), Cause.fail("a"))), "a; b"],
    [Cause.interrupt({} as never), "interrupted"],
    [
      Cause.fail(
        ConfigError.And(
          ConfigError.MissingData(["MAIL", "KEY"], "is missing"),
          ConfigError.InvalidData(["PORT"], "must be a number")
        )
      ),
      "MAIL.KEY: is missing; PORT: must be a number"
    ],
    [
      Cause.fail(
        new Service.StartError({ service: "Shop > Mailer", step: "onStart", cause: Cause.fail("no key") })
      ),
      'Service "Shop > Mailer" failed in onStart, so what it had begun was undone: no key'
    ]
  ]
  for (const [cause, reason] of reasons) it(reason, () => assert.strictEqual(Reason.ofCause(cause), reason))

  it("is never empty and never throws, for an object that cannot be written down", () => {
    const circular: Record<string, unknown> = {}
    circular["self"] = circular
    assert.isNotEmpty(Reason.ofCause(Cause.fail(circular)))
  })
})
