// Owns a few worker threads that take jobs one after the other from one source. An error in a worker
// ends the run: it is a bug of the program, not an outcome of a job.

import { Worker } from 'node:worker_threads'

export interface PoolOptions<Job, Result> {
  /** The worker's module: it answers each job that it is posted with one message. */
  readonly program: URL
  readonly count: number
  readonly jobs: Iterator<Job>
  /** Called in the order in which jobs end; false takes no further ones. */
  readonly onResult: (job: Job, result: Result) => boolean
}

/** Resolves when every job that was begun has ended and none is left, or none more is wanted. */
export async function runPool<Job, Result>(options: PoolOptions<Job, Result>): Promise<void> {
  const { program, count, jobs, onResult } = options
  let wanted = true
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(program)
      let current: Job
      const next = (): void => {
        const { value, done } = wanted ? jobs.next() : { value: undefined, done: true }
        if (done === true) {
          void worker.terminate()
          resolve()
          return
        }
        current = value as Job
        worker.postMessage(current)
      }
      worker.on('message', (result: Result) => {
        if (!onResult(current, result)) wanted = false
        next()
      })
      worker.on('error', reject)
      next()
    })
  await Promise.all(Array.from({ length: count }, work))
}
