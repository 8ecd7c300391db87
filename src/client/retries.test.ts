import { describe, expect, it } from 'vitest'
import { LemnisError } from '../base/errors.ts'
import { BLOCK_BYTES, CHUNK_BYTES, SEGMENT_BYTES } from '../format/chunk-request.ts'
import type { OpenOptions } from './client.ts'
import { CHUNKSERVERS, ClientRig } from './testing/client-rig.ts'
import { appliedOf, type Fault, lastOf, NO_FAULT } from './testing/scripted-chunks.ts'
import type { Volume } from './volume.ts'

/** Chunk 0 of a volume's first segment lies in group 1, which chunkserver 1 leads. */
const GROUP = 1

function block(fill: number): Uint8Array {
  return new Uint8Array(BLOCK_BYTES).fill(fill)
}

async function opened(
  options: OpenOptions = {},
): Promise<{ rig: ClientRig; volume: Volume; fillOf: () => Promise<number | undefined> }> {
  const rig = await ClientRig.start()
  const volume = await rig.volume(await rig.client(), SEGMENT_BYTES, options)
  await rig.settle(volume.write(0, block(1)))
  const fillOf = async (): Promise<number | undefined> =>
    (await rig.settle(volume.read(0, BLOCK_BYTES)))[0]
  return { rig, volume, fillOf }
}

/** Those of the writes with `fill` in order meet these faults; everything else none. */
function faultsOf(rig: ClientRig, op: string, faults: readonly Fault[]): void {
  const left = [...faults]
  rig.chunks.faultOf = (request) => (request.op === op ? (left.shift() ?? NO_FAULT) : NO_FAULT)
}

describe('a write that was given up', () => {
  it('is repeated with a higher attempt, and changes nothing when it gets through at last', async () => {
    const { rig, volume, fillOf } = await opened()
    faultsOf(rig, 'write', [{ kind: 'stuck', ms: 3000 }])
    await rig.settle(volume.write(0, block(2)))
    await rig.settle(volume.write(0, block(3)))
    const attempts = appliedOf(rig.chunks, 'write').map(({ attempt }) => attempt)
    expect(attempts).toEqual([0, 1, 1])
    await rig.run(5000)
    expect(appliedOf(rig.chunks, 'write')).toHaveLength(3)
    expect(await fillOf()).toBe(3)
  })

  it('would be applied late by a chunkserver that does not look at attempts', async () => {
    const { rig, volume, fillOf } = await opened()
    rig.chunks.ignoresAttempts = true
    faultsOf(rig, 'write', [{ kind: 'stuck', ms: 3000 }])
    await rig.settle(volume.write(0, block(2)))
    await rig.settle(volume.write(0, block(3)))
    await rig.run(5000)
    expect(await fillOf()).toBe(2)
  })

  it('takes the others of its copyset along to the new attempt', async () => {
    const { rig, volume } = await opened()
    const stuck: Fault = { kind: 'stuck', ms: 1500 }
    // The second is sent before the first is given up, and gets through after its repetition.
    faultsOf(rig, 'write', [{ kind: 'unanswered' }, stuck])
    const first = volume.write(BLOCK_BYTES, block(2))
    await rig.run(600)
    await rig.settle(Promise.all([first, volume.write(2 * BLOCK_BYTES, block(3))]))
    const last = lastOf(appliedOf(rig.chunks, 'write'))
    expect(last).toMatchObject({ firstBlock: 2, attempt: 1 })
    expect(volume.stats().retries).toBe(2)
  })

  it('by its caller is as dead as one that was repeated', async () => {
    const { rig, volume, fillOf } = await opened({ onNoQuorumMs: 1500 })
    faultsOf(rig, 'write', [
      { kind: 'stuck', ms: 4000 },
      { kind: 'stuck', ms: 4000 },
    ])
    expect(await rig.outcome(volume.write(0, block(2)))).toBe('DEADLINE_EXCEEDED')
    await rig.settle(volume.write(0, block(3)))
    await rig.run(6000)
    expect(await fillOf()).toBe(3)
  })

  it('is sent again with its bytes as they are, should their owner have changed them', async () => {
    const { rig, volume, fillOf } = await opened()
    faultsOf(rig, 'write', [{ kind: 'unanswered' }])
    const bytes = block(2)
    const write = volume.write(0, bytes)
    await rig.run(500)
    bytes.fill(9)
    await rig.settle(write)
    expect(await fillOf()).toBe(9)
  })
})

describe('changes that overlap', () => {
  it('are sent one after the other, also when the first has to be repeated', async () => {
    const { rig, volume, fillOf } = await opened()
    faultsOf(rig, 'write', [{ kind: 'unanswered' }, { kind: 'unanswered' }])
    const writes = [2, 3, 4].map((fill) => volume.write(0, block(fill)))
    const zero = volume.discard(BLOCK_BYTES - 1, 1)
    await rig.run(900)
    expect(rig.chunks.arrived.get('write')).toBe(2)
    await rig.settle(Promise.all([...writes, zero]))
    expect(await fillOf()).toBe(4)
    const read = await rig.settle(volume.read(0, BLOCK_BYTES))
    expect([read[BLOCK_BYTES - 2], read[BLOCK_BYTES - 1]]).toEqual([4, 0])
  })

  it('let others pass', async () => {
    const { rig, volume } = await opened()
    faultsOf(rig, 'write', [{ kind: 'unanswered' }])
    const slow = volume.write(0, block(2))
    const fromMs = rig.nowMs
    await rig.settle(volume.write(BLOCK_BYTES, block(3)))
    expect(rig.nowMs - fromMs).toBeLessThan(100)
    await rig.settle(slow)
  })
})

describe('a change of the leader', () => {
  it('is followed from the refusal, without asking anybody', async () => {
    const { rig, volume, fillOf } = await opened()
    const asked = [...rig.chunks.asked.values()].reduce((sum, n) => sum + n, 0)
    rig.chunks.elect(GROUP, 2)
    await rig.settle(volume.write(0, block(2)))
    expect(lastOf(rig.chunks.applied)).toMatchObject({ chunkserver: 2, request: { term: 2 } })
    expect([...rig.chunks.asked.values()].reduce((sum, n) => sum + n, 0)).toBe(asked)
    // The same leader in a new term.
    rig.chunks.elect(GROUP, 2)
    expect(await fillOf()).toBe(1 + 1)
    expect(lastOf(rig.chunks.applied).request.term).toBe(3)
  })

  it('after the death of its process is over soon after the election', async () => {
    const { rig, volume } = await opened()
    let writes = 0
    const outcomes: string[] = []
    const write = async (): Promise<void> => {
      for (; writes < 400; writes++) await volume.write(0, block(writes % 250))
    }
    void write().catch((error: LemnisError) => outcomes.push(error.code))
    await rig.run(20)
    rig.host('cs1').crash()
    rig.chunks.depose(1)
    await rig.run(900)
    const before = writes
    rig.chunks.elect(GROUP, 3)
    const fromMs = rig.nowMs
    await rig.until('the next write', () => writes > before)
    expect(rig.nowMs - fromMs).toBeLessThan(150)
    await rig.until('all writes', () => writes === 400)
    expect(outcomes).toEqual([])
  })

  it('of which nobody tells: a leader that went dark is given up after a second', async () => {
    const { rig, volume } = await opened()
    rig.network.cut('client1', 'cs1')
    rig.network.cut('cs1', 'client1')
    const fromMs = rig.nowMs
    const write = volume.write(0, block(2))
    await rig.run(500)
    rig.chunks.elect(GROUP, 2)
    await rig.settle(write)
    expect(rig.nowMs - fromMs).toBeLessThan(1200)
  })

  it('to nobody is waited for, asking all members again and again but not in a hurry', async () => {
    const { rig, volume } = await opened()
    rig.chunks.elect(GROUP, 0)
    const asked = rig.chunks.asked.get(2) ?? 0
    const write = volume.write(0, block(2))
    await rig.run(3000)
    const rounds = (rig.chunks.asked.get(2) ?? 0) - asked
    expect(rounds).toBeGreaterThan(25)
    expect(rounds).toBeLessThan(65)
    expect(volume.waits(1000)).toMatchObject([
      {
        what: 'write of volume 1, chunk 1, block 0',
        waitsFor: 'a leader of copyset 1, after NOT_LEADER',
      },
    ])
    rig.chunks.elect(GROUP, 3)
    await rig.settle(write)
    expect(volume.waits(0)).toEqual([])
  })

  it('that never came about, as the candidate died with its term, is not waited for', async () => {
    const { rig, volume } = await opened()
    const before = { ...rig.chunks.group(GROUP) }
    rig.chunks.elect(GROUP, 0)
    const write = volume.write(0, block(2))
    await rig.run(1000)
    Object.assign(rig.chunks.group(GROUP), before)
    await rig.settle(write)
    expect(lastOf(rig.chunks.applied)).toMatchObject({ chunkserver: before.leader })
  })

  it('to other members is found at the MDS', async () => {
    const rig = await ClientRig.start()
    rig.mds.members = (group) => (group === GROUP ? [1, 2] : CHUNKSERVERS)
    const volume = await rig.volume(await rig.client(), SEGMENT_BYTES)
    await rig.settle(volume.write(0, block(1)))
    rig.mds.members = (group) => (group === GROUP ? [2, 3] : CHUNKSERVERS)
    rig.chunks.elect(GROUP, 3)
    const located = rig.mds.count('copyset.locate')
    await rig.settle(volume.write(0, block(2)))
    expect(rig.mds.count('copyset.locate')).toBe(located + 1)
    expect(lastOf(rig.chunks.applied).chunkserver).toBe(3)
  })

  it('away from a server that no longer has the copyset is not answered by an error', async () => {
    const { rig, volume } = await opened()
    faultsOf(rig, 'write', [{ kind: 'refused', code: 'NO_SUCH_GROUP' }])
    rig.chunks.elect(GROUP, 3)
    await rig.settle(volume.write(0, block(2)))
    expect(lastOf(rig.chunks.applied).chunkserver).toBe(3)
  })

  it('to a chunkserver that came back at another address is followed there', async () => {
    const { rig, volume } = await opened()
    rig.host('cs1').crash()
    rig.chunks.depose(1)
    await rig.boot('new1', (env) => rig.chunks.serve(env, 1, 'new1:7000'))
    rig.mds.addressOf = (chunkserver) => (chunkserver === 1 ? 'new1:7000' : `cs${chunkserver}:7000`)
    rig.chunks.elect(GROUP, 1)
    const fromMs = rig.nowMs
    await rig.settle(volume.write(0, block(2)))
    expect(lastOf(rig.chunks.applied).chunkserver).toBe(1)
    // The MDS is asked when the members have been in vain for a while.
    expect(rig.nowMs - fromMs).toBeLessThan(1500)
  })

  it('that dropped what was proposed is not answered by an error', async () => {
    for (const applied of [true, false]) {
      const { rig, volume, fillOf } = await opened()
      faultsOf(rig, 'write', [{ kind: 'dropped', applied }])
      await rig.settle(volume.write(0, block(2)))
      expect(lastOf(appliedOf(rig.chunks, 'write')).attempt).toBe(1)
      expect(await fillOf()).toBe(2)
    }
  })
})

describe('patience', () => {
  it('grows after OVERLOADED, from the hint where there is one', async () => {
    const { rig, volume } = await opened()
    const refused = (hintMs: number): Fault => ({ kind: 'refused', code: 'OVERLOADED', hintMs })
    const timeOf = async (hintMs: number): Promise<number> => {
      faultsOf(
        rig,
        'read',
        Array.from({ length: 5 }, () => refused(hintMs)),
      )
      const fromMs = rig.nowMs
      await rig.settle(volume.read(0, BLOCK_BYTES))
      return rig.nowMs - fromMs
    }
    // 1 + 2 + 4 + 8 + 16 first pauses, a tenth of each by chance.
    const withoutMs = await timeOf(0)
    expect(withoutMs).toBeGreaterThan(0.89 * 3100)
    expect(withoutMs).toBeLessThan(1.12 * 3100)
    const withMs = await timeOf(20)
    expect(withMs).toBeGreaterThan(0.89 * 620)
    expect(withMs).toBeLessThan(1.12 * 620)
  })

  it('waits for room when the cluster is full, or says so, as was asked for', async () => {
    const full: Fault = { kind: 'refused', code: 'NO_SPACE' }
    const patient = await opened()
    faultsOf(patient.rig, 'write', [full, full, full])
    await patient.rig.settle(patient.volume.write(0, block(2)))
    expect(await patient.fillOf()).toBe(2)
    const impatient = await opened({ onFull: 'error' })
    faultsOf(impatient.rig, 'write', [full])
    expect(await impatient.rig.outcome(impatient.volume.write(0, block(2)))).toBe('NO_SPACE')
    expect(await impatient.fillOf()).toBe(1)
  })

  it('lets time-outs double only when the leader stays what it is', async () => {
    const { rig, volume } = await opened()
    const silent = Array.from({ length: 8 }, (): Fault => ({ kind: 'unanswered' }))
    faultsOf(rig, 'read', silent)
    const fromMs = rig.nowMs
    await rig.settle(volume.read(0, BLOCK_BYTES))
    // The leader says each time that it leads as before: 1, 2, 4, then 8 s.
    expect(Math.round((rig.nowMs - fromMs) / 1000)).toBe(1 + 2 + 4 + 5 * 8)
  })

  it('calls a chunkserver unstable that only times out, until it answers', async () => {
    const { rig, volume } = await opened()
    faultsOf(
      rig,
      'read',
      Array.from({ length: 12 }, (): Fault => ({ kind: 'unanswered' })),
    )
    const reads = Array.from({ length: 12 }, (_, i) => volume.read(i * BLOCK_BYTES, BLOCK_BYTES))
    await rig.settle(Promise.all(reads))
    expect(rig.events.filter((event) => event === 'client_chunkserver_unstable')).toHaveLength(1)
  })

  it('ends where nothing heals', async () => {
    const { rig, volume } = await opened()
    for (const code of ['CONFLICT', 'INVALID_ARGUMENT', 'NOT_FOUND'] as const) {
      faultsOf(rig, 'read', [{ kind: 'refused', code }])
      expect(await rig.outcome(volume.read(0, BLOCK_BYTES))).toBe(code)
    }
    faultsOf(rig, 'read', [
      { kind: 'refused', code: 'CORRUPT' },
      { kind: 'refused', code: 'DISK_FAILED' },
      { kind: 'refused', code: 'INTERNAL' },
    ])
    expect((await rig.settle(volume.read(0, BLOCK_BYTES)))[0]).toBe(1)
  })

  it('has a bound where the volume was opened with one', async () => {
    const { rig, volume } = await opened({ onNoQuorumMs: 2000 })
    rig.chunks.elect(GROUP, 0)
    const fromMs = rig.nowMs
    expect(await rig.outcome(volume.write(0, block(2)))).toBe('DEADLINE_EXCEEDED')
    expect(rig.nowMs - fromMs).toBeGreaterThanOrEqual(2000)
    expect(rig.nowMs - fromMs).toBeLessThan(2200)
    expect(volume.waits(0)).toEqual([])
  })

  it('keeps the limits that the lease tells', async () => {
    const { rig, volume } = await opened()
    rig.mds.change('v', { iopsMax: 50 })
    await rig.run(1000)
    const fromMs = rig.nowMs
    const reads = Array.from({ length: 151 }, () => volume.read(0, BLOCK_BYTES))
    await rig.settle(Promise.all(reads))
    // A second's worth was saved up.
    expect(Math.round((rig.nowMs - fromMs) / 100)).toBe(20)
  })

  it('waits for an MDS when a segment has to be made, and for room to place it', async () => {
    const { rig, volume } = await opened()
    const large = await rig.volume(await rig.client(), 3 * SEGMENT_BYTES, { name: 'w' })
    rig.mds.isSilent = true
    const write = large.write(SEGMENT_BYTES + CHUNK_BYTES, block(2))
    await rig.run(7000)
    const what = `allocate segment 1 of volume ${large.info.id}`
    expect(large.waits(1000)).toMatchObject([{ what, waitsFor: 'an MDS that answers' }])
    await rig.settle(volume.write(0, block(5)))
    const full = { call: 'volume.segments', error: new LemnisError('UNPLACEABLE') }
    rig.mds.failures.push(full, full, full, full, full)
    rig.mds.isSilent = false
    await rig.until('the refusals', () => rig.mds.failures.length === 1)
    const room = 'chunkservers with room, after UNPLACEABLE'
    expect(large.waits(1000)).toMatchObject([{ what, waitsFor: room }])
    await rig.settle(write)
    expect(large.waits(0)).toEqual([])
    expect((await rig.settle(large.read(SEGMENT_BYTES + CHUNK_BYTES, 1)))[0]).toBe(2)
  })
})
