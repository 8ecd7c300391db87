import { describe, expect, it } from 'vitest'
import { SEGMENT_BYTES } from '../format/chunk-request.ts'
import { type BenchResult, runBench, WORKLOADS } from './bench.ts'
import { ClientRig } from './testing/client-rig.ts'

const OP_BYTES = 4096

describe('the workload runner', () => {
  it.each(WORKLOADS)(
    'measures %s for as long as it should, with figures that agree',
    async (workload) => {
      const rig = await ClientRig.start()
      const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
      // Reads of a segment that is not there take no time at all.
      await rig.settle(volume.write(0, new Uint8Array(OP_BYTES)))
      const seconds: BenchResult[] = []
      const onProgress = (result: BenchResult): void => void seconds.push(result)
      const bench = { workload, opBytes: OP_BYTES, depth: 4, seconds: 2.5, onProgress }
      const fromMs = rig.nowMs
      const result = await rig.settle(runBench(rig.env('client1'), volume, bench))
      const { reads, writes } = result
      expect(Math.round((rig.nowMs - fromMs) / 100)).toBe(25)
      const stats = volume.stats()
      expect([reads.ops, writes.ops]).toEqual([stats.reads.count, stats.writes.count - 1])
      expect(reads.ops > 0).toBe(workload.includes('read') || workload === 'randrw')
      expect(writes.ops > 0).toBe(workload.includes('write') || workload === 'randrw')
      for (const side of [reads, writes].filter(({ ops }) => ops > 0)) {
        expect(side.iops).toBeCloseTo(side.ops / result.seconds, 6)
        expect(side.bytesPerSecond).toBeCloseTo(side.iops * OP_BYTES, 3)
        expect(side.p50Us).toBeGreaterThan(0)
        expect(side.p99Us).toBeLessThanOrEqual(side.maxUs)
      }
      expect(seconds).toHaveLength(2)
      const early = seconds.reduce((sum, s) => sum + s.reads.ops + s.writes.ops, 0)
      expect(early).toBeLessThan(reads.ops + writes.ops)
    },
  )

  it('goes through a range in order and again, and stays in it', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    const span = {
      workload: 'write',
      opBytes: OP_BYTES,
      depth: 1,
      spanBytes: 3 * OP_BYTES,
    } as const
    await rig.settle(runBench(rig.env('client1'), volume, { ...span, seconds: 0.05 }))
    const blocks = rig.chunks.applied.map(({ request }) => request.firstBlock)
    expect(blocks.length).toBeGreaterThan(6)
    expect(blocks).toEqual(blocks.map((_, i) => i % 3))
  })

  it('ends with the first error, and refuses what cannot run', async () => {
    const rig = await ClientRig.start()
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    const bench = { workload: 'randwrite', opBytes: OP_BYTES, depth: 4, seconds: 60 } as const
    const run = rig.outcome(runBench(rig.env('client1'), volume, bench))
    rig.chunks.faultOf = () => ({ kind: 'refused', code: 'CONFLICT' })
    expect(await run).toBe('CONFLICT')
    expect(rig.nowMs).toBeLessThan(60_000)
    const tooLarge = { ...bench, opBytes: 2 * SEGMENT_BYTES }
    expect(await rig.outcome(runBench(rig.env('client1'), volume, tooLarge))).toBe(
      'INVALID_ARGUMENT',
    )
  })
})
