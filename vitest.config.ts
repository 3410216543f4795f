import { defineConfig } from "vitest/config"

const conditions = ["effect-services:source", "node", "import", "module", "default"]

export default defineConfig({
  // Tests import the package by its own name and get its source, not dist.
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // Effect is large: imported once per worker and not once per file, the suite is many times faster.
    pool: "threads",
    isolate: false,
    // Of the examples, which are processes: more at a time would only be late.
    maxConcurrency: 2,
    // Virtual time costs real time: generous, for machines that do other things besides.
    testTimeout: 30_000,
    setupFiles: ["test/setup.ts"]
  }
})
