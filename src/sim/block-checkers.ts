// Owns what must be true of the copysets of a block cluster beside what Raft promises: new members have
// caught up before they count and lie in zones of their own; equal versions of a chunk are equal bytes;
// and when all is healed every replica is equal and nothing of a deleted volume is left.

import { LemnisError } from '../base/errors.ts'
import { chunksOf } from '../chunkserver/chunk-machine.ts'
import type { Replica } from '../copyset/replica.ts'
import { hostOf } from '../copyset/replica-id.ts'
import type { Field } from '../observe/observe.ts'
import type { ReplicaId } from '../raft/types.ts'
import type { ChunkRange } from './block-operator.ts'
import type { ObservedReplica } from './checkers.ts'
import type { SimHost } from './host.ts'
import { Verdict } from './verdict.ts'

/** Watches each change of members at its start. */
export class MembershipChecker {
  readonly #zones = new Map<number, string>()
  readonly #epochs = new Map<string, number>()
  readonly #lagMax: number
  readonly #voterCount: number

  /** `lagMax`: entries by which a new voter may be behind when it begins to count. */
  constructor(lagMax: number, voterCount: number) {
    this.#lagMax = lagMax
    this.#voterCount = voterCount
  }

  /** A chunkserver serves in that zone. */
  serves(chunkserver: number, zone: string): void {
    this.#zones.set(chunkserver, zone)
  }

  look(replica: ObservedReplica): void {
    if (replica.role !== 'leader') return
    const { config, group, term } = replica
    const key = `${group}/${replica.host}/${replica.life}/${term}`
    const before = this.#epochs.get(key)
    if (before === config.epoch) return
    this.#epochs.set(key, config.epoch)
    if (before !== undefined && config.outgoing.length > 0) this.#judge(replica)
  }

  #judge(leader: ObservedReplica): void {
    const { voters, outgoing } = leader.config
    if (voters.length !== this.#voterCount) {
      this.#broken(leader, `is to have ${voters.length} members`)
    }
    const zones = new Set(voters.map((voter) => this.#zoneOf(voter)))
    if (zones.size < voters.length) this.#broken(leader, 'is to have two members in one zone')
    const least = leader.commit - this.#lagMax
    const ready = voters.filter((voter) => {
      return outgoing.includes(voter) || leader.durable(voter).lastIndex >= least
    })
    if (2 * ready.length <= voters.length) {
      this.#broken(leader, `is to count on members of whom only ${ready.join(' ')} have caught up`)
    }
  }

  #zoneOf(voter: ReplicaId): string {
    return this.#zones.get(hostOf(voter)) ?? `unknown ${voter}`
  }

  #broken({ group, config }: ObservedReplica, what: string): never {
    const change = `${config.outgoing.join(' ')} to ${config.voters.join(' ')}`
    throw new Verdict('membership', `copyset ${group} ${what}: from ${change}`)
  }
}

interface KnownChunk {
  readonly digest: number
  readonly who: string
}

/** Compares chunks of all replicas by version, whenever it is told to look at one. */
export class ChunkComparer {
  readonly #known = new Map<string, KnownChunk>()
  readonly #seen = new WeakMap<Replica, Map<number, number>>()
  #breach: Verdict | null = null

  throwBreach(): void {
    if (this.#breach !== null) throw this.#breach
  }

  /** Reads tables of the replica's disk. An error of that disk ends the look. */
  async look(replica: Replica, host: string): Promise<void> {
    const chunks = chunksOf(replica)
    let seen = this.#seen.get(replica)
    if (seen === undefined) {
      seen = new Map()
      this.#seen.set(replica, seen)
    }
    try {
      for (const { id, version } of chunks.state.chunks()) {
        if (replica.closed || chunks.appliedIndex < chunks.settledIndex) return
        if (seen.get(id) === version) continue
        const [found] = await chunks.digests(id, 1, false)
        if (found === undefined || found.chunk !== id || found.badBlocks.length > 0) continue
        seen.set(id, found.version)
        this.#compare(replica, host, found)
      }
    } catch (thrown) {
      if (!(thrown instanceof LemnisError)) throw thrown
    }
  }

  #compare(
    { group, id }: Replica,
    host: string,
    { chunk, version, digest }: { chunk: number; version: number; digest: number },
  ): void {
    const key = `${group}/${chunk}/${version}`
    const who = `replica ${id} on ${host}`
    const known = this.#known.get(key)
    if (known === undefined) this.#known.set(key, { digest, who })
    else if (known.digest !== digest) {
      const what = `copyset ${group}, chunk ${chunk}, version ${version}: ${who} differs from ${known.who}`
      this.#breach ??= new Verdict('chunks', what)
    }
  }
}

/** Whole states, when nothing moves any more: at equal applied index. */
export class StateComparer {
  readonly #digests = new Map<string, { readonly digest: number; readonly who: string }>()
  #compared = 0

  get compared(): number {
    return this.#compared
  }
  /** Pairs of copyset and index: as many as copysets when all stood at the same one. */
  get places(): number {
    return this.#digests.size
  }

  async look({ group, id, machine }: Replica): Promise<void> {
    const key = `${group}/${machine.appliedIndex}`
    const digest = await machine.digest()
    const who = `replica ${id}`
    const known = this.#digests.get(key)
    if (known === undefined) this.#digests.set(key, { digest, who })
    else if (known.digest !== digest) {
      throw new Verdict(
        'chunks',
        `copyset ${group}: ${who} has another state at ${key} than ${known.who}`,
      )
    }
    this.#compared++
  }
}

/** Finds bad blocks where only good ones can be. */
export class DamageChecker {
  /** Copysets whose state was taken from a disk that lies: what was bad there is bad in the copy. */
  readonly #spoilt = new Set<Field>()

  /** An event of that host: what is wrong, or null. */
  heard(host: SimHost, name: string, { group }: Readonly<Record<string, Field>>): Verdict | null {
    if (group === undefined) return null
    const isSent = name === 'copyset_state_sent' || name === 'copyset_state_not_sent'
    if (isSent && host.diskLies) this.#spoilt.add(group)
    if (name !== 'chunkstore_bad_blocks' || host.diskLies || this.#spoilt.has(group)) return null
    return new Verdict('chunks', `${host.name}: bad blocks on a disk that keeps what it is given`)
  }
}

/** A chunk that no volume has; null when there is none. */
export function strayChunk(
  replicas: Iterable<Replica>,
  ranges: readonly ChunkRange[],
): string | null {
  for (const replica of replicas) {
    for (const { id } of chunksOf(replica).state.chunks()) {
      if (ranges.some(([first, last]) => id >= first && id <= last)) continue
      return `chunk ${id} of no volume in copyset ${replica.group}, replica ${replica.id}`
    }
  }
  return null
}
