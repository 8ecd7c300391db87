// Owns the list of what the replicas of a store share.

import type { Env } from '../env/env.ts'
import type { Counter, Observer } from '../observe/observe.ts'
import type { BlockReader } from './block-reader.ts'
import type { ChunkStoreConfig } from './config.ts'
import type { StoreLayout } from './directories.ts'
import type { DiskHealth } from './disk-health.ts'
import type { Pool } from './pool.ts'
import type { Tables } from './tables.ts'
import type { WriteBack } from './write-back.ts'

export interface StoreParts {
  readonly env: Env
  readonly observer: Observer
  readonly config: ChunkStoreConfig
  readonly health: DiskHealth
  readonly tables: Tables
  readonly reader: BlockReader
  readonly writeBack: WriteBack
  readonly pool: Pool
  readonly layout: StoreLayout
  readonly tally: Tally
  /** Of a block of zeros. */
  readonly zeroCrc: number
}

/** What is counted over all replicas. */
export interface Tally {
  usedBytes: number
  badBlocks: number
  repairedBlocks: number
  readonly badBlocksTotal: Counter
  readonly repairedBlocksTotal: Counter
  readonly checkpointsTotal: Counter
  /** Makes keys of chunk files. */
  nextKey: number
}
