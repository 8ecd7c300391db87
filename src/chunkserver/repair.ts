// Owns the mending of blocks that fail their checksum here, from members of the copyset that have the
// same version of them good. A chunk is repaired by one at a time; a few chunks at once.
// Invariant: only what matches its checksum and the version that this replica should have is written.

import { EMPTY } from '../base/bytes.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { BadBlock } from '../chunkstore/types.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, type HostId, hostOf } from '../copyset/replica-id.ts'
import type { Env } from '../env/env.ts'
import {
  decodeBlocksFound,
  decodeBlocksWanted,
  encodeBlocksFound,
  encodeBlocksWanted,
} from '../format/chunk-replies.ts'
import { BLOCK_BYTES, REQUEST_BLOCKS_MAX } from '../format/chunk-request.ts'
import { METHODS } from '../format/methods.ts'
import type { Observer } from '../observe/observe.ts'
import { membersOf } from '../raft/configuration.ts'
import type { IncomingCall } from '../rpc/incoming.ts'
import type { RpcServer } from '../rpc/server.ts'
import { chunksOf } from './chunk-machine.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Neighbours } from './neighbours.ts'
import type { Settling } from './settling.ts'

export interface RepairerOptions {
  readonly env: Env
  readonly observer: Observer
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly neighbours: Neighbours
  readonly settling: Settling
}

export interface RepairResult {
  readonly badBlocks: number
  readonly repairedBlocks: number
  /** Where members were asked in vain for what is still bad. */
  readonly unanswered: readonly HostId[]
}

const NOTHING: RepairResult = { badBlocks: 0, repairedBlocks: 0, unanswered: [] }

export class Repairer {
  readonly #options: RepairerOptions
  /** By replica and chunk. */
  readonly #running = new Map<string, Promise<RepairResult>>()
  readonly #waiting: (() => void)[] = []
  #active = 0
  #closed = false

  constructor(options: RepairerOptions) {
    this.#options = options
  }

  serve(server: RpcServer): void {
    server.handle(METHODS.CHUNK_BLOCKS, (call) => this.#blocks(call))
  }

  /** Verifies the chunk and mends what it can; whoever comes meanwhile shares the result. */
  repair(replica: Replica, chunk: number): Promise<RepairResult> {
    const key = `${replica.id}/${replica.group}/${chunk}`
    const running = this.#running.get(key)
    if (running !== undefined) return running
    const { repairsWaitingMax } = this.#options.config
    if (this.#waiting.length >= repairsWaitingMax || this.#closed) {
      return Promise.reject(new LemnisError('OVERLOADED', { reason: 'repairs waiting' }))
    }
    const repair = this.#inTurn(() => this.#repairNow(replica, chunk)).finally(() => {
      this.#running.delete(key)
    })
    this.#running.set(key, repair)
    return repair
  }

  /** Waiting ones find nothing to do; those under way end with their calls. */
  close(): void {
    this.#closed = true
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#active >= this.#options.config.repairsAtOnceMax) {
      // Whoever ends hands its place on.
      await new Promise<void>((go) => this.#waiting.push(go))
    } else this.#active++
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#active--
      else next()
    }
  }

  async #repairNow(replica: Replica, chunk: number): Promise<RepairResult> {
    const { observer, env, config, settling } = this.#options
    if (this.#isOver(replica)) return NOTHING
    await settling.settled(replica)
    let missing: readonly BadBlock[] = []
    let unanswered: HostId[] = []
    let repairedBlocks = 0
    for (let left = config.repairTriesMax; left > 0 && !this.#isOver(replica); left--) {
      // Looked at anew each time: a write may have replaced just these blocks.
      missing = await this.#badOf(replica, chunk)
      unanswered = []
      for (const host of otherHosts(replica)) {
        if (missing.length === 0 || this.#isOver(replica)) break
        const still = await this.#fetchFrom(host, replica, chunk, missing, unanswered)
        repairedBlocks += missing.length - still.length
        missing = still
      }
      if (missing.length === 0) break
      // A member that is behind has them soon.
      if (left > 1) await new Promise<void>((go) => env.clock.after(config.repairRetryMs, go))
    }
    const badBlocks = repairedBlocks + missing.length
    if (badBlocks === 0) return NOTHING
    const event = missing.length === 0 ? 'chunkserver_blocks_repaired' : 'chunkserver_blocks_lost'
    observer.emit(event, { group: replica.group, chunk, badBlocks, repairedBlocks })
    // Nothing was applied, so that no other rule would bring the repair into the tables on disk.
    if (repairedBlocks > 0 && !this.#isOver(replica)) this.#options.host.checkpointDue(replica)
    return { badBlocks, repairedBlocks, unanswered: missing.length === 0 ? [] : unanswered }
  }

  #isOver(replica: Replica): boolean {
    return this.#closed || replica.closed
  }

  async #badOf(replica: Replica, chunk: number): Promise<readonly BadBlock[]> {
    const [digest] = await chunksOf(replica).digests(chunk, 1, true)
    return digest?.chunk === chunk ? digest.badBlocks : []
  }

  /** What of `missing` is still missing when that host has answered, or is `unanswered`. */
  async #fetchFrom(
    host: HostId,
    replica: Replica,
    chunk: number,
    missing: readonly BadBlock[],
    unanswered: HostId[],
  ): Promise<readonly BadBlock[]> {
    const left: BadBlock[] = []
    for (const blocks of requestsOf(missing)) {
      try {
        left.push(...(await this.#fetch(host, replica, chunk, blocks)))
      } catch (thrown) {
        // That host can't help now; the next one may.
        asLemnisError(thrown)
        if (!unanswered.includes(host)) unanswered.push(host)
        left.push(...blocks)
      }
    }
    return left
  }

  /** Blocks of one layer. */
  async #fetch(
    host: HostId,
    replica: Replica,
    chunk: number,
    blocks: readonly BadBlock[],
  ): Promise<BadBlock[]> {
    const { neighbours, config, env } = this.#options
    const sn = (blocks[0] as BadBlock).sn
    const body = encodeBlocksWanted({ group: replica.group, chunk, sn, blocks })
    const client = neighbours.client(host)
    const reply = await client.callAsync(METHODS.CHUNK_BLOCKS, body, null, config.peerTimeoutMs)
    const found = decodeBlocksFound(reply.body)
    if (reply.payload.byteLength !== found.blocks.length * BLOCK_BYTES) {
      throw new LemnisError('CORRUPT', { what: 'blocks found' })
    }
    const repaired = new Set<number>()
    for (const [i, { block, version, crc }] of found.blocks.entries()) {
      const wanted = blocks.find((bad) => bad.block === block)
      const bytes = reply.payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
      const isWanted = wanted !== undefined && (wanted.version === 0 || wanted.version === version)
      if (!isWanted || env.crc32c(bytes) !== crc || this.#isOver(replica)) continue
      const chunks = chunksOf(replica)
      if (await chunks.repair(chunk, sn, block, version, bytes, found.chunkVersion)) {
        repaired.add(block)
      }
    }
    return blocks.filter(({ block }) => !repaired.has(block))
  }

  // --- what other members ask

  #blocks(call: IncomingCall): void {
    const { group, chunk, sn, blocks } = decodeBlocksWanted(call.body)
    const replica = this.#options.host.replica(group as GroupId)
    if (replica === undefined) throw new LemnisError('NO_SUCH_GROUP', { group })
    this.#options.settling
      .settled(replica)
      .then(() => chunksOf(replica).blocksFor(chunk, sn, blocks))
      .then(
        (found) => {
          const payload = new Uint8Array(found.blocks.length * BLOCK_BYTES)
          for (const [i, { bytes }] of found.blocks.entries()) payload.set(bytes, i * BLOCK_BYTES)
          call.reply(encodeBlocksFound(found), payload.byteLength === 0 ? EMPTY : payload)
        },
        (thrown: unknown) => call.fail(asLemnisError(thrown)),
      )
  }
}

/** Where the other members of a replica's group live. */
export function otherHosts(replica: Replica): HostId[] {
  const others = membersOf(replica.membership).filter((member) => member !== replica.id)
  return [...new Set(others.map(hostOf))]
}

/** Blocks by layer, at most so many as one call may have. */
function requestsOf(blocks: readonly BadBlock[]): BadBlock[][] {
  const requests: BadBlock[][] = []
  for (const block of blocks) {
    const last = requests.at(-1)
    const fits = last !== undefined && last.length < REQUEST_BLOCKS_MAX && last[0]?.sn === block.sn
    if (fits) last.push(block)
    else requests.push([block])
  }
  return requests
}
