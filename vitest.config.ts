import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const conditions = ["effect-services:source", "node", "import", "module", "default"]

/** The longest files, longest first: begun last, one of them would run alone at the end. */
const longest = ["HttpDrain.live", "HttpLoad.live", "shop.live", "ServiceLaws", "event-laws", "examples"]

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = longest.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      return index < 0 ? longest.length : index
    }
    return files.toSorted((one, other) => rank(one) - rank(other))
  }
}

export default defineConfig({
  // Tests import the package by its own name and get its source, not dist.
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // Effect is large: imported once per worker and not once per file, the suite is many times faster.
    pool: "threads",
    isolate: false,
    // Vitest would leave one core idle, which on two cores means a single worker.
    maxWorkers: availableParallelism(),
    minWorkers: 1,
    sequence: { sequencer: LongestFirst },
    // Of tests that run processes, which mostly wait.
    maxConcurrency: 3,
    // Virtual time costs real time: generous, for machines that do other things besides.
    testTimeout: 60_000,
    setupFiles: ["test/setup.ts"]
  }
})
