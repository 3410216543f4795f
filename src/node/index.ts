export * as NodeApp from "./NodeApp.ts"
