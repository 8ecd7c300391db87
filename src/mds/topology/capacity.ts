// Owns how full each pool is, and says so before writes stop: by its fullest chunkserver, as the
// copysets on that one take no new chunks first. It looks now and then, so that a level is told of
// once, and knows how fast the pool filled in the last day. Memory only: after a start of the MDS the
// days left are unknown until it has looked for long enough.

import type { Timer } from '../../env/clock.ts'
import type { Env } from '../../env/env.ts'
import { every } from '../../env/every.ts'
import type { PoolFill } from '../../format/control/mds.ts'
import type { FillLevel } from '../../format/control/parts.ts'
import type { Observer } from '../../observe/observe.ts'
import { type ChunkserverView, isGone } from '../../placement/view.ts'
import type { ClusterViews } from '../cluster-view.ts'
import type { MdsConfig } from '../config.ts'
import type { Reports } from '../reports.ts'
import type { Topology } from './topology.ts'
import { daysUntilFull, type FillSample, keptSamples } from './trend.ts'

export interface CapacityOptions {
  readonly env: Env
  readonly observer: Observer
  readonly config: MdsConfig
  readonly topology: Topology
  readonly reports: Reports
  readonly views: ClusterViews
}

const PERCENT = 100
/** A level is left when the pool is this much below it, so that it is not told of again and again. */
const LEAVE_PERCENT = 1
const RANKS: Readonly<Record<FillLevel, number>> = { ok: 0, near: 1, nearly: 2, full: 3 }

export class Capacity {
  readonly #options: CapacityOptions
  readonly #levels = new Map<string, FillLevel>()
  readonly #samples = new Map<string, readonly FillSample[]>()
  #timer: Timer | null = null

  constructor(options: CapacityOptions) {
    this.#options = options
    options.observer.gauge('mds_pool_fullest_percent', () =>
      this.fills().reduce((most, { fullestPercent }) => Math.max(most, fullestPercent), 0),
    )
  }

  start(): void {
    const { env, config } = this.#options
    this.#timer = every(env.clock, config.scheduleIntervalMs, () => this.#look())
  }

  close(): void {
    this.#timer?.cancel()
  }

  /** In order of their names. */
  fills(): PoolFill[] {
    const members = new Map<string, ChunkserverView[]>()
    for (const one of this.#options.views.chunkservers()) {
      const known = members.get(one.pool)
      if (known === undefined) members.set(one.pool, [one])
      else known.push(one)
    }
    const names = [...this.#options.topology.pools.keys()].sort()
    return names.map((name) => this.#fillOf(name, members.get(name) ?? []))
  }

  #fillOf(name: string, members: readonly ChunkserverView[]): PoolFill {
    let capacityBytes = 0
    let usedBytes = 0
    let fullestPercent = 0
    let isFull = false
    for (const one of members) {
      if (isGone(one)) continue
      const used = one.capacityBytes - one.freeBytes
      capacityBytes += one.capacityBytes
      usedBytes += used
      isFull ||= one.isFull
      const percent = Math.floor((used * PERCENT) / Math.max(1, one.capacityBytes))
      fullestPercent = Math.max(fullestPercent, percent)
    }
    const level = this.#levelOf(this.#levels.get(name) ?? 'ok', fullestPercent, isFull)
    const fullBytes = (capacityBytes * this.#options.config.fullPercent) / PERCENT
    const daysLeft = daysUntilFull(this.#samples.get(name) ?? [], usedBytes, fullBytes)
    const fill = { name, capacityBytes, usedBytes, level, fullestPercent }
    return daysLeft === null || level === 'full' ? fill : { ...fill, daysLeft }
  }

  #levelOf(before: FillLevel, percent: number, isFull: boolean): FillLevel {
    if (isFull) return 'full'
    const { nearPercent, nearlyPercent } = this.#options.config
    const slack = (level: FillLevel): number => (RANKS[before] >= RANKS[level] ? LEAVE_PERCENT : 0)
    if (percent >= nearlyPercent - slack('nearly')) return 'nearly'
    return percent >= nearPercent - slack('near') ? 'near' : 'ok'
  }

  #look(): void {
    const { env, observer } = this.#options
    const nowMs = env.clock.monotonicMs()
    const fills = this.fills()
    for (const { name, level, fullestPercent, usedBytes } of fills) {
      const before = this.#levels.get(name) ?? 'ok'
      this.#levels.set(name, level)
      if (RANKS[level] > RANKS[before]) {
        observer.emit('mds_pool_fills', { pool: name, level, fullestPercent })
      } else if (level === 'ok' && before !== 'ok') {
        observer.emit('mds_pool_has_room', { pool: name, fullestPercent })
      }
      if (!this.#isWhole(name)) continue
      const samples = this.#samples.get(name) ?? []
      this.#samples.set(name, keptSamples(samples, { atMs: nowMs, usedBytes }))
    }
    const names = new Set(fills.map(({ name }) => name))
    for (const name of [...this.#levels.keys()]) {
      if (names.has(name)) continue
      this.#levels.delete(name)
      this.#samples.delete(name)
    }
  }

  /** Everybody in the pool has said what it holds: the sum means something. */
  #isWhole(pool: string): boolean {
    const { topology, reports, views } = this.#options
    for (const record of topology.chunkservers.values()) {
      if (record.pool !== pool || topology.poolOf(record) !== pool) continue
      const view = views.chunkserver(record.id)
      if (view !== undefined && !isGone(view) && reports.of(record.id) === undefined) return false
    }
    return true
  }
}
