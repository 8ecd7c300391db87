import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LemnisError } from '../../src/base/errors.ts'
import { SHOW_MDS } from '../../src/format/control/election.ts'
import {
  LIST_CHUNKSERVERS,
  LIST_COPYSETS,
  LIST_VOLUMES,
  STATUS,
  type Status,
} from '../../src/format/control/mds.ts'
import {
  CANCEL_OPERATOR,
  LIST_OPERATORS,
  LIST_SCHEDULERS,
  type Operator,
  SET_MAINTENANCE,
  SET_SCHEDULER,
  START_LEADER_BALANCE,
} from '../../src/format/control/operators.ts'
import type { Chunkserver } from '../../src/format/control/parts.ts'
import { DRAIN, LIST_SERVERS, LIST_ZONES } from '../../src/format/control/topology.ts'
import { HttpServer } from '../../src/platform/http.ts'
import { Metrics } from '../../src/platform/metrics.ts'
import { serveControl } from '../../src/rpc/control.ts'
import { aChunkserver, CliWorld, nobodysPort } from './cli-world.ts'

const NOW_MS = Date.now()
const WELL: Status = {
  clusterId: 'c1',
  version: '0.1.0',
  health: { state: 'ok', reasons: [] },
  chunkservers: { online: 3, unstable: 0, offline: 0 },
  copysets: { total: 12, ok: 12, degraded: 0, broken: 0, moving: 0 },
  volumes: 1,
  deletedVolumes: 0,
  capacityBytes: 3 * 1024 ** 4,
  usedBytes: 1024 ** 4,
  moving: [],
}

let world: CliWorld
const closing: (() => Promise<void> | void)[] = []
beforeEach(async () => {
  world = await CliWorld.start()
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  await world.close()
})

function operator(id: number, changes: Partial<Operator> = {}): Operator {
  return {
    id,
    copyset: 7,
    kind: 'move',
    from: 3,
    to: 5,
    why: 'offline',
    priority: 'high',
    state: 'ongoing',
    step: 'the new replica catches up',
    sinceMs: NOW_MS - 60_000,
    limitMs: 3_600_000,
    ...changes,
  }
}

/** Two chunkservers on a page, asked for one page after the other. */
function serveChunkservers(all: readonly Chunkserver[]): void {
  serveControl(world.server, LIST_CHUNKSERVERS, ({ from = 1 }) => {
    const rest = all.filter(({ id }) => id >= from)
    const next = rest[2]?.id
    return { chunkservers: rest.slice(0, 2), ...(next === undefined ? {} : { next }) }
  })
}

function serveMds(): void {
  const { address } = world.server
  const me = { name: 'mds-1', address }
  serveControl(world.server, SHOW_MDS, () => ({
    ...me,
    version: '0.1.0',
    role: 'leader' as const,
    term: 4,
    leader: me,
    candidates: [me, { name: 'mds-2', address: '127.0.0.1:1' }],
    store: 'etcd' as const,
    wallMs: Date.now(),
    warm: true,
  }))
}

async function httpOf(role: string, metrics = new Metrics()): Promise<string> {
  const well = (): { ok: boolean; reasons: string[] } => ({ ok: true, reasons: [] })
  const source = { role, metrics, health: well, ready: well, waits: () => [], config: () => ({}) }
  const http = await HttpServer.listen('127.0.0.1:0', source)
  closing.push(() => http.close())
  return http.address
}

describe('lists', () => {
  it('follow all pages to the end', async () => {
    serveChunkservers([1, 2, 3, 4, 5].map((id) => aChunkserver(id)))
    expect(await world.lemnis('chunkserver', 'list', '--json')).toBe(0)
    expect((JSON.parse(world.out) as Chunkserver[]).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5])
  })
})

describe('lemnis status', () => {
  const lines = (): string[] => world.out.trimEnd().split('\n')

  it('fits on one screen whatever moves and whatever is wrong, and names who leads', async () => {
    serveMds()
    serveChunkservers([aChunkserver(6, { draining: { sinceMs: 1, why: 'asked' } })])
    const sentence =
      'Chunkserver 3 in zone-3 is offline since 12 minutes and its copysets are rebuilt'
    serveControl(world.server, STATUS, () => ({
      ...WELL,
      health: { state: 'warning' as const, reasons: Array.from({ length: 9 }, () => sentence) },
      operators: { ordered: 60, ongoing: 40, bytesLeft: 5 * 2 ** 30, endsMs: NOW_MS + 240_000 },
      moving: [],
      maintenance: {
        sinceMs: 1,
        untilMs: NOW_MS + 3_600_000,
        reason: 'new kernel',
        by: 'eve@host1',
      },
      guard: 'Nothing moves: a whole zone is away.',
      pools: [
        {
          name: 'default',
          capacityBytes: 10,
          usedBytes: 9,
          level: 'nearly' as const,
          fullestPercent: 88,
          daysLeft: 3.4,
        },
      ],
      slow: [4],
    }))
    expect(await world.lemnis('status')).toBe(0)
    expect(lines().length).toBeLessThanOrEqual(23)
    expect(Math.max(...lines().map((line) => line.length))).toBeLessThanOrEqual(80)
    expect(world.out).toMatch(/^metadata +mds-1 leads; mds-2 stand by$/m)
    expect(world.out).toMatch(/^chunkservers +3 online; slow: 4; draining: 6$/m)
    expect(world.out).toMatch(/^ +default: fullest disk 88 %, nearly full, full in about 3 d$/m)
    const moves = /^moves +100 operators, 40 of them begun, 5 GiB to go; ends in \S+ min$/m
    expect(world.out).toMatch(moves)
    expect(world.out).toContain('... and 4 more reasons')
  })

  it('shows what moves, what has begun first, with what is to go, in 80 columns', async () => {
    serveControl(world.server, STATUS, () => WELL)
    serveControl(world.server, LIST_OPERATORS, () => ({
      operators: Array.from({ length: 100 }, (_, i) =>
        operator(i + 1, {
          copyset: i + 1001,
          from: 13,
          to: 15,
          state: i < 99 ? ('ordered' as const) : ('ongoing' as const),
          bytesDone: 2 ** 20,
          bytesTotal: 4 * 2 ** 20,
          endsMs: NOW_MS + 60_000,
        }),
      ),
    }))
    expect(await world.lemnis('status')).toBe(0)
    expect(lines().length).toBeLessThanOrEqual(23)
    expect(Math.max(...lines().map((line) => line.length))).toBeLessThanOrEqual(80)
    const [first = ''] = lines().slice(lines().findIndex((line) => line.startsWith('COPYSET')) + 1)
    expect(first).toMatch(
      /^ *1100 +move 13 to 15 +chunkserver offline +1 min ago +25.0 % +3 MiB +in /,
    )
    expect(world.out).toContain('... all of them: lemnis operator list')
  })

  it('says how much I/O there is now, by what chunkservers count', async () => {
    const metrics = new Metrics()
    const writes = metrics.counter('chunkserver_writes_total')
    metrics.counter('chunkserver_reads_total')
    const timer = setInterval(() => writes.add(7), 5)
    closing.push(() => clearInterval(timer))
    const httpAddress = await httpOf('chunkserver', metrics)
    serveMds()
    serveChunkservers([aChunkserver(1, { httpAddress })])
    serveControl(world.server, STATUS, () => WELL)
    expect(await world.lemnis('status', '--json')).toBe(0)
    const { io } = JSON.parse(world.out) as {
      io: { readsPerSecond: number; writesPerSecond: number }
    }
    expect(io.readsPerSecond).toBe(0)
    expect(io.writesPerSecond).toBeGreaterThan(0)
  })

  it('says what it can with an MDS that does not know of elections', async () => {
    serveControl(world.server, STATUS, () => WELL)
    expect(await world.lemnis('status')).toBe(0)
    expect(world.out).toMatch(/^moves +nothing$/m)
  })
})

describe('lemnis operator', () => {
  it('lists what moves, with what has been done of it', async () => {
    const asked: unknown[] = []
    serveControl(world.server, LIST_OPERATORS, (request) => {
      asked.push(request)
      const one = operator(12, { bytesDone: 1, bytesTotal: 4 })
      return request.from === undefined ? { operators: [one], next: 13 } : { operators: [] }
    })
    expect(await world.lemnis('operator', 'list')).toBe(0)
    expect(world.out).toMatch(/^12 +7 +move 3 to 5 +chunkserver offline +ongoing +25.0 % +3 B/m)
    expect(asked).toEqual([{ state: 'active' }, { state: 'active', from: 13 }])
  })

  it('cancels those that are named, and passes on why one can not be', async () => {
    serveControl(world.server, CANCEL_OPERATOR, ({ id }) => {
      if (id === 2) throw new LemnisError('CONFLICT', { reason: 'it has ended' })
      return operator(id, { state: 'cancelled' })
    })
    expect(await world.lemnis('operator', 'cancel', '1')).toBe(0)
    expect(await world.lemnis('operator', 'cancel', '2')).toBe(1)
    expect(world.err).toContain('It has ended.')
    expect(await world.lemnis('operator', 'cancel')).toBe(1)
    expect(world.err).toContain('--all')
  })
})

describe('lemnis scheduler, leader and maintenance', () => {
  it('switch what was named and nothing else', async () => {
    const asked: unknown[] = []
    serveControl(world.server, SET_SCHEDULER, (request) => {
      asked.push(request)
      return { ...request, intervalMs: 1000, active: 0, waits: [] }
    })
    expect(await world.lemnis('scheduler', 'off', 'balance')).toBe(0)
    expect(await world.lemnis('scheduler', 'on', 'balance')).toBe(0)
    expect(asked).toEqual([
      { name: 'balance', on: false },
      { name: 'balance', on: true },
    ])
    expect(await world.lemnis('scheduler', 'off', 'everything')).toBe(2)
  })

  it('spread leaders on demand', async () => {
    serveControl(world.server, START_LEADER_BALANCE, () => ({ operators: 3 }))
    expect(await world.lemnis('leader', 'balance')).toBe(0)
    expect(world.out).toContain('3 leaders will go')
  })

  it('ask for an end and a reason', async () => {
    const asked: { untilMs: number; reason: string; by: string }[] = []
    serveControl(world.server, SET_MAINTENANCE, (request) => {
      asked.push(request)
      return { sinceMs: 1, ...request }
    })
    expect(await world.lemnis('maintenance', 'on', '--for', '2h', '--reason', 'new kernel')).toBe(0)
    expect(asked[0]?.reason).toBe('new kernel')
    expect(Math.round(((asked[0]?.untilMs ?? 0) - Date.now()) / 60_000)).toBe(120)
    expect(world.out).toMatch(/^Maintenance ends in 2 h, by \S+@\S+: new kernel\./)
    expect(await world.lemnis('maintenance', 'on', '--for', '2h')).toBe(2)
  })
})

const SET = {
  chunkservers: { online: 1, unstable: 0, offline: 0 },
  draining: 0,
  slow: 0,
  capacityBytes: 10,
  usedBytes: 1,
  copysets: 4,
  leaders: 1,
}

describe('lemnis zone and server show', () => {
  const host2 = { ...SET, zone: 'z1', name: 'host2', pools: ['default'], ids: [2] }

  it('say what is in the place', async () => {
    serveControl(world.server, LIST_ZONES, () => ({
      zones: [{ ...SET, name: 'z1', pools: ['default'], servers: 1 }],
    }))
    serveControl(world.server, LIST_SERVERS, () => ({ servers: [host2] }))
    serveChunkservers([aChunkserver(1), aChunkserver(2)])
    expect(await world.lemnis('zone', 'show', 'z1')).toBe(0)
    expect(world.out).toMatch(/^replicas +4, of which 1 lead$/m)
    expect(world.out).toMatch(/^host2 +z1 +2 +1 online/m)
    expect(await world.lemnis('server', 'show', 'host2')).toBe(0)
    expect(world.out).toMatch(/^server +host2$/m)
    expect(world.out).toMatch(/^ *2 +online +zone-2/m)
    expect(world.out).not.toMatch(/zone-1/)
  })

  it('say that there is none of that name', async () => {
    serveControl(world.server, LIST_ZONES, () => ({ zones: [] }))
    expect(await world.lemnis('zone', 'show', 'z7')).toBe(1)
    expect(world.err).toContain('There is no zone z7.')
    expect(world.err).toContain('lemnis zone list')
  })
})

describe('lemnis server drain', () => {
  it('waits until its chunkservers have retired', async () => {
    serveControl(world.server, LIST_SERVERS, () => ({
      servers: [{ ...SET, zone: 'z1', name: 'host2', pools: ['default'], ids: [2] }],
    }))
    const asked: unknown[] = []
    serveControl(world.server, DRAIN, (request) => {
      asked.push(request)
      return { chunkservers: [2], copysets: 4, warning: 'Zone z1 is left alone.' }
    })
    let looks = 0
    serveControl(world.server, LIST_CHUNKSERVERS, () => ({
      chunkservers: [aChunkserver(2, { state: ++looks > 1 ? 'retired' : 'online', copysets: 1 })],
    }))
    expect(await world.lemnis('server', 'drain', 'host2', '--wait')).toBe(0)
    expect(asked).toEqual([{ what: 'server', zone: 'z1', server: 'host2', on: true }])
    expect(world.out).toBe('Server host2 is empty and has retired.\n')
    expect(world.err).toContain('Zone z1 is left alone.')
    expect(looks).toBe(2)
  })

  it('asks which one is meant when zones have servers of one name', async () => {
    serveControl(world.server, LIST_SERVERS, ({ zone }) => ({
      servers: ['z1', 'z2']
        .filter((one) => zone === undefined || one === zone)
        .map((one) => ({ ...SET, zone: one, name: 'host2', pools: [], ids: [2] })),
    }))
    expect(await world.lemnis('server', 'drain', 'host2')).toBe(1)
    expect(world.err).toMatch(/z1, z2.*\n.*--zone/)
  })
})

describe('lemnis check', () => {
  it('ends with 0 when all is well, and with the worst code else', async () => {
    serveChunkservers([aChunkserver(1), aChunkserver(2)])
    expect(await world.lemnis('check', 'chunkservers', 'disks')).toBe(0)
    expect(world.out).toMatch(/^chunkservers +ok +2 chunkservers in 2 zones, all online$/m)

    const slow = { sinceMs: 1, why: 'latency' as const, says: 'writes take 90 ms, others 2 ms' }
    serveChunkservers([aChunkserver(1), aChunkserver(2, { slow })])
    expect(await world.lemnis('check', 'chunkservers')).toBe(1)
    expect(world.out).toMatch(/^ *2 +warning .*writes take 90 ms/m)

    serveChunkservers([aChunkserver(1), aChunkserver(2, { state: 'offline' })])
    expect(await world.lemnis('check', 'chunkservers')).toBe(2)
  })

  it('finds disks that are full, failing or nearly full', async () => {
    const { disk } = aChunkserver(1)
    serveChunkservers([
      aChunkserver(1, { disk: { ...disk, usedBytes: 900 } }),
      aChunkserver(2, { disk: { ...disk, state: 'full' } }),
      aChunkserver(3, { disk: { ...disk, errors: 2 } }),
    ])
    expect(await world.lemnis('check', 'disks', '--json')).toBe(2)
    const { level, checks } = JSON.parse(world.out) as {
      level: string
      checks: { rows: { level: string; cells: string[] }[] }[]
    }
    expect(level).toBe('error')
    expect(checks[0]?.rows.map((row) => [row.cells[0], row.level])).toEqual([
      ['2', 'error'],
      ['1', 'warning'],
      ['3', 'warning'],
    ])
  })

  it('ends with 3 when nobody answers, and names every check that could not be made', async () => {
    expect(await world.lemnis('check', '--mds', '127.0.0.1:1')).toBe(3)
    expect(world.out.match(/ unknown /g)?.length).toBe(6)
    expect(world.out).toContain('could not be asked')
  })

  it('finds a broken copyset', async () => {
    serveControl(world.server, LIST_COPYSETS, () => ({
      copysets: [
        {
          id: 9,
          pool: 'default',
          epoch: 1,
          leader: 0,
          term: 3,
          members: [],
          candidates: [],
          health: 'broken' as const,
          chunks: 0,
          usedBytes: 0,
        },
      ],
    }))
    expect(await world.lemnis('check', 'copysets')).toBe(2)
    expect(world.out).toMatch(/^ *9 +error +default .*no quorum/m)
  })

  it('finds operators that failed or are late, and schedulers that are off', async () => {
    serveControl(world.server, STATUS, () => WELL)
    serveControl(world.server, LIST_SCHEDULERS, () => ({
      schedulers: [{ name: 'balance' as const, on: false, intervalMs: 1, active: 0, waits: [] }],
    }))
    serveControl(world.server, LIST_OPERATORS, () => ({
      operators: [
        operator(1, { state: 'finished', endedMs: NOW_MS }),
        operator(2, { state: 'failed', endedMs: NOW_MS, error: 'the disk of 5 is full' }),
        operator(3, { limitMs: 1000 }),
        operator(4),
      ],
    }))
    expect(await world.lemnis('check', 'operators')).toBe(1)
    expect(world.out).toMatch(
      /^operators +warning +2 under way; 2 failed or late; switched off: balance/m,
    )
    expect(world.out).toMatch(/^ *2 +warning .*the disk of 5 is full/m)
    expect(world.out).toMatch(/^ *3 +warning .*over its time/m)
    expect(world.out).toMatch(/^ *4 +ok/m)
    expect(world.out).not.toMatch(/^ *1 /m)
  })

  it('asks every MDS, and warns of one that does not answer', async () => {
    serveMds()
    expect(await world.lemnis('check', 'metastore')).toBe(1)
    expect(world.out).toMatch(/^- +warning +127\.0\.0\.1:1 /m)
    expect(world.out).toMatch(/^mds-1 +ok .* 4 +leads$/m)
  })

  it('compares clocks over the HTTP port of each role', async () => {
    serveMds()
    serveControl(world.server, LIST_VOLUMES, () => ({ volumes: [] }))
    serveChunkservers([
      aChunkserver(1, { httpAddress: await httpOf('chunkserver') }),
      aChunkserver(2, { httpAddress: await nobodysPort() }),
    ])
    expect(await world.lemnis('check', 'clocks')).toBe(1)
    expect(world.out).toMatch(/^chunkserver 1 +ok .*as here$/m)
    expect(world.out).toMatch(/^chunkserver 2 +warning .*127\.0\.0\.1:\d+ .*nobody listens there$/m)
    expect(world.out).toContain(
      '2 roles asked, all clocks that answer are as here, 1 of them silent',
    )
  })
})

describe('lemnis export targets', () => {
  it('writes a file as file_sd_configs reads it', async () => {
    serveMds()
    serveControl(world.server, STATUS, () => WELL)
    serveControl(world.server, LIST_VOLUMES, () => ({ volumes: [] }))
    serveChunkservers([1, 2, 3].map((id) => aChunkserver(id, { httpAddress: `h${id}:7481` })))
    const directory = mkdtempSync(join(tmpdir(), 'lemnis-targets-'))
    closing.push(() => rmSync(directory, { recursive: true }))
    const out = join(directory, 'targets.json')
    const words = ['export', 'targets', '--out', out, '--add', 'nbd=h9:7490']
    expect(await world.lemnis(...words)).toBe(0)
    const all = JSON.parse(readFileSync(out, 'utf8')) as { targets: string[]; labels: object }[]
    expect(all.map(({ targets }) => targets[0])).toEqual([
      'h1:7481',
      'h2:7481',
      'h3:7481',
      'h9:7490',
    ])
    expect(all[0]?.labels).toEqual({
      cluster: 'c1',
      role: 'chunkserver',
      name: 'chunkserver 1',
      chunkserver: '1',
      pool: 'default',
      zone: 'zone-1',
      server: 'host1',
    })
    expect(await world.lemnis('export', 'targets', '--add', 'nbd')).toBe(2)
  })
})
