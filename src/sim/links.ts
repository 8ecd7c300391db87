// Owns the state of the wires between hosts: which directions are cut, and how each delays, loses,
// doubles, reorders or resets. One set of conditions holds for all links but those that have their own.

import type { Prng } from '../base/prng.ts'

/** How a direction behaves. Chances are per write unless said otherwise. */
export interface LinkConditions {
  latencyUsMin: number
  latencyUsMax: number
  /** A write that takes up to `spikeUsMax` longer; what follows waits behind it. */
  spikeChance: number
  spikeUsMax: number
  /** 0 for no limit. */
  bytesPerSecond: number
  /** The stream stands still for up to a few seconds, as after a lost packet, and then goes on. */
  stallChance: number
  /** The whole write vanishes and the stream goes on: no TCP does it, a layer above must survive it. */
  loseWriteChance: number
  duplicateWriteChance: number
  /** The write overtakes the one before it. */
  reorderWriteChance: number
  /** The stream breaks at a random byte of the write. */
  resetChance: number
  /** Per connection attempt. */
  refuseChance: number
  /** Per delivery: a random part comes a little later. */
  splitChance: number
}

/** A quiet data centre: 50 to 300 µs one way. */
export const CALM: Readonly<LinkConditions> = {
  latencyUsMin: 50,
  latencyUsMax: 300,
  spikeChance: 0,
  spikeUsMax: 0,
  bytesPerSecond: 0,
  stallChance: 0,
  loseWriteChance: 0,
  duplicateWriteChance: 0,
  reorderWriteChance: 0,
  resetChance: 0,
  refuseChance: 0,
  splitChance: 0.05,
}

/** Between processes of one host. */
const LOOPBACK: Readonly<LinkConditions> = { ...CALM, latencyUsMin: 10, latencyUsMax: 30 }

/** Of a connection that may break, but not lie. */
const SOUND = { loseWriteChance: 0, duplicateWriteChance: 0, reorderWriteChance: 0 } as const

function harmsWrites(link: Readonly<LinkConditions>): boolean {
  return link.loseWriteChance + link.duplicateWriteChance + link.reorderWriteChance > 0
}

export class Links {
  /** Conditions of every link without its own; may be changed at any time. */
  readonly all: LinkConditions = { ...CALM }
  readonly #own = new Map<string, LinkConditions>()
  readonly #cut = new Set<string>()
  readonly #sound = new Set<string>()

  conditions(from: string, to: string): Readonly<LinkConditions> {
    if (from === to) return LOOPBACK
    const found = this.#own.size === 0 ? this.all : (this.#own.get(`${from}>${to}`) ?? this.all)
    const isSound = this.#sound.has(from) || this.#sound.has(to)
    return isSound && harmsWrites(found) ? { ...found, ...SOUND } : found
  }

  /**
   * From now on the links of this host, whatever befalls them, do as TCP does: no whole write is lost,
   * doubled or swapped within a connection.
   */
  keepSound(host: string): void {
    this.#sound.add(host)
  }

  /** Gives one direction conditions of its own: those of all with some replaced. */
  setOwn(from: string, to: string, replaced: Partial<LinkConditions>): void {
    this.#own.set(`${from}>${to}`, { ...this.all, ...replaced })
  }

  clearOwn(from: string, to: string): void {
    this.#own.delete(`${from}>${to}`)
  }

  /** Changes what holds for all links; links with conditions of their own keep theirs. */
  change(conditions: Partial<LinkConditions>): void {
    Object.assign(this.all, conditions)
  }

  /** Takes a change back. */
  calm(conditions: Partial<LinkConditions>): void {
    for (const name of Object.keys(conditions) as (keyof LinkConditions)[]) {
      this.all[name] = CALM[name]
    }
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.size > 0 && this.#cut.has(`${from}>${to}`)
  }

  cut(from: string, to: string): void {
    if (from !== to) this.#cut.add(`${from}>${to}`)
  }

  mend(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`)
  }

  /** Every wire whole and calm again. */
  heal(): void {
    this.#cut.clear()
    this.#own.clear()
    Object.assign(this.all, CALM)
  }
}

export function latencyUs(link: Readonly<LinkConditions>, random: Prng): number {
  const base = random.between(link.latencyUsMin, link.latencyUsMax)
  return random.chance(link.spikeChance) ? base + random.below(link.spikeUsMax + 1) : base
}
