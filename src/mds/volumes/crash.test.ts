// Whatever was answered is there after a crash of the MDS before or after any of its commits, and
// whatever was not answered is there as a whole or not at all.

import { expect, it } from 'vitest'
import { Prng } from '../../base/prng.ts'
import { without } from '../../base/without.ts'
import {
  CLOSE_VOLUME,
  CREATE_VOLUME,
  DELETE_VOLUME,
  GET_SEGMENTS,
  LIST_VOLUMES,
  OPEN_VOLUME,
  RENAME_VOLUME,
  RESIZE_VOLUME,
  RESTORE_VOLUME,
} from '../../format/control/mds.ts'
import type { Volume } from '../../format/control/parts.ts'
import { GIB, newVolume, opening, VolumeRig } from '../testing/volume-rig.ts'

const NAMES = ['a', 'b', 'c']

/** One call, drawn by the seed from what is known of the volumes. */
async function someCall(rig: VolumeRig, random: Prng, known: Known): Promise<void> {
  const name = random.pick(NAMES)
  const volume = known.ready(name)
  if (volume === undefined) {
    const isRestored = random.chance(0.4) && known.deleted(name) !== undefined
    if (isRestored) known.heard(await rig.send(RESTORE_VOLUME, { name }))
    else known.heard(await rig.send(CREATE_VOLUME, newVolume(name)))
    return
  }
  switch (random.below(5)) {
    case 0:
      known.heard(await rig.send(RESIZE_VOLUME, { name, sizeBytes: volume.sizeBytes + GIB }))
      return
    case 1: {
      const to = random.pick(NAMES)
      if (known.ready(to) === undefined) known.heard(await rig.send(RENAME_VOLUME, { name, to }))
      return
    }
    case 2:
      if (volume.holder === undefined) known.heard(await rig.send(DELETE_VOLUME, { name }))
      return
    case 3: {
      const client = `client-${random.below(2)}`
      known.heard((await rig.send(OPEN_VOLUME, opening(name, client, true))).volume)
      return
    }
    default:
      await useSegments(rig, random, known, volume)
  }
}

async function useSegments(
  rig: VolumeRig,
  random: Prng,
  known: Known,
  volume: Volume,
): Promise<void> {
  const { id, epoch, holder } = volume
  if (holder !== undefined && random.chance(0.3)) {
    await rig.send(CLOSE_VOLUME, { volume: id, epoch, client: holder.client })
    known.heard(without(volume, 'holder'))
    return
  }
  const from = random.below(9)
  const ask = { volume: id, epoch, from, to: from + 1, allocate: true }
  const { segments } = await rig.send(GET_SEGMENTS, ask)
  for (const { index, firstChunk } of segments) known.segment(id, index, firstChunk)
}

/** What was answered. */
class Known {
  readonly volumes = new Map<number, Volume>()
  readonly segments = new Map<string, number>()
  /** What is wrong for ever, by sentence. */
  readonly faults: string[] = []

  ready(name: string): Volume | undefined {
    return [...this.volumes.values()].find((v) => v.name === name && v.state === 'ready')
  }
  deleted(name: string): Volume | undefined {
    return [...this.volumes.values()].find((v) => v.name === name && v.state === 'deleted')
  }
  heard(volume: Volume): void {
    this.volumes.set(volume.id, volume)
  }
  segment(volume: number, index: number, firstChunk: number): void {
    const key = `${volume}/${index}`
    const before = this.segments.get(key) ?? firstChunk
    if (before !== firstChunk)
      this.faults.push(`segment ${key} was at ${before}, is at ${firstChunk}`)
    this.segments.set(key, firstChunk)
  }

  /** How much differs from what was answered, without being a fault: of one call it may be unknown. */
  async compare(rig: VolumeRig): Promise<number> {
    const { volumes: ready } = await rig.ask(LIST_VOLUMES, { deleted: false })
    const { volumes: deleted } = await rig.ask(LIST_VOLUMES, { deleted: true })
    const found = new Map([...ready, ...deleted].map((volume) => [volume.id, volume]))
    let surprises = found.size - this.volumes.size
    for (const [id, volume] of this.volumes) {
      const now = found.get(id)
      if ((now?.epoch ?? -1) < volume.epoch) this.faults.push(`volume ${id} lost its epoch`)
      if (shown(now) !== shown(volume)) surprises++
    }
    const names = new Set(ready.map(({ name }) => name))
    if (names.size !== ready.length) this.faults.push('two volumes have one name')
    const chunks = new Map<number, string>()
    for (const { id } of ready) surprises += await this.compareSegments(rig, id, chunks)
    for (const volume of found.values()) this.heard(volume)
    return surprises
  }

  async compareSegments(rig: VolumeRig, id: number, chunks: Map<number, string>): Promise<number> {
    const ask = { volume: id, epoch: 0, from: 0, to: 10, allocate: false }
    const { segments } = await rig.ask(GET_SEGMENTS, ask)
    const there = new Map(segments.map(({ index, firstChunk }) => [`${id}/${index}`, firstChunk]))
    for (const key of this.segments.keys()) {
      if (key.startsWith(`${id}/`) && !there.has(key)) this.faults.push(`segment ${key} is lost`)
    }
    let surprises = 0
    for (const { index, firstChunk } of segments) {
      const key = `${id}/${index}`
      if (chunks.has(firstChunk)) this.faults.push(`chunk ${firstChunk} is in two segments`)
      chunks.set(firstChunk, key)
      if (!this.segments.has(key)) surprises++
      this.segment(id, index, firstChunk)
    }
    return surprises
  }
}

/** What must be as it was answered; how many segments there are is compared apart. */
function shown(volume: Volume | undefined): string {
  if (volume === undefined) return ''
  const { name, sizeBytes, state, epoch, holder, deletedMs } = volume
  return JSON.stringify({ name, sizeBytes, state, epoch, client: holder?.client, deletedMs })
}

it.each(['before', 'after', 'at any time'] as const)(
  'nothing answered is lost by crashes of the MDS: %s (of a commit)',
  async (at) => {
    let crashed = 0
    for (let seed = 1; seed <= 4; seed++) {
      // A lease never ends here by time: the clients renew nothing.
      const config = { leaseMs: 3_600_000, leaseMarginMs: 360_000 }
      const rig = await VolumeRig.started({ seed, config })
      const random = new Prng(seed)
      const known = new Known()
      for (let round = 0; round < 40; round++) {
        if (at === 'at any time') {
          rig.world.after(random.below(40_000), 'crash', () => rig.host.crash())
        } else {
          let landings = random.below(3)
          rig.disk.onLanding = (when) => {
            if (when === at && landings-- === 0) rig.host.crash()
          }
        }
        while (rig.host.state === 'running') {
          const calls = someCall(rig, random, known).catch(() => {})
          await rig.world.settle(calls)
        }
        rig.disk.onLanding = null
        crashed++
        await rig.start()
        expect(await known.compare(rig)).toBeLessThanOrEqual(1)
        expect(known.faults).toEqual([])
      }
    }
    expect(crashed).toBe(160)
  },
)
