// Owns what the simulation knows of the volumes of its cluster: which there are, where on them each
// register of the workload lies, who has them open, and what may be expected of them.
// A register is one block of one volume, bound for good when it is first used; its block says so.

import { must } from '../base/assert.ts'
import { crc32cPure } from '../base/crc32c.ts'
import type { Prng } from '../base/prng.ts'
import type { Volume } from '../client/volume.ts'
import { BLOCK_BYTES, CHUNK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import type { RegisterValue } from './history.ts'
import type { SimHost } from './host.ts'
import { Verdict } from './verdict.ts'

/**
 * 'making', then 'live', then perhaps 'trash' and back; 'gone' for good. While it is not 'live' no
 * register is bound to it.
 */
export type VolumeState = 'making' | 'live' | 'trash' | 'gone'

/** A volume that a client host has open. */
export interface Handle {
  readonly host: SimHost
  /** Of the host's process. */
  readonly life: number
  readonly mode: 'write' | 'read'
  readonly volume: Volume
  readonly epoch: number
  readonly of: VolumeModel
  /** Segments that it has written to. */
  readonly segments: Set<number>
  /** Its code, once it was told that the volume is no longer its. */
  endedBy: string | null
  closing: boolean
}

export interface Register {
  readonly key: string
  readonly of: VolumeModel
  readonly offset: number
}

const BIND_TRIES = 40

export class VolumeModel {
  readonly name: string
  readonly striped: boolean
  id = 0
  sizeBytes: number
  state: VolumeState = 'making'
  /** It may be ended for good at any time from now on: what is read of it means nothing. */
  mayGo = false
  /** Somebody asked for its deletion and does not know what became of that. */
  isDoubtful = false
  /** Nobody opens it: it is about to be deleted. */
  resting = false
  readonly handles: Handle[] = []
  /** By segment: when a write to it was acknowledged first. */
  readonly writtenUs = new Map<number, number>()
  readonly #offsets = new Set<number>()
  readonly #epochs = new Set<number>()
  #newestEpoch = 0

  constructor(name: string, sizeBytes: number, striped: boolean) {
    this.name = name
    this.sizeBytes = sizeBytes
    this.striped = striped
  }

  /** Of the newest writer whose opening has returned. */
  get newestEpoch(): number {
    return this.#newestEpoch
  }

  opened(handle: Handle): void {
    this.handles.push(handle)
    if (handle.mode === 'read') return
    if (this.#epochs.has(handle.epoch)) {
      const what = `epoch ${handle.epoch} of volume ${this.name} was given to two writers`
      throw new Verdict('one-writer', what)
    }
    this.#epochs.add(handle.epoch)
    this.#newestEpoch = Math.max(this.#newestEpoch, handle.epoch)
  }

  /** Handles whose process lives and that were not closed. */
  alive(): Handle[] {
    const alive = this.handles.filter(isAlive)
    this.handles.splice(0, this.handles.length, ...alive)
    return alive
  }

  /** Near the beginnings and ends of chunks and of segments, where mistakes like to be. */
  bind(random: Prng): number | null {
    const chunks = Math.max(1, Math.floor(this.sizeBytes / CHUNK_BYTES))
    for (let tries = 0; tries < BIND_TRIES; tries++) {
      const chunk = random.pick([0, 0, 1, 2, chunks - 1, random.below(chunks)])
      const blocks = Math.min(CHUNK_BYTES, this.sizeBytes) / BLOCK_BYTES
      // Where these are all taken, anywhere.
      const near = random.below(tries < BIND_TRIES / 2 ? 6 : blocks)
      const block = random.chance(0.75) ? near : blocks - 1 - near
      const offset = (chunk % chunks) * CHUNK_BYTES + block * BLOCK_BYTES
      if (this.#offsets.has(offset) || offset + BLOCK_BYTES > this.sizeBytes) continue
      this.#offsets.add(offset)
      return offset
    }
    return null
  }
}

export function isAlive({ host, life, closing }: Handle): boolean {
  return host.generation === life && !closing
}

export class BlockModel {
  readonly volumes: VolumeModel[] = []
  readonly #random: Prng
  readonly #registers = new Map<string, Register>()

  constructor(random: Prng) {
    this.#random = random
  }

  live(): VolumeModel[] {
    return this.volumes.filter((volume) => volume.state === 'live' && !volume.resting)
  }

  /** Where the register is; null while there is no place for it. */
  register(key: string): Register | null {
    const known = this.#registers.get(key)
    if (known !== undefined) return known
    const volumes = this.live()
    if (volumes.length === 0) return null
    const of = this.#random.pick(volumes)
    const offset = of.bind(this.#random)
    if (offset === null) return null
    const register = { key, of, offset }
    this.#registers.set(key, register)
    return register
  }

  registersOf(volume: VolumeModel): Register[] {
    return [...this.#registers.values()].filter(({ of }) => of === volume)
  }

  isGone(key: string): boolean {
    const register = this.#registers.get(key)
    return register === undefined || register.of.state === 'gone' || register.of.mayGo
  }
}

export function segmentOf(register: Register): number {
  return Math.floor(register.offset / SEGMENT_BYTES)
}

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder()

/** A block that says whose it is and what it holds; the rest is drawn from that. */
export function blockOf(key: string, value: string): Uint8Array {
  const text = ENCODER.encode(`${key} ${value}\n`)
  const block = new Uint8Array(BLOCK_BYTES)
  const pattern = crc32cPure(text)
  new Uint32Array(block.buffer).fill(pattern === 0 ? 1 : pattern)
  block.set(text)
  return block
}

/** What a block says of the register; something that nobody wrote when it is not its own, or torn. */
export function valueOf(key: string, block: Uint8Array): RegisterValue {
  if (block.every((byte) => byte === 0)) return null
  const end = block.indexOf(10)
  const text = DECODER.decode(block.subarray(0, Math.max(0, end)))
  const [owner = '', value = ''] = text.split(' ')
  if (end < 0 || owner !== key) return `foreign: ${text.slice(0, 40)}`
  const whole = blockOf(owner, value)
  return block.every((byte, i) => byte === whole[i]) ? value : `torn: ${text.slice(0, 40)}`
}

/**
 * Whether an answer of this handle came from chunkservers. A writer answers by itself for a segment that
 * it knows not to be allocated, and one that was superseded may not know what has changed (docs/client.md).
 */
export function isVouchedFor(handle: Handle, register: Register): boolean {
  return handle.epoch >= handle.of.newestEpoch || handle.segments.has(segmentOf(register))
}

export function writersOf(volume: VolumeModel): Handle[] {
  return volume.alive().filter(({ mode, endedBy }) => mode === 'write' && endedBy === null)
}

export function newest(handles: readonly Handle[]): Handle {
  const sorted = [...handles].sort((a, b) => b.epoch - a.epoch)
  return must(sorted[0], 'a handle')
}
