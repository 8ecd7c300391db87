// Owns the words in which the chunk store answers: outcomes of entries, reads, damage, usage.

/** What applying one request gave; never thrown, so that every replica goes on the same way. */
export interface ChunkOutcome {
  readonly code: ChunkRefusal | null
  /** Of the volume, after the request. */
  readonly epoch: number
  /** The newest sequence number known for the chunk, or for its volume; 0 for none. */
  readonly sn: number
}

export type ChunkRefusal =
  | 'FENCED'
  | 'STALE_SEQUENCE'
  | 'CONFLICT'
  | 'NOT_FOUND'
  | 'INVALID_ARGUMENT'

export interface BlockRange {
  readonly firstBlock: number
  readonly blockCount: number
}

export interface Extent extends BlockRange {
  /** 'source': never written in a clone; the data is its source's. */
  readonly kind: 'data' | 'zero' | 'source'
}

/** A block that can not be read here as it should be. */
export interface BadBlock {
  /** Generation of the layer that has it. */
  readonly sn: number
  readonly block: number
  /** What a peer must have; 0 when this replica has lost even that (see ReplicaChunks.repair). */
  readonly version: number
}

export type ChunkRead =
  | {
      readonly status: 'ok'
      /** The blocks; EMPTY when all of them read as zeros. The memory is the caller's. */
      readonly bytes: Uint8Array
      /** As stored, one for each block; null when `bytes` is EMPTY. */
      readonly crcs: Uint32Array | null
    }
  | {
      readonly status: 'source'
      /** What is here, zeros at `missing`. */
      readonly bytes: Uint8Array
      readonly missing: readonly BlockRange[]
      /** What create-clone named. */
      readonly source: Uint8Array
    }
  | { readonly status: 'bad'; readonly blocks: readonly BadBlock[] }
  /** The chunk had not been written in that generation. Not said of the present: that is zeros. */
  | { readonly status: 'not-found' }

export interface ChunkDigest {
  readonly chunk: number
  /** Index of the last entry that changed it: equal versions must have equal digests. */
  readonly version: number
  /** CRC32C over the states and checksums of all blocks in all generations. */
  readonly digest: number
  readonly usedBytes: number
  readonly badBlocks: readonly BadBlock[]
}

/** A verified block for a peer. */
export interface FoundBlock {
  readonly block: number
  readonly version: number
  readonly crc: number
  readonly bytes: Uint8Array
}

export interface FoundBlocks {
  /** Of the chunk, when the blocks were taken. */
  readonly chunkVersion: number
  readonly blocks: readonly FoundBlock[]
}

export interface ReplicaUsage {
  readonly chunks: number
  readonly usedBytes: number
}

export interface ChunkUsage {
  readonly capacityBytes: number
  readonly usedBytes: number
  readonly freeBytes: number
  readonly state: 'ok' | 'full' | 'failed'
  /** Since the start. */
  readonly badBlocks: number
  readonly repairedBlocks: number
  readonly dirtyBytes: number
}
