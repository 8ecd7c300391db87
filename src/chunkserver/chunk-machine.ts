// Owns what makes the chunks of one replica a state machine: takes the request and its blocks out of a
// committed entry, has the chunk store apply it, and answers with the outcome in its form
// (format/chunk-outcome.ts). Invariant: an entry gives the same outcome on every replica, also one
// that no client of this version would have sent.

import { assert } from '../base/assert.ts'
import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import type { ChunkStore } from '../chunkstore/chunk-store.ts'
import type { ReplicaChunks } from '../chunkstore/replica-chunks.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Machines, StateMachine } from '../copyset/state-machine.ts'
import { type ChunkOutcome, encodeChunkOutcome } from '../format/chunk-outcome.ts'
import {
  BLOCK_BYTES,
  type ChunkRequest,
  carriesBlocks,
  chunkRequestBytes,
  decodeChunkRequest,
} from '../format/chunk-request.ts'
import type { SnapshotItem, SnapshotSink, SnapshotSource } from '../raft/snapshot.ts'
import type { Entry } from '../raft/types.ts'
import type { ChunkserverBug } from './config.ts'

const INVALID: ChunkOutcome = { code: 'INVALID_ARGUMENT', epoch: 0, sn: 0 }

/** What the simulator breaks on purpose. */
export interface BrokenMachines {
  readonly bugs: ReadonlySet<ChunkserverBug>
  readonly leads: (group: number) => boolean
}

export class ChunkMachine implements StateMachine {
  readonly chunks: ReplicaChunks
  readonly #group: number
  readonly #broken: BrokenMachines | undefined
  /** The last outcome and its bytes: nearly every write of a volume has the same one. */
  #outcome: ChunkOutcome = INVALID
  #outcomeBytes: Uint8Array = encodeChunkOutcome(INVALID)

  constructor(group: number, chunks: ReplicaChunks, broken?: BrokenMachines) {
    this.#group = group
    this.#broken = broken
    this.chunks = chunks
  }

  get appliedIndex(): number {
    return this.chunks.appliedIndex
  }

  get mark(): Uint8Array {
    return this.chunks.mark
  }

  /** The answer is shared with other entries' and must not be changed. */
  apply({ index, data }: Entry): Uint8Array {
    const request = this.#brokenRequest(requestOf(data))
    if (request === null || !this.#isSound(request, data)) {
      this.chunks.skip(index)
      return this.#encoded(INVALID)
    }
    const at = chunkRequestBytes(request)
    const blocks = at === data.byteLength ? EMPTY : data.subarray(at)
    return this.#encoded(this.chunks.apply(index, request, blocks))
  }

  #brokenRequest(request: ChunkRequest | null): ChunkRequest | null {
    const broken = this.#broken
    if (broken === undefined || request === null) return request
    if (broken.bugs.has('epoch-before-propose-only')) {
      return { ...request, epoch: Math.max(request.epoch, this.chunks.epochOf(request.volume)) }
    }
    const isLost = broken.bugs.has('discard-not-replicated') && !broken.leads(this.#group)
    return isLost && request.op === 'zero' ? { ...request, op: 'fence' } : request
  }

  #isSound(request: ChunkRequest, data: Uint8Array): boolean {
    const { op, group, blockCount } = request
    if (group !== this.#group || op === 'read') return false
    if (!carriesBlocks(op)) return true
    return data.byteLength === chunkRequestBytes(request) + blockCount * BLOCK_BYTES
  }

  #encoded(outcome: ChunkOutcome): Uint8Array {
    const { code, epoch, sn } = this.#outcome
    if (outcome.code === code && outcome.epoch === epoch && outcome.sn === sn) {
      return this.#outcomeBytes
    }
    this.#outcome = { code: outcome.code, epoch: outcome.epoch, sn: outcome.sn }
    this.#outcomeBytes = encodeChunkOutcome(outcome)
    return this.#outcomeBytes
  }

  skip(index: number): void {
    this.chunks.skip(index)
  }

  checkpoint(mark: Uint8Array): Promise<void> {
    return this.chunks.checkpoint(mark)
  }

  snapshot(): SnapshotSource {
    return this.chunks.snapshot()
  }

  receive(index: number, items: readonly SnapshotItem[]): Promise<SnapshotSink> {
    return this.chunks.receive(index, items)
  }

  digest(): Promise<number> {
    return this.chunks.digest()
  }

  close(): Promise<void> {
    return this.chunks.close()
  }
}

function requestOf(data: Uint8Array): ChunkRequest | null {
  try {
    return decodeChunkRequest(data)
  } catch (error) {
    if (error instanceof LemnisError) return null
    throw error
  }
}

/** `broken`: given by the simulator only. */
export function chunkMachines(store: ChunkStore, broken?: BrokenMachines): Machines {
  return {
    open: async (group, replica) =>
      new ChunkMachine(group, await store.openReplica(group, replica), broken),
    remove: (group, replica) => store.removeReplica(group, replica),
  }
}

/** The chunks of a replica whose host was given chunkMachines(). */
export function chunksOf(replica: Replica): ReplicaChunks {
  const { machine } = replica
  assert(machine instanceof ChunkMachine, 'a replica of chunks')
  return machine.chunks
}
