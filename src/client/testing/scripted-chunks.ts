// Owns chunkservers that say what a test wants, on the wire, over one model of the bytes: as if every
// copyset were always of one mind. Requests may be refused, answered late, stuck on their way (and then
// judged when they get through), or carried out without an answer, as a test or a seed decides.

import { must } from '../../base/assert.ts'
import { type ErrorCode, LemnisError } from '../../base/errors.ts'
import type { Env } from '../../env/env.ts'
import {
  type DataExtent,
  decodeGroup,
  encodeCopysetLeader,
  encodeExtents,
} from '../../format/chunk-replies.ts'
import { BLOCK_BYTES, type ChunkRequest, decodeChunkRequest } from '../../format/chunk-request.ts'
import { METHODS } from '../../format/methods.ts'
import { SILENT } from '../../observe/observe.ts'
import { rpcConfig } from '../../rpc/config.ts'
import type { IncomingCall } from '../../rpc/incoming.ts'
import { RpcServer } from '../../rpc/server.ts'

/** What happens to one request at the chunkserver that it reached. */
export type Fault =
  | { readonly kind: 'none' }
  /** It gets through after this: only then term and attempt are looked at. */
  | { readonly kind: 'stuck'; readonly ms: number }
  /** Carried out; the answer never comes. */
  | { readonly kind: 'unanswered' }
  /** Carried out or not, and said to be unknown. */
  | { readonly kind: 'dropped'; readonly applied: boolean }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly hintMs?: number }

export const NO_FAULT: Fault = { kind: 'none' }

export interface ScriptedGroup {
  /** 0 for none. */
  leader: number
  term: number
  readonly epochs: Map<number, number>
  /** Highest attempt seen in the present term, by volume. */
  readonly attempts: Map<number, number>
}

/** One request as it was carried out. */
export interface Applied {
  readonly chunkserver: number
  readonly request: ChunkRequest
}

export class ScriptedChunks {
  faultOf: (request: ChunkRequest, chunkserver: number) => Fault = () => NO_FAULT
  /** A planted bug: chunkservers that let late requests in. */
  ignoresAttempts = false
  /** The sequence number below which writes are refused. */
  snMin = 0
  readonly applied: Applied[] = []
  /** Requests that arrived, by op, whatever became of them. */
  readonly arrived = new Map<string, number>()
  /** Questions for a leader, by chunkserver. */
  readonly asked = new Map<number, number>()
  /** Chunkservers that do not answer who leads. */
  readonly mute = new Set<number>()
  readonly #groups = new Map<number, ScriptedGroup>()
  readonly #blocks = new Map<number, Uint8Array>()

  group(id: number): ScriptedGroup {
    let group = this.#groups.get(id)
    if (group === undefined) {
      group = { leader: 1 + ((id - 1) % 3), term: 1, epochs: new Map(), attempts: new Map() }
      this.#groups.set(id, group)
    }
    return group
  }

  /** A new term, with that leader or none. */
  elect(id: number, leader: number): void {
    const group = this.group(id)
    group.term++
    group.leader = leader
    group.attempts.clear()
  }

  /** The leader has gone; the term goes on until somebody is elected. */
  depose(chunkserver: number): void {
    for (const group of this.#groups.values()) if (group.leader === chunkserver) group.leader = 0
  }

  async serve(env: Env, id: number, address = `cs${id}:7000`): Promise<void> {
    const server = await RpcServer.listen(env, SILENT, address, rpcConfig(), `cs${id}`)
    for (const method of [
      METHODS.CHUNK_WRITE,
      METHODS.CHUNK_READ,
      METHODS.CHUNK_CHANGE,
      METHODS.CHUNK_EXTENTS,
    ]) {
      server.handle(method, (call) => this.#arrive(env, id, method, call))
    }
    server.handle(METHODS.COPYSET_LEADER, (call) => {
      this.asked.set(id, (this.asked.get(id) ?? 0) + 1)
      if (this.mute.has(id)) return
      const { leader, term } = this.group(decodeGroup(call.body))
      call.reply(encodeCopysetLeader({ leader, term }))
    })
  }

  #arrive(env: Env, id: number, method: number, call: IncomingCall): void {
    const request = decodeChunkRequest(call.body)
    this.arrived.set(request.op, (this.arrived.get(request.op) ?? 0) + 1)
    const fault = this.faultOf(request, id)
    switch (fault.kind) {
      case 'none':
        this.#answer(id, method, call, request)
        return
      case 'stuck':
        env.clock.after(fault.ms, () => this.#answer(id, method, call, request))
        return
      case 'unanswered':
        this.#tried(id, method, call, request)
        return
      case 'dropped':
        if (fault.applied && this.#tried(id, method, call, request) !== null) return
        call.fail(new LemnisError('PROPOSAL_DROPPED'))
        return
      case 'refused':
        call.fail(new LemnisError(fault.code), fault.hintMs ?? 0)
    }
  }

  /** Carries it out without a word; the reason when it was not. */
  #tried(
    id: number,
    method: number,
    call: IncomingCall,
    request: ChunkRequest,
  ): LemnisError | null {
    try {
      this.#carryOut(id, method, call, request)
      return null
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
      return error
    }
  }

  #answer(id: number, method: number, call: IncomingCall, request: ChunkRequest): void {
    try {
      const { body, payload } = this.#carryOut(id, method, call, request)
      call.reply(body, payload)
    } catch (error) {
      if (!(error instanceof LemnisError)) throw error
      call.fail(error)
    }
  }

  #carryOut(
    id: number,
    method: number,
    call: IncomingCall,
    request: ChunkRequest,
  ): { body: Uint8Array; payload: Uint8Array } {
    const nothing = new Uint8Array(0)
    this.#check(id, request)
    this.applied.push({ chunkserver: id, request })
    const { firstBlock, blockCount, chunk } = request
    if (method === METHODS.CHUNK_READ) {
      return { body: nothing, payload: this.#read(chunk, firstBlock, blockCount) }
    }
    if (method === METHODS.CHUNK_EXTENTS) {
      return { body: encodeExtents(this.#extents(request)), payload: nothing }
    }
    for (let i = 0; i < blockCount; i++) {
      const key = chunk * 4096 + firstBlock + i
      if (request.op === 'zero') this.#blocks.delete(key)
      else {
        const block = call.payload.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
        this.#blocks.set(key, block)
      }
    }
    return { body: nothing, payload: nothing }
  }

  /** What the real ones check: leader and term, attempt, epoch, sequence number. */
  #check(id: number, request: ChunkRequest): void {
    const group = this.group(request.group)
    const { leader, term } = group
    if (leader !== id || term !== request.term)
      throw new LemnisError('NOT_LEADER', { leader, term })
    const { volume, epoch, attempt, op } = request
    const known = group.epochs.get(volume) ?? 0
    if (epoch < known) throw new LemnisError('FENCED', { epoch: known })
    if (epoch > known) {
      group.epochs.set(volume, epoch)
      group.attempts.delete(volume)
    }
    if (op === 'write' || op === 'zero') {
      const seen = group.attempts.get(volume) ?? 0
      if (attempt < seen && !this.ignoresAttempts) {
        throw new LemnisError('STALE_ATTEMPT', { attempt: seen })
      }
      group.attempts.set(volume, Math.max(seen, attempt))
      if (request.sn < this.snMin) throw new LemnisError('STALE_SEQUENCE', { sn: this.snMin })
    }
  }

  #read(chunk: number, firstBlock: number, blockCount: number): Uint8Array {
    const out = new Uint8Array(blockCount * BLOCK_BYTES)
    let isData = false
    for (let i = 0; i < blockCount; i++) {
      const block = this.#blocks.get(chunk * 4096 + firstBlock + i)
      if (block === undefined) continue
      out.set(block, i * BLOCK_BYTES)
      isData = true
    }
    return isData ? out : new Uint8Array(0)
  }

  #extents(request: ChunkRequest): DataExtent[] {
    const { chunk, firstBlock, blockCount } = request
    const extents: { firstBlock: number; blockCount: number }[] = []
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      if (!this.#blocks.has(chunk * 4096 + block)) continue
      const last = extents.at(-1)
      if (last !== undefined && last.firstBlock + last.blockCount === block) last.blockCount++
      else extents.push({ firstBlock: block, blockCount: 1 })
    }
    return extents
  }
}

/** The requests of one op that were carried out, in order. */
export function appliedOf(chunks: ScriptedChunks, op: string): ChunkRequest[] {
  return chunks.applied.map(({ request }) => request).filter((request) => request.op === op)
}

export function lastOf<T>(items: readonly T[]): T {
  return must(items.at(-1), 'an item')
}
