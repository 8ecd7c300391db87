import { describe, expect, it } from 'vitest'
import { describeRecords } from '../../../test/contract/records.ts'
import { readVectors } from '../../../test/vectors.ts'
import {
  ChunkserverRecord,
  ClusterRecord,
  CopysetRecord,
  decodeOperator,
  EndedOperatorRecord,
  EndingRecord,
  OperatorRecord,
  PoolRecord,
} from './topology.ts'

const CHUNKSERVER: ChunkserverRecord = {
  id: 4,
  diskId: '0c6f6cbbd2f64d17',
  token: '6a09e667f3bcc908bb67ae8584caa73b',
  address: '10.0.0.4:8200',
  httpAddress: '10.0.0.4:8300',
  pool: 'default',
  zone: 'z1',
  server: 'host4',
  capacityBytes: 4_000_787_030_016,
  version: '0.1.0',
  registeredMs: 1_767_225_600_000,
}
const REPLACED: ChunkserverRecord = {
  ...CHUNKSERVER,
  id: 2,
  diskId: 'b7e151628aed2a6a',
  token: 'bf7158809cf4f3c762e7160f38b4da56',
  httpAddress: '',
  replacedBy: 4,
  retiredMs: 1_767_225_700_000,
}
const CLUSTER: ClusterRecord = {
  clusterId: '59d180e58d820a40e13afae9fcc7378f',
  nextChunkserver: 5,
  nextCopyset: 13,
  directoryVersion: 7,
  scrubMs: 1_767_225_600_000,
}
const SLOW: ChunkserverRecord = {
  ...CHUNKSERVER,
  draining: { sinceMs: 1_767_226_500_000, why: 'slow' },
  slow: { sinceMs: 1_767_225_600_000, why: 'latency', says: 'writes to its disk take 80.0 ms' },
}
const POOL: PoolRecord = {
  name: 'fast',
  replicas: 2,
  copysets: 6,
  createdMs: 1_767_225_600_000,
  zones: ['z1', 'z2'],
  removingMs: 1_767_225_700_000,
}
const ENDING: EndingRecord = { id: 12, pool: 'fast', chunkservers: [1, 3] }
/** Chunkserver 4 has taken the place of 2 with its second replica of this copyset. */
const COPYSET: CopysetRecord = {
  id: 12,
  pool: 'default',
  epoch: 5,
  voters: [4097, 12_289, 16_386],
  learners: [],
  founding: false,
  issued: [
    { chunkserver: 1, incarnation: 1, epoch: 1 },
    { chunkserver: 2, incarnation: 1, epoch: 1 },
    { chunkserver: 3, incarnation: 1, epoch: 1 },
    { chunkserver: 4, incarnation: 2, epoch: 1 },
  ],
}
const MOVE: OperatorRecord = {
  copyset: 12,
  why: 'offline',
  epoch: 1,
  sinceMs: 1_767_225_650_000,
  id: 31,
  kind: 'move',
  priority: 'high',
  limitMs: 1_800_000,
  from: 8193,
  to: 16_386,
}
const LEAD: OperatorRecord = {
  ...MOVE,
  why: 'leader-balance',
  id: 32,
  kind: 'lead',
  priority: 'low',
  limitMs: 60_000,
}
const ENDED: EndedOperatorRecord = {
  ...MOVE,
  state: 'failed',
  endedMs: 1_767_227_450_000,
  error: 'timeout',
}

describeRecords('topology', [
  ['cluster', ClusterRecord, CLUSTER],
  [
    'pool',
    PoolRecord,
    { name: 'default', replicas: 3, copysets: 12, createdMs: 1_767_225_600_000 },
  ],
  ['chunkserver', ChunkserverRecord, CHUNKSERVER],
  ['chunkserver-replaced', ChunkserverRecord, REPLACED],
  ['chunkserver-slow', ChunkserverRecord, SLOW],
  ['pool-removing', PoolRecord, POOL],
  ['ending', EndingRecord, ENDING],
  ['copyset', CopysetRecord, COPYSET],
  ['operator-move', OperatorRecord, MOVE],
  ['operator-lead', OperatorRecord, LEAD],
  ['operator-ended', EndedOperatorRecord, ENDED],
])

describe('records of topology', () => {
  const vectors = readVectors('metastore.txt')

  it('operators of format 1, which were all rebuilds, are read as such', () => {
    const value = vectors.get('operator') ?? 'no vector'
    const rebuild = { id: 0, kind: 'move', priority: 'high', limitMs: 1_800_000 }
    expect(decodeOperator({ key: 'k', value })).toEqual({ ...MOVE, ...rebuild })
    for (const name of ['operator-move', 'operator-lead'] as const) {
      const now = { key: 'k', value: vectors.get(name) ?? 'no vector' }
      expect(decodeOperator(now)).toEqual(name === 'operator-move' ? MOVE : LEAD)
    }
    for (let length = 0; length < value.length; length++) {
      const item = { key: 'some/key', value: value.slice(0, length) }
      expect(() => decodeOperator(item)).toThrow(/CORRUPT.*record=some\/key/)
    }
  })
})
