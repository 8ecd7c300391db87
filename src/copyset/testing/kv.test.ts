import { describe, expect, it } from 'vitest'
import { vectorsOf } from '../../../test/vectors.ts'
import { bytesOfHex, EMPTY, hexOf, viewOf } from '../../base/bytes.ts'
import { crc32cPure } from '../../base/crc32c.ts'
import { LemnisError } from '../../base/errors.ts'
import { Prng } from '../../base/prng.ts'
import type { Env } from '../../env/env.ts'
import type { Network } from '../../env/network.ts'
import { type SnapshotSink, type SnapshotSource, TRANSFER_END } from '../../raft/snapshot.ts'
import type { Entry } from '../../raft/types.ts'
import { SimDisk } from '../../sim/disk.ts'
import { InstantClock } from '../../sim/disk-clock.ts'
import { KvMachine } from './kv.ts'
import { decodeBucket } from './kv-bucket.ts'
import {
  decodeCommand,
  decodeResult,
  encodeCommand,
  encodeResult,
  type KvCommand,
  type KvOp,
  type KvResult,
  RESULT_BYTES,
} from './kv-codec.ts'
import { kvMachines } from './kv-machines.ts'
import { decodeManifest, encodeManifest } from './kv-manifest.ts'

const clock = new InstantClock()
const DIRECTORY = 'kv'

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function envOf(disk: SimDisk): Env {
  return { clock, random: new Prng(1), disk, network: {} as Network, crc32c: crc32cPure }
}

function newDisk(seed = 1): SimDisk {
  return new SimDisk(clock, new Prng(seed))
}

function open(disk: SimDisk, bucketCount = 4): Promise<KvMachine> {
  return KvMachine.open(envOf(disk), DIRECTORY, { bucketCount })
}

interface Wish {
  op: KvOp
  key: string
  value?: string
  expected?: string | null
  client?: number
  sequence?: number
}

function entryOf(index: number, wish: Wish): Entry {
  const { op, key, value = '', client = 0, sequence = 0 } = wish
  const expected = typeof wish.expected === 'string' ? text(wish.expected) : null
  const command = { op, key: text(key), expected, value: text(value), client, sequence }
  return { term: 1, index, kind: 'data', data: encodeCommand(command) }
}

function run(machine: KvMachine, wish: Wish): KvResult {
  return decodeResult(machine.apply(entryOf(machine.appliedIndex + 1, wish)))
}

function valueOf(machine: KvMachine, key: string): string | null {
  const found = machine.read(key)
  return found === null ? null : new TextDecoder().decode(found.value)
}

/** A long list of wishes over a few keys, the same for the same seed. */
function wishes(count: number, seed: number): Wish[] {
  const random = new Prng(seed)
  return Array.from({ length: count }, (_, i) => ({
    op: random.pick(['put', 'put', 'cas', 'delete', 'get'] as const),
    key: `key${random.below(20)}`,
    value: `value${i}`,
    expected: random.chance(0.3) ? null : `value${random.below(count)}`,
    client: random.below(5),
    sequence: random.chance(0.5) ? i + 1 : 0,
  }))
}

const MARK = text('mark')

describe('key-value machine', () => {
  it('puts, gets, compares and deletes', async () => {
    const machine = await open(newDisk())
    expect(run(machine, { op: 'get', key: 'a' }).status).toBe('absent')
    expect(run(machine, { op: 'put', key: 'a', value: 'one' })).toMatchObject({
      status: 'done',
      index: 2,
    })
    const got = run(machine, { op: 'get', key: 'a' })
    expect(new TextDecoder().decode(got.value)).toBe('one')
    expect(got.index).toBe(2)
    const cas = (expected: string | null, value: string): string =>
      run(machine, { op: 'cas', key: 'a', expected, value }).status
    expect(cas('two', 'three')).toBe('mismatch')
    expect(cas(null, 'three')).toBe('mismatch')
    expect(cas('one', 'two')).toBe('done')
    expect(valueOf(machine, 'a')).toBe('two')
    expect(run(machine, { op: 'delete', key: 'a' }).status).toBe('done')
    expect(run(machine, { op: 'delete', key: 'a' }).status).toBe('absent')
    expect(valueOf(machine, 'a')).toBeNull()
    expect(cas(null, 'new')).toBe('done')
    expect(valueOf(machine, 'a')).toBe('new')
  })

  it('does a repeated command once, and says the same again', async () => {
    const machine = await open(newDisk())
    const first = { op: 'put', key: 'a', value: 'one', client: 7, sequence: 1 } as const
    const second = { op: 'put', key: 'a', value: 'two', client: 7, sequence: 2 } as const
    expect(run(machine, first)).toMatchObject({ status: 'done', index: 1 })
    expect(run(machine, first)).toMatchObject({ status: 'done', index: 1 })
    expect(run(machine, second)).toMatchObject({ status: 'done', index: 3 })
    expect(run(machine, first)).toMatchObject({ status: 'superseded' })
    expect(valueOf(machine, 'a')).toBe('two')
    expect(run(machine, { ...first, client: 8 })).toMatchObject({ status: 'done', index: 5 })
  })

  it('takes any bytes as an entry', async () => {
    const machine = await open(newDisk())
    const random = new Prng(3)
    const good = entryOf(1, { op: 'put', key: 'k', value: 'v' }).data
    for (let index = 1; index <= 2000; index++) {
      const data = good.slice(0, random.between(0, good.byteLength))
      if (data.byteLength > 0) data[random.below(data.byteLength)] = random.below(256)
      expect(machine.apply({ term: 1, index, kind: 'data', data }).byteLength).toBeGreaterThan(0)
    }
    expect(machine.appliedIndex).toBe(2000)
  })

  it('does not keep a whole frame for a small value, nor copies a big one', async () => {
    const machine = await open(newDisk())
    const frame = new Uint8Array(100_000)
    const small = entryOf(1, { op: 'put', key: 'small', value: 'x'.repeat(100) }).data
    frame.set(small)
    machine.apply({ term: 1, index: 1, kind: 'data', data: frame.subarray(0, small.byteLength) })
    const big = entryOf(2, { op: 'put', key: 'big', value: 'x'.repeat(4096) }).data
    machine.apply({ term: 1, index: 2, kind: 'data', data: big })
    expect(machine.read('small')?.value.buffer.byteLength).toBe(100)
    expect(machine.read('big')?.value.buffer).toBe(big.buffer)
  })

  it('comes back as its checkpoint was, whatever was applied while that ran', async () => {
    const disk = newDisk()
    const machine = await open(disk)
    for (const wish of wishes(200, 1)) run(machine, wish)
    const digest = await machine.digest()
    const done = machine.checkpoint(MARK)
    for (const wish of wishes(50, 2)) run(machine, wish)
    await done
    expect(await machine.digest()).not.toBe(digest)
    expect(machine.mark).toEqual(MARK)
    const again = await open(disk)
    expect(again.appliedIndex).toBe(200)
    expect(await again.digest()).toBe(digest)
    expect(again.mark).toEqual(MARK)
    for (const [i, wish] of wishes(50, 2).entries()) again.apply(entryOf(201 + i, wish))
    expect(await again.digest()).toBe(await machine.digest())
  })

  it('writes only what changed, and leaves no old files', async () => {
    const disk = newDisk()
    const machine = await open(disk, 16)
    for (const wish of wishes(200, 1)) run(machine, wish)
    await machine.checkpoint(MARK)
    const before = await disk.list(DIRECTORY)
    run(machine, { op: 'put', key: 'key1', value: 'other' })
    const events = disk.record()
    const writesBefore = events.filter((event) => event.kind === 'write').length
    await machine.checkpoint(MARK)
    expect(events.filter((event) => event.kind === 'write').length - writesBefore).toBe(2)
    const after = await disk.list(DIRECTORY)
    expect(after.length).toBe(before.length)
    expect(after.filter((name) => name.startsWith('manifest'))).toEqual(['manifest-2'])
  })

  it('has one digest for equal states, however they came about', async () => {
    const all = wishes(300, 4)
    const one = await open(newDisk())
    for (const wish of all) run(one, wish)
    const disk = newDisk()
    let other = await open(disk)
    for (const [i, wish] of all.entries()) {
      other.apply(entryOf(i + 1, wish))
      if (i % 60 === 59) {
        await other.checkpoint(MARK)
        other = await open(disk)
      }
    }
    expect(await other.digest()).toBe(await one.digest())
    run(other, { op: 'put', key: 'z', value: 'z' })
    one.skip(one.appliedIndex + 1)
    expect(await other.digest()).not.toBe(await one.digest())
  })

  it('fails on a full disk without harm, and succeeds when there is room', async () => {
    const disk = newDisk()
    const machine = await open(disk)
    for (const wish of wishes(100, 1)) run(machine, wish)
    disk.faults.capacityBytes = 8192
    await expect(machine.checkpoint(MARK)).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(await disk.list(DIRECTORY)).toEqual([])
    disk.faults.capacityBytes = Number.MAX_SAFE_INTEGER
    await machine.checkpoint(MARK)
    expect(await (await open(disk)).digest()).toBe(await machine.digest())
  })

  it('refuses a damaged state and another number of buckets', async () => {
    const disk = newDisk()
    const machine = await open(disk)
    for (const wish of wishes(100, 1)) run(machine, wish)
    await machine.checkpoint(MARK)
    await expect(open(disk, 8)).rejects.toMatchObject({ code: 'CORRUPT' })
    for (const name of await disk.list(DIRECTORY)) {
      const path = `${DIRECTORY}/${name}`
      const file = await disk.open(path)
      const bytes = await file.sizeBytes()
      for (let at = 0; at < bytes; at += 13) {
        disk.flip(path, at, at % 8)
        await expect(open(disk)).rejects.toMatchObject({ code: 'CORRUPT' })
        disk.flip(path, at, at % 8)
      }
    }
    expect(await (await open(disk)).digest()).toBe(await machine.digest())
  })

  it('is removed with everything of it, also while it is damaged', async () => {
    const disk = newDisk()
    const machines = kvMachines(envOf(disk), DIRECTORY)
    const machine = (await machines.open(3, 7)) as KvMachine
    run(machine, { op: 'put', key: 'a', value: 'b' })
    await machine.checkpoint(MARK)
    await machine.close()
    disk.flip(`${DIRECTORY}/3-7/manifest-1`, 3)
    await expect(machines.open(3, 7)).rejects.toMatchObject({ code: 'CORRUPT' })
    await machines.remove(3, 7)
    expect((await machines.open(3, 7)).appliedIndex).toBe(0)
  })
})

describe('a crash in a checkpoint', () => {
  it('leaves the old or the new state at every prefix and every tear', async () => {
    const disk = newDisk()
    const events = disk.record()
    const machine = await open(disk)
    for (const wish of wishes(40, 1)) run(machine, wish)
    await machine.checkpoint(text('first'))
    const digests = new Map([['first', await machine.digest()]])
    const firstEvents = events.length
    for (const wish of wishes(40, 2)) run(machine, wish)
    digests.set('second', await machine.digest())
    await machine.checkpoint(text('second'))
    let olds = 0
    let news = 0
    for (let count = firstEvents; count <= events.length; count++) {
      const next = events[count]
      const sectors = next?.kind === 'write' ? Math.ceil(next.data.byteLength / 512) + 1 : 1
      for (let torn = 0; torn < sectors; torn++) {
        for (const choice of ['lose', 'keep', new Prng(count)] as const) {
          const image = SimDisk.replay(clock, new Prng(1), events, count)
          if (torn > 0 && next?.kind === 'write') image.tearInto(next, (s) => s !== torn - 1)
          image.crash('power', choice)
          const after = await open(image)
          const mark = new TextDecoder().decode(after.mark)
          expect(await after.digest()).toBe(digests.get(mark))
          expect(after.appliedIndex).toBe(mark === 'first' ? 40 : 80)
          if (mark === 'first') olds++
          else news++
          // It goes on from there.
          run(after, { op: 'put', key: 'more', value: 'x' })
          await after.checkpoint(text('third'))
          expect(await (await open(image)).digest()).toBe(await after.digest())
        }
      }
    }
    expect(olds).toBeGreaterThan(10)
    expect(news).toBeGreaterThan(3)
  })
})

/** Sends what the sink wants in pieces, until `piecesMax` have been sent. */
async function transfer(
  source: SnapshotSource,
  sink: SnapshotSink,
  pieceBytes: number,
  piecesMax = Number.POSITIVE_INFINITY,
): Promise<number> {
  let pieces = 0
  for (const item of sink.wanted) {
    const have = await sink.have(item.id)
    for (let cursor = sink.resumeAt(item.id); cursor !== TRANSFER_END; pieces++) {
      if (pieces === piecesMax) return pieces
      const { bytes, next } = await source.read(item.id, cursor, pieceBytes, have)
      await sink.write(item.id, cursor, bytes, next)
      cursor = next
    }
  }
  return pieces
}

async function leaderAndFollower(): Promise<[KvMachine, KvMachine, SimDisk]> {
  const leader = await open(newDisk())
  const disk = newDisk()
  const follower = await open(disk)
  const all = wishes(300, 8)
  for (const [i, wish] of all.entries()) {
    leader.apply(entryOf(i + 1, wish))
    if (i < 100) follower.apply(entryOf(i + 1, wish))
  }
  return [leader, follower, disk]
}

describe('a snapshot of the key-value machine', () => {
  it('is exact at its index, though the source goes on', async () => {
    const [leader, follower, disk] = await leaderAndFollower()
    const digest = await leader.digest()
    const source = leader.snapshot()
    const sink = await follower.receive(source.index, source.items)
    await transfer(source, sink, 100, 3)
    for (const wish of wishes(100, 9)) run(leader, wish)
    // The receiver applies what still commits meanwhile.
    follower.apply(entryOf(101, wishes(300, 8)[100] as Wish))
    const rest = await follower.receive(source.index, source.items)
    await transfer(source, rest, 100)
    await rest.finish(MARK)
    source.close()
    expect(follower.appliedIndex).toBe(300)
    expect(await follower.digest()).toBe(digest)
    expect(follower.mark).toEqual(MARK)
    for (const [i, wish] of wishes(100, 9).entries()) follower.apply(entryOf(301 + i, wish))
    expect(await follower.digest()).toBe(await leader.digest())
    expect(await (await open(disk)).digest()).toBe(digest)
  })

  it('wants only what differs', async () => {
    const [leader, follower] = await leaderAndFollower()
    const first = leader.snapshot()
    const sink = await follower.receive(first.index, first.items)
    await transfer(first, sink, 4096)
    await sink.finish(MARK)
    run(leader, { op: 'put', key: 'key3', value: 'changed' })
    const second = leader.snapshot()
    const small = await follower.receive(second.index, second.items)
    expect(small.wanted.length).toBe(1)
    await transfer(second, small, 4096)
    await small.finish(MARK)
    expect(await follower.digest()).toBe(await leader.digest())
    const nothing = await follower.receive(second.index + 1, second.items)
    expect(nothing.wanted).toEqual([])
    await nothing.finish(MARK)
    expect(follower.appliedIndex).toBe(second.index + 1)
  })

  it('goes on after a crash at every piece, and shows nothing before the end', async () => {
    const pieces = await (async () => {
      const [leader, follower] = await leaderAndFollower()
      const source = leader.snapshot()
      return transfer(source, await follower.receive(source.index, source.items), 100)
    })()
    for (let cut = 0; cut <= pieces; cut++) {
      for (const kind of ['process', 'power'] as const) {
        const [leader, follower, disk] = await leaderAndFollower()
        await follower.checkpoint(text('old'))
        const old = await follower.digest()
        const source = leader.snapshot()
        await transfer(source, await follower.receive(source.index, source.items), 100, cut)
        disk.crash(kind, new Prng(cut))
        const again = await open(disk)
        expect(await again.digest()).toBe(old)
        const left = await receiveAll(source, again)
        expect(await again.digest()).toBe(await leader.digest())
        if (kind === 'process') expect(left).toBeLessThanOrEqual(pieces - cut + source.items.length)
      }
    }
  })

  it('keeps its files when a checkpoint is asked for while it is made ready', async () => {
    let overlaps = 0
    for (let lead = 0; lead < 150; lead++) {
      const [leader, follower, disk] = await leaderAndFollower()
      const source = leader.snapshot()
      const sink = await follower.receive(source.index, source.items)
      await transfer(source, sink, 1000)
      const finishing = sink.finish(text('new'))
      for (let i = 0; i < lead; i++) await Promise.resolve()
      // Too late is said at once: the state is being replaced.
      const checkpointing = Promise.resolve().then(() => follower.checkpoint(text('old')))
      const [outcome] = await Promise.allSettled([checkpointing, finishing])
      if (outcome.status === 'fulfilled') overlaps++
      disk.crash('power', 'lose')
      const after = await open(disk)
      expect(new TextDecoder().decode(after.mark)).toBe('new')
      expect(await after.digest()).toBe(await leader.digest())
    }
    expect(overlaps).toBeGreaterThan(10)
  })

  it('is all old or all new after a crash in finish()', async () => {
    const [leader, , disk] = await leaderAndFollower()
    const events = disk.record()
    const follower = await open(disk)
    await follower.checkpoint(text('old'))
    const old = await follower.digest()
    const source = leader.snapshot()
    const sink = await follower.receive(source.index, source.items)
    await transfer(source, sink, 1000)
    const before = events.length
    await sink.finish(text('new'))
    let news = 0
    for (let count = before; count <= events.length; count++) {
      for (const choice of ['lose', 'keep', new Prng(count)] as const) {
        const image = SimDisk.replay(clock, new Prng(1), events, count)
        image.crash('power', choice)
        const after = await open(image)
        const isNew = new TextDecoder().decode(after.mark) === 'new'
        expect(await after.digest()).toBe(isNew ? await leader.digest() : old)
        if (isNew) news++
        await receiveAll(source, after)
        expect(await after.digest()).toBe(await leader.digest())
      }
    }
    expect(news).toBeGreaterThan(3)
  })

  it('refuses holes, strangers, too much and too little; takes repetitions', async () => {
    const [leader, follower] = await leaderAndFollower()
    const source = leader.snapshot()
    const sink = await follower.receive(source.index, source.items)
    const item = sink.wanted[0]
    if (item === undefined) throw new Error('nothing wanted')
    const { bytes: piece, next } = await source.read(item.id, 0, 50, EMPTY)
    expect([piece.byteLength, next]).toEqual([50, 50])
    await sink.write(item.id, 0, piece, 50)
    await sink.write(item.id, 0, piece, 50)
    await sink.write(item.id, 10, piece.subarray(10), 50)
    const refuses = async (id: number, at: number, bytes: Uint8Array, end: number): Promise<void> =>
      expect(sink.write(id, at, bytes, end)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await refuses(item.id, 60, piece, 110)
    await refuses(99, 0, piece, 50)
    await refuses(item.id, 50, new Uint8Array(item.bytes), TRANSFER_END)
    await refuses(item.id, 50, new Uint8Array(item.bytes), 50 + item.bytes)
    await refuses(item.id, 50, piece, 60)
    await refuses(item.id, 50, piece, TRANSFER_END)
    await expect(sink.finish(MARK)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await sink.abort()
    await refuses(item.id, 50, piece, 100)
    const bad = [{ id: 4, version: 1, bytes: 1 }]
    await expect(follower.receive(400, bad)).rejects.toMatchObject({ code: 'CORRUPT' })
    await expect(source.read(77, 0, 1, EMPTY)).rejects.toBeInstanceOf(LemnisError)
  })

  it('finds bytes that were damaged on the way, and takes them anew', async () => {
    const [leader, follower] = await leaderAndFollower()
    const source = leader.snapshot()
    const sink = await follower.receive(source.index, source.items)
    const damaged: SnapshotSource = {
      ...source,
      read: async (id, at, bytesMax, have) => {
        const good = await source.read(id, at, bytesMax, have)
        const { bytes } = good
        if (at === 0 && id === sink.wanted[1]?.id) bytes[40] = (bytes[40] as number) ^ 1
        return good
      },
    }
    await transfer(damaged, sink, 1000)
    const before = await follower.digest()
    await expect(sink.finish(MARK)).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(await follower.digest()).toBe(before)
    await receiveAll(source, follower)
    expect(await follower.digest()).toBe(await leader.digest())
  })
})

/** A transfer that tries again after CORRUPT, as a leader does; the pieces of the last attempt. */
async function receiveAll(source: SnapshotSource, machine: KvMachine): Promise<number> {
  for (let tries = 0; tries < 10; tries++) {
    const sink = await machine.receive(source.index, source.items)
    const pieces = await transfer(source, sink, 100)
    try {
      await sink.finish(MARK)
      return pieces
    } catch (error) {
      if (!(error instanceof LemnisError) || error.code !== 'CORRUPT') throw error
    }
  }
  throw new Error('never whole')
}

describe('the bytes of the key-value machine', () => {
  interface CommandText {
    readonly op: KvOp
    readonly key: string
    readonly expected: string | null
    readonly value: string
    readonly client: number
    readonly sequence: number
  }

  const commandOf = (fields: CommandText): KvCommand => ({
    ...fields,
    key: text(fields.key),
    expected: fields.expected === null ? null : text(fields.expected),
    value: text(fields.value),
  })
  const vector = (what: string): Uint8Array =>
    vectorsOf('kv.txt', what)[0]?.bytes ?? new Uint8Array(0)

  it('has commands and results as ever', () => {
    const commands = vectorsOf<CommandText>('kv.txt', 'command')
    expect(commands.length).toBe(2)
    for (const { fields, bytes } of commands) {
      expect(hexOf(encodeCommand(commandOf(fields)))).toBe(hexOf(bytes))
      expect(decodeCommand(bytes)).toEqual(commandOf(fields))
      for (let n = 0; n < bytes.byteLength; n++)
        expect(decodeCommand(bytes.subarray(0, n))).toBeNull()
    }
    const result = vector('result')
    expect(hexOf(encodeResult('done', 7, text('two')))).toBe(hexOf(result))
    expect(decodeResult(result)).toEqual({ status: 'done', index: 7, value: text('two') })
    for (let n = 0; n < RESULT_BYTES; n++) {
      expect(() => decodeResult(result.subarray(0, n))).toThrow('CORRUPT')
    }
    const put = {
      op: 'put',
      key: text('b'),
      expected: null,
      value: text('x'),
      client: 1,
      sequence: 1,
    } as const
    expect(() => encodeCommand({ ...put, key: text('') })).toThrow('INVALID_ARGUMENT')
    expect(() => encodeCommand({ ...put, key: new Uint8Array(2000) })).toThrow('INVALID_ARGUMENT')
  })

  it('has files as ever', async () => {
    const disk = newDisk()
    const machine = await open(disk, 1)
    run(machine, { op: 'put', key: 'b', value: 'two', client: 9, sequence: 4 })
    run(machine, { op: 'put', key: 'a', value: 'one' })
    await machine.checkpoint(bytesOfHex('0102'))
    const read = async (name: string): Promise<string> => {
      const file = await disk.open(`${DIRECTORY}/${name}`)
      const bytes = new Uint8Array(await file.sizeBytes())
      await file.read(bytes, 0)
      return hexOf(bytes)
    }
    expect(await read('bucket-0-1')).toBe(hexOf(vector('bucket')))
    expect(await read('manifest-1')).toBe(hexOf(vector('manifest')))
    const bucket = decodeBucket(vector('bucket'), 0, 1, crc32cPure)
    expect(hexOf(bucket.encode(0, 1, crc32cPure))).toBe(hexOf(vector('bucket')))
    const manifest = decodeManifest(vector('manifest'), crc32cPure)
    expect(hexOf(encodeManifest(manifest, crc32cPure))).toBe(hexOf(vector('manifest')))
  })

  it('takes no part of a file for a whole', () => {
    const bucket = vector('bucket')
    for (let n = 0; n < bucket.byteLength; n++) {
      expect(() => decodeBucket(bucket.subarray(0, n), 0, 1, crc32cPure)).toThrow('CORRUPT')
    }
    const manifest = vector('manifest')
    for (let n = 0; n < manifest.byteLength; n++) {
      expect(() => decodeManifest(manifest.subarray(0, n), crc32cPure)).toThrow('CORRUPT')
    }
  })

  it('takes no bucket whose checksum holds but whose parts do not', () => {
    const good = vector('bucket')
    for (let at = 0; at < good.byteLength - 4; at++) {
      for (const change of [1, 0x80]) {
        const bad = good.slice()
        bad[at] = (bad[at] as number) ^ change
        viewOf(bad).setUint32(bad.byteLength - 4, crc32cPure(bad.subarray(0, -4)), true)
        try {
          const bucket = decodeBucket(bad, 0, 1, crc32cPure)
          expect(bucket.bytes).toBe(bad.byteLength)
        } catch (error) {
          expect((error as LemnisError).code).toBe('CORRUPT')
        }
      }
    }
  })
})
