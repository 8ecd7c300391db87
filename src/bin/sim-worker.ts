// Runs one seed of the simulator a message, in a worker thread.

import { parentPort } from 'node:worker_threads'
import { must } from '../base/assert.ts'
import { nodeCrc32c } from '../platform/crc32c.ts'
import { runJob, type SeedJob } from '../sim/campaign.ts'

const port = must(parentPort, 'a worker has a parent')
const crc32c = nodeCrc32c()

port.on('message', (job: SeedJob) => {
  void runJob(job, crc32c).then((outcome) => port.postMessage(outcome))
})
