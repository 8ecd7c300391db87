import { describe, expect, it } from 'vitest'
import { codeOf } from '../../test/code-of.ts'
import { must } from '../base/assert.ts'
import { LemnisError } from '../base/errors.ts'
import type { Clock } from '../env/clock.ts'
import type { MetaLease } from '../env/metastore.ts'
import { RECORDS_FORMAT } from '../format/records/owner.ts'
import { SILENT } from '../observe/observe.ts'
import { SimHost } from '../sim/host.ts'
import { SimMetaDisk, type SimMetaStore } from '../sim/metastore.ts'
import { SimNetwork } from '../sim/network.ts'
import { World } from '../sim/world.ts'
import { Mirror } from './leading/mirror.ts'
import { Ledger, type Write } from './state.ts'

interface Rig {
  readonly world: World
  readonly host: SimHost
  readonly disk: SimMetaDisk
  readonly store: SimMetaStore
  readonly ledger: Ledger
  readonly seen: string[]
}

const clocks = new Map<SimHost, Clock>()
const clockOf = (host: SimHost): Clock => must(clocks.get(host), 'it runs')

async function makeRig(seed = 1): Promise<Rig> {
  const world = new World({ seed })
  const network = new SimNetwork(world)
  const host = new SimHost(world, { name: 'mds', network })
  network.add(host)
  const disk = new SimMetaDisk(host)
  host.start((env) => void clocks.set(host, env.clock))
  const store = disk.mount()
  await world.run({ until: () => clocks.has(host) })
  const ledger = await world.settle(Ledger.open(store, SILENT, 'first', 7))
  return { world, host, disk, store, ledger, seen: [] }
}

interface Elected {
  readonly mirror: Mirror
  readonly open: () => Promise<Ledger>
}

/** The key is there by which it leads; its mirror is not started yet. */
async function elect({ world, host, store }: Rig, lease?: MetaLease): Promise<Elected> {
  const held = lease === undefined ? {} : { lease }
  const put = { kind: 'put', key: 'election/a', value: '', ...held } as const
  const revision = (await world.settle(store.commit([], [put]))) as number
  const condition = { kind: 'created', key: 'election/a', revision } as const
  const mirror = new Mirror(store, clockOf(host))
  return { mirror, open: () => Ledger.open(store, SILENT, 'elected', 9, { condition, mirror }) }
}

function putting(seen: string[], key: string): () => Write<string> {
  return () => ({
    changes: [{ kind: 'put', key, value: `after ${seen.join(' ')}` }],
    apply: () => {
      seen.push(key)
      return key
    },
  })
}

describe('the ledger', () => {
  it('plans each change when the one before it is durable and in memory', async () => {
    const { world, disk, ledger, seen } = await makeRig()
    const all = ['a', 'b', 'c'].map((key) => ledger.change(putting(seen, key)))
    expect(seen).toEqual([])
    expect(await world.settle(Promise.all(all))).toEqual(['a', 'b', 'c'])
    expect(seen).toEqual(['a', 'b', 'c'])
    expect(disk.get('c')?.value).toBe('after a b')
  })

  it('changes memory only when the store has it', async () => {
    const { world, disk, ledger, seen } = await makeRig()
    disk.onLanding = (when) => {
      expect([when, seen.length]).toEqual([when, 0])
    }
    expect(await world.settle(ledger.change(putting(seen, 'a')))).toBe('a')
    expect(seen).toEqual(['a'])
  })

  it('is not stopped by a plan that refuses, or that changes nothing', async () => {
    const { world, ledger, seen } = await makeRig()
    const refusing = (): Write<void> => {
      throw new LemnisError('IN_USE', {})
    }
    const refused = codeOf(ledger.change(refusing))
    const looked = ledger.change(() => ({ changes: [], apply: () => 'looked' }))
    const badKey = codeOf(ledger.change(putting(seen, 'not a key')))
    const after = ledger.change(putting(seen, 'a'))
    expect(await world.settle(refused)).toBe('IN_USE')
    expect(await world.settle(looked)).toBe('looked')
    expect(await world.settle(badKey)).toBe('INVALID_ARGUMENT')
    expect(await world.settle(after)).toBe('a')
    expect(seen).toEqual(['a'])
  })

  it('loads what has the prefix, in order, in pages', async () => {
    const { world, ledger, store, seen } = await makeRig()
    const names = Array.from({ length: 2500 }, (_, i) => `p/${String(i).padStart(4, '0')}`)
    const odd = ['p', 'p.', 'p0', 'p/!', 'p/0000!', 'p/~~']
    const changes = [...names, ...odd].map((key) => ({ kind: 'put' as const, key, value: '' }))
    await world.settle(store.commit([], changes))
    await world.settle(ledger.load('p/', ({ key }) => void seen.push(key)))
    expect(seen).toEqual([...names, 'p/!', 'p/0000!', 'p/~~'].sort())
    expect((await world.settle(ledger.read('p0')))?.value).toBe('')
    expect(await world.settle(ledger.read('p1'))).toBeNull()
  })

  it('writes nothing more after a commit that failed, and says so once', async () => {
    const { world, disk, ledger, seen } = await makeRig()
    const told: string[] = []
    ledger.onFailed = (error) => void told.push(error.code)
    disk.faults.failChance = 1
    const both = ['a', 'b'].map((key) => codeOf(ledger.change(putting(seen, key))))
    expect(await world.settle(Promise.all(both))).toEqual(['DISK_FAILED', 'DISK_FAILED'])
    disk.faults.failChance = 0
    expect(await world.settle(codeOf(ledger.change(putting(seen, 'c'))))).toBe('DISK_FAILED')
    expect(told).toEqual(['DISK_FAILED'])
    expect(ledger.failure?.code).toBe('DISK_FAILED')
    expect(seen).toEqual([])
  })

  it('writes nothing more when another one has opened the store', async () => {
    const { world, ledger, store, disk, seen } = await makeRig()
    const other = await world.settle(Ledger.open(store, SILENT, 'second', 8))
    expect(await world.settle(codeOf(ledger.change(putting(seen, 'a'))))).toBe('NOT_LEADER')
    expect(await world.settle(other.change(putting(seen, 'b')))).toBe('b')
    expect(disk.get('a')).toBeNull()
    expect(JSON.parse(disk.get('owner')?.value ?? '')).toEqual({
      format: RECORDS_FORMAT,
      life: 2,
      name: 'second',
      sinceMs: 8,
    })
  })

  it('of two that open the store at once, one does', async () => {
    const { world, store } = await makeRig()
    const both = ['x', 'y'].map((name) => codeOf(Ledger.open(store, SILENT, name, 0)))
    expect((await world.settle(Promise.all(both))).toSorted()).toEqual(['NOT_LEADER', 'no error'])
  })

  it('of an elected MDS writes no longer than the key is there by which it leads', async () => {
    const rig = await makeRig()
    const { world, store, disk, seen } = rig
    const lease = await world.settle(store.grantLease(60_000))
    const { mirror, open } = await elect(rig, lease)
    mirror.start()
    const ledger = await world.settle(open())
    expect(ledger.isWarm).toBe(true)
    expect(await world.settle(ledger.change(putting(seen, 'a')))).toBe('a')
    await world.settle(store.revokeLease(lease))
    expect(await world.settle(codeOf(ledger.change(putting(seen, 'b'))))).toBe('NOT_LEADER')
    expect(disk.get('b')).toBeNull()
    expect(await world.settle(codeOf(open()))).toBe('NOT_LEADER')
  })

  it('takes what the mirror has forgotten for nothing that is not there', async () => {
    const rig = await makeRig()
    const { world, ledger, seen } = rig
    await world.settle(ledger.change(putting(seen, 'record/a')))
    const { mirror, open } = await elect(rig)
    mirror.start()
    const other = await world.settle(open())
    expect((await world.settle(other.read('record/a')))?.key).toBe('record/a')
    // As when its watch had to begin anew, between two readings.
    mirror.stop()
    expect(await world.settle(codeOf(other.read('record/a')))).toBe('DISCONNECTED')
    const load = other.load('record/', ({ key }) => void seen.push(key))
    expect(await world.settle(codeOf(load))).toBe('DISCONNECTED')
  })

  it('reads from the store when the mirror does not follow', async () => {
    const rig = await makeRig()
    const { world, ledger, seen } = rig
    await world.settle(ledger.change(putting(seen, 'record/a')))
    const { open } = await elect(rig)
    const other = await world.settle(open())
    expect(other.isWarm).toBe(false)
    const found: string[] = []
    await world.settle(other.load('record/', ({ key }) => found.push(key)))
    expect(found).toEqual(['record/a'])
  })

  it('does not open a store of a newer format, or with a damaged owner', async () => {
    const { world, store } = await makeRig()
    const newer = JSON.stringify({ format: RECORDS_FORMAT + 1, life: 1, name: 'x', sinceMs: 0 })
    for (const [value, code] of [[newer, 'VERSION_MISMATCH'] as const, ['{', 'CORRUPT'] as const]) {
      await world.settle(store.commit([], [{ kind: 'put', key: 'owner', value }]))
      expect(await world.settle(codeOf(Ledger.open(store, SILENT, 'x', 0)))).toBe(code)
    }
  })

  it('that is closed answers nothing that it has not applied', async () => {
    const { world, ledger, seen } = await makeRig()
    const both = ['a', 'b'].map((key) => codeOf(ledger.change(putting(seen, key))))
    ledger.close()
    expect(await world.settle(Promise.all(both))).toEqual(['CLOSED', 'CLOSED'])
    expect(await world.settle(codeOf(ledger.change(putting(seen, 'c'))))).toBe('CLOSED')
    expect(seen).toEqual([])
  })

  it('refuses more than it can hold', async () => {
    const { world, ledger, seen } = await makeRig()
    const codes = Array.from({ length: 9000 }, () => codeOf(ledger.change(putting(seen, 'a'))))
    const refused = await world.settle(Promise.all(codes.slice(-10)))
    expect(new Set(refused)).toEqual(new Set(['OVERLOADED']))
  })
})
