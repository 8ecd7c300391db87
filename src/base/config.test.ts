import { describe, expect, it } from 'vitest'
import {
  bytesSetting,
  countSetting,
  describeConfig,
  durationSetting,
  makeConfig,
  readConfig,
  textSetting,
} from './config.ts'
import { MIB } from './units.ts'

const TABLE = {
  heartbeatIntervalMs: durationSetting(1000, 'Gap between heartbeats.'),
  electionTimeoutMs: durationSetting(5000, 'Silence after which a follower campaigns.'),
  segmentBytes: bytesSetting(8 * MIB, 'Size of a log segment.'),
  groupsMax: countSetting(1000, 'Groups on one disk.'),
  dataDirectory: textSetting('/var/lib/lemnis', 'Where the data is.'),
}
const RELATIONS = [
  {
    holds: (c: { electionTimeoutMs: number; heartbeatIntervalMs: number }) =>
      c.electionTimeoutMs >= 3 * c.heartbeatIntervalMs,
    says: 'electionTimeoutMs must be at least 3 heartbeats',
  },
]

function refusal(given: Record<string, string>): string {
  try {
    readConfig(TABLE, given, RELATIONS)
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}

describe('config', () => {
  it('takes defaults, and texts where given, and is frozen', () => {
    const config = readConfig(TABLE, { segmentBytes: '64MiB', groupsMax: '7', dataDirectory: '/d' })
    expect(config).toEqual({
      heartbeatIntervalMs: 1000,
      electionTimeoutMs: 5000,
      segmentBytes: 64 * MIB,
      groupsMax: 7,
      dataDirectory: '/d',
    })
    expect(Object.isFrozen(config)).toBe(true)
    // The type follows the table: this line would not compile otherwise.
    const bytes: number = config.segmentBytes
    expect(bytes).toBe(64 * MIB)
  })

  it('refuses unknown names, bad values and broken relations with the reason', () => {
    expect(refusal({ segmentSize: '1MiB' })).toContain('setting=segmentSize, reason=unknown')
    expect(refusal({ constructor: '1' })).toContain('setting=constructor, reason=unknown')
    expect(refusal({ segmentBytes: '64' })).toContain('setting=segmentBytes, value=64')
    expect(refusal({ segmentBytes: '64' })).toContain('expected=a number and one of B, KiB')
    expect(refusal({ groupsMax: '-1' })).toContain('expected=a whole number')
    expect(refusal({ groupsMax: '1e3' })).toContain('expected=a whole number')
    expect(refusal({ electionTimeoutMs: '2s' })).toContain('at least 3 heartbeats')
    expect(refusal({ electionTimeoutMs: '3s' })).toBe('accepted')
  })

  it('checks values from code like values from outside', () => {
    expect(makeConfig(TABLE, { groupsMax: 3 }, RELATIONS).groupsMax).toBe(3)
    expect(() => makeConfig(TABLE, { electionTimeoutMs: 1 }, RELATIONS)).toThrow('3 heartbeats')
  })

  it('describes each setting by a default that can be given back', () => {
    const rows = describeConfig(TABLE)
    expect(rows[2]).toEqual({
      name: 'segmentBytes',
      fallback: '8MiB',
      doc: 'Size of a log segment.',
    })
    const given = Object.fromEntries(rows.map((row) => [row.name, row.fallback]))
    expect(readConfig(TABLE, given)).toEqual(makeConfig(TABLE))
  })
})
