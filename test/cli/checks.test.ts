import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { judgeStore } from '../../src/bin/commands/check-store.ts'
import type { MetastoreFacts } from '../../src/bin/roles/metastore-look.ts'
import { LIST_CHUNKSERVERS, STATUS } from '../../src/format/control/mds.ts'
import { LIST_OPERATORS, LIST_SCHEDULERS } from '../../src/format/control/operators.ts'
import { serveControl } from '../../src/rpc/control.ts'
import { aChunkserver, CliWorld, nobodysPort } from './cli-world.ts'

let world: CliWorld
beforeEach(async () => {
  world = await CliWorld.start()
})
afterEach(() => world.close())

describe('lemnis check, when a process hangs', () => {
  it('names it, checks the rest, and warns: data is served', async () => {
    // As one that is stopped: the system takes the connection, and nobody says anything.
    const hung = createServer(() => {})
    await new Promise<void>((resolve) => hung.listen(0, '127.0.0.1', resolve))
    const address = hung.address() as { port: number }
    const closed = await nobodysPort()
    serveControl(world.server, LIST_CHUNKSERVERS, () => ({
      chunkservers: [
        aChunkserver(1),
        aChunkserver(2, { httpAddress: `127.0.0.1:${address.port}` }),
        aChunkserver(3, { httpAddress: closed }),
      ],
    }))
    const beganMs = Date.now()
    expect(await world.lemnis('check', 'chunkservers', 'disks')).toBe(1)
    // Asked at once, for three seconds; nothing is waited for twice.
    expect(Date.now() - beganMs).toBeLessThan(6000)
    expect(world.out).toMatch(/^ *2 +warning .*does not answer: no answer within 3 s/m)
    expect(world.out).toMatch(/^ *3 +warning .*does not answer: nobody listens there/m)
    expect(world.out).toMatch(/^disks +ok +3 disks, all well$/m)
    hung.close()
  })
})

describe('lemnis check operators', () => {
  it('says once what holds everything', async () => {
    const guard = 'Nothing moves: maintenance is on.'
    const maintenance = { sinceMs: 1, untilMs: 2, reason: 'cables', by: 'eve' }
    const status = {
      clusterId: 'c1',
      version: '0.1.0',
      health: { state: 'warning' as const, reasons: [] },
      chunkservers: { online: 3, unstable: 0, offline: 0 },
      copysets: { total: 12, ok: 12, degraded: 0, broken: 0, moving: 0 },
      volumes: 1,
      deletedVolumes: 0,
      capacityBytes: 3,
      usedBytes: 1,
      moving: [],
    }
    serveControl(world.server, LIST_SCHEDULERS, () => ({ schedulers: [] }))
    serveControl(world.server, LIST_OPERATORS, () => ({ operators: [] }))
    serveControl(world.server, STATUS, () => ({ ...status, maintenance, guard }))
    expect(await world.lemnis('check', 'operators')).toBe(1)
    expect(world.out).toBe('operators  warning  Nothing moves: maintenance is on\n')
    // The guard is as of the last pass of the scheduler.
    serveControl(world.server, STATUS, () => ({ ...status, maintenance }))
    expect(await world.lemnis('check', 'operators')).toBe(1)
    expect(world.out).toBe('operators  warning  nothing moves: maintenance is on\n')
  })
})

describe('what is said of etcd', () => {
  type Etcd = Extract<MetastoreFacts, { store: 'etcd' }>
  const member = (dbBytes: number): Etcd['members'][number] => ({
    endpoint: 'e1:2379',
    status: {
      version: '3.4.23',
      dbBytes,
      dbBytesInUse: dbBytes,
      quotaBytes: 1000,
      raftTerm: 3,
      raftIndex: 9,
      errors: [],
    },
    isLeader: true,
    problem: null,
  })
  const well: Etcd = {
    store: 'etcd',
    members: [member(100)],
    known: [{ name: 'm0', clientUrls: [] }],
    alarms: [],
    refusals: [],
    readMs: 2,
  }
  const said = (changes: Partial<Etcd>): [string, string][] =>
    judgeStore({ ...well, ...changes }).remarks.map(([level, says]) => [level, says])

  it('is nothing while it is well', () => {
    expect(judgeStore(well).remarks).toEqual([])
    expect(judgeStore(well).rows[0]?.cells).toContain('leads, version 3.4.23, 100 B of 1000 B')
  })

  it('is what keeps it from taking changes, or will, and what helps', () => {
    expect(said({ alarms: ['NOSPACE'] })).toEqual([
      ['error', expect.stringMatching(/^etcd is full .*etcdctl alarm disarm/)],
    ])
    expect(said({ refusals: ['it takes 128 changes; start it with --max-txn-ops=65536'] })).toEqual(
      [['error', expect.stringContaining('--max-txn-ops=65536')]],
    )
    expect(said({ members: [member(760)] })).toEqual([
      ['warning', expect.stringMatching(/takes 76.0 % of its quota.*defragment/)],
    ])
    const three = ['m0', 'm1', 'm2'].map((name) => ({ name, clientUrls: [] }))
    expect(said({ known: three })).toEqual([
      ['warning', 'the MDS was told 1 of 3 members of etcd: name all of them by --etcd'],
    ])
  })
})
