// Owns the commits of one store on etcd: one after the other, each done once or not at all. Each commit
// also writes this store's marker, under the condition that nobody wrote it since. Where an answer is
// lost, the marker is written again under the same condition, through another member: if that takes
// effect the lost commit never will, and is sent again; if not, the marker says that it had taken
// effect, and at which revision.
// Invariant: no commit is sent before the outcome of the one before it is known.

import { randomInt } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { MetaChange, MetaCondition } from '../env/metastore.ts'
import type { EtcdConfig } from './etcd-config.ts'
import { isLost } from './etcd-errors.ts'
import type { EtcdKeys } from './etcd-keys.ts'
import type { EtcdMembers, Member } from './etcd-members.ts'
import {
  COMPARE_CREATE_REVISION,
  COMPARE_MOD_REVISION,
  LEASE_GRANT,
  TXN,
  type TXN_REQUEST,
} from './etcd-schema.ts'
import type { Given, Message } from './protobuf.ts'

interface Waiting {
  readonly conditions: readonly MetaCondition[]
  readonly changes: readonly MetaChange[]
  readonly resolve: (revision: number | null) => void
  readonly reject: (error: LemnisError) => void
}

interface Marker {
  readonly key: string
  readonly lease: number
  /** Of its last change that is known; 0 while it was not written. */
  revision: number
}

type Transaction = Given<typeof TXN_REQUEST>
type Operation = NonNullable<Transaction['success']>[number]
type Comparison = NonNullable<Transaction['compare']>[number]

const WAITING_MAX = 16_384
/** Markers that nobody removed are gone after a day; one that is used so long is replaced. */
const MARKER_TTL_SECONDS = 24 * 60 * 60

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder()

export class EtcdCommits {
  readonly #members: EtcdMembers
  readonly #keys: EtcdKeys
  readonly #config: EtcdConfig
  #waiting: Waiting[] = []
  #running: Promise<void> | null = null
  #marker: Marker | null = null
  #count = 0

  constructor(members: EtcdMembers, keys: EtcdKeys, config: EtcdConfig) {
    this.#members = members
    this.#keys = keys
    this.#config = config
  }

  commit(
    conditions: readonly MetaCondition[],
    changes: readonly MetaChange[],
  ): Promise<number | null> {
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(new LemnisError('OVERLOADED', { what: 'metadata store' }))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ conditions, changes, resolve, reject })
      this.#running ??= this.#runAll()
    })
  }

  /** Waits for what was asked, and takes the marker away. */
  async close(): Promise<void> {
    await this.#running
    if (this.#marker === null) return
    const key = this.#keys.bytesOf(this.#marker.key)
    const given = { success: [{ remove: { key } }] }
    // If it can not be removed now, its lease does that.
    await this.#members
      .once(this.#members.current, TXN, given, this.#config.memberTimeoutMs)
      .catch(() => {})
  }

  async #runAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        next.resolve(await this.#run(next))
      } catch (thrown) {
        const error = asLemnisError(thrown)
        next.reject(error)
        if (isLost(error) || error.code === 'CORRUPT') this.#giveUp(error)
      }
    }
    this.#running = null
  }

  /** What was asked for before an outcome was unknown does not take effect behind it. */
  #giveUp(error: LemnisError): void {
    this.#marker = null
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  async #run({ conditions, changes }: Waiting): Promise<number | null> {
    const moreMs = timeOf(changes)
    const deadlineMs = performance.now() + this.#config.callTimeoutMs + moreMs
    const compare = conditions.map((one) => this.#comparisonOf(one))
    const success = changes.map((one) => this.#operationOf(one))
    for (;;) {
      const isNew = this.#marker === null
      const marker = (this.#marker ??= await this.#makeMarker(deadlineMs))
      try {
        const memberMs = this.#config.memberTimeoutMs + moreMs
        const outcome = await this.#send(marker, compare, success, { deadlineMs, memberMs })
        if (outcome !== 'again') return outcome
      } catch (error) {
        // A lease that is not there is the marker's, if that was not made just now.
        if (isNew || asLemnisError(error).code !== 'NOT_FOUND') throw error
        this.#marker = null
      }
    }
  }

  async #makeMarker(deadlineMs: number): Promise<Marker> {
    const lease = randomInt(1, 2 ** 48 - 1)
    const given = { id: lease, ttlSeconds: MARKER_TTL_SECONDS }
    try {
      await this.#members.untilAnswered(
        (member, timeoutMs) => this.#members.once(member, LEASE_GRANT, given, timeoutMs),
        deadlineMs,
      )
    } catch (error) {
      // Granted by an attempt whose answer was lost.
      if (asLemnisError(error).code !== 'ALREADY_EXISTS') throw error
    }
    return { key: this.#keys.markerOf(lease), lease, revision: 0 }
  }

  /** The commit's outcome; 'again' when it has changed nothing and is to be sent once more. */
  async #send(
    marker: Marker,
    compare: readonly Comparison[],
    success: readonly Operation[],
    limits: { readonly deadlineMs: number; readonly memberMs: number },
  ): Promise<number | null | 'again'> {
    const name = `commit ${++this.#count}`
    const given = this.#markedBy(marker, name, compare, success)
    const member = this.#members.current
    const leftMs = limits.deadlineMs - performance.now()
    let answer: Message<typeof TXN.answer>
    try {
      const timeoutMs = Math.min(leftMs, limits.memberMs)
      answer = await this.#members.once(member, TXN, given, timeoutMs)
    } catch (error) {
      const known = asLemnisError(error)
      if (!isLost(known)) throw error
      this.#members.leave(member, known.message)
      return this.#decide(marker, name, limits.deadlineMs)
    }
    if (answer.succeeded) {
      marker.revision = headerRevisionOf(answer)
      return marker.revision
    }
    const stands = markerIn(answer)
    if (stands === null && marker.revision > 0) {
      // Its day is over. The conditions were not looked at.
      this.#marker = null
      return 'again'
    }
    if ((stands?.modRevision ?? 0) !== marker.revision) throw foreignMarker(marker)
    return null
  }

  /** What became of a commit whose answer was lost, and sees to it that nothing more does. */
  async #decide(marker: Marker, lost: string, deadlineMs: number): Promise<number | 'again'> {
    const name = `fence ${this.#count}`
    const given = this.#markedBy(marker, name, [], [])
    const fence = (member: Member, timeoutMs: number): Promise<Message<typeof TXN.answer>> =>
      this.#members.once(member, TXN, given, timeoutMs)
    const answer = await this.#members.untilAnswered(fence, deadlineMs)
    const revision = this.#revisionOf(marker, answer, { lost, name })
    this.#members.observer.emit('metastore_commit_decided', { tookEffect: revision !== null })
    return revision ?? 'again'
  }

  /** Of the lost commit; null when it has not taken effect, and never will. */
  #revisionOf(
    marker: Marker,
    answer: Message<typeof TXN.answer>,
    names: { readonly lost: string; readonly name: string },
  ): number | null {
    const stands = markerIn(answer)
    if (!answer.succeeded && stands === null) {
      throw new LemnisError('DISCONNECTED', { what: 'etcd', lost: names.lost, marker: 'gone' })
    }
    marker.revision = stands?.modRevision ?? headerRevisionOf(answer)
    const written = stands === null ? names.name : DECODER.decode(stands.value)
    if (written === names.lost) return marker.revision
    if (written !== names.name) throw foreignMarker(marker)
    return null
  }

  #markedBy(
    marker: Marker,
    name: string,
    compare: readonly Comparison[],
    success: readonly Operation[],
  ): Transaction {
    const { revision, lease } = marker
    const key = this.#keys.bytesOf(marker.key)
    const stands: MetaCondition =
      revision === 0
        ? { kind: 'absent', key: marker.key }
        : { kind: 'revision', key: marker.key, revision }
    return {
      compare: [this.#comparisonOf(stands), ...compare],
      success: [...success, { put: { key, value: ENCODER.encode(name), lease } }],
      failure: [{ range: { key } }],
    }
  }

  #comparisonOf(condition: MetaCondition): Comparison {
    const key = this.#keys.bytesOf(condition.key)
    switch (condition.kind) {
      case 'absent':
        return { key, target: COMPARE_CREATE_REVISION, createRevision: 0 }
      case 'created':
        return { key, target: COMPARE_CREATE_REVISION, createRevision: condition.revision }
      case 'revision':
        return { key, target: COMPARE_MOD_REVISION, modRevision: condition.revision }
    }
  }

  #operationOf(change: MetaChange): Operation {
    const key = this.#keys.bytesOf(change.key)
    if (change.kind === 'remove') return { remove: { key } }
    const put = { key, value: ENCODER.encode(change.value) }
    if (change.lease === undefined) return { put }
    return { put: { ...put, lease: Number(change.lease.id) } }
  }
}

/** What a large commit may take beyond any call: 65,000 changes took etcd 2 s on two busy cores. */
function timeOf(changes: readonly MetaChange[]): number {
  let length = 0
  for (const change of changes) if (change.kind === 'put') length += change.value.length
  return changes.length / 20 + length / 4096
}

function headerRevisionOf({ header }: Message<typeof TXN.answer>): number {
  assert(header !== null && header.revision > 0, 'an answer has a revision')
  return header.revision
}

/** Only its own store writes a marker, unless etcd was set back to an older state. */
function foreignMarker({ key, revision }: Marker): LemnisError {
  return new LemnisError('CORRUPT', { what: 'marker in etcd', key, revision })
}

function markerIn({ answers }: Message<typeof TXN.answer>): {
  readonly modRevision: number
  readonly value: Uint8Array
} | null {
  return answers[0]?.range?.kvs[0] ?? null
}
