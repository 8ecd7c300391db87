import { describe, expect, it } from 'vitest'
import type { Clock } from '../env/clock.ts'
import { NO_SCRUB } from '../format/control/parts.ts'
import { type Heartbeat, Reports } from './reports.ts'

const LIMITS = { onlineMs: 30_000, offlineMs: 600_000 }

function makeRig() {
  let nowMs = 1_000_000
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    after: () => ({ cancel: () => {} }),
    soon: (fire) => fire(),
  }
  const reports = new Reports(clock, LIMITS)
  const pass = (ms: number): void => {
    nowMs += ms
  }
  return { reports, pass }
}

const HEARTBEAT: Heartbeat = {
  id: 1,
  token: 't',
  address: 'a:1',
  complete: true,
  replicas: [],
  disk: {
    capacityBytes: 1,
    usedBytes: 0,
    state: 'ok',
    errors: 0,
    badBlocks: 0,
    repairedBlocks: 0,
    writeP99Us: 0,
  },
  io: { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 },
  scrub: NO_SCRUB,
  directoryVersion: 0,
}

describe('a chunkserver', () => {
  it('that registers is online before its first heartbeat', () => {
    const { reports, pass } = makeRig()
    expect(reports.presenceOf(1)).toBe('unstable')
    pass(20_000)
    reports.registered(1)
    expect(reports.presenceOf(1)).toBe('online')
  })

  it('that starts over and over, and never gets to a heartbeat, is offline in the end', () => {
    const { reports, pass } = makeRig()
    reports.heard(HEARTBEAT, new Map())
    for (let ms = 0; ms < LIMITS.offlineMs; ms += 5000) {
      pass(5000)
      reports.registered(1)
    }
    expect(reports.presenceOf(1)).toBe('offline')
    reports.registered(2)
    for (let ms = 0; ms < LIMITS.offlineMs; ms += 5000) {
      pass(5000)
      reports.registered(2)
    }
    expect(reports.presenceOf(2)).toBe('offline')
    reports.heard(HEARTBEAT, new Map())
    expect(reports.presenceOf(1)).toBe('online')
  })
})
