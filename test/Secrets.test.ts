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
  // What only speaks of secrets can still be read.
  ['password authentication failed for user "shop"', 'password authentication failed for user "shop"'],
  ["GET http://127.0.0.1:3000/orders gave 500", "GET http://127.0.0.1:3000/orders gave 500"],
  ["https://example.com/@ada is gone", "https://example.com/@ada is gone"],
  ["mail to ada@example.com bounced", "mail to ada@example.com bounced"]
]

it.each(cases)("shows %s as %s", (text, masked) => {
  assert.strictEqual(Redaction.redact(text), masked)
})

it.each(["://a:", "password=", "token", '\\"', "Bearer ", "password\\\"='", "a"])(
  "takes no time for a long text of %s",
  (part) => {
    const start = performance.now()
    Redaction.redact(part.repeat(50_000))
    assert.isBelow(performance.now() - start, 1_000)
  }
)
