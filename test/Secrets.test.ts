import { assert, it } from "@effect/vitest"
import * as Redaction from "../src/internal/Redaction.ts"

const cases: ReadonlyArray<readonly [text: string, masked: string]> = [
  [
    "connect to postgres://shop:hunter2@db:5432/orders failed",
    "connect to postgres://***@db:5432/orders failed"
  ],
  ["redis://:p@ss/w:rd@cache", "redis://***@cache"],
  ["https://ghp_abc@github.com/x", "https://***@github.com/x"],
  ["amqp://a:b@one,amqp://c:d@two", "amqp://***@two"],
  ["Server=db;Password=hunter2;Timeout=5", "Server=db;Password=***;Timeout=5"],
  ["DB_PASSWORD: 'a b c'", "DB_PASSWORD: '***'"],
  ['{"user":"ada","password":"a\\"b","n":1}', '{"user":"ada","password":"***","n":1}'],
  ['{\\"apiKey\\":\\"x y\\",\\"n\\":1}', '{\\"apiKey\\":\\"***\\",\\"n\\":1}'],
  ["GET /orders?access_token=abc&n=1 gave 401", "GET /orders?access_token=***&n=1 gave 401"],
  ["x-api-key: abc, accept: text/html", "x-api-key: ***, accept: text/html"],
  ["Authorization: Bearer abc.def", "Authorization: ***"],
  ["Authorization: ApiKey abc", "Authorization: ***"],
  ["Cookie: sid=abc; other=def", "Cookie: ***"],
  ["password => hunter2, n => 1", "password => ***, n => 1"],
  ["pass=a pw=b passcode: c AccountKey=d", "pass=*** pw=*** passcode: *** AccountKey=***"],
  ["GET /x?sig=abc&X-Amz-Signature=def&n=1", "GET /x?sig=***&X-Amz-Signature=***&n=1"],
  ["the token eyJhbGciOiJI.eyJzdWIi.c2ln was refused", "the token *** was refused"],
  ["no such key: sk_live_abc123", "no such key: ***"],
  ["bypass=1 gave 500", "bypass=1 gave 500"],
  ["the header was Basic dXNlcjpwYXNz", "the header was Basic ***"],
  ["clientSecret=abc, AWS_SECRET_ACCESS_KEY=def", "clientSecret=***, AWS_SECRET_ACCESS_KEY=***"],
  ["ENCRYPTION_KEY=hunter2 is not 32 bytes", "ENCRYPTION_KEY=*** is not 32 bytes"],
  ["encryptionKey=a signing key: b", "encryptionKey=*** signing key: ***"],
  ['{"masterKey":"hunter2","n":1}', '{"masterKey":"***","n":1}'],
  ["STRIPE_KEY=a, openai-key: b, hashKey => c", "STRIPE_KEY=***, openai-key: ***, hashKey => ***"],
  [
    "bad -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- in file",
    "bad -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY----- in file"
  ],
  ["-----BEGIN PRIVATE KEY----- MIIE cut o…", "-----BEGIN PRIVATE KEY-----***"],
  ["psql --password hunter2 failed", "psql --password *** failed"],
  ["curl --api-key 'a b' -token c -x d", "curl --api-key '***' -token *** -x d"],
  ["--password is required", "--password is required"],
  ["<user>ada</user><password>hunter2</password>", "<user>ada</user><password>***</password>"],
  ['<c:clientSecret type="x">abc', '<c:clientSecret type="x">***'],
  ["password%3Dabc&n=1 password：def", "password%3D***&n=1 password：***"],
  ["postgres://shop:hunt…", "postgres://***…"],
  ["http://db:5432/x is away…", "http://db:5432/x is away…"],
  // What a key is called that opens nothing.
  ["primaryKey=5, cache_key: user:7, sort-key=a", "primaryKey=5, cache_key: user:7, sort-key=a"],
  ["NoSuchKey: The specified key does not exist", "NoSuchKey: The specified key does not exist"],
  ["Key (id)=(5) is taken, the monkey: 1", "Key (id)=(5) is taken, the monkey: 1"],
  // What only speaks of secrets can still be read.
  ['password authentication failed for user "shop"', 'password authentication failed for user "shop"'],
  ["GET http://127.0.0.1:3000/orders gave 500", "GET http://127.0.0.1:3000/orders gave 500"],
  ["https://example.com/@ada is gone", "https://example.com/@ada is gone"],
  ["mail to ada@example.com bounced", "mail to ada@example.com bounced"]
]

it.each(cases)("shows %s as %s", (text, masked) => {
  assert.strictEqual(Redaction.redact(text), masked)
})

const letters = "aB3dE5gH7jK9mN1pQ2rS4tU6"
const tokens: ReadonlyArray<string> = [
  `AKIA${letters.toUpperCase().slice(0, 16)}`,
  `ASIA${letters.toUpperCase().slice(0, 16)}`,
  ...[
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-"
  ].map((prefix) => prefix + letters),
  ...[
    "sk-",
    "sk-proj-",
    "sk-ant-api03-",
    "AIza",
    "npm_",
    "dop_v1_",
    "hf_",
    "ya29.",
    "sk_live_",
    "whsec_"
  ].map((prefix) => prefix + letters),
  `SG.${letters}.${letters}`,
  `eyJ${letters}.${letters}.${letters}`
].map((token) => (token.startsWith("dop") ? token.toLowerCase() : token))

it.each(tokens)("masks %s, in a sentence, in quotes and in a list", (token) => {
  const shown = Redaction.redact(`refused ${token}, "${token}"; (${token}) x=${token}`)
  assert.notInclude(shown, letters.slice(0, 8))
  assert.notInclude(shown.toLowerCase(), letters.slice(0, 8).toLowerCase())
})

it("leaves words that only begin as a token does", () => {
  const text = "task-management of sk-learn in npm_config_registry, hf_home and risk-assessment-of-everything"
  assert.strictEqual(Redaction.redact(text), text)
})

it.each(["://a:", "password=", "token", '\\"', "Bearer ", "password\\\"='", "a"])(
  "takes no time for a long text of %s",
  (part) => {
    const start = performance.now()
    Redaction.redact(part.repeat(50_000))
    assert.isBelow(performance.now() - start, 1_000)
  }
)
