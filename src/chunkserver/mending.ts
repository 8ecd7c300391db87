// Owns that blocks known to be bad don't wait for a reader or a scrub: they are asked of the other
// members as long as those are members. A state that comes in from a disk that lies has such blocks.
// Invariant: a group ends no member that answers while one that stays has a bad block and has not
// asked it; the last good copy would go with it.

import { asLemnisError, LemnisError } from '../base/errors.ts'
import type { CopysetHost } from '../copyset/host.ts'
import type { Replica } from '../copyset/replica.ts'
import { type GroupId, type HostId, hostOf } from '../copyset/replica-id.ts'
import type { Clock, Timer } from '../env/clock.ts'
import { every } from '../env/every.ts'
import type { ReplyOf } from '../format/control/call.ts'
import { MEND_REPLICA } from '../format/control/chunkserver.ts'
import type { ReplicaId } from '../raft/types.ts'
import { askControl, serveControl } from '../rpc/control.ts'
import type { RpcServer } from '../rpc/server.ts'
import { chunksOf } from './chunk-machine.ts'
import type { ChunkserverConfig } from './config.ts'
import type { Neighbours } from './neighbours.ts'
import type { Repairer } from './repair.ts'

export interface MendingOptions {
  readonly clock: Clock
  readonly host: CopysetHost
  readonly config: ChunkserverConfig
  readonly neighbours: Neighbours
  readonly repairer: Repairer
}

type Mended = ReplyOf<typeof MEND_REPLICA>

export class Mending {
  readonly #options: MendingOptions
  /** When each damaged chunk is asked for again; monotonic milliseconds. */
  #due = new Map<string, number>()
  readonly #timer: Timer

  constructor(options: MendingOptions) {
    this.#options = options
    this.#timer = every(options.clock, options.config.upkeepIntervalMs, () => this.#look())
  }

  serve(server: RpcServer): void {
    serveControl(server, MEND_REPLICA, ({ group }) => {
      const replica = this.#options.host.replica(group as GroupId)
      if (replica === undefined) throw new LemnisError('NO_SUCH_GROUP', { group })
      return this.#mend(replica)
    })
  }

  close(): void {
    this.#timer.cancel()
  }

  /**
   * On the leader: whether `leaving` may end, as far as blocks go. Asks the members that stay to repair
   * what they know to be bad; false when one that lives could not, or could not ask one that lives.
   */
  async mayEnd(replica: Replica, leaving: readonly ReplicaId[]): Promise<boolean> {
    const { progress } = replica.status()
    const living = progress.filter(({ isActive }) => isActive).map((peer) => peer.replica)
    const members = [replica.id, ...living]
    const hosts = new Set(members.map(hostOf))
    const staying = members.filter((member) => !leaving.includes(member))
    const isWhole = async (member: ReplicaId): Promise<boolean> => {
      const { lostBlocks, unanswered } = await this.#ask(replica, member)
      return lostBlocks === 0 || !unanswered.some((host) => hosts.has(host as HostId))
    }
    try {
      return (await Promise.all(staying.map(isWhole))).every((whole) => whole)
    } catch (thrown) {
      // The next moment may tell.
      asLemnisError(thrown)
      return false
    }
  }

  #ask(replica: Replica, member: ReplicaId): Promise<Mended> {
    if (member === replica.id) return this.#mend(replica)
    const { neighbours, config } = this.#options
    const client = neighbours.client(hostOf(member))
    const { group } = replica
    return askControl(client, MEND_REPLICA, { group }, config.peerTimeoutMs)
  }

  async #mend(replica: Replica): Promise<Mended> {
    const { repairer } = this.#options
    const unanswered = new Set<number>()
    let lostBlocks = 0
    for (const chunk of chunksOf(replica).damaged()) {
      const result = await repairer.repair(replica, chunk)
      lostBlocks += result.badBlocks - result.repairedBlocks
      for (const host of result.unanswered) unanswered.add(host)
    }
    return { lostBlocks, unanswered: [...unanswered] }
  }

  // --- by itself

  #look(): void {
    const { clock, host, config, repairer } = this.#options
    const nowMs = clock.monotonicMs()
    const due = new Map<string, number>()
    for (const replica of host.replicas()) {
      for (const chunk of chunksOf(replica).damaged()) {
        const key = `${replica.id}/${replica.group}/${chunk}`
        const dueMs = this.#due.get(key) ?? nowMs
        due.set(key, dueMs > nowMs ? dueMs : nowMs + config.mendRetryMs)
        // Whoever could not be asked, or had it not: that is told by the repair.
        if (dueMs <= nowMs) repairer.repair(replica, chunk).catch(asLemnisError)
      }
    }
    this.#due = due
  }
}
