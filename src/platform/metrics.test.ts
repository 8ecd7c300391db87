import { describe, expect, it } from 'vitest'
import { InvariantError } from '../base/assert.ts'
import { Metrics } from './metrics.ts'

describe('Metrics', () => {
  it('writes counters, with their label, and forgets nothing between two looks', async () => {
    const metrics = new Metrics()
    const frames = metrics.counter('rpc_frames_sent_total')
    expect(metrics.counter('rpc_frames_sent_total')).toBe(frames)
    frames.add(2)
    metrics.counter('rpc_calls_failed_total', 'CLOSED').add(1)
    expect(await metrics.text()).toContain('\nlemnis_rpc_frames_sent_total 2\n')
    frames.add(3)
    const text = await metrics.text()
    expect(text).toContain('# HELP lemnis_rpc_frames_sent_total Frames sent.')
    expect(text).toContain('# TYPE lemnis_rpc_frames_sent_total counter')
    expect(text).toContain('\nlemnis_rpc_frames_sent_total 5\n')
    expect(text).toContain('\nlemnis_rpc_calls_failed_total{code="CLOSED"} 1\n')
    expect(text).not.toContain('rpc_frames_received_total')
    expect(metrics.contentType).toContain('text/plain')
  })

  it('tells what the process takes, as it is at each look', async () => {
    const metrics = new Metrics()
    const cpu = async (): Promise<number> =>
      Number(/^process_cpu_seconds_total (\S+)$/m.exec(await metrics.text())?.[1])
    const first = await cpu()
    expect(first).toBeGreaterThan(0)
    expect(await cpu()).toBeGreaterThanOrEqual(first)
    expect(await metrics.text()).toMatch(/^process_resident_memory_bytes \d{7,}$/m)
  })

  it('refuses a label where the catalogue has none, and none where it has one', () => {
    const metrics = new Metrics()
    expect(() => metrics.counter('rpc_frames_sent_total', 'x')).toThrow(InvariantError)
    expect(() => metrics.counter('rpc_calls_failed_total')).toThrow(InvariantError)
  })

  it('keeps the number of series bounded whatever labels are made up', async () => {
    const metrics = new Metrics()
    for (let i = 0; i < 1000; i++) metrics.counter('rpc_calls_failed_total', `code${i}`).add(1)
    metrics.counter('rpc_calls_failed_total', 'code7').add(1)
    const series = (await metrics.text()).match(/^lemnis_rpc_calls_failed_total\{.*/gm) ?? []
    expect(series).toHaveLength(257)
    expect(series).toContain('lemnis_rpc_calls_failed_total{code="code7"} 2')
    expect(series).toContain('lemnis_rpc_calls_failed_total{code="other"} 744')
  })

  it('sorts timings into buckets of seconds', async () => {
    const metrics = new Metrics()
    const append = metrics.histogram('raftlog_append_seconds')
    append.record(0.00007)
    append.record(0.3)
    append.record(99)
    const text = await metrics.text()
    expect(text).toContain('lemnis_raftlog_append_seconds_bucket{le="0.00005"} 0')
    expect(text).toContain('lemnis_raftlog_append_seconds_bucket{le="0.0001"} 1')
    expect(text).toContain('lemnis_raftlog_append_seconds_bucket{le="10"} 2')
    expect(text).toContain('lemnis_raftlog_append_seconds_bucket{le="+Inf"} 3')
    expect(text).toContain('lemnis_raftlog_append_seconds_count 3')
  })

  it('keeps timings of one metric apart by its label, and shows none without any', async () => {
    const metrics = new Metrics()
    const call = (method: string) => metrics.histogram('rpc_server_seconds', method)
    call('chunk.read')
    for (const seconds of [0.001, 0.002, 20]) call('chunk.write').record(seconds)
    expect(call('chunk.write')).toBe(call('chunk.write'))
    const text = await metrics.text()
    expect(text).toContain('# TYPE lemnis_rpc_server_seconds histogram')
    // A value that is its bound is below it.
    expect(text).toContain('lemnis_rpc_server_seconds_bucket{le="0.001",method="chunk.write"} 1')
    expect(text).toContain('lemnis_rpc_server_seconds_bucket{le="10",method="chunk.write"} 2')
    expect(text).toContain('lemnis_rpc_server_seconds_bucket{le="+Inf",method="chunk.write"} 3')
    expect(text).toContain('lemnis_rpc_server_seconds_sum{method="chunk.write"} 20.003')
    expect(text).toContain('lemnis_rpc_server_seconds_count{method="chunk.write"} 3')
    expect(text).not.toContain('chunk.read')
  })

  it('reads gauges when somebody looks and adds up those of one name', async () => {
    const metrics = new Metrics()
    let segments = 1
    metrics.gauge('raftlog_segments', () => segments)
    metrics.gauge('raftlog_segments', () => 10)
    expect(await metrics.text()).toContain('\nlemnis_raftlog_segments 11\n')
    segments = 5
    expect(await metrics.text()).toContain('\nlemnis_raftlog_segments 15\n')
  })
})
