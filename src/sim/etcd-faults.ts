// Owns what goes wrong between the MDS and their store in a run: which host is stopped, killed or cut
// off, when the store is away, forgets or answers badly; all by the seed. Invariant: heal() ends it all.

import type { Prng } from '../base/prng.ts'
import type { SimEtcd } from './etcd.ts'
import type { SimHost } from './host.ts'
import type { World } from './world.ts'

export type EtcdFaultKind =
  | 'pause'
  | 'crash'
  | 'cut'
  | 'store-down'
  | 'store-leader-change'
  | 'cut-of-all'
  | 'compaction'
  | 'lost-answers'
  | 'slow-store'
  | 'lagging-watches'
  | 'drift'

export const ETCD_FAULT_KINDS: readonly EtcdFaultKind[] = [
  'pause',
  'crash',
  'cut',
  'store-down',
  'store-leader-change',
  'cut-of-all',
  'compaction',
  'lost-answers',
  'slow-store',
  'lagging-watches',
  'drift',
]

export interface EtcdNemesisOptions {
  readonly world: World
  readonly etcd: SimEtcd
  readonly hosts: readonly SimHost[]
  readonly random: Prng
  readonly kinds: readonly EtcdFaultKind[]
  /** Mean time between two faults. */
  readonly gapMs: number
  readonly driftPpmMax: number
  /** No fault lasts longer. */
  readonly longestMs?: number
}

const MS = 1000

export class EtcdNemesis {
  readonly counts = new Map<EtcdFaultKind, number>()
  readonly #options: EtcdNemesisOptions
  readonly #undos = new Set<() => void>()
  #isActive = false

  constructor(options: EtcdNemesisOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#options.kinds.length === 0) return
    this.#isActive = true
    this.#next()
  }

  heal(): void {
    this.#isActive = false
    for (const undo of [...this.#undos]) undo()
    const { etcd, hosts } = this.#options
    etcd.heal()
    etcd.setDrift(0)
    for (const host of hosts) {
      host.setDrift(0)
      host.resume()
      if (host.state === 'down') host.start()
    }
  }

  #next(): void {
    const { world, random, gapMs, kinds } = this.#options
    world.after(random.below(2 * gapMs * MS) + 1, 'etcd nemesis', () => {
      if (!this.#isActive) return
      const kind = random.pick(kinds)
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
      this.#strike(kind)
      this.#next()
    })
  }

  #for(minMs: number, maxMs: number, undo: () => void): void {
    const { world, random, longestMs = maxMs } = this.#options
    const end = (): void => {
      if (this.#undos.delete(end)) undo()
    }
    this.#undos.add(end)
    world.after(
      random.between(minMs, Math.max(minMs, Math.min(maxMs, longestMs))) * MS,
      'etcd nemesis ends',
      end,
    )
  }

  #strike(kind: EtcdFaultKind): void {
    const { etcd, hosts, random, driftPpmMax } = this.#options
    const host = random.pick(hosts)
    const { faults } = etcd
    switch (kind) {
      case 'pause':
        host.pause()
        return this.#for(50, 15_000, () => host.resume())
      case 'crash':
        host.crash()
        return this.#for(100, 8000, () => {
          if (host.state === 'down') host.start()
        })
      case 'cut':
        etcd.cut(host)
        return this.#for(100, 12_000, () => etcd.mend(host))
      case 'store-down':
        etcd.stop()
        return this.#for(200, 15_000, () => etcd.start())
      case 'store-leader-change':
        etcd.stop()
        return this.#for(200, 2000, () => etcd.start())
      case 'cut-of-all':
        // Long enough, as a rule, for all leases to run out together.
        for (const one of hosts) etcd.cut(one)
        return this.#for(1000, 15_000, () => {
          for (const one of hosts) etcd.mend(one)
        })
      case 'compaction':
        return etcd.compact()
      case 'lost-answers':
        Object.assign(faults, { lossChance: 0.3, lateChance: 0.2 })
        return this.#for(500, 5000, () => Object.assign(faults, { lossChance: 0, lateChance: 0 }))
      case 'slow-store':
        faults.latencyMaxMs = 1200
        return this.#for(500, 8000, () => {
          faults.latencyMaxMs = 4
        })
      case 'lagging-watches':
        faults.watchLagMaxMs = 4000
        return this.#for(500, 8000, () => {
          faults.watchLagMaxMs = 5
        })
      case 'drift':
        etcd.setDrift(random.between(-driftPpmMax, driftPpmMax))
        return host.setDrift(random.between(-driftPpmMax, driftPpmMax))
    }
  }
}
