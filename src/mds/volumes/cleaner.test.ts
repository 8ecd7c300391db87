import { beforeEach, describe, expect, it } from 'vitest'
import { LemnisError } from '../../base/errors.ts'
import {
  CLOSE_VOLUME,
  DELETE_VOLUME,
  EMPTY_TRASH,
  LIST_VOLUMES,
  RESTORE_VOLUME,
} from '../../format/control/mds.ts'
import { VolumeRig } from '../testing/volume-rig.ts'

const DAY_MS = 86_400_000
const SEGMENTS = 3
const CHUNKS = SEGMENTS * 64

/** What was done, each kind once, sorted. */
function doneIn(rig: VolumeRig, op: string): string[] {
  return [...new Set(rig.changed.filter((line) => line.startsWith(`${op} `)))].sort()
}

/** Volume 1 has chunks 1 to 192 by turns in copysets 1, 2, 3; its epoch 1 is closed and deleted as 2. */
async function makeDeleted(rig: VolumeRig): Promise<void> {
  await rig.create('v')
  const lease = await rig.open('v', 'client-a')
  await rig.allocate(lease, 0, SEGMENTS)
  await rig.ask(CLOSE_VOLUME, { volume: 1, client: 'client-a', epoch: 1 })
  await rig.ask(DELETE_VOLUME, { name: 'v' })
}

function expectAllEnded(rig: VolumeRig): void {
  const wanted = Array.from({ length: CHUNKS }, (_, i) => `delete ${i + 1} ${(i % 3) + 1} 3`)
  expect(doneIn(rig, 'delete')).toEqual(wanted.sort())
  const ended = [1, 2, 3].map((group) => `end-volume 1 ${group} 3`)
  expect(doneIn(rig, 'end-volume')).toEqual(ended)
  const lastDelete = rig.changed.findLastIndex((line) => line.startsWith('delete'))
  const firstEnd = rig.changed.findIndex((line) => line.startsWith('end-volume'))
  expect(firstEnd).toBeGreaterThan(lastDelete)
}

const isGone = (rig: VolumeRig): boolean =>
  rig.disk.get('volume/0000000000000001') === null && rig.service !== null

function storedSegments(rig: VolumeRig): number {
  return rig.disk.range('segment/', 'segment/\x7f', 9999).length
}

async function untilGone(rig: VolumeRig): Promise<void> {
  const giveUpUs = rig.world.nowUs + 600_000_000
  await rig.world.run({ until: () => isGone(rig) || rig.world.nowUs > giveUpUs })
  expect(isGone(rig)).toBe(true)
  // The store has it before memory does.
  await rig.runMs(10)
}

describe('the cleaner', () => {
  let rig: VolumeRig
  beforeEach(async () => {
    rig = await VolumeRig.started()
    await rig.startChunkservers()
  })

  it('ends every chunk of an emptied volume, then the volume in its copysets, then its records', async () => {
    await makeDeleted(rig)
    expect(rig.changed).toEqual([])
    expect(storedSegments(rig)).toBe(SEGMENTS)
    await rig.ask(EMPTY_TRASH, {})
    await untilGone(rig)
    expectAllEnded(rig)
    expect(rig.changed).toHaveLength(CHUNKS + 3)
    expect(storedSegments(rig)).toBe(0)
    expect(rig.service?.volumes.space.volume(1)).toBeNull()
    expect((await rig.create('v')).id).toBe(2)
    const lease = await rig.open('v', 'client-a')
    expect((await rig.allocate(lease, 0, 1))[0]?.firstChunk).toBe(CHUNKS + 1)
  })

  it('takes volumes whose time is up, and no others', async () => {
    await makeDeleted(rig)
    await rig.create('kept')
    rig.host.jumpWall(7 * DAY_MS - 60_000)
    await rig.create('late')
    await rig.ask(DELETE_VOLUME, { name: 'late' })
    await rig.runMs(30_000)
    expect(isGone(rig)).toBe(false)
    await rig.runMs(30_000)
    await untilGone(rig)
    expectAllEnded(rig)
    expect((await rig.show('kept')).id).toBe(2)
    const { volumes } = await rig.ask(LIST_VOLUMES, { deleted: true })
    expect(volumes.map(({ name }) => name)).toEqual(['late'])
    expect((await rig.ask(RESTORE_VOLUME, { name: 'late' })).state).toBe('ready')
  })

  it('says which volumes are gone beside it: none that there is, or may yet be', async () => {
    for (const name of ['a', 'b', 'v', 'c', 'd']) {
      const { id } = await rig.create(name)
      if (name === 'a' || name === 'd') continue
      const lease = await rig.open(name, 'client-a')
      await rig.allocate(lease, 0, 1)
      await rig.ask(CLOSE_VOLUME, { volume: id, client: 'client-a', epoch: 1 })
    }
    const ended: string[] = []
    rig.script = ({ op, volume, group, chunk, sn }) => {
      if (op === 'end-volume' && group === 1) ended.push(`${volume}: ${chunk} to ${sn}`)
      return null
    }
    for (const name of ['b', 'c', 'v']) {
      await rig.ask(DELETE_VOLUME, { name })
      await rig.ask(EMPTY_TRASH, {})
      await rig.runMs(30_000)
    }
    expect(ended).toEqual(['2: 2 to 2', '4: 4 to 4', '3: 2 to 4'])
    await rig.ask(DELETE_VOLUME, { name: 'd' })
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(30_000)
    const lease = await rig.open((await rig.create('e')).name, 'client-a')
    await rig.allocate(lease, 0, 1)
    await rig.ask(CLOSE_VOLUME, { volume: 6, client: 'client-a', epoch: 1 })
    await rig.ask(DELETE_VOLUME, { name: 'e' })
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(30_000)
    expect(ended.at(-1)).toBe('6: 2 to 6')
  })

  it('goes no faster than it may', async () => {
    await makeDeleted(rig)
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(200)
    expect(rig.changed.length).toBeGreaterThan(50)
    expect(rig.changed.length).toBeLessThanOrEqual(101)
  })

  it('follows the leader, and learns how often a client tried', async () => {
    await makeDeleted(rig)
    let changes = 0
    rig.script = (request) => {
      if (request.attempt < 4) return new LemnisError('STALE_ATTEMPT', { attempt: 4 })
      changes++
      if (changes === 40) rig.leader = 3
      if (changes === 80) rig.term = 9
      if (changes % 50 === 0) return new LemnisError('OVERLOADED', { hintMs: 5 })
      return null
    }
    await rig.ask(EMPTY_TRASH, {})
    await untilGone(rig)
    expectAllEnded(rig)
  })

  it('waits for copysets that are away, says so, and goes on when they are back', async () => {
    await makeDeleted(rig)
    rig.leader = 0
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(60_000)
    expect(rig.changed).toEqual([])
    const waits = rig.service?.waits() ?? []
    expect(waits).toHaveLength(1)
    expect(waits[0]).toMatchObject({ who: 'volume v (1)', until: 'their copysets have a leader' })
    expect(rig.world.nowUs / 1000).toBeGreaterThan(60_000)
    rig.leader = 1
    await untilGone(rig)
    expectAllEnded(rig)
    await rig.runMs(1000)
    expect(rig.service?.waits()).toEqual([])
  })

  it('lets other volumes pass one that does not get on', async () => {
    await makeDeleted(rig)
    await rig.create('w')
    const lease = await rig.open('w', 'client-a')
    await rig.allocate(lease, 0, 1)
    await rig.ask(CLOSE_VOLUME, { volume: 2, client: 'client-a', epoch: 1 })
    await rig.ask(DELETE_VOLUME, { name: 'w' })
    rig.script = ({ volume }) => (volume === 1 ? new LemnisError('FENCED', { epoch: 9 }) : null)
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(20_000)
    expect(rig.service?.volumes.space.volume(2)).toBeNull()
    expect(storedSegments(rig)).toBe(SEGMENTS)
    expect(rig.service?.waits()[0]?.what).toContain('FENCED')
  })

  it('ends in the middle when the MDS stops, and leaves the rest to the next one', async () => {
    await makeDeleted(rig)
    await rig.ask(EMPTY_TRASH, {})
    await rig.runMs(200)
    const before = rig.changed.length
    await rig.world.settle(rig.service?.close() ?? Promise.reject())
    await rig.runMs(10_000)
    expect(rig.changed.length).toBeLessThanOrEqual(before + 16)
    await rig.restart()
    await untilGone(rig)
    expectAllEnded(rig)
  })

  it('goes on where it stopped after a crash at any commit', async () => {
    for (const at of ['before', 'after'] as const) {
      for (let crashes = 1; crashes <= 6; crashes++) {
        rig = await VolumeRig.started({ seed: crashes, config: { cleanChunksPerSecond: 100_000 } })
        await rig.startChunkservers()
        await makeDeleted(rig)
        let landings = 0
        rig.disk.onLanding = (when) => {
          if (when === at && ++landings === crashes) rig.host.crash()
        }
        await rig.ask(EMPTY_TRASH, {}).catch(() => {})
        await rig.world.run({ until: () => rig.host.state === 'down' || isGone(rig) })
        rig.disk.onLanding = null
        if (rig.host.state === 'down') await rig.start()
        // The first commit is the answer to the call: it may be lost with it.
        if (rig.service?.volumes.deletedCount === 1) await rig.ask(EMPTY_TRASH, {})
        await untilGone(rig)
        expectAllEnded(rig)
        expect(storedSegments(rig)).toBe(0)
      }
    }
  })
})
