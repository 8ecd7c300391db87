import { describe, expect, it } from 'vitest'
import { KIB } from '../base/units.ts'
import { blockAt } from '../chunkstore/layout.ts'
import { BLOCK_BYTES, type ChunkRequest, encodeChunkRequest } from '../format/chunk-request.ts'
import { METHODS } from '../format/methods.ts'
import { type Answer, blocks, CHUNK, ChunkRig } from './testing/chunk-rig.ts'

const STEPS = 80
const CHUNKS = 3
const BLOCKS = 40
/** With these nothing was done, and the same attempt may come again. */
const REFUSED = new Set(['NOT_LEADER', 'OVERLOADED', 'NO_SUCH_GROUP'])

/** One client that repeats what it is not sure of, as the protocol wants it, and knows what must be there. */
class Client {
  readonly rig: ChunkRig
  readonly #model = new Map<number, number>()
  #attempt = 0

  constructor(rig: ChunkRig) {
    this.rig = rig
  }

  async write(chunk: number, firstBlock: number, data: Uint8Array): Promise<void> {
    await this.#insist(METHODS.CHUNK_WRITE, { chunk, firstBlock }, data)
    for (let i = 0; i * BLOCK_BYTES < data.byteLength; i++) {
      this.#model.set(chunk * BLOCKS + firstBlock + i, data[i * BLOCK_BYTES] as number)
    }
  }

  async zero(chunk: number, firstBlock: number, blockCount: number): Promise<void> {
    await this.#insist(METHODS.CHUNK_CHANGE, { op: 'zero', chunk, firstBlock, blockCount })
    for (let i = 0; i < blockCount; i++) this.#model.delete(chunk * BLOCKS + firstBlock + i)
  }

  async check(chunk: number, firstBlock: number, blockCount: number): Promise<void> {
    const range = { op: 'read', chunk, firstBlock, blockCount } as const
    const { payload } = await this.#insist(METHODS.CHUNK_READ, range)
    for (let i = 0; i < blockCount; i++) {
      const byte = this.#model.get(chunk * BLOCKS + firstBlock + i) ?? 0
      const block = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
      const isRight = block.every((found) => found === byte) && (byte === 0 || block.length > 0)
      if (!isRight) {
        throw new Error(`chunk ${chunk}, block ${firstBlock + i}: ${block[0]} instead of ${byte}`)
      }
    }
  }

  async #insist(method: number, wanted: Partial<ChunkRequest>, data?: Uint8Array): Promise<Answer> {
    const { rig } = this
    for (let left = 400; left > 0; left--) {
      const leader = rig.leader()
      if (leader !== null) {
        const request = rig.request(leader, { ...wanted, attempt: this.#attempt }, data)
        const answer = await rig.ask(leader, method, encodeChunkRequest(request), data)
        if (answer.code === 'ok') return answer
        if (answer.code === 'STALE_ATTEMPT') this.#attempt = Number(answer.detail['attempt'])
        else if (!REFUSED.has(answer.code)) this.#attempt++
      }
      await rig.run(50)
    }
    throw new Error('in vain for an answer')
  }
}

async function disturb(rig: ChunkRig, harmed: number): Promise<void> {
  const { random } = rig.world
  const n = random.between(1, 3)
  const machine = rig.machine(n)
  const isUp = machine.state === 'running'
  switch (random.below(5)) {
    case 0:
      if (isUp && rig.machines.every(({ state }) => state === 'running')) machine.crash()
      return
    case 1:
      for (const other of rig.machines) other.powerLoss()
      return
    case 2:
      for (const i of [1, 2, 3]) if (rig.machine(i).state !== 'running') await rig.start(i)
      return
    case 3: {
      // Damage at rest, in one of the three only: the others have it good.
      const files = await rig.chunkFiles(harmed)
      const at = blockAt(random.below(BLOCKS)) + random.below(BLOCK_BYTES)
      if (files.length > 0) rig.machine(harmed).disk.flip(random.pick(files), at, random.below(8))
      return
    }
    default:
      await rig.run(random.below(3000))
  }
}

async function revive(rig: ChunkRig): Promise<void> {
  const down = [1, 2, 3].filter((n) => rig.machine(n).state !== 'running')
  for (const n of down.slice(0, down.length > 1 ? down.length : 0)) await rig.start(n)
}

describe('a copyset under faults', () => {
  it.each([1, 2, 3, 4])('has exactly what was written, seed %i', async (seed) => {
    const rig = new ChunkRig(3, {
      seed,
      host: { checkpointBytes: 256 * KIB },
      store: { dirtyAgeMs: 200 },
    })
    await rig.up()
    // Requests that are stuck for seconds come back after their repetition.
    Object.assign(rig.network.links.all, { stallChance: 0.01, resetChance: 0.003 })
    const { random } = rig.world
    const client = new Client(rig)
    const harmed = random.between(1, 3)
    for (let step = 0; step < STEPS; step++) {
      const chunk = CHUNK + random.below(CHUNKS)
      const first = random.below(BLOCKS)
      const count = random.between(1, Math.min(8, BLOCKS - first))
      await revive(rig)
      if (random.chance(0.5))
        await client.write(chunk, first, blocks(random.between(1, 200), count))
      else if (random.chance(0.3)) await client.zero(chunk, first, count)
      else await client.check(chunk, first, count)
      if (random.chance(0.4)) await disturb(rig, harmed)
    }
    for (const n of [1, 2, 3]) if (rig.machine(n).state !== 'running') await rig.start(n)
    for (let i = 0; i < CHUNKS; i++) await client.check(CHUNK + i, 0, BLOCKS)
    await rig.untilEven()
    const leader = await rig.untilLeader()
    rig.mds.orders.set(leader, [{ kind: 'scrub', startedMs: 1 }])
    await rig.until('the scrub', () => rig.server(leader).scrub.finishedMs > 0)
    expect(rig.events.filter((event) => event.includes('differ'))).toEqual([])
  })
})
