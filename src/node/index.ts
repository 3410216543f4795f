export * as NodeApp from "./NodeApp.ts"
export * as NodeHttp from "./NodeHttp.ts"
