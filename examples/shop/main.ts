/** A small order backend on effect-services. Start it with `npm start`. */
import { NodeApp } from "effect-services/node"
import { Shop } from "./Shop.ts"

NodeApp.runMain(Shop, { name: "Shop" })
