import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesEqual, concat, EMPTY, hexOf, viewOf } from '../base/bytes.ts'
import { crc32cPure } from '../base/crc32c.ts'
import { Prng } from '../base/prng.ts'
import { KIB, MIB } from '../base/units.ts'
import { ChunkStore } from '../chunkstore/chunk-store.ts'
import { chunkStoreConfig } from '../chunkstore/config.ts'
import type { Replica } from '../copyset/replica.ts'
import type { Machines } from '../copyset/state-machine.ts'
import { HostRig } from '../copyset/testing/host-rig.ts'
import type { Env } from '../env/env.ts'
import type { Network } from '../env/network.ts'
import { type ChunkOutcome, decodeChunkOutcome } from '../format/chunk-outcome.ts'
import {
  BLOCK_BYTES,
  type ChunkRequest,
  encodeChunkRequest,
  REQUEST_BLOCKS_MAX,
} from '../format/chunk-request.ts'
import { SILENT } from '../observe/observe.ts'
import { TRANSFER_END } from '../raft/snapshot.ts'
import { SimDisk } from '../sim/disk.ts'
import { InstantClock } from '../sim/disk-clock.ts'
import { type ChunkMachine, chunkMachines } from './chunk-machine.ts'

const GROUP = 7
const REPLICA = 4097
const MARK = new Uint8Array([1, 2, 3])

const WRITE: ChunkRequest = {
  op: 'write',
  group: GROUP,
  volume: 3,
  epoch: 2,
  sn: 1,
  chunk: 12,
  firstBlock: 0,
  blockCount: 1,
  term: 5,
  attempt: 0,
  crcs: [],
}

class Rig {
  readonly disk: SimDisk
  readonly machines: Machines
  readonly machine: ChunkMachine

  private constructor(disk: SimDisk, machines: Machines, machine: ChunkMachine) {
    this.disk = disk
    this.machines = machines
    this.machine = machine
  }

  static async open(disk = new SimDisk(new InstantClock(), new Prng(1))): Promise<Rig> {
    const clock = new InstantClock()
    const random = new Prng(1)
    const network = {} as Network
    const env: Env = { clock, random, disk: disk.mount(), network, crc32c: crc32cPure }
    // Far from anything that would write back by itself, so that time stands still.
    const config = chunkStoreConfig({ reserveBytes: 1 * MIB, dirtyAgeMs: 1e9 })
    const store = await ChunkStore.open(env, SILENT, 'chunks', config)
    const machines = chunkMachines(store)
    return new Rig(disk, machines, (await machines.open(GROUP, REPLICA)) as ChunkMachine)
  }

  /** Applies the next entry. */
  apply(data: Uint8Array): ChunkOutcome {
    const index = this.machine.appliedIndex + 1
    return decodeChunkOutcome(this.machine.apply({ term: 5, index, kind: 'data', data }))
  }

  async read(chunk: number, block: number): Promise<Uint8Array> {
    const read = await this.machine.chunks.read(chunk, 0, block, 1)
    if (read.status !== 'ok') throw new Error(read.status)
    return read.bytes.byteLength === 0 ? new Uint8Array(BLOCK_BYTES) : read.bytes
  }
}

/** An entry: the request, its checksums and its blocks, all of one value each. */
function entryOf(changes: Partial<ChunkRequest>, ...fills: readonly number[]): Uint8Array {
  const blocks = fills.map((fill) => new Uint8Array(BLOCK_BYTES).fill(fill))
  const crcs = blocks.map((block) => crc32cPure(block))
  const request = { ...WRITE, blockCount: Math.max(1, fills.length), crcs, ...changes }
  return concat([encodeChunkRequest(request), ...blocks])
}

describe('ChunkMachine', () => {
  it('applies writes and fences, and says what they gave', async () => {
    const rig = await Rig.open()
    expect(rig.apply(entryOf({}, 0x11))).toEqual({ code: null, epoch: 2, sn: 1 })
    expect(rig.apply(entryOf({ firstBlock: 9 }, 0x22, 0x33))).toMatchObject({ code: null })
    const fence = { op: 'fence', epoch: 3, blockCount: 0 } as const
    expect(rig.apply(entryOf(fence))).toMatchObject({ code: null, epoch: 3 })
    expect(rig.apply(entryOf({}, 0x44))).toMatchObject({ code: 'FENCED', epoch: 3 })
    rig.machine.skip(5)
    expect(rig.machine.appliedIndex).toBe(5)
    expect((await rig.read(12, 0))[4095]).toBe(0x11)
    expect((await rig.read(12, 10))[0]).toBe(0x33)
    expect((await rig.read(12, 11))[0]).toBe(0)
  })

  it('gives equal outcomes in equal bytes, which later ones leave alone', async () => {
    const rig = await Rig.open()
    const apply = (index: number, data: Uint8Array): Uint8Array =>
      rig.machine.apply({ term: 5, index, kind: 'data', data })
    const first = apply(1, entryOf({}, 1))
    const second = apply(2, entryOf({}, 2))
    const refused = apply(3, entryOf({ epoch: 1 }, 3))
    expect(hexOf(second)).toBe(hexOf(first))
    expect(decodeChunkOutcome(refused).code).toBe('FENCED')
    expect(decodeChunkOutcome(first)).toEqual({ code: null, epoch: 2, sn: 1 })
  })

  it('changes nothing by an entry that is none, and goes on behind it', async () => {
    const rig = await Rig.open()
    rig.apply(entryOf({}, 0x11))
    const before = await rig.machine.digest()
    const good = entryOf({}, 0x22)
    const wrong = [
      EMPTY,
      good.subarray(0, 40),
      good.subarray(0, good.byteLength - 1),
      concat([good, new Uint8Array(1)]),
      entryOf({ group: GROUP + 1 }, 0x22),
      entryOf({ op: 'read' }),
      new Uint8Array(200).fill(0xff),
    ]
    const beyond = good.slice()
    viewOf(beyond).setUint32(8 + 4, 0xffff_ffff, true)
    for (const data of [...wrong, beyond]) {
      expect(rig.apply(data)).toEqual({ code: 'INVALID_ARGUMENT', epoch: 0, sn: 0 })
    }
    expect(await rig.machine.digest()).toBe(before)
    expect(rig.machine.appliedIndex).toBe(2 + wrong.length)
    expect(rig.apply(good).code).toBe(null)
    expect((await rig.read(12, 0))[0]).toBe(0x22)
  })

  it('is the same on two replicas, whatever is in the log', async () => {
    const one = await Rig.open()
    const other = await Rig.open()
    const entry = fc.oneof(
      fc.uint8Array({ maxLength: 150 }),
      fc
        .record({
          op: fc.constantFrom('zero', 'fence', 'delete', 'delete-snapshot', 'forget', 'end-volume'),
          volume: fc.integer({ min: 1, max: 2 }),
          epoch: fc.integer({ min: 1, max: 3 }),
          sn: fc.integer({ min: 0, max: 3 }),
          chunk: fc.integer({ min: 1, max: 3 }),
          firstBlock: fc.nat(9),
        } as const)
        .map((changes) => entryOf(changes)),
      fc
        .record({
          op: fc.constantFrom('write', 'paste'),
          epoch: fc.integer({ min: 1, max: 3 }),
          sn: fc.integer({ min: 0, max: 3 }),
          chunk: fc.integer({ min: 1, max: 3 }),
          firstBlock: fc.nat(9),
          fill: fc.nat(255),
        } as const)
        .map(({ fill, ...changes }) => entryOf(changes, fill, fill ^ 1)),
    )
    const codes = new Set<string | null>()
    for (const data of fc.sample(entry, { numRuns: 400, seed: 3 })) {
      const outcome = one.apply(data)
      expect(other.apply(data)).toEqual(outcome)
      codes.add(outcome.code)
    }
    expect(codes).toContain(null)
    expect(codes).toContain('FENCED')
    expect(codes).toContain('INVALID_ARGUMENT')
    expect(await other.machine.digest()).toBe(await one.machine.digest())
  })

  it('comes back from its checkpoint, and is gone when it was removed', async () => {
    const rig = await Rig.open()
    for (let i = 0; i < 20; i++) rig.apply(entryOf({ chunk: 1 + (i % 3), firstBlock: i }, i + 1))
    const digest = await rig.machine.digest()
    await rig.machine.checkpoint(MARK)
    rig.apply(entryOf({ chunk: 1 }, 0x77))
    rig.disk.crash('power', 'lose')
    const again = await Rig.open(rig.disk)
    expect(again.machine.appliedIndex).toBe(20)
    expect(again.machine.mark).toEqual(MARK)
    expect(await again.machine.digest()).toBe(digest)
    expect((await again.read(1, 0))[0]).toBe(1)
    await again.machine.close()
    await again.machines.remove(GROUP, REPLICA)
    const anew = (await again.machines.open(GROUP, REPLICA)) as ChunkMachine
    expect([anew.appliedIndex, anew.mark.byteLength]).toEqual([0, 0])
  })

  it('sends a replica that is behind only the blocks that differ', async () => {
    const source = await Rig.open()
    const target = await Rig.open()
    const blocks = Array.from({ length: REQUEST_BLOCKS_MAX }, (_, i) => i % 251)
    for (const chunk of [1, 2]) {
      const data = entryOf({ chunk }, ...blocks)
      source.apply(data)
      target.apply(data)
    }
    source.apply(entryOf({ chunk: 2, firstBlock: 100 }, 0xee))
    const snapshot = source.machine.snapshot()
    const sink = await target.machine.receive(snapshot.index, snapshot.items)
    expect(sink.wanted.map(({ id }) => id)).toEqual([2])
    let bytesSent = 0
    for (const { id } of sink.wanted) {
      const have = await sink.have(id)
      for (let cursor = sink.resumeAt(id); cursor !== TRANSFER_END; ) {
        const { bytes, next } = await snapshot.read(id, cursor, 64 * 1024, have)
        await sink.write(id, cursor, bytes, next)
        bytesSent += bytes.byteLength
        cursor = next
      }
    }
    snapshot.close()
    await sink.finish(MARK)
    expect(bytesSent).toBeGreaterThan(BLOCK_BYTES)
    expect(bytesSent).toBeLessThan(2 * BLOCK_BYTES)
    expect(target.machine.appliedIndex).toBe(3)
    expect(await target.machine.digest()).toBe(await source.machine.digest())
    expect(bytesEqual(await target.read(2, 100), await source.read(2, 100))).toBe(true)
    expect((await target.read(2, 100))[0]).toBe(0xee)
  })
})

describe('a group of chunk machines', () => {
  it('brings a member back with only the blocks that it missed', async () => {
    const machinesOf = async (env: Env): Promise<Machines> => {
      const config = chunkStoreConfig({ reserveBytes: 1 * MIB })
      return chunkMachines(await ChunkStore.open(env, SILENT, 'chunks', config))
    }
    const settings = { checkpointBytes: 64 * KIB, entryBytesMax: 16 * KIB }
    const rig = new HostRig(3, settings, 1, machinesOf)
    const first = await rig.up([1, 2, 3])
    const write = async (chunk: number, firstBlock: number, fill: number): Promise<void> => {
      const data = entryOf({ chunk, firstBlock }, fill)
      const outcome = await rig.settle(rig.proposing(await rig.untilLeader(), data))
      if (typeof outcome === 'string') throw new Error(outcome)
      expect(decodeChunkOutcome(outcome).code).toBe(null)
    }
    // Its last checkpoint has chunk 2 and much of chunk 1.
    for (let i = 0; i < 60; i++) await write(i < 20 ? 2 : 1, i, i + 1)
    const behind = (first % 3) + 1
    rig.machine(behind).crash()
    // The same few blocks over and over, until the log has forgotten where the member stopped.
    for (let i = 0; i < 120; i++) await write(1, i % 4, 100 + (i % 100))
    await rig.start(behind)
    const leader = await rig.untilLeader()
    const ended = `h${leader} copyset_state_sent`
    await rig.until('the state to be sent', () => rig.events.includes(ended))
    const sent = rig.fields.get(ended)
    expect(sent?.['itemsSent']).toBe(1)
    expect(sent?.['bytesSent']).toBeLessThan(30 * BLOCK_BYTES)
    const last = rig.replica(leader)?.applied as number
    await rig.until('the rest', () => (rig.replica(behind)?.applied ?? 0) >= last)
    const digestOf = (host: number): Promise<number> =>
      rig.settle((rig.replica(host) as Replica).machine.digest())
    expect(await digestOf(behind)).toBe(await digestOf(leader))
  })
})
