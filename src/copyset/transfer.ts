// Owns the sending of Raft snapshots: offers the state's list of items, asks what the receiver holds of
// those that it wants, sends what differs (from where an earlier attempt stopped), and asks it to
// install them. All transfers of a host share one rate, in pieces so small that each is a moment's worth
// of it. A transfer that fails is reported to the core, which tries again when it probes.

import { assert } from '../base/assert.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import { RateLimit } from '../base/rate.ts'
import { KIB } from '../base/units.ts'
import type { Env } from '../env/env.ts'
import { METHODS } from '../format/methods.ts'
import type { Observer } from '../observe/observe.ts'
import { HAVE_BYTES_MAX, type SnapshotSource, TRANSFER_END } from '../raft/snapshot.ts'
import type { ReplicaId, SnapshotMark } from '../raft/types.ts'
import type { RpcClient } from '../rpc/client.ts'
import type { HostConfig } from './config.ts'
import { Hastes, hastedBytes } from './haste.ts'
import type { Replica } from './replica.ts'
import type { GroupId } from './replica-id.ts'
import {
  decodeTransferId,
  decodeWanted,
  encodeBegin,
  encodeFinish,
  encodeHave,
  encodeItems,
  encodePiece,
  type TransferHave,
  type TransferPiece,
  type TransferWanted,
} from './transfer-codec.ts'

/** A piece is worth at most so much of the rate. */
const PIECE_MS = 8
/** So much of it may be saved up, as timers come late. */
const SAVED_MS = 4 * PIECE_MS
/** Smaller ones cost more than they help. */
const PIECE_BYTES_MIN = 16 * KIB

/** A transfer under way, for people. */
export interface TransferProgress {
  readonly group: GroupId
  readonly to: ReplicaId
  readonly sinceMs: number
  bytesSent: number
  /** Of the wanted items as a whole: what differs of them is less. */
  bytesWanted: number
  itemsSent: number
  itemsWanted: number
}

interface Running extends TransferProgress {
  readonly replica: Replica
  readonly client: RpcClient
  readonly haste: number
  /** The receiver lacks what the state has. */
  isTaken: boolean
  failed: LemnisError | null
}

export class Transfers {
  readonly #env: Env
  readonly #observer: Observer
  readonly #config: HostConfig
  readonly #rate: RateLimit
  readonly #hastes = new Hastes()
  readonly #running: Running[] = []
  #sentBytes = 0

  constructor(env: Env, observer: Observer, config: HostConfig) {
    this.#env = env
    this.#observer = observer
    this.#config = config
    this.#rate = new RateLimit(config.transferBytesPerSecond, SAVED_MS)
  }

  list(): readonly TransferProgress[] {
    return this.#running
  }

  /** Of all transfers since the start, ended or not. */
  get sentBytes(): number {
    return this.#sentBytes
  }

  /** The rate of all transfers together from now on. */
  limit(bytesPerSecond: number): void {
    this.#rate.change(bytesPerSecond)
  }

  /** Sends `replica`'s state to `to`; the outcome goes to the replica's core. */
  start(replica: Replica, to: ReplicaId, client: RpcClient | undefined): void {
    const mark = replica.mark()
    const same = this.#running.some((other) => other.group === replica.group && other.to === to)
    const busy = same || this.#running.length >= this.#config.transfersAtOnceMax
    if (client === undefined || mark === null || busy) {
      replica.snapshotReported(to, false, 0)
      return
    }
    const { group } = replica
    const nowMs = this.#env.clock.monotonicMs()
    const running: Running = {
      group,
      to,
      sinceMs: nowMs,
      haste: this.#hastes.begin(group, to, nowMs),
      bytesSent: 0,
      bytesWanted: 0,
      itemsSent: 0,
      itemsWanted: 0,
      replica,
      client,
      isTaken: false,
      failed: null,
    }
    this.#running.push(running)
    const source = replica.machine.snapshot()
    this.#run(running, mark, source).then(
      () => this.#end(running, source, mark.index, null),
      (error: unknown) => this.#end(running, source, 0, asLemnisError(error)),
    )
  }

  #end(running: Running, source: SnapshotSource, index: number, error: LemnisError | null): void {
    source.close()
    this.#running.splice(this.#running.indexOf(running), 1)
    const { group, to, haste, bytesSent, itemsSent, itemsWanted } = running
    const nowMs = this.#env.clock.monotonicMs()
    if (error === null && running.isTaken) this.#hastes.ended(group, to, haste, nowMs)
    const code = error?.code ?? 'none'
    const fields = { group, to, bytesSent, itemsSent, itemsWanted, code }
    this.#observer.emit(error === null ? 'copyset_state_sent' : 'copyset_state_not_sent', fields)
    running.replica.snapshotReported(to, error === null, index)
  }

  async #run(running: Running, mark: SnapshotMark, source: SnapshotSource): Promise<void> {
    const { replica, client, group, to } = running
    const term = replica.status().term
    const begin = encodeBegin({ group, from: replica.id, to, term, mark })
    const timeoutMs = this.#config.transferTimeoutMs
    const offer = encodeItems(source.items)
    const answer = await client.callAsync(METHODS.TRANSFER_BEGIN, begin, offer, timeoutMs)
    const transfer = decodeTransferId(answer.body)
    if (transfer === 0) return
    running.isTaken = true
    const wanted = decodeWanted(answer.payload)
    running.bytesWanted = bytesOf(source, wanted)
    running.itemsWanted = wanted.length
    const flying = new Set<Promise<void>>()
    for (const item of wanted) await this.#sendItem(running, source, transfer, item, flying)
    await Promise.all(flying)
    if (running.failed !== null) throw running.failed
    await client.callAsync(METHODS.TRANSFER_FINISH, encodeFinish(group, transfer), null, timeoutMs)
  }

  async #sendItem(
    running: Running,
    source: SnapshotSource,
    transfer: number,
    { id: item, resumeAt }: TransferWanted,
    flying: Set<Promise<void>>,
  ): Promise<void> {
    const { transferPiecesInFlight } = this.#config
    if (resumeAt === TRANSFER_END) return
    const { group } = running
    const have = await this.#ask(running, { group, transfer, item })
    for (let cursor = resumeAt; cursor !== TRANSFER_END; ) {
      const { bytes, next } = await source.read(item, cursor, this.#pieceBytes(), have)
      assert(next === TRANSFER_END || next > cursor, 'a snapshot goes on')
      await this.#pay(bytes.byteLength, running.haste)
      if (flying.size >= transferPiecesInFlight) await Promise.race(flying)
      if (running.failed !== null) throw running.failed
      const sent = this.#sendPiece(running, { group, transfer, item, cursor, next }, bytes)
      flying.add(sent)
      void sent.then(() => flying.delete(sent))
      cursor = next
    }
    running.itemsSent++
  }

  /** At a low rate small ones: a large one would hold up a processor that has clients to serve. */
  #pieceBytes(): number {
    const bytes = (this.#rate.perSecond / 1000) * PIECE_MS
    return Math.min(this.#config.transferPieceBytes, Math.max(PIECE_BYTES_MIN, Math.floor(bytes)))
  }

  /** What the receiver holds of an item. */
  async #ask(running: Running, about: TransferHave): Promise<Uint8Array> {
    const timeoutMs = this.#config.transferTimeoutMs
    const body = encodeHave(about)
    const answer = await running.client.callAsync(METHODS.TRANSFER_HAVE, body, null, timeoutMs)
    const bytes = answer.payload.byteLength
    if (bytes > HAVE_BYTES_MAX) throw new LemnisError('CORRUPT', { what: 'have', bytes })
    return answer.payload
  }

  /** Never rejects: a failure is kept for whoever sends the next piece. */
  async #sendPiece(running: Running, piece: TransferPiece, bytes: Uint8Array): Promise<void> {
    const body = encodePiece(piece)
    const timeoutMs = this.#config.transferTimeoutMs
    try {
      await running.client.callAsync(METHODS.TRANSFER_PIECE, body, bytes, timeoutMs)
      running.bytesSent += bytes.byteLength
      this.#sentBytes += bytes.byteLength
    } catch (error) {
      running.failed ??= asLemnisError(error)
    }
  }

  #pay(bytes: number, haste: number): Promise<void> {
    const { clock } = this.#env
    const most = this.#config.transferBytesPerSecond
    const counted = hastedBytes(bytes, haste, this.#rate.perSecond, most)
    const waitMs = this.#rate.claim(counted, clock.monotonicMs())
    if (waitMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      clock.after(waitMs, resolve)
    })
  }
}

function bytesOf(source: SnapshotSource, wanted: readonly TransferWanted[]): number {
  const bytes = new Map(source.items.map((item) => [item.id, item.bytes]))
  let total = 0
  for (const item of wanted) total += bytes.get(item.id) ?? 0
  return total
}
