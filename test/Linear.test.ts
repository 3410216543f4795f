import { assert, it } from "@effect/vitest"
import { Cause, Duration } from "effect"
import { Journal, ServiceRegistry } from "effect-services"
import * as Format from "../src/internal/Format.ts"
import * as Input from "../src/internal/Input.ts"
import * as Printable from "../src/internal/Printable.ts"
import * as Readiness from "../src/internal/status/Readiness.ts"
import * as Reason from "../src/internal/Reason.ts"
import * as Redaction from "../src/internal/Redaction.ts"
import { noServices, nothing } from "./support.ts"

/** What text from outside goes through. */
const functions: Readonly<Record<string, (text: string) => unknown>> = {
  "Reason.ofCause": (text) => Reason.ofCause(Cause.fail(new Error(text))),
  "Reason.ofError, of a string": Reason.ofError,
  "Reason.show": (text) => Reason.show({ text, [text]: [text] }),
  "Printable.ofCause": (text) => Cause.pretty(Printable.ofCause(Cause.die(withStack(text)))),
  "Printable.isPrintable": (text) => Printable.isPrintable(Cause.die(withStack(text))),
  "Redaction.redact": Redaction.redact,
  "Format.truncate": (text) => Format.truncate(text, 100),
  "Format.inOneLine": Format.inOneLine,
  "Format.withoutControls": (text) => Format.withoutControls(text, "lines"),
  "Input.name": (text) => Input.name("f", "name", `a${text}`),
  "an InputError": (text) =>
    new Input.InputError({ where: "f", input: "x", expected: "else", actual: text }).message,
  "Journal.format": (text) =>
    Journal.format({
      _tag: "RequestFailed",
      service: text,
      route: text,
      cause: Cause.fail(text),
      took: Duration.zero
    }),
  "Health.ready": (text) => Readiness.render(Readiness.of(showing(text))),
  "ServiceRegistry.render": (text) => ServiceRegistry.render(showing(text))
}

const withStack = (text: string): Error => {
  const error = new Error(text)
  error.stack = `Error: ${text}\n    at ${text}`
  return error
}

const showing = (text: string): ServiceRegistry.Snapshot => ({
  ...noServices,
  services: [
    {
      ...nothing,
      name: text,
      path: text,
      state: { _tag: "Failed", reason: text },
      checks: [
        {
          name: text,
          isCritical: true,
          state: { _tag: "Unhealthy", reason: text },
          since: 0,
          lastStart: undefined,
          lastDuration: undefined
        }
      ]
    }
  ]
})

/** What patterns are slow with: repeated beginnings of what they look for, which never ends as it should. */
const parts = [
  " ",
  "\n",
  " \n",
  "\t\r",
  "a",
  "a ",
  "eyJ-",
  "eyJabcdefghi.",
  "eyJ",
  "://a:",
  "x://@",
  "password=",
  "password ",
  "password",
  "pass",
  "token",
  '\\"',
  'key="\\',
  "Bearer ",
  "cookie:",
  "cookie : ",
  "password\\\"='",
  "api_key-",
  "Key:",
  "_key=",
  "--password ",
  "-",
  "--",
  "<password",
  "<password ",
  "<password>",
  "<",
  "-----BEGIN A-----",
  "-----BEGIN ",
  "-----END ",
  "ghp_",
  "sk-",
  "SG.",
  "glpat-.",
  "AKIA",
  "\u001B[31m",
  "at ",
  "\n    at ",
  "at effect_instruction_i(",
  "()",
  "…"
]

/** The fastest of some runs, in milliseconds: other work of the machine only makes a run longer. */
const millisOf = (f: () => unknown): number => {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 3; run++) {
    const start = performance.now()
    f()
    least = Math.min(least, performance.now() - start)
    if (least < 300) break
  }
  return least
}

const textOf = (part: string, length: number): string => {
  const text = part.repeat(Math.ceil(length / part.length))
  // A flat string, and not the tree of parts that `repeat` makes.
  return Buffer.from(text, "utf16le").toString("utf16le")
}

it.each(Object.entries(functions))(
  "%s takes linear time, whatever the text",
  (name, f) => {
    for (const part of parts) {
      const [short, long] = [50_000, 200_000].map((length) => textOf(part, length)) as [string, string]
      const [first, second] = [millisOf(() => f(short)), millisOf(() => f(long))]
      // Four times the text: a quadratic function takes sixteen times as long, and seconds. Less tells only of the machine.
      assert.isTrue(
        second < 300 || second / first < 8,
        `${name} of ${JSON.stringify(part)}: ${first.toFixed(1)} ms, then ${second.toFixed(1)} ms`
      )
    }
  },
  120_000
)

it.each(Object.entries(functions))(
  "%s of 2 MB is linear, too",
  (name, f) => {
    for (const part of [" ", "eyJ-", "<password ", "\n    at "]) {
      const [short, long] = [500_000, 2_000_000].map((length) => textOf(part, length)) as [string, string]
      const [first, second] = [millisOf(() => f(short)), millisOf(() => f(long))]
      assert.isTrue(
        second < 3_000 || second / first < 8,
        `${name} of ${JSON.stringify(part)}: ${first.toFixed(1)} ms, then ${second.toFixed(1)} ms`
      )
    }
  },
  120_000
)
