/** The workers of a service: they do whatever it owns, in the order in which it comes. */
import * as Exit from "effect/Exit"
import type * as FiberId from "effect/FiberId"
import type * as Owner from "./Owner.ts"
import type { Ready, RunQueue } from "./RunQueue.ts"
import * as Worker from "./Worker.ts"

/** How many workers an app keeps in all: a megabyte of them. */
const mostSpares = 256

/** None until there is something to do. Those who have nothing to do are kept for more. */
export class Crew implements Worker.Home {
  private readonly shared: Pick<Owner.Shared, "ready" | "spares">
  private workers: Set<Worker.Worker> | undefined = undefined
  /** Those who have nothing to do. */
  private idle: Array<Worker.Worker> | undefined = undefined
  private isClosed = false

  constructor(shared: Pick<Owner.Shared, "ready" | "spares">) {
    this.shared = shared
  }

  /** Where the jobs of its app wait until they begin. */
  get ready(): RunQueue<Worker.Job> {
    return this.shared.ready
  }

  /** Begins with a job, on this stack. */
  begin(job: Worker.Job): void {
    const spare = this.idle?.pop()
    // Mostly all are alike. One that is not is of no use to whoever comes next, either.
    if (spare?.isFor(job) === false) spare.end()
    else if (spare !== undefined) return spare.begin(job)
    const worker = new Worker.Worker(this)
    this.workers ??= new Set()
    this.workers.add(worker)
    worker.begin(job)
  }

  /** Interrupts a job, or does not begin with it. */
  cut(job: Worker.Job, by: FiberId.FiberId): void {
    if (job.worker !== undefined) job.worker.interrupt(by)
    else if (this.ready.withdraw(job)) job.ended(Exit.interrupt(by))
  }

  /** The jobs that have not ended. */
  jobs(): ReadonlyArray<Worker.Job> {
    const begun = Array.from(this.workers ?? [], ({ job }) => job)
    // What is of this crew is a job.
    const isOwn = (ready: Ready): ready is Worker.Job => ready.crew === this
    return [...begun.filter((job) => job !== undefined), ...this.ready.waiting().filter(isOwn)]
  }

  /** Its service has stopped, but perhaps for a job that has asked for that. */
  close(): void {
    this.isClosed = true
    for (const worker of this.idle?.slice() ?? []) worker.dismiss()
  }

  rests(worker: Worker.Worker): boolean {
    if (this.isClosed) return false
    this.idle ??= []
    this.idle.push(worker)
    const { spares } = this.shared
    spares.add(worker)
    if (spares.size > mostSpares) {
      // One that is busy is kept again when it is done.
      const [oldest] = spares
      oldest?.dismiss()
    }
    return true
  }

  retires(worker: Worker.Worker): boolean {
    this.shared.spares.delete(worker)
    const place = this.idle?.indexOf(worker) ?? -1
    if (place >= 0) this.idle?.splice(place, 1)
    return place >= 0
  }

  leaves(worker: Worker.Worker): void {
    this.retires(worker)
    this.workers?.delete(worker)
    if (this.workers?.size === 0) this.workers = undefined
  }
}
