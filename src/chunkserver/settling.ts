// Owns the question whether a replica's files can be judged. A replica that was just loaded may have
// blocks in its files that are newer than its last checkpoint, whose checksums come only with the
// replay of the log: until it has applied all that was ever applied here they look damaged and are not.
// The same holds for a state that such a replica has sent. Everything applied was committed before, so
// the leader's word of what is committed now bounds it.

import { asLemnisError, type ErrorCode, LemnisError } from '../base/errors.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, hostOf } from '../copyset/replica-id.ts'
import type { Clock } from '../env/clock.ts'
import { LIST_CHUNKS } from '../format/control/chunkserver.ts'
import { askControl } from '../rpc/control.ts'
import { chunksOf } from './chunk-machine.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Neighbours } from './neighbours.ts'

export interface SettlingOptions {
  readonly clock: Clock
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly neighbours: Neighbours
}

const LOOK_EVERY_MS = 20

/** Nobody leads yet, or not any more, or that one can't be reached: the next moment may tell. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_LEADER',
  'NO_SUCH_GROUP',
  'DISCONNECTED',
  'OVERLOADED',
])

export class Settling {
  readonly #options: SettlingOptions
  /** How many states each had received when it was found settled: once is enough for each of them. */
  readonly #settled = new WeakMap<Replica, number>()

  constructor(options: SettlingOptions) {
    this.#options = options
  }

  /** Resolves when the replica's files can be judged; rejects when that can't be known in time. */
  async settled(replica: Replica): Promise<void> {
    const { clock, config } = this.#options
    const deadlineMs = clock.monotonicMs() + config.peerTimeoutMs
    const chunks = chunksOf(replica)
    while (this.#settled.get(replica) !== chunks.received) {
      const { received } = chunks
      const index = await this.#committedIndex(replica, deadlineMs)
      while (replica.applied < index && chunks.received === received) {
        await this.#pause(replica, deadlineMs, catchingUp(replica))
      }
      if (replica.applied >= index) this.#settled.set(replica, received)
    }
  }

  /** What is committed now, of somebody who knows. */
  async #committedIndex(replica: Replica, deadlineMs: number): Promise<number> {
    for (;;) {
      try {
        if (!replica.isLeader) return await this.#askLeader(replica)
        await this.committed(replica.group)
        return replica.applied
      } catch (thrown) {
        const error = asLemnisError(thrown)
        if (!PASSING.has(error.code)) throw error
        await this.#pause(replica, deadlineMs, error)
      }
    }
  }

  async #pause(replica: Replica, deadlineMs: number, why: LemnisError): Promise<void> {
    const { clock } = this.#options
    if (replica.closed) throw new LemnisError('CLOSED')
    if (clock.monotonicMs() >= deadlineMs) throw why
    await new Promise<void>((resume) => clock.after(LOOK_EVERY_MS, resume))
  }

  /** On the leader: resolves when all that was committed before the call is applied here. */
  committed(group: GroupId): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#options.host.read(group, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  async #askLeader({ group, leader }: Replica): Promise<number> {
    const { neighbours, config } = this.#options
    if (leader === 0) throw new LemnisError('NOT_LEADER', { leader: 0, group })
    const client = neighbours.client(hostOf(leader))
    const request = { group, from: 0, count: 1, verify: false, committed: true }
    return (await askControl(client, LIST_CHUNKS, request, config.peerTimeoutMs)).appliedIndex
  }
}

function catchingUp({ group, applied }: Replica): LemnisError {
  return new LemnisError('OVERLOADED', { group, applied, reason: 'the replica is catching up' })
}
