// What a replica remembers of volumes: fences, and which volumes are gone, as a plain set has it; and
// that a write that comes when its volume is long gone makes nothing, wherever the replica's state came from.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { TRANSFER_END } from '../raft/snapshot.ts'
import { makeRig } from '../sim/disk-rig.ts'
import type { ReplicaChunks } from './replica-chunks.ts'
import {
  applyTo,
  entryOf,
  GROUP,
  type LogEntry,
  markOf,
  openStore,
  REPLICA,
  writeOf,
} from './testing/chunk-rig.ts'
import { GONE, VOLUME_BYTES, Volumes } from './volumes.ts'

const VOLUMES = 40

/** Rows as they are written: volume, epoch, sn. */
function encodedRows(rows: readonly (readonly [number, number, number])[]): Uint8Array {
  const bytes = new Uint8Array(rows.length * VOLUME_BYTES)
  const view = new DataView(bytes.buffer)
  for (const [i, row] of rows.entries()) {
    for (const [j, value] of row.entries()) view.setUint32(24 * i + 8 * j, value, true)
  }
  return bytes
}

describe('volumes', () => {
  it('are fenced and gone as a plain set says, also when they were written down', () => {
    const volume = fc.integer({ min: 1, max: VOLUMES })
    const step = fc.oneof(
      fc.record({ kind: fc.constant('raise' as const), volume, by: fc.nat(3) }),
      fc.record({ kind: fc.constant('end' as const), volume, by: fc.nat(4) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let volumes = new Volumes()
        const epochs = new Map<number, number>()
        const gone = new Set<number>()
        for (const [i, { kind, volume, by }] of steps.entries()) {
          if (kind === 'end') {
            for (let id = volume; id <= volume + by; id++) gone.add(id)
            volumes.end(volume, volume + by, i + 1)
          } else if (!gone.has(volume)) {
            const epoch = (epochs.get(volume) ?? 0) + by + 1
            epochs.set(volume, epoch)
            volumes.raise(volume, epoch, by, i + 1)
          }
          if (i % 3 === 0) volumes = Volumes.decode(volumes.encode(), volumes.version)
          for (let id = 1; id <= VOLUMES + 5; id++) {
            const { epoch } = volumes.fenceOf(id)
            expect(epoch).toBe(gone.has(id) ? GONE.epoch : (epochs.get(id) ?? 0))
          }
        }
        const starts = [...gone].filter((id) => !gone.has(id - 1)).length
        const fences = [...epochs.keys()].filter((id) => !gone.has(id)).length
        expect(volumes.encode().byteLength).toBe((starts + fences) * VOLUME_BYTES)
      }),
    )
  })

  it('are the same whatever ended first, and unchanged by what ends again', () => {
    const [one, other] = [new Volumes(), new Volumes()]
    for (const [first, last] of [
      [4, 6],
      [1, 2],
      [3, 3],
      [9, 9],
    ] as const) {
      one.end(first, last, 5)
    }
    other.end(9, 9, 5)
    other.end(1, 6, 5)
    other.end(2, 4, 8)
    expect(other.encode()).toEqual(one.encode())
    expect(one.encode()).toEqual(
      encodedRows([
        [1, 0, 6],
        [9, 0, 9],
      ]),
    )
    expect(other.version).toBe(5)
  })

  it('of impossible content are refused', () => {
    const wrong: (readonly (readonly [number, number, number])[])[] = [
      [[5, 0, 4]],
      [
        [1, 0, 3],
        [4, 0, 5],
      ],
      [
        [1, 0, 9],
        [9, 0, 12],
      ],
    ]
    for (const rows of wrong) {
      expect(() => Volumes.decode(encodedRows(rows), 1)).toThrow(LemnisError)
    }
    expect(() => Volumes.decode(new Uint8Array(VOLUME_BYTES - 1), 1)).toThrow('CORRUPT')
  })
})

/** The life of volume 3, up to where everybody has forgotten it. */
const LIFE: readonly LogEntry[] = [
  writeOf(1, 0, [11, 12], { volume: 3, epoch: 2, chunk: 7 }),
  entryOf(2, 'delete', { volume: 3, epoch: 4, chunk: 7 }),
  entryOf(3, 'end-volume', { volume: 3, epoch: 4, chunk: 2, sn: 3 }),
]

function expectGone(replica: ReplicaChunks): void {
  let index = replica.appliedIndex
  const late = [
    writeOf(0, 0, [13], { volume: 3, epoch: 2, chunk: 7 }),
    writeOf(0, 0, [14], { volume: 3, epoch: GONE.epoch, chunk: 7 }),
    writeOf(0, 0, [15], { volume: 2, epoch: 1, chunk: 8 }),
    entryOf(0, 'create-clone', { volume: 3, epoch: 9, chunk: 7 }),
    entryOf(0, 'fence', { volume: 3, epoch: 9, chunk: 0 }),
    entryOf(0, 'forget', { volume: 3, epoch: 9, chunk: 0 }),
  ]
  for (const entry of late) {
    const outcome = applyTo(replica, { ...entry, index: ++index })
    expect([entry.request.op, outcome.code]).toEqual([entry.request.op, 'FENCED'])
  }
  // Its end, and that of its chunks, may come again.
  for (const entry of LIFE.slice(1)) {
    expect(applyTo(replica, { ...entry, index: ++index }).code).toBeNull()
  }
  expect(replica.usage()).toEqual({ chunks: 0, usedBytes: 0 })
  expect(replica.epochOf(1)).toBe(0)
  expect(replica.epochOf(4)).toBe(0)
  const living = writeOf(++index, 0, [16], { volume: 4, epoch: 1, chunk: 9 })
  expect(applyTo(replica, living)).toEqual({ code: null, epoch: 1, sn: 1 })
}

describe('a volume that is gone', () => {
  it('gets nothing any more from a writer that slept', async () => {
    const store = await openStore(makeRig())
    const replica = await store.openReplica(GROUP, REPLICA)
    for (const entry of LIFE) expect(applyTo(replica, entry).code).toBeNull()
    expectGone(replica)
  })

  it('stays gone after power was lost', async () => {
    const rig = makeRig()
    const replica = await (await openStore(rig)).openReplica(GROUP, REPLICA)
    for (const entry of LIFE) applyTo(replica, entry)
    await replica.checkpoint(markOf(3))
    rig.disk.crash('power', 'lose')
    const again = await (await openStore(rig)).openReplica(GROUP, REPLICA)
    expect(again.appliedIndex).toBe(3)
    expectGone(again)
  })

  it('stays gone where the state of another replica came in', async () => {
    const from = await (await openStore(makeRig(1))).openReplica(GROUP, REPLICA)
    for (const entry of LIFE) applyTo(from, entry)
    const to = await (await openStore(makeRig(2))).openReplica(GROUP, REPLICA + 1)
    const source = from.snapshot()
    const sink = await to.receive(source.index, source.items)
    for (const { id } of sink.wanted) {
      for (let cursor = sink.resumeAt(id); cursor !== TRANSFER_END; ) {
        const { bytes, next } = await source.read(id, cursor, 9, await sink.have(id))
        await sink.write(id, cursor, bytes, next)
        cursor = next
      }
    }
    await sink.finish(markOf(source.index))
    source.close()
    expect(await to.digest()).toBe(await from.digest())
    expectGone(to)
  })

  it('is not ended by a range that it is not in, nor a writer fenced without an epoch', async () => {
    const replica = await (await openStore(makeRig())).openReplica(GROUP, REPLICA)
    const wrong = [
      entryOf(1, 'end-volume', { volume: 3, chunk: 4, sn: 9 }),
      entryOf(2, 'end-volume', { volume: 3, chunk: 1, sn: 2 }),
      entryOf(3, 'end-volume', { volume: 3, chunk: 0, sn: 3 }),
      entryOf(4, 'fence', { volume: 9, epoch: 0, sn: 12, chunk: 0 }),
    ]
    for (const entry of wrong) expect(applyTo(replica, entry).code).toBe('INVALID_ARGUMENT')
    expect(applyTo(replica, writeOf(5, 0, [1], { volume: 3 })).code).toBeNull()
  })
})
