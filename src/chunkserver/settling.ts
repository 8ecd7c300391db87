// Owns the question whether a replica's files can be judged. A replica that was just loaded may have
// blocks in its files that are newer than its last checkpoint, whose checksums come only with the
// replay of the log: until it has applied all that was ever applied here they look damaged and are not.
// Everything applied was committed before, so the leader's word of what is committed now bounds it.

import { LemnisError } from '../base/errors.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, hostOf } from '../copyset/replica-id.ts'
import type { Clock } from '../env/clock.ts'
import { LIST_CHUNKS } from '../format/control/chunkserver.ts'
import { askControl } from '../rpc/control.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Neighbours } from './neighbours.ts'

export interface SettlingOptions {
  readonly clock: Clock
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly neighbours: Neighbours
}

const LOOK_EVERY_MS = 20

export class Settling {
  readonly #options: SettlingOptions
  /** Once in the life of a replica is enough. */
  readonly #settled = new WeakSet<Replica>()

  constructor(options: SettlingOptions) {
    this.#options = options
  }

  /** Resolves when the replica's files can be judged; rejects when that can't be known now. */
  async settled(replica: Replica): Promise<void> {
    if (this.#settled.has(replica)) return
    const { clock, config } = this.#options
    const deadlineMs = clock.monotonicMs() + config.peerTimeoutMs
    if (replica.isLeader) await this.committed(replica.group)
    else {
      const index = await this.#askLeader(replica)
      while (replica.applied < index) {
        if (replica.closed) throw new LemnisError('CLOSED')
        if (clock.monotonicMs() >= deadlineMs) throw catchingUp(replica)
        await new Promise<void>((resume) => clock.after(LOOK_EVERY_MS, resume))
      }
    }
    this.#settled.add(replica)
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
