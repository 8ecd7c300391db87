import { describe, expect, it } from 'vitest'
import { bytesEqual } from '../base/bytes.ts'
import { LemnisError } from '../base/errors.ts'
import { Prng } from '../base/prng.ts'
import { BLOCK_BYTES, CHUNK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import { ClientRig } from './testing/client-rig.ts'
import { appliedOf, lastOf } from './testing/scripted-chunks.ts'

const MIB = 1024 * 1024

function pattern(length: number, seed: number): Uint8Array {
  const random = new Prng(seed)
  return Uint8Array.from({ length }, () => random.below(256))
}

describe('an open volume', () => {
  it('gives back what was written, and zeros where nothing was', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    const bytes = pattern(3 * BLOCK_BYTES, 1)
    await rig.settle(volume.write(5 * BLOCK_BYTES, bytes))
    expect(await rig.settle(volume.read(5 * BLOCK_BYTES, bytes.byteLength))).toEqual(bytes)
    expect(await rig.settle(volume.read(0, BLOCK_BYTES))).toEqual(new Uint8Array(BLOCK_BYTES))
    const around = await rig.settle(volume.read(5 * BLOCK_BYTES - 10, 30))
    expect(around).toEqual(Uint8Array.from([...new Array(10).fill(0), ...bytes.subarray(0, 20)]))
    expect(volume.stats()).toMatchObject({ state: 'open', epoch: 1, inflightOps: 0, retries: 0 })
  })

  it('sends one request for a block, with its checksum, epoch, sequence number and term', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    await rig.settle(volume.write(CHUNK_BYTES + BLOCK_BYTES, pattern(BLOCK_BYTES, 2)))
    const [write] = appliedOf(rig.chunks, 'write')
    const crc = rig.world.crc32c(pattern(BLOCK_BYTES, 2))
    expect(write).toMatchObject({
      volume: 1,
      chunk: 2,
      group: 2,
      firstBlock: 1,
      blockCount: 1,
      epoch: 1,
      sn: 1,
      term: 1,
      attempt: 0,
      crcs: [crc],
    })
  })

  it('asks nobody about what is not allocated, and allocates at the first write only', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), 4 * SEGMENT_BYTES)
    for (let i = 0; i < 5; i++) await rig.settle(volume.read(i * MIB, MIB))
    await rig.settle(volume.discard(0, 4 * SEGMENT_BYTES))
    expect(rig.mds.count('volume.segments')).toBe(1)
    expect(rig.chunks.applied).toEqual([])
    expect(rig.mds.named('v').segments.size).toBe(0)
    const writes = [0, 1, 2, 3].map((i) => volume.write(i * CHUNK_BYTES, pattern(BLOCK_BYTES, i)))
    await rig.settle(Promise.all(writes))
    expect(rig.mds.count('volume.segments')).toBe(2)
    expect(rig.mds.named('v').segments.size).toBe(1)
  })

  it.each([
    ['not striped', 0, 1],
    ['striped over 4', 64 * 1024, 4],
    ['striped over 3 in blocks', BLOCK_BYTES, 3],
  ])('splits and merges large operations over chunks and segments, %s', async (_, unit, count) => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const striping = { stripeUnitBytes: unit, stripeCount: count }
    const volume = await rig.volume(client, 2 * SEGMENT_BYTES, striping)
    const bytes = pattern(9 * MIB + 4096, 5)
    const offset = SEGMENT_BYTES - 4 * MIB
    await rig.settle(volume.write(offset, bytes))
    expect(bytesEqual(await rig.settle(volume.read(offset, bytes.byteLength)), bytes)).toBe(true)
    const cut = await rig.settle(volume.read(offset + 12_345, 3 * MIB))
    expect(bytesEqual(cut, bytes.subarray(12_345, 12_345 + 3 * MIB))).toBe(true)
    const largest = Math.max(...appliedOf(rig.chunks, 'write').map((w) => w.blockCount))
    expect(largest).toBe(256)
    await rig.settle(volume.writeZeroes(offset + MIB, 4 * MIB + 100))
    bytes.fill(0, MIB, 5 * MIB + 100)
    expect(bytesEqual(await rig.settle(volume.read(offset, bytes.byteLength)), bytes)).toBe(true)
    expect(rig.mds.named('v').segments.size).toBe(2)
  })

  it('tells where its data is, in order and without gaps', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const striping = { stripeUnitBytes: BLOCK_BYTES, stripeCount: 4 }
    const volume = await rig.volume(client, 3 * SEGMENT_BYTES, striping)
    await rig.settle(volume.write(8 * BLOCK_BYTES, pattern(5 * BLOCK_BYTES, 1)))
    await rig.settle(volume.write(2 * SEGMENT_BYTES, pattern(BLOCK_BYTES, 1)))
    expect(await rig.settle(volume.extents(100, 3 * SEGMENT_BYTES - 100))).toEqual([
      { offset: 100, length: 8 * BLOCK_BYTES - 100, kind: 'zero' },
      { offset: 8 * BLOCK_BYTES, length: 5 * BLOCK_BYTES, kind: 'data' },
      {
        offset: 13 * BLOCK_BYTES,
        length: 2 * SEGMENT_BYTES - 13 * BLOCK_BYTES,
        kind: 'zero',
      },
      { offset: 2 * SEGMENT_BYTES, length: BLOCK_BYTES, kind: 'data' },
      {
        offset: 2 * SEGMENT_BYTES + BLOCK_BYTES,
        length: SEGMENT_BYTES - BLOCK_BYTES,
        kind: 'zero',
      },
    ])
    expect(await rig.settle(volume.extents(9 * BLOCK_BYTES, 10))).toEqual([
      { offset: 9 * BLOCK_BYTES, length: 10, kind: 'data' },
    ])
    expect(await rig.settle(volume.extents(0, 0))).toEqual([])
  })

  it('refuses what is out of range or not of its mode, and takes nothing of no length', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const volume = await rig.volume(client, SEGMENT_BYTES)
    expect(await rig.outcome(volume.read(SEGMENT_BYTES - 1, 2))).toBe('INVALID_ARGUMENT')
    expect(await rig.outcome(volume.read(-1, 1))).toBe('INVALID_ARGUMENT')
    expect(await rig.outcome(volume.discard(0.5, 1))).toBe('INVALID_ARGUMENT')
    expect(await rig.outcome(volume.extents(0, SEGMENT_BYTES + 1))).toBe('INVALID_ARGUMENT')
    await rig.settle(volume.write(SEGMENT_BYTES, new Uint8Array(0)))
    const reader = await rig.settle(client.open('v', { mode: 'read' }))
    expect(reader.readOnly).toBe(true)
    expect(await rig.outcome(reader.write(0, new Uint8Array(1)))).toBe('INVALID_ARGUMENT')
    expect(rig.chunks.applied).toEqual([])
  })

  it('flushes what was issued before, and waits for nothing else', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    await rig.settle(volume.flush())
    await rig.settle(volume.write(0, pattern(BLOCK_BYTES, 1)))
    const order: string[] = []
    let slow = 0
    rig.chunks.faultOf = ({ op, firstBlock }) =>
      op === 'write' && firstBlock === 7 && slow++ === 0
        ? { kind: 'stuck', ms: 500 }
        : { kind: 'none' }
    const writes = [7, 8].map((block) =>
      volume
        .write(block * BLOCK_BYTES, pattern(BLOCK_BYTES, block))
        .then(() => order.push(`write ${block}`)),
    )
    const flush = volume.flush().then(() => order.push('flush'))
    await rig.settle(Promise.all([...writes, flush]))
    expect(order).toEqual(['write 8', 'write 7', 'flush'])
  })

  it('grows while it is open, and says so', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const sizes: number[] = []
    const onResize = (bytes: number): void => void sizes.push(bytes)
    const volume = await rig.volume(client, SEGMENT_BYTES, { onResize })
    expect(await rig.outcome(volume.write(SEGMENT_BYTES, pattern(4096, 1)))).toBe(
      'INVALID_ARGUMENT',
    )
    await rig.settle(client.volumes.resize('v', 2 * SEGMENT_BYTES))
    await rig.until('the new size', () => volume.sizeBytes === 2 * SEGMENT_BYTES)
    expect(sizes).toEqual([2 * SEGMENT_BYTES])
    await rig.settle(volume.write(SEGMENT_BYTES, pattern(4096, 1)))
    expect(volume.info.sizeBytes).toBe(2 * SEGMENT_BYTES)
  })

  it('closes: lets what is under way finish, gives the lease back, and is closed then', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const volume = await rig.volume(client, SEGMENT_BYTES)
    const write = volume.write(0, pattern(BLOCK_BYTES, 1))
    const closed = volume.close()
    expect(await rig.outcome(volume.read(0, 1))).toBe('CLOSED')
    await rig.settle(Promise.all([write, closed]))
    expect(rig.mds.named('v').info.holder).toBeUndefined()
    expect(await rig.outcome(volume.flush())).toBe('CLOSED')
    expect(volume.stats().state).toBe('ended')
    await rig.settle(client.close())
    expect(await rig.outcome(client.volumes.list())).toBe('CLOSED')
  })

  it('closes in bounded time when a write can never finish', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const volume = await rig.volume(client, SEGMENT_BYTES)
    rig.chunks.faultOf = () => ({ kind: 'unanswered' })
    const codes: string[] = []
    volume.write(0, pattern(BLOCK_BYTES, 1)).catch((error: LemnisError) => codes.push(error.code))
    const fromMs = rig.nowMs
    await rig.settle(volume.close())
    expect(codes).toEqual(['CLOSED'])
    expect(rig.nowMs - fromMs).toBeLessThan(10_500)
  })
})

describe('writers', () => {
  it('are one at a time, unless by force, which fences the one before', async () => {
    const rig = await ClientRig.start()
    const [first, second] = [await rig.client(), await rig.client()]
    const fenced: LemnisError[] = []
    const onFenced = (error: LemnisError): void => void fenced.push(error)
    const old = await rig.volume(first, SEGMENT_BYTES, { onFenced })
    await rig.settle(old.write(0, pattern(BLOCK_BYTES, 1)))
    expect(await rig.outcome(second.open('v'))).toBe('IN_USE')
    const fresh = await rig.settle(second.open('v', { force: true }))
    // Every copyset of the volume has heard of the new epoch before open() resolved.
    const fencedGroups = appliedOf(rig.chunks, 'fence').map(({ group }) => group)
    expect(fencedGroups.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6])
    expect(await rig.outcome(old.write(0, pattern(BLOCK_BYTES, 2)))).toBe('FENCED')
    expect(await rig.outcome(old.read(0, 1))).toBe('FENCED')
    expect(await rig.outcome(old.flush())).toBe('FENCED')
    await rig.until('onFenced', () => fenced.length > 0)
    expect(fenced[0]?.detail).toMatchObject({ volume: 'v', address: 'client2' })
    expect(rig.events).toContain('client_volume_fenced')
    expect(await rig.settle(fresh.read(0, BLOCK_BYTES))).toEqual(pattern(BLOCK_BYTES, 1))
    await rig.settle(fresh.write(0, pattern(BLOCK_BYTES, 3)))
    await rig.settle(old.close())
    expect(rig.mds.named('v').info.holder?.address).toBe('client2')
  })

  it('learn from the lease too that they were fenced', async () => {
    const rig = await ClientRig.start()
    const fenced: string[] = []
    const onFenced = (error: LemnisError): void => void fenced.push(error.code)
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES, { onFenced })
    rig.mds.change('v', { epoch: 2 })
    await rig.until('onFenced', () => fenced.length > 0)
    expect(fenced).toEqual(['FENCED'])
    expect(volume.stats().state).toBe('ended')
  })

  it('go on without an MDS where they know the segments, and say that the lease ran out', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    for (let i = 0; i < 6; i++) {
      await rig.settle(volume.write(i * CHUNK_BYTES, pattern(BLOCK_BYTES, i)))
    }
    rig.mds.isSilent = true
    await rig.run(10_000)
    expect(volume.stats().leaseLeftMs).toBeLessThan(0)
    expect(rig.events.filter((event) => event === 'client_lease_lost')).toHaveLength(1)
    await rig.settle(volume.write(0, pattern(BLOCK_BYTES, 9)))
    expect(await rig.settle(volume.read(0, BLOCK_BYTES))).toEqual(pattern(BLOCK_BYTES, 9))
    rig.mds.isSilent = false
    await rig.until('the lease', () => rig.events.includes('client_lease_regained'))
    expect(volume.stats().leaseLeftMs).toBeGreaterThan(0)
  })

  it('open within a bounded time though a copyset has no leader to fence it', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const volume = await rig.volume(client, SEGMENT_BYTES)
    await rig.settle(volume.write(0, pattern(BLOCK_BYTES, 1)))
    await rig.settle(volume.close())
    rig.chunks.elect(3, 0)
    const fromMs = rig.nowMs
    const again = await rig.settle(client.open('v'))
    expect(rig.nowMs - fromMs).toBeGreaterThanOrEqual(5000)
    expect(rig.nowMs - fromMs).toBeLessThan(5500)
    expect(again.waits(1000)).toMatchObject([{ waitsFor: 'a leader of copyset 3' }])
    rig.chunks.elect(3, 2)
    await rig.until('the fence', () => appliedOf(rig.chunks, 'fence').length === 6)
    await rig.until('its answer', () => again.waits(0).length === 0)
  })

  it('take a newer sequence number from the lease when theirs is refused', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    await rig.settle(volume.write(0, pattern(BLOCK_BYTES, 1)))
    rig.chunks.snMin = 5
    rig.mds.change('v', { sn: 5 })
    await rig.settle(volume.write(0, pattern(BLOCK_BYTES, 2)))
    expect(lastOf(appliedOf(rig.chunks, 'write')).sn).toBe(5)
  })
})

describe('readers', () => {
  it('see what a writer writes, also in segments that it allocates later', async () => {
    const rig = await ClientRig.start()
    const [first, second] = [await rig.client(), await rig.client()]
    const writer = await rig.volume(first, SEGMENT_BYTES)
    const reader = await rig.settle(second.open('v', { mode: 'read' }))
    expect(await rig.settle(reader.read(0, 4))).toEqual(new Uint8Array(4))
    await rig.settle(writer.write(0, pattern(BLOCK_BYTES, 1)))
    await rig.run(1001)
    expect(await rig.settle(reader.read(0, BLOCK_BYTES))).toEqual(pattern(BLOCK_BYTES, 1))
  })

  it('survive a change of the writer', async () => {
    const rig = await ClientRig.start()
    const [first, second] = [await rig.client(), await rig.client()]
    const writer = await rig.volume(first, SEGMENT_BYTES)
    await rig.settle(writer.write(0, pattern(BLOCK_BYTES, 1)))
    const reader = await rig.settle(second.open('v', { mode: 'read' }))
    await rig.settle(writer.close())
    const next = await rig.settle(first.open('v'))
    await rig.settle(next.write(0, pattern(BLOCK_BYTES, 2)))
    expect(await rig.settle(reader.read(0, BLOCK_BYTES))).toEqual(pattern(BLOCK_BYTES, 2))
    expect(reader.stats().epoch).toBe(2)
  })

  it('follow a volume under its new name, and end when it is gone', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    const gone: string[] = []
    await rig.settle(client.volumes.create('v', { sizeBytes: SEGMENT_BYTES }))
    const onFenced = (error: LemnisError): void => void gone.push(error.code)
    const reader = await rig.settle(client.open('v', { mode: 'read', onFenced }))
    await rig.settle(client.volumes.rename('v', 'w'))
    await rig.until('the new name', () => reader.info.name === 'w')
    rig.mds.remove('w')
    await rig.until('the end', () => gone.length > 0)
    expect(gone).toEqual(['NOT_FOUND'])
    expect(await rig.outcome(reader.read(0, 1))).toBe('NOT_FOUND')
  })
})

describe('commands', () => {
  it('are the calls of the MDS', async () => {
    const rig = await ClientRig.start()
    const { volumes } = await rig.client()
    const made = await rig.settle(volumes.create('v', { sizeBytes: MIB, iopsMax: 7 }))
    expect(made).toMatchObject({ name: 'v', sizeBytes: MIB, iopsMax: 7, stripeCount: 1 })
    expect((await rig.settle(volumes.list())).map(({ name }) => name)).toEqual(['v'])
    expect((await rig.settle(volumes.show('v'))).id).toBe(1)
    expect(await rig.outcome(volumes.show('w'))).toBe('NOT_FOUND')
  })

  it('go to the next MDS when one is not there or does not lead', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client({ mds: ['mds:9', 'mds:7400'] })
    await rig.settle(client.volumes.create('v', { sizeBytes: MIB }))
    rig.mds.failures.push({ call: 'volume.list', error: new LemnisError('NOT_LEADER') })
    expect(await rig.settle(client.volumes.list())).toHaveLength(1)
    expect(rig.mds.count('volume.create')).toBe(1)
  })

  it('that may have been executed are not repeated unless that does no harm', async () => {
    const rig = await ClientRig.start()
    const client = await rig.client()
    await rig.settle(client.volumes.list())
    rig.mds.isSilent = true
    expect(await rig.outcome(client.volumes.create('v', { sizeBytes: MIB }))).toBe(
      'DEADLINE_EXCEEDED',
    )
    expect(rig.mds.count('volume.create')).toBe(1)
    const fromMs = rig.nowMs
    expect(await rig.outcome(client.volumes.list())).toBe('DEADLINE_EXCEEDED')
    expect(rig.mds.count('volume.list')).toBeGreaterThan(2)
    expect(rig.nowMs - fromMs).toBeLessThan(9000)
  })
})
