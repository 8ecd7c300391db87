// Owns how evenly a cluster of chunkservers of one capacity is used, measured from what the MDS lists: the
// table that people see, and what is wrong with it.

import type { Chunkserver, Copyset } from '../../src/format/control/parts.ts'
import { cappedShares } from '../../src/placement/shares.ts'

/** More than one copyset, and more than this share of what is due, is uneven. */
const COPYSETS_SHARE = 0.05
/** Scatter widths stay above this part of their average (placement/balance.ts). */
const SCATTER_LOW = 0.9

export class Evenness {
  readonly #live: readonly Chunkserver[]
  readonly #due: ReadonlyMap<number, number>
  readonly #widths: ReadonlyMap<number, number>

  /** `replicas` of each copyset; those that are away, drained or gone are left out. */
  constructor(
    chunkservers: readonly Chunkserver[],
    copysets: readonly Copyset[],
    replicas: number,
  ) {
    this.#live = chunkservers.filter(
      ({ state, draining }) => state === 'online' && draining === undefined,
    )
    const zones = [...new Set(this.#live.map(({ zone }) => zone))].sort()
    const sizes = zones.map((name) => this.#live.filter(({ zone }) => zone === name).length)
    const shares = cappedShares(sizes, replicas * copysets.length, copysets.length)
    this.#due = new Map(
      this.#live.map(({ id, zone }) => {
        const at = zones.indexOf(zone)
        return [id, (shares[at] ?? 0) / (sizes[at] ?? 1)]
      }),
    )
    this.#widths = new Map(this.#live.map(({ id }) => [id, widthOf(id, copysets)]))
  }

  /** The largest distance from what is due, in copysets. */
  get offCopysets(): number {
    return Math.max(...this.#live.map(({ id, copysets }) => Math.abs(copysets - this.#dueTo(id))))
  }

  get leaderSpread(): number {
    const leads = this.#live.filter(({ slow }) => slow === undefined).map(({ leaders }) => leaders)
    return Math.max(...leads) - Math.min(...leads)
  }

  /** What is not as it should be; empty when all is even. */
  wrongs(): string[] {
    const wrongs: string[] = []
    for (const { id, copysets } of this.#live) {
      const due = this.#dueTo(id)
      const off = Math.abs(copysets - due)
      if (off > 1 && off > due * COPYSETS_SHARE) wrongs.push(`${id} has ${copysets} of ${due}`)
    }
    if (this.leaderSpread > 1) wrongs.push(`leaders differ by ${this.leaderSpread}`)
    const widths = [...this.#widths.values()]
    const average = widths.reduce((sum, width) => sum + width, 0) / widths.length
    const narrow = widths.filter((width) => width < Math.floor(SCATTER_LOW * average))
    if (narrow.length > 0) wrongs.push(`scatter widths ${widths.join(' ')}`)
    return wrongs
  }

  /** One line a zone. */
  table(): string {
    const zones = [...new Set(this.#live.map(({ zone }) => zone))].sort()
    const cell = ({ id, copysets, leaders }: Chunkserver): string =>
      `${String(id).padStart(4)}: ${String(copysets).padStart(3)} copysets (due ${this.#dueTo(id).toFixed(1)}), ` +
      `leads ${String(leaders).padStart(2)}, scatter ${this.#widths.get(id) ?? 0}`
    return zones
      .flatMap((name) =>
        this.#live.filter(({ zone }) => zone === name).map((one) => `  ${name}${cell(one)}`),
      )
      .join('\n')
  }

  #dueTo(id: number): number {
    return this.#due.get(id) ?? 0
  }
}

/** How many others it shares copysets with. */
function widthOf(id: number, copysets: readonly Copyset[]): number {
  const others = new Set<number>()
  for (const { members } of copysets) {
    if (!members.some(({ chunkserver }) => chunkserver === id)) continue
    for (const { chunkserver } of members) others.add(chunkserver)
  }
  others.delete(id)
  return others.size
}
