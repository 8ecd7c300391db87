import { describe, expect, it } from 'vitest'
import { bytesEqual } from '../base/bytes.ts'
import { Prng } from '../base/prng.ts'
import { BLOCK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import { ClientRig, GROUPS } from './testing/client-rig.ts'
import { type Fault, NO_FAULT } from './testing/scripted-chunks.ts'
import type { Volume } from './volume.ts'

/** Small, so that changes meet; around the end of a chunk, so that they are split. */
const BLOCKS = 12
const START = 16 * 1024 * 1024 - 6 * BLOCK_BYTES
const WORKERS = 6
const OPS = 60

/**
 * What each block may hold. Changes that overlap take effect in the order in which they were asked for,
 * so that the last one asked for is what is there when all are over; a read may give what any change
 * under way during it wrote, or what the last one over before it did.
 */
class Oracle {
  /** By block, the fills in the order of asking, with whether they are over. */
  readonly #fills: { fill: number; isOver: boolean }[][] = Array.from({ length: BLOCKS }, () => [
    { fill: 0, isOver: true },
  ])

  /** Returns what to call when it is over. */
  asked(first: number, count: number, fill: number): () => void {
    const entries = Array.from({ length: count }, (_, i) => {
      const entry = { fill, isOver: false }
      this.#fills[first + i]?.push(entry)
      return entry
    })
    return () => {
      for (const entry of entries) entry.isOver = true
    }
  }

  /** For a read that begins now: at its end, whether what it got may be. */
  reading(first: number, count: number): (bytes: Uint8Array) => boolean {
    const oldest = Array.from({ length: count }, (_, i) =>
      (this.#fills[first + i] ?? []).findLastIndex((entry) => entry.isOver),
    )
    return (bytes) =>
      oldest.every((from, i) => {
        const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
        const allowed = (this.#fills[first + i] ?? []).slice(from)
        return allowed.some(({ fill }) => isFilled(block, fill))
      })
  }

  last(block: number): number {
    return this.#fills[block]?.at(-1)?.fill ?? 0
  }
}

function isFilled(block: Uint8Array, fill: number): boolean {
  return bytesEqual(block, new Uint8Array(BLOCK_BYTES).fill(fill))
}

function chanceOf(random: Prng): Fault {
  const roll = random.below(100)
  if (roll < 5) return { kind: 'stuck', ms: random.pick([10, 400, 1100, 2500, 5000]) }
  if (roll < 8) return { kind: 'unanswered' }
  if (roll < 11) return { kind: 'dropped', applied: random.chance(0.5) }
  if (roll < 13) return { kind: 'refused', code: 'OVERLOADED', hintMs: random.below(30) }
  if (roll < 14) return { kind: 'refused', code: 'INTERNAL' }
  return NO_FAULT
}

interface Run {
  /** Reads that gave what cannot be. */
  readonly wrongReads: number
  /** Blocks that hold something else than the last change, when all is over. */
  readonly wrongBlocks: number
  readonly retries: number
}

async function run(seed: number, ignoresAttempts: boolean): Promise<Run> {
  const rig = await ClientRig.start(seed)
  const random = new Prng(seed).fork('chaos')
  const client = await rig.client()
  const volume = await rig.volume(client, SEGMENT_BYTES)
  rig.chunks.ignoresAttempts = ignoresAttempts
  rig.chunks.faultOf = () => chanceOf(random)
  const oracle = new Oracle()
  let wrongReads = 0
  let isOver = false

  const disturb = async (): Promise<void> => {
    while (!isOver) {
      await sleep(rig, random.between(50, 900))
      const group = random.between(1, GROUPS)
      const what = random.below(4)
      if (what < 2) rig.chunks.elect(group, random.between(1, 3))
      else if (what === 2) rig.chunks.elect(group, 0)
      else {
        const [cs, me] = [`cs${random.between(1, 3)}`, 'client1']
        rig.network.cut(me, cs)
        if (random.chance(0.5)) rig.network.cut(cs, me)
        await sleep(rig, random.between(100, 3000))
        rig.network.mend(me, cs)
        rig.network.mend(cs, me)
      }
      // Nobody stays without a leader for ever.
      await sleep(rig, random.between(50, 600))
      if (rig.chunks.group(group).leader === 0) rig.chunks.elect(group, random.between(1, 3))
    }
  }

  const work = async (worker: number): Promise<void> => {
    for (let n = 0; n < OPS; n++) {
      const first = random.below(BLOCKS)
      const count = random.between(1, Math.min(4, BLOCKS - first))
      const offset = START + first * BLOCK_BYTES
      const kind = random.below(10)
      if (kind < 5) {
        const fill = ((worker * OPS + n) % 254) + 1
        const over = oracle.asked(first, count, fill)
        await volume.write(offset, new Uint8Array(count * BLOCK_BYTES).fill(fill))
        over()
      } else if (kind === 5) {
        const over = oracle.asked(first, count, 0)
        await volume.discard(offset, count * BLOCK_BYTES)
        over()
      } else {
        const isPossible = oracle.reading(first, count)
        if (!isPossible(await volume.read(offset, count * BLOCK_BYTES))) wrongReads++
      }
    }
  }

  const workers = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)))
  void disturb()
  await rig.settle(workers)
  isOver = true
  rig.network.heal()
  await rig.settle(volume.flush())
  // Whatever is stuck gets through meanwhile.
  await rig.run(10_000)
  rig.chunks.faultOf = () => NO_FAULT
  return {
    wrongReads,
    wrongBlocks: await wrongBlocksOf(rig, volume, oracle),
    retries: volume.stats().retries,
  }
}

function sleep(rig: ClientRig, ms: number): Promise<void> {
  return new Promise((resolve) => {
    rig.world.after(Math.round(ms * 1000), 'sleep', resolve)
  })
}

async function wrongBlocksOf(rig: ClientRig, volume: Volume, oracle: Oracle): Promise<number> {
  const bytes = await rig.settle(volume.read(START, BLOCKS * BLOCK_BYTES))
  let wrong = 0
  for (let block = 0; block < BLOCKS; block++) {
    const held = bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
    if (!isFilled(held, oracle.last(block))) wrong++
  }
  return wrong
}

const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1)

describe('a volume over chunkservers and a network that misbehave', () => {
  it('reads and keeps exactly what was written', async () => {
    let retries = 0
    for (const seed of SEEDS) {
      const result = await run(seed, false)
      expect(result, `seed ${seed}`).toMatchObject({ wrongReads: 0, wrongBlocks: 0 })
      retries += result.retries
    }
    expect(retries).toBeGreaterThan(1000)
  })

  it('would not, if late requests were let in: the canary of this test', async () => {
    let wrong = 0
    for (const seed of SEEDS) {
      const result = await run(seed, true)
      wrong += result.wrongReads + result.wrongBlocks
    }
    expect(wrong).toBeGreaterThan(0)
  })
})
