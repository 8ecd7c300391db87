// Owns whether anything may move now: asks the guard (placement/guard.ts) with what is known of presence
// at each look, says when its answer changes, and gives those that come back after many were away
// together their whole time to do so.

import { type Guard, guard } from '../../placement/guard.ts'
import type { ChunkserverView } from '../../placement/view.ts'
import type { MdsConfig } from '../config.ts'
import type { Maintenance } from './maintenance.ts'
import type { OperatorsOptions } from './operators.ts'

export interface GuardingOptions extends OperatorsOptions {
  readonly config: MdsConfig
  readonly maintenance: Maintenance
}

const UNASKED: Guard = { reasons: [], zonesAway: [], away: 0, expected: 0 }

export class Guarding {
  readonly #options: GuardingOptions
  #guard: Guard = UNASKED

  constructor(options: GuardingOptions) {
    this.#options = options
  }

  /** As of the last look. */
  get guard(): Guard {
    return this.#guard
  }

  /** 'pardoned': those that are silent count as only just gone silent, in a view made from now on. */
  look(chunkservers: readonly ChunkserverView[]): 'pardoned' | null {
    const { config, maintenance, observer, reports } = this.#options
    const facts = { isMaintained: maintenance.current !== null, isYoung: this.#isYoung() }
    const before = this.#guard
    this.#guard = guard(this.#missed(chunkservers), facts, config)
    const { away, expected, reasons } = this.#guard
    if (reasons.join(' ') === before.reasons.join(' ')) return null
    observer.emit(eventOf(this.#guard), { reasons: reasons.join(' '), away, expected })
    if (!isMass(before) || isMass(this.#guard)) return null
    // They come back one after the other: the last ones have their whole time to do so.
    reports.pardon()
    return 'pardoned'
  }

  /** By the last look, and by what people have said since. */
  mayMove(): boolean {
    const { maintenance, bugs } = this.#options
    if (bugs?.has('guard-ignored') === true) return true
    return this.#guard.reasons.length === 0 && maintenance.current === null
  }

  /** What has not begun is given up, unless it is only that nobody was heard yet. */
  halt(): 'maintenance' | 'guard' | null {
    if (this.#options.bugs?.has('guard-ignored') === true) return null
    const { reasons } = this.#guard
    if (reasons.includes('maintenance')) return 'maintenance'
    return reasons.some((reason) => reason !== 'young') ? 'guard' : null
  }

  /** Those that are silent and hold nothing, as it was rebuilt elsewhere, are missed by nobody. */
  #missed(chunkservers: readonly ChunkserverView[]): readonly ChunkserverView[] {
    const { topology } = this.#options
    return chunkservers.filter(
      ({ id, presence }) => presence === 'online' || topology.copysetsOf(id).size > 0,
    )
  }

  /** Only those count that are expected to speak. */
  #isYoung(): boolean {
    const { topology, reports } = this.#options
    const expected: number[] = []
    for (const { id, retiredMs, replacedBy } of topology.chunkservers.values()) {
      if (retiredMs === undefined && replacedBy === undefined) expected.push(id)
    }
    return reports.isYoung(expected)
  }
}

/** An MDS that has just begun to lead has to hear everybody: that is no trouble. */
function eventOf({ reasons }: Guard): 'mds_guard_changed' | 'mds_guard_lifted' | 'mds_young' {
  if (reasons.length === 0) return 'mds_guard_lifted'
  return reasons.every((reason) => reason === 'young') ? 'mds_young' : 'mds_guard_changed'
}

/** So much is away that it will come back together. */
function isMass({ reasons }: Guard): boolean {
  return reasons.includes('zone-away') || reasons.includes('many-away')
}
