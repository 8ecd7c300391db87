import { describe, expect, it } from 'vitest'
import { must } from '../base/assert.ts'
import { KIB } from '../base/units.ts'
import { blockAt } from '../chunkstore/layout.ts'
import { type HostId, replicaIdOf } from '../copyset/replica-id.ts'
import { LIST_CHUNKS } from '../format/control/chunkserver.ts'
import { chunksOf } from './chunk-machine.ts'
import { blocks, CHUNK, ChunkRig, GROUP } from './testing/chunk-rig.ts'

/** Longer than a block stays in memory alone. */
const WRITTEN_BACK_MS = 6000
const BLOCK = 2

/** Four chunkservers, of which the last has nothing; a state is sent rather than the log. */
async function writtenRig(config: { upkeepIntervalMs?: number } = {}): Promise<ChunkRig> {
  const rig = new ChunkRig(4, { config, host: { checkpointBytes: 16 * KIB } })
  await rig.up()
  for (let i = 0; i < 4; i++) await rig.write(blocks(1, 8))
  await rig.untilEven()
  await rig.run(WRITTEN_BACK_MS)
  return rig
}

async function flip(rig: ChunkRig, n: number): Promise<void> {
  const [path] = await rig.chunkFiles(n)
  rig.machine(n).disk.flip(must(path, 'a chunk file'), blockAt(BLOCK) + 100, 3)
}

/** Reads everything of one, which then knows of its bad blocks; how many those are. */
async function badOf(rig: ChunkRig, n: number): Promise<number> {
  const request = { group: GROUP, from: 1, count: 10, verify: true }
  const { chunks } = await rig.control(n, LIST_CHUNKS, request)
  expect(chunks).toMatchObject([{ chunk: CHUNK }])
  return must(chunks[0], 'a chunk').badBlocks
}

function replicaAt(n: number, incarnation = 1): ReturnType<typeof replicaIdOf> {
  return replicaIdOf(n as HostId, incarnation)
}

/** The MDS orders the group to be on the fourth in the place of `leaving`. */
async function move(rig: ChunkRig, leaving: number): Promise<void> {
  const leader = await rig.untilLeader()
  const { epoch } = must(rig.server(leader).host.replica(GROUP), 'the leader')
  const voters = [1, 2, 3].filter((n) => n !== leaving).map((n) => replicaAt(n))
  voters.push(replicaAt(4))
  await rig.order(leader, { kind: 'change', group: GROUP, epoch, voters })
  await rig.until('the move', () => {
    const now = rig.leader()
    if (now === null) return false
    const { voters: present, outgoing } = must(
      rig.server(now).host.replica(GROUP),
      'a leader',
    ).membership
    return present.includes(replicaAt(4)) && outgoing.length === 0
  })
}

/** Bad in the leader, which knows it, and in another; nothing repairs it by itself. */
async function goodOnlyInTheLast(): Promise<{
  rig: ChunkRig
  leader: number
  second: number
  last: number
}> {
  const rig = await writtenRig({ upkeepIntervalMs: 100_000 })
  const leader = must(rig.leader(), 'a leader')
  const [second, last] = [1, 2, 3].filter((n) => n !== leader) as [number, number]
  await flip(rig, leader)
  await flip(rig, second)
  expect(await badOf(rig, leader)).toBe(1)
  return { rig, leader, second, last }
}

describe('a block known to be bad', () => {
  it('is repaired without a reader or a scrub', async () => {
    const rig = await writtenRig()
    const leader = must(rig.leader(), 'a leader')
    const follower = (leader % 3) + 1
    await flip(rig, follower)
    expect(await badOf(rig, follower)).toBe(1)
    const chunks = chunksOf(must(rig.server(follower).host.replica(GROUP), 'a replica'))
    expect(chunks.damaged()).toEqual([CHUNK])
    await rig.until('the repair', () => chunks.damaged().length === 0)
    expect(await badOf(rig, follower)).toBe(0)
  })

  it('is asked of the member that leaves before that one ends', async () => {
    const { rig, leader, second, last } = await goodOnlyInTheLast()
    expect(await badOf(rig, second)).toBe(1)
    await move(rig, last)
    rig.machine(last).crash()
    expect(await badOf(rig, leader)).toBe(0)
    expect(await badOf(rig, second)).toBe(0)
    // What it got as a bad one it can have of those that stay.
    await rig.until('its repair', () => {
      const { host } = rig.server(4)
      return chunksOf(must(host.replica(GROUP), 'a replica')).damaged().length === 0
    })
    expect(await badOf(rig, 4)).toBe(0)
  })

  it('does not keep a member that has it no more than the others', async () => {
    const rig = await writtenRig({ upkeepIntervalMs: 100_000 })
    for (const n of [1, 2, 3]) await flip(rig, n)
    const leader = must(rig.leader(), 'a leader')
    expect(await badOf(rig, leader)).toBe(1)
    await move(rig, (leader % 3) + 1)
    expect(rig.events).toContain(`c${leader} chunkserver_blocks_lost`)
    expect((await rig.read({ firstBlock: BLOCK })).code).toBe('CORRUPT')
    expect((await rig.read({ firstBlock: BLOCK + 1 })).payload).toEqual(blocks(BLOCK + 2))
  })

  it('does not keep a member that is dead', async () => {
    const { rig, last } = await goodOnlyInTheLast()
    rig.machine(last).crash()
    await move(rig, last)
    expect((await rig.read({ firstBlock: BLOCK })).code).toBe('CORRUPT')
  })
})
