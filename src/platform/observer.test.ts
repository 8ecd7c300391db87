import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EVENTS } from '../observe/catalogue.ts'
import { Log } from './log.ts'
import { Metrics } from './metrics.ts'
import { NodeObserver } from './observer.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lemnis-log-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** The lines of a log file, as soon as there are `count`. */
async function linesOf(path: string, count: number): Promise<Record<string, unknown>[]> {
  for (;;) {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    if (lines.length >= count) return lines.map((line) => JSON.parse(line))
    await pause(1)
  }
}

describe('Log', () => {
  it('writes one JSON line an event, with its level, sentence, fields and whose it is', async () => {
    const path = join(directory, 'log')
    const log = new Log({ path, about: { role: 'chunkserver' } })
    log.emit('raftlog_poisoned', { level: 'mine', bytes: 4096 })
    const [line] = await linesOf(path, 1)
    expect(line).toMatchObject({
      level: 'error',
      event: 'raftlog_poisoned',
      role: 'chunkserver',
      pid: process.pid,
      msg: EVENTS.raftlog_poisoned.says,
      fields: { level: 'mine', bytes: 4096 },
    })
    expect(Number.isNaN(Date.parse(line?.['time'] as string))).toBe(false)
  })

  it('leaves out what is below its level, which can change while it runs', async () => {
    const path = join(directory, 'log')
    const log = new Log({ path, level: 'warn' })
    log.emit('rpc_connected', {})
    log.emit('raftlog_tail_cut', {})
    log.setLevel('debug')
    log.emit('raftlog_segment_purged', {})
    expect((await linesOf(path, 2)).map((line) => line['event'])).toEqual([
      'raftlog_tail_cut',
      'raftlog_segment_purged',
    ])
  })
})

describe('NodeObserver', () => {
  it('logs and counts events, and passes metrics on', async () => {
    const path = join(directory, 'log')
    const metrics = new Metrics()
    const observer = new NodeObserver(new Log({ path, level: 'error' }), metrics)
    observer.emit('rpc_connected', { peer: 'a' })
    observer.emit('raftlog_corrupt', { segment: 3 })
    observer.counter('raftlog_batches_total').add(4)
    observer.histogram('rpc_call_seconds').record(0.001)
    observer.gauge('rpc_connections', () => 2)
    expect((await linesOf(path, 1)).map((line) => line['event'])).toEqual(['raftlog_corrupt'])
    const text = await metrics.text()
    expect(text).toContain('lemnis_events_total{event="rpc_connected"} 1')
    expect(text).toContain('lemnis_events_total{event="raftlog_corrupt"} 1')
    expect(text).toContain('\nlemnis_raftlog_batches_total 4\n')
    expect(text).toContain('lemnis_rpc_call_seconds_count 1')
    expect(text).toContain('\nlemnis_rpc_connections 2\n')
  })

  it('counts lines that did not get out', async () => {
    const log = new Log({ path: '/dev/full' })
    const metrics = new Metrics()
    const observer = new NodeObserver(log, metrics)
    const count = log.onTrouble
    const failed = new Promise<void>((resolve) => {
      log.onTrouble = (trouble) => {
        count(trouble)
        resolve()
      }
    })
    observer.emit('raftlog_poisoned', {})
    await failed
    expect(await metrics.text()).toContain('lemnis_log_troubles_total{trouble="write-failed"} 1')
  })
})
