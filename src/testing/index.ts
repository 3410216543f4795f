export * as TestApp from "./TestApp.ts"
export * as TestEventBus from "./TestEventBus.ts"
export * as ServiceLaws from "./ServiceLaws.ts"
