// Owns which chunkservers count as slow or sick. It takes what heartbeats say of disks to the pure
// judgement of placement/slow.ts and makes its verdicts durable, so that leaders stay away over a
// change of the MDS. One that stays slow is emptied, but never so many that a pool would suffer more
// from that than from the slowness, and nothing while a guard forbids moves.

import { without } from '../../base/without.ts'
import type { Env } from '../../env/env.ts'
import type { DiskWindow, Slow } from '../../format/control/parts.ts'
import type { ChunkserverRecord } from '../../format/records/topology.ts'
import type { Observer } from '../../observe/observe.ts'
import {
  type Latency,
  peersLatencyUs,
  recordedSense,
  type Sense,
  sense,
  slowBoundUs,
  UNKNOWN_SENSE,
} from '../../placement/slow.ts'
import type { MdsConfig } from '../config.ts'
import type { Heartbeat, Reports } from '../reports.ts'
import type { Topology } from './topology.ts'

export interface SlowWatchOptions {
  readonly env: Env
  readonly observer: Observer
  readonly config: MdsConfig
  readonly topology: Topology
  readonly reports: Reports
  /** Whether replicas may move now. */
  readonly mayMove: () => boolean
}

interface Known {
  readonly sense: Sense
  /** As last reported; they count from the start of its process. */
  readonly errors: number
  /** Since when it is slow, as far as this MDS has seen it. */
  readonly slowSinceMs: number | null
}

const PERCENT = 100
const US_PER_MS = 1000
/** Peers are gathered anew after so long: with a thousand of them that is work. */
const PEERS_MS = 1000

export class SlowWatch {
  readonly #options: SlowWatchOptions
  readonly #known = new Map<number, Known>()
  /** By pool, ascending; as of some moment. */
  readonly #peers = new Map<string, { atMs: number; sorted: readonly Latency[] }>()
  /** Verdicts on their way to the ledger. */
  readonly #changing = new Set<number>()

  constructor(options: SlowWatchOptions) {
    this.#options = options
    const { observer, topology } = options
    const count = (matches: (record: ChunkserverRecord) => boolean): number => {
      let found = 0
      for (const record of topology.chunkservers.values()) {
        if (record.retiredMs === undefined && matches(record)) found++
      }
      return found
    }
    observer.gauge('mds_chunkservers_slow', () => count(({ slow }) => slow !== undefined))
    observer.gauge('mds_chunkservers_draining', () => count((one) => one.draining !== undefined))
  }

  /** What a heartbeat that was taken in says of its disk. */
  async heard({ id, disk, windows = [] }: Heartbeat): Promise<void> {
    const { env, config, topology } = this.#options
    const record = topology.chunkservers.get(id)
    if (record === undefined || record.retiredMs !== undefined) return
    const nowMs = env.clock.monotonicMs()
    const before = this.#known.get(id) ?? this.#recorded(record, nowMs)
    const errors = disk.errors + disk.badBlocks
    // Fewer than before: it was started anew. The first word tells of errors of any age.
    const fresh = this.#known.has(id) ? Math.max(0, errors - before.errors) : 0
    const peersUs = this.#peersUs(record)
    const seen = { seconds: windows, errors: fresh }
    const after = sense(before.sense, seen, peersUs, config, nowMs)
    const slowSinceMs = after.slow === null ? null : (before.slowSinceMs ?? nowMs)
    this.#known.set(id, { sense: after, errors, slowSinceMs })
    await this.#settle(record, after, windows, peersUs)
  }

  #recorded({ slow }: ChunkserverRecord, nowMs: number): Known {
    if (slow === undefined) return { sense: UNKNOWN_SENSE, errors: 0, slowSinceMs: null }
    const known = recordedSense(slow.why, this.#options.config, nowMs)
    return { sense: known, errors: 0, slowSinceMs: nowMs }
  }

  #peersUs({ id, pool }: ChunkserverRecord): number | null {
    const nowMs = this.#options.env.clock.monotonicMs()
    let peers = this.#peers.get(pool)
    if (peers === undefined || nowMs - peers.atMs >= PEERS_MS) {
      peers = { atMs: nowMs, sorted: this.#latenciesOf(pool) }
      this.#peers.set(pool, peers)
    }
    return peersLatencyUs(peers.sorted, id)
  }

  /** Of those that are heard; one that is slow says nothing of what is usual. */
  #latenciesOf(pool: string): Latency[] {
    const { topology, reports } = this.#options
    const recent: Latency[] = []
    for (const [id, { sense: known }] of this.#known) {
      const record = topology.chunkservers.get(id)
      if (record?.pool !== pool || record.slow !== undefined || known.recentUs === null) continue
      if (reports.presenceOf(id) === 'online') recent.push({ id, us: known.recentUs })
    }
    return recent.sort((a, b) => a.us - b.us)
  }

  /** Makes durable what has changed, one change of a chunkserver at a time. */
  async #settle(
    record: ChunkserverRecord,
    known: Sense,
    windows: readonly DiskWindow[],
    peersUs: number | null,
  ): Promise<void> {
    const { id } = record
    if (this.#changing.has(id)) return
    this.#changing.add(id)
    try {
      if (known.slow !== (record.slow?.why ?? null)) {
        const slow = known.slow === null ? null : this.#slowOf(known, windows, peersUs)
        await this.#put(id, slow)
      } else if (this.#isToDrain(record)) await this.#drain(id)
    } finally {
      this.#changing.delete(id)
    }
  }

  #slowOf(known: Sense, windows: readonly DiskWindow[], peersUs: number | null): Slow {
    const { env, config } = this.#options
    const sinceMs = env.clock.wallMs()
    if (known.slow === 'errors') {
      const says = `its disk returned ${known.errors} errors and bad blocks lately`
      return { sinceMs, why: 'errors', says }
    }
    const ms = (us: number): string => `${(us / US_PER_MS).toFixed(1)} ms`
    const worstUs = windows.reduce((most, { maxUs }) => Math.max(most, maxUs), 0)
    const bound = slowBoundUs(peersUs, config)
    const beside = peersUs === null ? '' : `, its peers’ ${ms(peersUs)}`
    const limit = bound === null ? '' : `; above ${ms(bound)} is slow`
    const own = `writes to its disk take ${ms(known.recentUs ?? 0)} (at most ${ms(worstUs)})`
    return { sinceMs, why: 'latency', says: `${own}${beside}${limit}` }
  }

  /** A verdict; null for sound, which also ends an emptying that it had begun. */
  async #put(id: number, slow: Slow | null): Promise<void> {
    const { observer, topology } = this.#options
    await topology.ledger.change(() => {
      const draft = topology.draft()
      const record = topology.chunkservers.get(id)
      if (record === undefined || record.retiredMs !== undefined) return draft.write(() => {})
      const isOver = slow === null && record.draining?.why === 'slow'
      const kept = isOver ? without(record, 'draining') : record
      draft.putChunkserver(slow === null ? without(kept, 'slow') : { ...kept, slow })
      return draft.write(() => {
        if (slow === null) observer.emit('mds_chunkserver_sound', { chunkserver: id })
        else {
          const { why, says } = slow
          observer.emit('mds_chunkserver_slow', { chunkserver: id, why, figures: says })
        }
        if (isOver) observer.emit('mds_drain_ended', { chunkserver: id, why: 'slow' })
      })
    })
  }

  // --- emptying

  #isToDrain({ id, pool, slow, draining }: ChunkserverRecord): boolean {
    const { env, config, mayMove } = this.#options
    const sinceMs = this.#known.get(id)?.slowSinceMs ?? null
    if (slow === undefined || draining !== undefined || sinceMs === null) return false
    if (env.clock.monotonicMs() - sinceMs < config.slowDrainMs) return false
    return this.#mayDrainOneMore(pool) && mayMove()
  }

  #mayDrainOneMore(pool: string): boolean {
    const { config, topology } = this.#options
    let all = 0
    let draining = 0
    for (const record of topology.chunkservers.values()) {
      if (record.pool !== pool || record.retiredMs !== undefined) continue
      all++
      if (record.draining !== undefined) draining++
    }
    return draining < Math.max(1, Math.floor((all * config.slowDrainPercentMax) / PERCENT))
  }

  async #drain(id: number): Promise<void> {
    const { env, observer, topology } = this.#options
    await topology.ledger.change(() => {
      const draft = topology.draft()
      const record = topology.chunkservers.get(id)
      if (record === undefined || !this.#isToDrain(record)) return draft.write(() => {})
      draft.putChunkserver({ ...record, draining: { sinceMs: env.clock.wallMs(), why: 'slow' } })
      return draft.write(() => {
        observer.emit('mds_drain_begun', { chunkserver: id, why: 'slow' })
      })
    })
  }

  /** By a person's word: it is sound, and begins anew. Whether it had been slow. */
  async clear(id: number): Promise<boolean> {
    const record = this.#options.topology.chunkservers.get(id)
    const wasSlow = record?.slow !== undefined || record?.draining?.why === 'slow'
    const known = this.#known.get(id)
    if (known !== undefined) {
      this.#known.set(id, { ...known, sense: UNKNOWN_SENSE, slowSinceMs: null })
    }
    if (wasSlow) await this.#put(id, null)
    return wasSlow
  }
}
