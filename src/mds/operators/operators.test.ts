import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { LIST_CHUNKSERVERS } from '../../format/control/mds.ts'
import {
  CANCEL_OPERATOR,
  END_MAINTENANCE,
  LIST_OPERATORS,
  LIST_SCHEDULERS,
  type Operator,
  SET_MAINTENANCE,
  SET_SCHEDULER,
  SHOW_OPERATOR,
  START_LEADER_BALANCE,
} from '../../format/control/operators.ts'
import { DRAIN, REMOVE_POOL } from '../../format/control/topology.ts'
import { Fleet } from '../testing/fleet.ts'
import type { ScriptedChunkserver } from '../testing/scripted-chunkserver.ts'

function first(fleet: Fleet): ScriptedChunkserver {
  return must(fleet.chunkservers[0], 'a chunkserver')
}

async function operators(fleet: Fleet, state: 'active' | 'ended' | 'all'): Promise<Operator[]> {
  return (await fleet.ask(LIST_OPERATORS, { state })).operators
}

/** A chunkserver is away for good, and where its replicas should go none are made: rebuilds stay. */
async function stuck(replaced = {}): Promise<Fleet> {
  const fleet = new Fleet(1, { movesMax: 2, ...replaced })
  await fleet.serving(3, 2, 4)
  for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = true
  first(fleet).host.crash()
  await fleet.until('an operator', () => fleet.eventsOf('mds_operator_begun').length > 0)
  await fleet.run(500)
  return fleet
}

/** A chunkserver was away for so short that its replicas stayed, but its leaders went. */
async function comeBack(fleet: Fleet): Promise<ScriptedChunkserver> {
  const away = first(fleet)
  away.host.crash()
  await fleet.run(1500)
  away.start()
  await fleet.untilAll('ok')
  return away
}

/** Another process of the MDS, on a host with the right date. */
async function restartMds(fleet: Fleet): Promise<void> {
  const wallMs = fleet.wallMs()
  fleet.crashMds()
  fleet.startMds()
  await fleet.run(1)
  fleet.mdsHost.jumpWall(wallMs - fleet.wallMs())
}

async function leaderCounts(fleet: Fleet): Promise<number[]> {
  const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
  return chunkservers.map(({ leaders }) => leaders)
}

async function leadersOf({ id }: ScriptedChunkserver, fleet: Fleet): Promise<number> {
  const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
  return must(chunkservers.find((one) => one.id === id)?.leaders, 'it')
}

const HOUR_MS = 3_600_000

describe('operators', () => {
  it('are shown with ids of their own while they are under way, and after', async () => {
    const fleet = await stuck()
    const active = await operators(fleet, 'active')
    expect(active.length).toBeGreaterThan(0)
    expect(active.length).toBeLessThanOrEqual(2)
    const one = must(active[0], 'an operator')
    expect(one).toMatchObject({
      kind: 'move',
      why: 'offline',
      priority: 'high',
      from: first(fleet).id,
    })
    expect(one).toMatchObject({ state: 'ongoing', step: 'waits for catch-up', limitMs: 20_000 })
    expect(await fleet.ask(SHOW_OPERATOR, { id: one.id })).toMatchObject({ id: one.id })
    const { moving, operators: summary } = await fleet.status()
    expect(moving.map(({ operator }) => operator)).toEqual(active.map(({ id }) => id))
    expect(summary).toEqual({ ordered: 0, ongoing: active.length })
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
    await fleet.untilAll('ok')
    const ended = await operators(fleet, 'ended')
    expect(ended.find(({ id }) => id === one.id)).toMatchObject({ state: 'finished', step: 'done' })
    expect(new Set(ended.map(({ id }) => id)).size).toBe(ended.length)
    expect(await operators(fleet, 'active')).toEqual([])
    expect(await fleet.refusal(SHOW_OPERATOR, { id: 9999 })).toBe('NOT_FOUND')
  })

  it('say how many bytes are to go, and until when, as far as leaders say', async () => {
    const fleet = await stuck()
    for (const chunkserver of fleet.chunkservers) {
      chunkserver.replicaBytes = 1000
      chunkserver.sends = { bytesSent: 0, bytesWanted: 0, lastsMs: 0 }
    }
    await fleet.run(500)
    const count = (await operators(fleet, 'active')).length
    // Nothing was sent yet: as much as the others have.
    for (const one of await operators(fleet, 'active')) {
      expect(one).toMatchObject({ bytesTotal: 1000 })
      expect(one).not.toHaveProperty('endsMs')
    }
    expect((await fleet.status()).operators).toMatchObject({ bytesLeft: count * 1000 })

    for (const chunkserver of fleet.chunkservers) {
      chunkserver.sends = { bytesSent: 300, bytesWanted: 900, lastsMs: 30_000 }
    }
    await fleet.run(500)
    const nowMs = fleet.wallMs()
    for (const { bytesDone, bytesTotal, endsMs } of await operators(fleet, 'active')) {
      expect([bytesDone, bytesTotal]).toEqual([300, 900])
      // 600 bytes at 10 a second.
      expect(Math.abs((endsMs ?? 0) - nowMs - 60_000)).toBeLessThan(500)
    }
    const { operators: summary, moving } = await fleet.status()
    expect(summary?.bytesLeft).toBe(count * 600)
    expect(moving[0]).toMatchObject({ bytesDone: 300, bytesTotal: 900 })
    // Those that wait are as many bytes each, sent at the rate of those under way.
    expect(summary?.endsMs).toBeGreaterThanOrEqual(nowMs + 59_000)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
  })

  it('go on under another MDS, with their ids, and are not begun twice', async () => {
    const fleet = await stuck()
    const before = await operators(fleet, 'active')
    const begun = fleet.eventsOf('mds_operator_begun').length
    await restartMds(fleet)
    await fleet.run(3000)
    const same = await operators(fleet, 'active')
    expect(
      same.map(({ id, copyset, from, to, sinceMs }) => [id, copyset, from, to, sinceMs]),
    ).toEqual(before.map(({ id, copyset, from, to, sinceMs }) => [id, copyset, from, to, sinceMs]))
    expect(fleet.eventsOf('mds_operator_begun')).toHaveLength(begun)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
    await fleet.untilAll('ok')
    fleet.crashMds()
    fleet.startMds()
    const ended = await operators(fleet, 'ended')
    const finished = ended.filter(({ state }) => state === 'finished').map(({ id }) => id)
    expect(finished).toEqual(expect.arrayContaining(before.map(({ id }) => id)))
    expect(fleet.wrongs()).toEqual([])
  })

  it('are cancelled by whoever asks, once, and leave their copyset as it was', async () => {
    const fleet = await stuck({ operatorRetryMs: 30_000 })
    const one = must((await operators(fleet, 'active'))[0], 'an operator')
    const shown = await fleet.ask(CANCEL_OPERATOR, { id: one.id })
    expect(shown).toMatchObject({ state: 'cancelled', error: 'asked' })
    expect(await fleet.refusal(CANCEL_OPERATOR, { id: one.id })).toBe('CONFLICT')
    const begun = (): number =>
      fleet.eventsOf('mds_operator_begun').filter(({ group }) => group === one.copyset).length
    expect(begun()).toBe(1)
    await fleet.run(10_000)
    const left = (await fleet.copysets()).find(({ id }) => id === one.copyset)
    expect(left).toMatchObject({ health: 'degraded', candidates: [] })
    expect(begun()).toBe(1)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
    await fleet.untilAll('ok')
    expect(begun()).toBe(2)
    expect(fleet.wrongs()).toEqual([])
  })

  it('of a pool that is removed end with it, and are shown after', async () => {
    const fleet = await stuck()
    const active = await operators(fleet, 'active')
    await fleet.ask(REMOVE_POOL, { name: 'default' })
    expect(await operators(fleet, 'active')).toEqual([])
    for (const { id } of active) {
      expect(await fleet.ask(SHOW_OPERATOR, { id })).toMatchObject({
        state: 'cancelled',
        error: 'not-wanted',
      })
    }
  })

  it('that an older version wrote are numbered and go on', async () => {
    const fleet = await stuck()
    const before = await operators(fleet, 'active')
    fleet.crashMds()
    const { store } = fleet
    const [owner] = store.range('owner', 'owner~', 1)
    const old = JSON.stringify({ ...JSON.parse(must(owner, 'an owner').value), format: 1 })
    store.land([], [{ kind: 'put', key: 'owner', value: old }])
    for (const { key, value } of store.range('operator/', 'operator/~', 10)) {
      const { copyset, from, to, why, epoch, sinceMs } = JSON.parse(value)
      const rebuild = JSON.stringify({ copyset, from, to, why, epoch, sinceMs })
      store.land([], [{ kind: 'put', key, value: rebuild }])
    }
    fleet.startMds()
    const after = await operators(fleet, 'active')
    expect(after.map(({ copyset, from, to }) => [copyset, from, to])).toEqual(
      before.map(({ copyset, from, to }) => [copyset, from, to]),
    )
    expect(Math.min(...after.map(({ id }) => id))).toBeGreaterThan(0)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
    await fleet.untilAll('ok')
    expect(await fleet.ask(SHOW_OPERATOR, { id: must(after[0], 'it').id })).toMatchObject({
      state: 'finished',
    })
  })

  it('have no more time under another MDS than is left of theirs', async () => {
    const fleet = await stuck({ operatorTimeoutMs: 6000, operatorRetryMs: 60_000 })
    const one = must((await operators(fleet, 'active'))[0], 'an operator')
    await fleet.run(2000)
    await restartMds(fleet)
    await fleet.run(4000)
    const ended = await fleet.ask(SHOW_OPERATOR, { id: one.id })
    expect(ended).toMatchObject({ state: 'failed', error: 'timeout' })
    expect(must(ended.endedMs, 'an end') - one.sinceMs).toBeLessThan(7000)
  })

  it('are given up when they get no further, not because there is much to do', async () => {
    const fleet = await stuck({ operatorTimeoutMs: 2000, operatorRetryMs: 60_000 })
    const { id } = must((await operators(fleet, 'active'))[0], 'an operator')
    const send = (bytesSent: number): void => {
      for (const chunkserver of fleet.chunkservers) {
        chunkserver.sends = { bytesSent, bytesWanted: 1000, lastsMs: 1000 }
      }
    }
    for (let bytesSent = 100; bytesSent <= 800; bytesSent += 100) {
      send(bytesSent)
      await fleet.run(1000)
    }
    expect(await fleet.ask(SHOW_OPERATOR, { id })).toMatchObject({ state: 'ongoing' })
    // From the beginning again is no progress, however often.
    for (let round = 1; round <= 3; round++) {
      send(round * 100)
      await fleet.run(1000)
    }
    expect(await fleet.ask(SHOW_OPERATOR, { id })).toMatchObject({
      state: 'failed',
      error: 'timeout',
    })
  })

  it('give way to what is more urgent while they have not begun', async () => {
    const fleet = new Fleet(1, { leaderUpMinMs: 0 })
    await fleet.serving(3, 2, 12)
    await fleet.ask(SET_SCHEDULER, { name: 'leaders', on: false })
    const back = await comeBack(fleet)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesLead = true
    const { operators: asked } = await fleet.ask(START_LEADER_BALANCE, {})
    expect(asked).toBeGreaterThan(0)
    await fleet.run(500)
    const lead = must((await operators(fleet, 'active'))[0], 'an operator')
    expect(lead).toMatchObject({ kind: 'lead', why: 'asked', state: 'ordered' })
    const held = must(back.disk.replicas.get(lead.copyset), 'a replica')
    held.damage = 'CORRUPT: bytes failed their checksum'
    await fleet.until('its end', () =>
      fleet
        .eventsOf('mds_operator_finished')
        .some(({ group, why }) => group === lead.copyset && why === 'damaged'),
    )
    const ended = await fleet.ask(SHOW_OPERATOR, { id: lead.id })
    expect(ended.state).toBe('cancelled')
    expect(ended.error).toBe('target-unfit')
  })

  it('that would make a damaged replica lead make room for its rebuild, urgent as they are', async () => {
    const fleet = new Fleet(1, { diskErrorsMax: 5 })
    await fleet.serving(3, 1, 4)
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesLead = true
    first(fleet).badBlocks = 5
    await fleet.until('an operator', () => fleet.eventsOf('mds_operator_begun').length > 0)
    const lead = must((await operators(fleet, 'active'))[0], 'an operator')
    expect(lead).toMatchObject({ kind: 'lead', why: 'slow', priority: 'high', state: 'ordered' })
    expect((await fleet.copysets()).map(({ health }) => health)).toEqual(['ok', 'ok', 'ok', 'ok'])
    const target = must(
      fleet.chunkservers.find(({ id }) => id === lead.to),
      'its chunkserver',
    )
    const held = must(target.disk.replicas.get(lead.copyset), 'a replica')
    held.damage = 'CORRUPT: bytes failed their checksum'
    await fleet.run(5000)
    const ended = await fleet.ask(SHOW_OPERATOR, { id: lead.id })
    expect(ended).toMatchObject({ state: 'cancelled', error: 'target-unfit' })
    const rebuilt = must(target.disk.replicas.get(lead.copyset), 'a replica')
    expect(rebuilt).toMatchObject({ replica: held.replica + 1, damage: undefined })
  })
})

describe('leaders', () => {
  it('are evened out at once when somebody asks', async () => {
    const fleet = new Fleet(1, { leaderUpMinMs: HOUR_MS })
    await fleet.serving(3, 2, 12)
    const back = await comeBack(fleet)
    await fleet.run(500)
    expect(await leadersOf(back, fleet)).toBe(0)
    const { operators: asked } = await fleet.ask(START_LEADER_BALANCE, {})
    expect(asked).toBeGreaterThan(0)
    await fleet.run(2000)
    const counts = await leaderCounts(fleet)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(await operators(fleet, 'active')).toEqual([])
    const ended = await operators(fleet, 'ended')
    expect(ended.filter(({ state }) => state === 'finished')).toHaveLength(asked)
    expect((await fleet.ask(START_LEADER_BALANCE, {})).operators).toBe(0)
  })

  it('are evened out slowly by themselves, by those that have been up long enough', async () => {
    const fleet = new Fleet(1, { leaderUpMinMs: 4000, balanceIntervalMs: 200 })
    await fleet.serving(3, 2, 12)
    const back = await comeBack(fleet)
    await fleet.run(1000)
    expect(await leadersOf(back, fleet)).toBe(0)
    await fleet.run(6000)
    const counts = await leaderCounts(fleet)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
  })
})

describe('a cluster that changes', () => {
  it('is even again after three chunkservers were added to nine', async () => {
    const fleet = new Fleet(1, { balanceIntervalMs: 200, leaderUpMinMs: 0 })
    await fleet.serving(3, 3, 60)
    for (let i = 1; i <= 3; i++) fleet.add(`z${i}`)
    const spread = async (of: 'copysets' | 'leaders'): Promise<number> => {
      const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
      const counts = chunkservers.map((one) => one[of])
      return Math.max(...counts) - Math.min(...counts)
    }
    for (let i = 0; i < 100 && (await spread('copysets')) > 1; i++) await fleet.run(500)
    expect(await spread('copysets')).toBeLessThanOrEqual(1)
    for (let i = 0; i < 40 && (await spread('leaders')) > 1; i++) await fleet.run(500)
    expect(await spread('leaders')).toBeLessThanOrEqual(1)
    await fleet.run(5000)
    await fleet.untilAll('ok')
    // There is an end to it.
    const begun = fleet.eventsOf('mds_operator_begun').length
    await fleet.run(5000)
    expect(fleet.eventsOf('mds_operator_begun')).toHaveLength(begun)
    expect(fleet.eventsOf('mds_operator_dropped')).toEqual([])
    expect(fleet.wrongs()).toEqual([])
  })

  it('takes nobody away who leads, but lets him hand over first', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2, 12)
    const leaving = first(fleet)
    expect(await leadersOf(leaving, fleet)).toBeGreaterThan(0)
    await fleet.ask(SET_SCHEDULER, { name: 'relieve', on: false })
    await fleet.ask(DRAIN, { what: 'chunkserver', chunkserver: leaving.id, on: true })
    await fleet.until('its end', () => fleet.eventsOf('mds_chunkserver_retired').length > 0)
    const kinds = leaving.orders.map(({ kind }) => kind)
    expect(kinds).toContain('lead')
    expect(kinds).not.toContain('change')
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
  })
})

describe('nothing moves', () => {
  it('while 5 of 12 chunkservers are away, nor when they are back', async () => {
    const fleet = new Fleet()
    await fleet.serving(4, 3)
    const stopped = [0, 1, 2, 4, 5].map((i) => must(fleet.chunkservers[i], 'a chunkserver'))
    for (const { host } of stopped) host.crash()
    await fleet.run(10_000)
    const { health, guard } = await fleet.status()
    expect(guard).toBe('Nothing moves: 5 of 12 chunkservers are silent.')
    expect(health.reasons.join('\n')).toContain('5 of 12 chunkservers are silent')
    // With two of twelve away things may move again: but these two are about to come.
    for (const chunkserver of stopped.slice(0, 3)) chunkserver.start()
    await fleet.run(1000)
    expect((await fleet.status()).guard).toBeUndefined()
    for (const chunkserver of stopped.slice(3)) chunkserver.start()
    await fleet.untilAll('ok')
    await fleet.run(3000)
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
    expect((await fleet.status()).guard).toBeUndefined()
    expect(fleet.wrongs()).toEqual([])
  })

  it('after a start of the MDS until everybody was heard', async () => {
    const fleet = new Fleet(1, { onlineMs: 2000 })
    await fleet.serving(3, 2)
    fleet.crashMds()
    first(fleet).host.crash()
    fleet.startMds()
    await fleet.run(800)
    expect((await fleet.status()).guard).toContain('has just started')
    await fleet.run(2000)
    expect((await fleet.status()).guard).toBeUndefined()
  })

  it('during maintenance, and nobody is offline right after it', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const untilMs = fleet.wallMs() + 20_000
    const asked = { untilMs, reason: 'new switches', by: 'ana' }
    expect(await fleet.ask(SET_MAINTENANCE, asked)).toMatchObject(asked)
    first(fleet).host.crash()
    await fleet.run(10_000)
    await restartMds(fleet)
    await fleet.run(6000)
    const { maintenance, health } = await fleet.status()
    expect(maintenance).toMatchObject(asked)
    expect(health.reasons.join('\n')).toContain('Maintenance by ana (new switches)')
    expect(fleet.eventsOf('mds_chunkserver_offline')).toEqual([])
    await fleet.run(5500)
    expect((await fleet.status()).maintenance).toBeUndefined()
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
    expect(fleet.eventsOf('mds_maintenance_ended')).toHaveLength(1)
    await fleet.until('a rebuild', () => fleet.eventsOf('mds_operator_begun').length > 0)
    await fleet.untilAll('ok')
  })

  it('that has not begun when maintenance begins; what has begun comes to its end', async () => {
    const fleet = await stuck({ movesMax: 64, movesPerChunkserverMax: 64 })
    const before = await operators(fleet, 'active')
    expect(before.length).toBeGreaterThan(1)
    const untilMs = fleet.wallMs() + 60_000
    await fleet.ask(SET_MAINTENANCE, { untilMs, reason: 'r', by: 'b' })
    for (const chunkserver of fleet.chunkservers) chunkserver.refusesNew = false
    await fleet.run(8000)
    expect(await operators(fleet, 'active')).toEqual([])
    const begun = fleet.eventsOf('mds_operator_begun').length
    await fleet.run(5000)
    expect(fleet.eventsOf('mds_operator_begun')).toHaveLength(begun)
    await fleet.ask(END_MAINTENANCE, {})
    await fleet.ask(END_MAINTENANCE, {})
    expect((await fleet.status()).maintenance).toBeUndefined()
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
  })

  it('by a scheduler that is switched off, also after a start of the MDS', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2, 4)
    expect(await fleet.ask(SET_SCHEDULER, { name: 'recover', on: false })).toMatchObject({
      name: 'recover',
      on: false,
    })
    first(fleet).host.crash()
    fleet.crashMds()
    fleet.startMds()
    await fleet.run(8000)
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
    const { schedulers } = await fleet.ask(LIST_SCHEDULERS, {})
    expect(schedulers.filter(({ on }) => !on).map(({ name }) => name)).toEqual(['recover'])
    await fleet.ask(SET_SCHEDULER, { name: 'recover', on: true })
    await fleet.until('a rebuild', () => fleet.eventsOf('mds_operator_begun').length > 0)
    await fleet.untilAll('ok')
  })

  it('that is not a time in the near future', async () => {
    const fleet = new Fleet()
    await fleet.up(1, 1)
    for (const untilMs of [fleet.wallMs() - 1, fleet.wallMs() + 8 * 24 * HOUR_MS]) {
      const request = { untilMs, reason: 'r', by: 'b' }
      expect(await fleet.refusal(SET_MAINTENANCE, request)).toBe('INVALID_ARGUMENT')
    }
  })
})
