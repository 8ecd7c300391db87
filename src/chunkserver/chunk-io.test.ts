import { describe, expect, it } from 'vitest'
import { bytesEqual } from '../base/bytes.ts'
import { MIB } from '../base/units.ts'
import { decodeCopysetLeader, decodeExtents, encodeGroup } from '../format/chunk-replies.ts'
import { BLOCK_BYTES, encodeChunkRequest } from '../format/chunk-request.ts'
import { METHODS } from '../format/methods.ts'
import { blocks, CHUNK, ChunkRig, GROUP } from './testing/chunk-rig.ts'

describe('chunk calls', () => {
  it('give back what was written, one block or many, and zeros where nothing was', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    expect((await rig.write(blocks(7))).code).toBe('ok')
    expect((await rig.write(blocks(50, 5), { firstBlock: 4091 })).code).toBe('ok')
    expect((await rig.read()).payload).toEqual(blocks(7))
    const tail = await rig.read({ firstBlock: 4090, blockCount: 6 })
    expect(tail.payload.subarray(0, BLOCK_BYTES)).toEqual(new Uint8Array(BLOCK_BYTES))
    expect(tail.payload.subarray(BLOCK_BYTES)).toEqual(blocks(50, 5))
    const empty = await rig.read({ chunk: CHUNK + 1, blockCount: 256 })
    expect(empty).toMatchObject({ code: 'ok', payload: new Uint8Array(0) })
  })

  it('zero, list extents, and forget a deleted chunk', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    await rig.write(blocks(1, 8))
    expect((await rig.change({ op: 'zero', firstBlock: 2, blockCount: 3 })).code).toBe('ok')
    const whole = rig.request(leader, { op: 'read', blockCount: 4096 })
    const extents = await rig.ask(leader, METHODS.CHUNK_EXTENTS, encodeChunkRequest(whole))
    expect(decodeExtents(extents.body)).toEqual([
      { firstBlock: 0, blockCount: 2 },
      { firstBlock: 5, blockCount: 3 },
    ])
    expect((await rig.change({ op: 'delete', blockCount: 0 })).code).toBe('ok')
    expect((await rig.read({ blockCount: 8 })).payload.byteLength).toBe(0)
  })

  it('tell who leads, at any member, and refuse at the others and in other terms', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    const follower = (leader % 3) + 1
    const term = rig.term(leader)
    const asked = await rig.ask(follower, METHODS.COPYSET_LEADER, encodeGroup(GROUP))
    expect(decodeCopysetLeader(asked.body)).toEqual({ leader, term })
    const data = blocks(1)
    const body = encodeChunkRequest(rig.request(leader, {}, data))
    const refused = await rig.ask(follower, METHODS.CHUNK_WRITE, body, data)
    expect(refused).toMatchObject({ code: 'NOT_LEADER', detail: { leader, term } })
    for (const wrong of [0, term - 1, term + 1]) {
      expect(await rig.write(data, { term: wrong })).toMatchObject({
        code: 'NOT_LEADER',
        detail: { leader, term },
      })
    }
    expect((await rig.read()).payload.byteLength).toBe(0)
    const nowhere = await rig.ask(leader, METHODS.COPYSET_LEADER, encodeGroup(1234))
    expect(nowhere.code).toBe('NO_SUCH_GROUP')
  })

  it('refuse an attempt that was overtaken, and nothing of it is applied', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    expect((await rig.write(blocks(1), { attempt: 1 })).code).toBe('ok')
    expect(await rig.write(blocks(2), { attempt: 0 })).toMatchObject({
      code: 'STALE_ATTEMPT',
      detail: { attempt: 1 },
    })
    const zero = await rig.change({ op: 'zero', attempt: 0 })
    expect(zero.code).toBe('STALE_ATTEMPT')
    expect((await rig.read()).payload).toEqual(blocks(1))
    expect((await rig.write(blocks(3), { volume: 2, attempt: 0 })).code).toBe('ok')
  })

  it('fence an older writer: by a write, by a fence, by a read', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    await rig.write(blocks(1), { epoch: 3 })
    expect(await rig.write(blocks(2), { epoch: 2 })).toMatchObject({
      code: 'FENCED',
      detail: { epoch: 3 },
    })
    expect((await rig.change({ op: 'fence', epoch: 5, blockCount: 0 })).code).toBe('ok')
    expect((await rig.write(blocks(2), { epoch: 3 })).code).toBe('FENCED')
    expect((await rig.read({ epoch: 8 })).payload).toEqual(blocks(1))
    expect((await rig.write(blocks(2), { epoch: 5 })).code).toBe('FENCED')
    expect((await rig.read({ epoch: 7 })).code).toBe('FENCED')
    expect((await rig.read({ epoch: 0 })).payload).toEqual(blocks(1))
    expect((await rig.write(blocks(9), { epoch: 8 })).code).toBe('ok')
  })

  it('keep a snapshot’s generation, refuse writes of an older one, and read no clone yet', async () => {
    const rig = new ChunkRig(3)
    await rig.up()
    await rig.write(blocks(1), { sn: 1 })
    expect((await rig.write(blocks(2), { sn: 2 })).code).toBe('ok')
    expect((await rig.read({ sn: 1 })).payload).toEqual(blocks(1))
    expect((await rig.read()).payload).toEqual(blocks(2))
    expect(await rig.write(blocks(3), { sn: 1 })).toMatchObject({
      code: 'STALE_SEQUENCE',
      detail: { sn: 2 },
    })
    expect((await rig.read({ sn: 1, chunk: CHUNK + 1 })).code).toBe('NOT_FOUND')
    const source = new TextEncoder().encode('somewhere')
    const clone = { op: 'create-clone', chunk: CHUNK + 2, blockCount: 0 } as const
    expect((await rig.change(clone, source)).code).toBe('ok')
    expect((await rig.read({ chunk: CHUNK + 2 })).code).toBe('CONFLICT')
    const paste = { op: 'paste', chunk: CHUNK + 2 } as const
    expect((await rig.change(paste, blocks(8))).code).toBe('ok')
    expect((await rig.read({ chunk: CHUNK + 2 })).payload).toEqual(blocks(8))
  })

  it('refuse what is malformed, and what does not match its checksums', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    const data = blocks(1, 2)
    const good = rig.request(leader, {}, data)
    const crcs = [good.crcs[0] as number, 1]
    const bad: [number, Uint8Array, Uint8Array][] = [
      [METHODS.CHUNK_WRITE, encodeChunkRequest({ ...good, crcs }), data],
      [METHODS.CHUNK_WRITE, encodeChunkRequest(good), data.subarray(1)],
      [METHODS.CHUNK_WRITE, encodeChunkRequest(rig.request(leader, { crcs: [5] })), blocks(1)],
      [METHODS.CHUNK_WRITE, new Uint8Array(5), data],
      [METHODS.CHUNK_CHANGE, encodeChunkRequest(good), data],
      [METHODS.CHUNK_CHANGE, encodeChunkRequest(rig.request(leader, { op: 'zero' })), data],
      [METHODS.CHUNK_READ, encodeChunkRequest(good), data],
      [
        METHODS.CHUNK_READ,
        encodeChunkRequest(rig.request(leader, { op: 'read', blockCount: 257 })),
        data,
      ],
      [METHODS.COPYSET_LEADER, new Uint8Array(3), data],
    ]
    for (const [method, body, payload] of bad) {
      expect((await rig.ask(leader, method, body, payload)).code).toBe('INVALID_ARGUMENT')
    }
    expect((await rig.read({ blockCount: 2 })).payload.byteLength).toBe(0)
  })

  it('answer in order of the log when many are under way', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    const answers = Array.from({ length: 64 }, (_, i) => rig.writing(leader, blocks(i)))
    const codes = (await rig.settle(Promise.all(answers))).map(({ code }) => code)
    expect(new Set(codes)).toEqual(new Set(['ok']))
    expect((await rig.read()).payload).toEqual(blocks(63))
  })

  it('are refused, not queued, past the bounds, and go on after', async () => {
    const rig = new ChunkRig(3, {
      config: { readBytesMax: MIB },
      host: { proposalBytesMax: 2 * MIB, uncommittedBytesMax: 2 * MIB },
    })
    const leader = await rig.up()
    const data = blocks(1, 256)
    const writes = Array.from({ length: 5 }, () => rig.writing(leader, data))
    const written = (await rig.settle(Promise.all(writes))).map(({ code }) => code)
    expect(new Set(written)).toEqual(new Set(['ok', 'OVERLOADED']))
    const read = encodeChunkRequest(rig.request(leader, { op: 'read', blockCount: 256 }))
    const reads = Array.from({ length: 3 }, () => rig.asking(leader, METHODS.CHUNK_READ, read))
    const answers = await rig.settle(Promise.all(reads))
    expect(new Set(answers.map(({ code }) => code))).toEqual(new Set(['ok', 'OVERLOADED']))
    const hint = answers.find(({ code }) => code === 'OVERLOADED')?.detail['hintMs']
    expect(hint).toBeGreaterThan(0)
    expect(bytesEqual((await rig.read({ blockCount: 256 })).payload, data)).toBe(true)
  })

  it('keep to the limits of a volume', async () => {
    const rig = new ChunkRig(3, { config: { qosBurstMs: 100 } })
    const leader = await rig.up()
    rig.mds.limits = [{ volume: 1, iopsMax: 100, bytesPerSecondMax: 0 }]
    const beats = rig.mds.heartbeats
    await rig.until('the limits', () => rig.mds.heartbeats > beats + 6)
    const data = blocks(1)
    const writes = Array.from({ length: 40 }, () => rig.writing(leader, data))
    const codes = (await rig.settle(Promise.all(writes))).map(({ code }) => code)
    const accepted = codes.filter((code) => code === 'ok').length
    expect(accepted).toBeGreaterThanOrEqual(10)
    expect(accepted).toBeLessThan(20)
    expect((await rig.write(data, { volume: 2 })).code).toBe('ok')
  })

  it('go to no new places beside a follower without room', async () => {
    const rig = new ChunkRig(3)
    const leader = await rig.up()
    expect((await rig.write(blocks(1, 4))).code).toBe('ok')
    const told = async (full: number[]): Promise<void> => {
      rig.mds.full = full
      const beats = rig.mds.heartbeats
      await rig.until('the news', () => rig.mds.heartbeats > beats + 6)
    }
    await told([(leader % 3) + 1])
    expect((await rig.write(blocks(9), { firstBlock: 100 })).code).toBe('NO_SPACE')
    expect((await rig.write(blocks(2, 4))).code).toBe('ok')
    expect((await rig.change({ op: 'zero', firstBlock: 0, blockCount: 2 })).code).toBe('ok')
    await told([17])
    expect((await rig.write(blocks(9), { firstBlock: 100 })).code).toBe('ok')
    expect((await rig.read({ firstBlock: 100 })).payload).toEqual(blocks(9))
  })

  it('survive the death of the leader and the loss of all power', async () => {
    const rig = new ChunkRig(3)
    const first = await rig.up()
    await rig.write(blocks(1, 16))
    rig.machine(first).crash()
    expect((await rig.write(blocks(40, 2), { firstBlock: 4 })).code).toBe('ok')
    await rig.start(first)
    for (const machine of rig.machines) machine.powerLoss()
    for (const n of [1, 2, 3]) await rig.start(n)
    const { payload } = await rig.read({ blockCount: 16 })
    const expected = blocks(1, 16)
    expected.set(blocks(40, 2), 4 * BLOCK_BYTES)
    expect(payload).toEqual(expected)
  })

  it('refuse new chunks on a full disk, take overwrites, and go on when there is room', async () => {
    const rig = new ChunkRig(3, { store: { capacityBytes: 20 * MIB } })
    await rig.up()
    const codes: string[] = []
    for (let i = 0; i < 24; i++) {
      codes.push((await rig.write(blocks(i, 256), { chunk: CHUNK + i })).code)
    }
    expect(codes.slice(0, 8).every((code) => code === 'ok')).toBe(true)
    expect(codes.at(-1)).toBe('NO_SPACE')
    expect((await rig.write(blocks(99, 256))).code).toBe('ok')
    const read = await rig.read({ blockCount: 256 })
    expect(bytesEqual(read.payload, blocks(99, 256))).toBe(true)
    await rig.until('the report', () => rig.mds.reports.get(1)?.disk.state === 'full')
    expect(rig.server(1).health().reasons).toHaveLength(1)
    await rig.run(2000)
    expect(
      rig
        .server(1)
        .waits()
        .map(({ what }) => what),
    ).toHaveLength(1)
    for (const [i, code] of codes.entries()) {
      if (code === 'ok') await rig.change({ op: 'delete', chunk: CHUNK + i, blockCount: 0 })
    }
    await rig.until('room', () =>
      [1, 2, 3].every((n) => rig.server(n).store.usage().state === 'ok'),
    )
    expect((await rig.write(blocks(5, 256), { chunk: CHUNK + 30 })).code).toBe('ok')
    expect(rig.server(1).waits()).toEqual([])
  })
})
