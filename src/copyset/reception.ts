// Owns the taking in of Raft snapshots: one at a time for each replica, the newest offer replacing an
// older one. Nothing is visible to the state machine's readers before the last call installs it. All
// that comes in shares one rate: a piece that is above it is answered late, which holds its sender back.

import { assert } from '../base/assert.ts'
import { EMPTY } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { RateLimit } from '../base/rate.ts'
import type { Clock } from '../env/clock.ts'
import { HAVE_BYTES_MAX, type SnapshotItem, type SnapshotSink } from '../raft/snapshot.ts'
import type { HostConfig } from './config.ts'
import { Hastes, hastedBytes } from './haste.ts'
import type { Replica } from './replica.ts'
import type { GroupId } from './replica-id.ts'
import {
  decodeBegin,
  decodeFinish,
  decodeHave,
  decodeItems,
  decodePiece,
  encodeTransferId,
  encodeWanted,
  type TransferBegin,
} from './transfer-codec.ts'

interface Reception {
  readonly transfer: number
  readonly begin: TransferBegin
  readonly replica: Replica
  readonly sink: SnapshotSink
  readonly haste: number
}

interface Answer {
  readonly body: Uint8Array
  readonly payload: Uint8Array
}

/** An answer is held back for at most this part of the time in which its sender gives up. */
const DELAYED_SHARE = 4

const DONE: Answer = { body: EMPTY, payload: EMPTY }

export class Receptions {
  readonly #replicaOf: (group: GroupId) => Replica | undefined
  readonly #receptions = new Map<GroupId, Reception>()
  /** Their machines make ready to receive. */
  readonly #beginning = new Set<Replica>()
  readonly #clock: Clock
  readonly #rate: RateLimit
  readonly #mostPerSecond: number
  readonly #delayMaxMs: number
  readonly #hastes = new Hastes()
  #nextTransfer = 1
  #receivedBytes = 0

  constructor(
    clock: Clock,
    config: HostConfig,
    replicaOf: (group: GroupId) => Replica | undefined,
  ) {
    this.#clock = clock
    this.#rate = new RateLimit(config.transferBytesPerSecond)
    this.#mostPerSecond = config.transferBytesPerSecond
    this.#delayMaxMs = config.transferTimeoutMs / DELAYED_SHARE
    this.#replicaOf = replicaOf
  }

  /** Since the start. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** The rate of all that comes in from now on. */
  limit(bytesPerSecond: number): void {
    this.#rate.change(bytesPerSecond)
  }

  async begin(body: Uint8Array, payload: Uint8Array): Promise<Answer> {
    const begin = decodeBegin(body)
    const items = decodeItems(payload)
    const replica = this.#replicaOf(begin.group)
    if (replica === undefined || replica.id !== begin.to) throw new LemnisError('NO_SUCH_GROUP')
    if (replica.installing || this.#beginning.has(replica)) {
      throw new LemnisError('OVERLOADED', { reason: 'another state is being taken in' })
    }
    const { term, commit } = replica.status()
    if (!replica.installsOverNewer) {
      if (begin.term < term) throw new LemnisError('NOT_LEADER', { term })
      if (begin.mark.index <= commit) return { body: encodeTransferId(0), payload: EMPTY }
    }
    const transfer = this.#nextTransfer++
    // From here on the machine gives up what an older transfer has brought: it must not end any more.
    this.#receptions.delete(begin.group)
    const sink = await this.#receive(replica, begin.mark.index, items)
    const haste = this.#hastes.begin(begin.group, begin.to, this.#clock.monotonicMs())
    this.#receptions.set(begin.group, { transfer, begin, replica, sink, haste })
    const wanted = sink.wanted.map(({ id }) => ({ id, resumeAt: sink.resumeAt(id) }))
    return { body: encodeTransferId(transfer), payload: encodeWanted(wanted) }
  }

  async #receive(
    replica: Replica,
    index: number,
    items: readonly SnapshotItem[],
  ): Promise<SnapshotSink> {
    this.#beginning.add(replica)
    try {
      return await replica.machine.receive(index, items)
    } finally {
      this.#beginning.delete(replica)
    }
  }

  /** What is held of an item, so that the sender leaves that out. */
  async have(body: Uint8Array): Promise<Answer> {
    const { group, transfer, item } = decodeHave(body)
    const have = await this.#find(group, transfer).sink.have(item)
    assert(have.byteLength <= HAVE_BYTES_MAX, 'what a sink holds is told in few bytes')
    return { body: EMPTY, payload: have }
  }

  async piece(body: Uint8Array, payload: Uint8Array): Promise<Answer> {
    const { group, transfer, item, cursor, next } = decodePiece(body)
    const { byteLength } = payload
    const { sink, haste } = this.#find(group, transfer)
    await sink.write(item, cursor, payload, next)
    this.#receivedBytes += byteLength
    await this.#pay(byteLength, haste)
    return DONE
  }

  #pay(bytes: number, haste: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    const waitMs = this.#rate.waitMs(nowMs)
    // Debt beyond that would only grow while more senders come than the rate allows.
    if (waitMs < this.#delayMaxMs) {
      const counted = hastedBytes(bytes, haste, this.#rate.perSecond, this.#mostPerSecond)
      this.#rate.take(counted, nowMs)
    }
    if (waitMs === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#clock.after(Math.min(waitMs, this.#delayMaxMs), resolve)
    })
  }

  async finish(body: Uint8Array): Promise<Answer> {
    const { group, transfer } = decodeFinish(body)
    const { begin, replica, sink, haste } = this.#find(group, transfer)
    this.#receptions.delete(group)
    const { from, to, term, mark } = begin
    const installed = await replica.install(sink, { kind: 'snapshot', from, to, term, mark })
    this.#hastes.ended(group, to, haste, this.#clock.monotonicMs())
    if (!installed) await sink.abort()
    return DONE
  }

  #find(group: GroupId, transfer: number): Reception {
    const reception = this.#receptions.get(group)
    if (reception === undefined || reception.transfer !== transfer || reception.replica.closed) {
      throw new LemnisError('CLOSED', { reason: 'another transfer took its place' })
    }
    return reception
  }

  /** The replica goes away; what was staged goes with its machine. */
  forget(group: GroupId): void {
    this.#receptions.delete(group)
  }
}
