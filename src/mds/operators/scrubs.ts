// Owns when chunkservers scrub by themselves: each once in a period, in the hours that people allow,
// and only some at once, those first whose last scrub is longest ago. That a scrub was ordered and
// that it was finished is recorded, so that neither an MDS nor a chunkserver that is started again
// does it twice. The orders themselves go with heartbeats (orders.ts).

import type { Env } from '../../env/env.ts'
import type { ScrubWindow } from '../../format/control/operators.ts'
import type { ChunkserverRecord, ClusterRecord } from '../../format/records/topology.ts'
import type { Reports } from '../reports.ts'
import type { Topology } from '../topology/topology.ts'

const HOUR_MS = 3_600_000
const DAY_HOURS = 24

/** Everything is read once a week, by few at once: what rots on one disk is mended before the next. */
const USUAL: ScrubWindow = {
  periodMs: 7 * 24 * HOUR_MS,
  fromHour: 0,
  toHour: 0,
  chunkserversMax: 4,
}

export class Scrubs {
  readonly #env: Env
  readonly #topology: Topology
  readonly #reports: Reports

  constructor(env: Env, topology: Topology, reports: Reports) {
    this.#env = env
    this.#topology = topology
    this.#reports = reports
  }

  get window(): ScrubWindow {
    return this.#topology.cluster.scrubWindow ?? USUAL
  }

  async setWindow(window: ScrubWindow): Promise<ScrubWindow> {
    const topology = this.#topology
    const { periodMs, fromHour, toHour, chunkserversMax } = window
    const scrubWindow = { periodMs, fromHour, toHour, chunkserversMax }
    await topology.ledger.change(() => {
      const draft = topology.draft()
      draft.patchCluster({ scrubWindow })
      return draft.write(() => {})
    })
    return scrubWindow
  }

  /** Every chunkserver is told with its next heartbeat, also one that is away now. */
  async startAll(): Promise<void> {
    const topology = this.#topology
    await topology.ledger.change(() => {
      const draft = topology.draft()
      const before = draft.cluster.scrubMs
      draft.patchCluster({ scrubMs: Math.max(before + 1, this.#env.clock.wallMs()) })
      return draft.write(() => {})
    })
  }

  /** Chunkservers that scrub now, or were told to. */
  running(): number {
    let running = 0
    for (const record of this.#topology.chunkservers.values()) if (this.#runs(record)) running++
    return running
  }

  /** Tells those whose turn it is. Says how many more are due. */
  async plan(): Promise<number> {
    const { periodMs, chunkserversMax } = this.window
    const nowMs = this.#env.clock.wallMs()
    if (periodMs === 0) return 0
    const due = this.#due(nowMs - periodMs)
    if (!isOpen(this.window, nowMs)) return due.length
    const places = Math.max(0, chunkserversMax - this.running())
    const told = due.slice(0, places)
    if (told.length > 0) await this.#tell(told, nowMs)
    return due.length - told.length
  }

  /** Those that were last told before `beforeMs`, the longest ago first. */
  #due(beforeMs: number): ChunkserverRecord[] {
    const due: ChunkserverRecord[] = []
    for (const record of this.#topology.chunkservers.values()) {
      const { id, retiredMs, replacedBy, draining } = record
      const isLeaving =
        retiredMs !== undefined || replacedBy !== undefined || draining !== undefined
      if (isLeaving || this.#reports.presenceOf(id) !== 'online' || this.#runs(record)) continue
      if (this.#reports.hasFailed(id) || this.#lastMs(record) > beforeMs) continue
      due.push(record)
    }
    return due.sort((a, b) => this.#lastMs(a) - this.#lastMs(b) || a.id - b.id)
  }

  #lastMs({ scrubMs = 0, scrubbedMs = 0, registeredMs }: ChunkserverRecord): number {
    return Math.max(scrubMs, scrubbedMs, registeredMs, this.#topology.cluster.scrubMs)
  }

  /** One that is away holds no place: it goes on when it is back. */
  #runs(record: ChunkserverRecord): boolean {
    const { id } = record
    if (this.#reports.presenceOf(id) !== 'online') return false
    const isRunning = this.#reports.of(id)?.last.scrub.state === 'running'
    return isRunning || isScrubAsked(record, this.#topology.cluster)
  }

  async #tell(chunkservers: readonly ChunkserverRecord[], nowMs: number): Promise<void> {
    const topology = this.#topology
    await topology.ledger.change(() => {
      const draft = topology.draft()
      for (const { id } of chunkservers) {
        const record = topology.chunkservers.get(id)
        if (record === undefined) continue
        draft.putChunkserver({ ...record, scrubMs: Math.max(nowMs, this.#lastMs(record) + 1) })
      }
      return draft.write(() => {})
    })
  }
}

/** It was told to, by itself or with all, and has not said that it ended what was asked. */
export function isScrubAsked(
  { scrubMs = 0, scrubbedMs = 0 }: ChunkserverRecord,
  cluster: Pick<ClusterRecord, 'scrubMs'>,
): boolean {
  return Math.max(scrubMs, cluster.scrubMs) > scrubbedMs
}

/** Whether scrubs may begin now; a window may reach over midnight. */
export function isOpen({ fromHour, toHour }: ScrubWindow, wallMs: number): boolean {
  const hour = Math.floor(wallMs / HOUR_MS) % DAY_HOURS
  if (fromHour === toHour) return true
  return fromHour < toHour ? hour >= fromHour && hour < toHour : hour >= fromHour || hour < toHour
}
