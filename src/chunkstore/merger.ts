// Owns the merging of a layer's files into one, in the background and at a limited rate: after a
// snapshot went, or a state came in beside an older one. Moves each block, verified, through memory to
// the fullest file of its layer; a crash at any moment leaves it in one of the two.

import { BLOCK_BYTES, CHUNK_BLOCKS } from '../format/chunk-request.ts'
import { HeldPages } from './block-reader.ts'
import type { Chunk, Layer, LayerFile } from './chunk.ts'
import type { StoreParts } from './parts.ts'
import type { ReplicaState } from './replica-state.ts'

/** A replica, as far as merging needs it. */
export interface Mergeable {
  readonly state: ReplicaState
  /** Its state is being written down: nothing that the log does not bring may change now. */
  readonly isHeld: boolean
}

interface Job {
  readonly replica: Mergeable
  readonly chunk: Chunk
}

/** Moved at once. */
const STEP_BLOCKS = 64

export class Merger {
  readonly #parts: StoreParts
  readonly #jobs: Job[] = []
  #running = false
  #closed = false
  #done: Promise<void> = Promise.resolve()

  constructor(parts: StoreParts) {
    this.#parts = parts
  }

  add(replica: Mergeable, chunk: Chunk): void {
    if (this.#closed || this.#jobs.some((job) => job.chunk === chunk)) return
    this.#jobs.push({ replica, chunk })
    if (this.#running) return
    this.#running = true
    this.#done = this.#run()
  }

  /** Never rejects: what can't be merged stays as it is, which is right too. */
  async #run(): Promise<void> {
    for (let job = this.#jobs[0]; job !== undefined && !this.#closed; job = this.#jobs[0]) {
      const moved = await this.#step(job)
      if (moved === 0) this.#jobs.shift()
      else await this.#pause(moved)
    }
    this.#running = false
  }

  #pause(blocks: number): Promise<void> {
    const { config, health } = this.#parts
    const rateMs = (1000 * blocks * BLOCK_BYTES) / config.mergeBytesPerSecond
    const delayMs = health.full ? config.spaceRetryMs : rateMs
    return new Promise((resolve) => {
      this.#parts.env.clock.after(delayMs, resolve)
    })
  }

  /** How many blocks were moved; 0 when nothing is left to be done, or can be done. */
  async #step(job: Job): Promise<number> {
    const { health, writeBack } = this.#parts
    const layer = job.chunk.layers.find(({ files }) => files.length > 1)
    if (layer === undefined || !isCurrent(job) || health.failed !== null) return 0
    // Writes of clients go first.
    const isBusy = writeBack.dirtyBytes >= this.#parts.config.dirtyBytesSoft
    if (isBusy || job.replica.isHeld || health.full) return WAIT_BLOCKS
    putFullestFirst(layer)
    const [to, from] = layer.files as [LayerFile, LayerFile]
    return this.#move(job, layer, from, to)
  }

  async #move(job: Job, layer: Layer, from: LayerFile, to: LayerFile): Promise<number> {
    const { reader } = this.#parts
    const held = new HeldPages()
    let moved = 0
    for (let block = from.data.next(0); block < CHUNK_BLOCKS; block = from.data.next(block + 1)) {
      if (moved === STEP_BLOCKS) break
      const before = await reader.locateLoading(from.file, block, held)
      const bytes = new Uint8Array(BLOCK_BYTES)
      const suspects = await reader.read([before], [0], bytes)
      const isThere =
        isCurrent(job) &&
        // Another generation may have been dropped meanwhile, and this layer with it.
        job.chunk.layers.includes(layer) &&
        layer.files.includes(from) &&
        layer.files.includes(to) &&
        from.data.has(block)
      // What is left is for the next step, which looks anew.
      if (!isThere || job.replica.isHeld) return Math.max(1, moved)
      const now = reader.locate(from.file, block, held)
      // A bad block stays until it is repaired, and its file with it.
      if (suspects.length > 0 || now?.version !== before.version || now.crc !== before.crc) continue
      const { version, crc } = before
      job.replica.state.move(job.chunk, block, from, to, { version, crc, data: bytes })
      moved++
    }
    return moved
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#jobs.length = 0
    await this.#done
  }
}

/** A pause as long as that of a step. */
const WAIT_BLOCKS = STEP_BLOCKS

function isCurrent({ replica, chunk }: Job): boolean {
  return !replica.state.isClosed && replica.state.chunk(chunk.id) === chunk
}

function putFullestFirst(layer: Layer): void {
  layer.files.sort((a, b) => b.data.count - a.data.count || a.file.key - b.file.key)
}
