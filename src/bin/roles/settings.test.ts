import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytesSetting, durationSetting } from '../../base/config.ts'
import { readSettings, settingsHelp, variableOf } from './settings.ts'

const TABLES = {
  raftlog: { segmentBytes: bytesSetting(64, 'Size.'), waitMs: durationSetting(5, 'Wait.') },
  rpc: { waitMs: durationSetting(7, 'Wait.') },
}

let directory: string
let file: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'lemnis-settings-'))
  file = join(directory, 'config.json')
  writeFileSync(file, '{"raftlog": {"segmentBytes": "1KiB", "waitMs": "1s"}}')
})
afterAll(() => rmSync(directory, { recursive: true }))

describe('readSettings', () => {
  it('has the defaults', () => {
    expect(readSettings(TABLES, { set: [] }, {})).toEqual({
      raftlog: { segmentBytes: 64, waitMs: 5 },
      rpc: { waitMs: 7 },
    })
  })

  it('prefers the file to them, the environment to the file, and flags to all', () => {
    const environment = { LEMNIS_RAFTLOG_WAIT_MS: '2s', LEMNIS_RPC_WAIT_MS: '3s', OTHER: 'x' }
    const settings = readSettings(TABLES, { config: file, set: ['rpc.waitMs=4s'] }, environment)
    expect(settings).toEqual({
      raftlog: { segmentBytes: 1024, waitMs: 2000 },
      rpc: { waitMs: 4000 },
    })
  })

  it('refuses what it does not know or can not read, and says which', () => {
    const read = (flag: string) => () => readSettings(TABLES, { set: [flag] }, {})
    expect(read('rpc.segmentBytes=1KiB')).toThrow(/segmentBytes/)
    expect(read('disk.segmentBytes=1KiB')).toThrow(/disk.segmentBytes.*raftlog, rpc/)
    expect(read('rpc.waitMs')).toThrow(/table.setting=value/)
    expect(read('rpc.waitMs=soon')).toThrow(/waitMs.*soon/)
    const missing = { set: [], config: join(directory, 'none.json') }
    expect(() => readSettings(TABLES, missing, {})).toThrow(/none.json/)
  })

  it('is explained with every setting', () => {
    expect(variableOf('raftlog', 'segmentBytes')).toBe('LEMNIS_RAFTLOG_SEGMENT_BYTES')
    expect(settingsHelp(TABLES)).toMatch(/raftlog\.segmentBytes\s+64B\s+Size\./)
  })
})
