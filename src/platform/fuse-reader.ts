// The program of the thread that reads /dev/fuse: a blocking read a request, into the shared ring.
// A thread of its own, because such a read lasts until the kernel wants something: in libuv's pool it
// would take a thread from everybody else, and its round trip costs several times as much.
// It ends when the file system is unmounted or its connection aborted, and says with what error.

import { readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { FUSE_REQUEST_BYTES_MAX } from '../attach/fuse-protocol.ts'
import { must } from '../base/assert.ts'
import { type RingMemory, RingProducer } from './fuse-ring.ts'

/** ENOENT: the request was withdrawn while it was read. */
const AGAIN: ReadonlySet<string> = new Set(['EINTR', 'EAGAIN', 'ENOENT'])

export interface FuseReaderData {
  readonly fd: number
  readonly ring: RingMemory
}

const { fd, ring } = workerData as FuseReaderData
const port = must(parentPort, 'this program is the one of a worker thread')
const producer = new RingProducer(ring)

/** The error that ended it. */
function readAll(): string {
  for (;;) {
    const at = producer.claim()
    try {
      const bytes = readSync(fd, producer.bytes, at, FUSE_REQUEST_BYTES_MAX, null)
      if (bytes === 0) return 'end of file'
      if (producer.publish(bytes)) port.postMessage(null)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      if (!AGAIN.has(code)) return code
    }
  }
}

port.postMessage(readAll())
