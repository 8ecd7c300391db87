import { describe, expect, it } from 'vitest'
import { describeRecords } from '../../../test/contract/records.ts'
import { LemnisError } from '../../base/errors.ts'
import { without } from '../../base/without.ts'
import { OwnerRecord } from './owner.ts'
import { decodeRecord } from './record.ts'
import { SegmentRecord, SerialsRecord, VolumeRecord } from './volume.ts'

const GROUPS = Array.from({ length: 64 }, (_, i) => (i % 3) + 1)
const VOLUME: VolumeRecord = {
  id: 7,
  name: 'db-1',
  pool: 'default',
  sizeBytes: 10_737_418_240,
  stripeUnitBytes: 65_536,
  stripeCount: 4,
  iopsMax: 500,
  bytesPerSecondMax: 0,
  state: 'ready',
  sn: 1,
  epoch: 3,
  createdMs: 1_767_225_600_000,
  holder: { client: 'c0ffee00', address: '10.0.0.9:4711', sinceMs: 1_767_225_601_000 },
}
const DELETING: VolumeRecord = {
  ...without(VOLUME, 'holder'),
  state: 'deleting',
  epoch: 5,
  deletedMs: 1_767_225_602_000,
  expiresMs: 1_767_830_402_000,
  cleanedSegments: 2,
}

describeRecords('owner and volumes', [
  [
    'owner',
    OwnerRecord,
    { format: 1, life: 4, name: '127.0.0.1:7400', sinceMs: 1_767_225_600_000 },
  ],
  ['volume', VolumeRecord, VOLUME],
  ['volume-deleting', VolumeRecord, DELETING],
  ['segment', SegmentRecord, { firstChunk: 65, groups: GROUPS }],
  ['serials', SerialsRecord, { volume: 8, segment: 2 }],
])

describe('records of the metadata store', () => {
  it('of a newer version may say more, and of none less or otherwise', () => {
    const decode = (value: object): unknown =>
      decodeRecord(VolumeRecord, { key: 'k', value: JSON.stringify(value) })
    expect(decode({ ...VOLUME, colour: 'blue' })).toMatchObject(VOLUME)
    const wrong = [
      without(VOLUME, 'epoch'),
      { ...VOLUME, epoch: -1 },
      { ...VOLUME, id: 0 },
      { ...VOLUME, name: '' },
    ]
    for (const value of [...wrong, { ...VOLUME, epoch: 2 ** 53 }, { ...VOLUME, state: 'lost' }]) {
      expect(() => decode(value)).toThrow(LemnisError)
    }
    for (const groups of [GROUPS.slice(1), [...GROUPS, 1]]) {
      const value = JSON.stringify({ firstChunk: 1, groups })
      expect(() => decodeRecord(SegmentRecord, { key: 'k', value })).toThrow(/CORRUPT/)
    }
  })
})
