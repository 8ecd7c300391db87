import { describe, expect, it } from 'vitest'
import { must } from '../../base/assert.ts'
import { LIST_CHUNKSERVERS, START_SCRUB } from '../../format/control/mds.ts'
import { Fleet } from '../testing/fleet.ts'
import { type ScriptedChunkserver, ScriptedDisk } from '../testing/scripted-chunkserver.ts'

function first(fleet: Fleet): ScriptedChunkserver {
  return must(fleet.chunkservers[0], 'a chunkserver')
}

/** Until nothing of the group's truth names the chunkserver. */
async function untilEmpty(fleet: Fleet, id: number): Promise<void> {
  const hasNone = async (): Promise<boolean> => {
    const { chunkservers } = await fleet.ask(LIST_CHUNKSERVERS, {})
    return chunkservers.find((one) => one.id === id)?.copysets === 0
  }
  for (let i = 0; i < 600 && !(await hasNone()); i++) await fleet.run(100)
  expect(await hasNone()).toBe(true)
}

describe('the guard', () => {
  it('is news of trouble only where there is some, not when an MDS begins to lead', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    fleet.crashMds()
    first(fleet).host.crash()
    fleet.startMds()
    await fleet.run(1000)
    expect(fleet.eventsOf('mds_young')).toHaveLength(1)
    expect(fleet.eventsOf('mds_guard_changed')).toEqual([])
    first(fleet).start()
    await fleet.until('everybody', () => fleet.eventsOf('mds_guard_lifted').length > 0)
    for (const chunkserver of fleet.chunkservers) chunkserver.host.crash()
    await fleet.until('trouble', () => fleet.eventsOf('mds_guard_changed').length > 0)
    expect(String(fleet.eventsOf('mds_guard_changed')[0]?.['reasons'])).toContain('many-away')
  })
})

describe('recovery', () => {
  it('rebuilds what an offline chunkserver held, and ends what comes back with it', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const gone = first(fleet)
    expect(gone.disk.replicas.size).toBeGreaterThan(0)
    gone.host.crash()
    await fleet.run(1000)
    expect((await fleet.status()).copysets.degraded).toBe(gone.disk.replicas.size)
    await untilEmpty(fleet, gone.id)
    await fleet.untilAll('ok')
    expect(gone.disk.replicas.size).toBeGreaterThan(0)
    gone.start()
    await fleet.until('its stale replicas to end', () => gone.disk.replicas.size === 0)
    expect(fleet.wrongs()).toEqual([])
    expect((await fleet.status()).health).toEqual({ state: 'ok', reasons: [] })
  })

  it('waits out a short absence', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    first(fleet).host.crash()
    await fleet.run(2500)
    first(fleet).start()
    await fleet.untilAll('ok')
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
  })

  it('drops what has not begun when the chunkserver is back', async () => {
    const fleet = new Fleet(1, { movesPerChunkserverMax: 2 })
    await fleet.serving(3, 2, 4)
    const gone = first(fleet)
    gone.host.crash()
    await fleet.until('an operator', () => fleet.eventsOf('mds_operator_begun').length > 0)
    gone.start()
    await fleet.untilAll('ok')
    await fleet.run(2000)
    expect(fleet.wrongs()).toEqual([])
    expect((await fleet.status()).moving).toEqual([])
  })

  it('moves nothing while a whole zone is away, and says so', async () => {
    const fleet = new Fleet()
    await fleet.serving(4, 2)
    const zone = fleet.chunkservers.filter(({ place }) => place.zone === 'z2')
    for (const chunkserver of zone) chunkserver.host.crash()
    await fleet.run(10_000)
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
    const { health } = await fleet.status()
    expect(health.state).toBe('warning')
    expect(health.reasons.join('\n')).toContain('Zone default/z2 is away as a whole')
    must(zone[0], 'one of them').start()
    await fleet.until('moves', () => fleet.eventsOf('mds_operator_begun').length > 0)
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
  })

  it('begins to build one after the other, and in time', async () => {
    const fleet = new Fleet(1, { scheduleIntervalMs: 1000, movesPerChunkserverMax: 8 })
    await fleet.serving(4, 2, 12)
    const begun = (): number => fleet.eventsOf('mds_operator_begun').length
    const gone = first(fleet)
    const held = (await fleet.copysets()).filter(({ members }) =>
      members.some(({ chunkserver }) => chunkserver === gone.id),
    ).length
    expect(held).toBeGreaterThan(2)
    gone.host.crash()
    await fleet.until('the first', () => begun() > 0)
    expect(begun()).toBe(1)
    await fleet.run(1000)
    expect(begun()).toBe(held)
  })

  it('is not held up by a zone that is away and holds nothing', async () => {
    const fleet = new Fleet(1, { balanceIntervalMs: 600_000 })
    await fleet.serving(4, 2)
    const empty = [fleet.add('z9'), fleet.add('z9')]
    await fleet.until('registration', () => empty.every(({ id }) => id > 0))
    await fleet.run(500)
    for (const chunkserver of empty) chunkserver.host.crash()
    await fleet.run(8000)
    const gone = first(fleet)
    gone.host.crash()
    await untilEmpty(fleet, gone.id)
    await fleet.untilAll('ok')
    expect(fleet.wrongs()).toEqual([])
  })

  it('leaves a server alone of which several chunkservers are silent', async () => {
    const fleet = new Fleet(1, { serverSilentMax: 2, awayPercentMax: 50 })
    fleet.startMds()
    for (let i = 0; i < 9; i++) fleet.add(`z${(i % 3) + 1}`, i % 3 === 0 ? `s${i % 2}` : '')
    await fleet.until('registration', () => fleet.chunkservers.every(({ id }) => id > 0))
    await fleet.run(300)
    await fleet.createPool()
    await fleet.untilAll('ok')
    const host = fleet.chunkservers.filter(({ place }) => place.server === 's0')
    expect(host).toHaveLength(2)
    for (const chunkserver of host) chunkserver.host.crash()
    await fleet.run(8000)
    expect(fleet.eventsOf('mds_operator_begun')).toEqual([])
    expect((await fleet.status()).health.reasons.join('\n')).toContain('on a silent server')
  })

  it('does not wait for a disk that failed, or was replaced', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2)
    const failed = first(fleet)
    failed.diskState = 'failed'
    await untilEmpty(fleet, failed.id)
    await fleet.untilAll('ok')
    const replaced = must(fleet.chunkservers[1], 'a chunkserver')
    const oldId = replaced.id
    replaced.host.crash()
    replaced.disk = new ScriptedDisk('put-in-its-place-01234')
    replaced.start()
    await untilEmpty(fleet, oldId)
    await fleet.untilAll('ok')
    expect(fleet.eventsOf('mds_chunkserver_offline')).toEqual([])
    expect(fleet.wrongs()).toEqual([])
  })

  it('makes a damaged replica anew in its place, and one that is gone', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 1)
    const chunkserver = first(fleet)
    const [damaged, gone] = [...chunkserver.disk.replicas]
    const [group, held] = must(damaged, 'a replica')
    held.damage = 'CORRUPT: bytes failed their checksum'
    chunkserver.disk.replicas.delete(must(gone, 'another')[0])
    await fleet.until('two rebuilds', () => fleet.eventsOf('mds_operator_finished').length === 2)
    await fleet.untilAll('ok')
    const now = must(chunkserver.disk.replicas.get(group), 'the new one')
    expect(now.damage).toBeUndefined()
    expect(now.replica).toBe(held.replica + 1)
    expect(fleet.wrongs()).toEqual([])
  })

  it('never touches a copyset without a quorum', async () => {
    const fleet = new Fleet()
    await fleet.serving(3, 2, 6)
    const [group] = must([...first(fleet).disk.replicas][0], 'a replica')
    const holders = fleet.chunkservers.filter(({ disk }) => disk.replicas.has(group))
    for (const chunkserver of holders.slice(0, 2)) {
      const held = must(chunkserver.disk.replicas.get(group), 'a replica')
      held.damage = 'CORRUPT: bytes failed their checksum'
    }
    await fleet.run(10_000)
    const copyset = (await fleet.copysets()).find(({ id }) => id === group)
    expect(copyset?.health).toBe('broken')
    expect(fleet.eventsOf('mds_operator_begun').filter((one) => one['group'] === group)).toEqual([])
    const { health } = await fleet.status()
    expect(health.state).toBe('error')
    expect(health.reasons[0]).toContain('1 copyset has no quorum')
    const destroyed = fleet.chunkservers.flatMap(({ orders }) =>
      orders.filter((order) => order.kind === 'destroy' && order.group === group),
    )
    expect(destroyed).toEqual([])
  })

  it('gives up a rebuild whose target is lost, and finds another', async () => {
    const fleet = new Fleet(1, { awayPercentMax: 50 })
    await fleet.serving(3, 3)
    const gone = first(fleet)
    const others = fleet.chunkservers.filter(
      ({ place, id }) => place.zone === gone.place.zone && id !== gone.id,
    )
    const target = must(others[0], 'a target')
    gone.host.crash()
    const isTarget = (): boolean =>
      fleet.eventsOf('mds_operator_begun').some((one) => one['to'] === target.id)
    await fleet.until('an operator to it', isTarget)
    target.host.crash()
    await fleet.until('an end', () =>
      fleet
        .eventsOf('mds_operator_dropped')
        .some((one) => one['to'] === target.id && one['reason'] === 'target-gone'),
    )
    await untilEmpty(fleet, gone.id)
    await untilEmpty(fleet, target.id)
    await fleet.untilAll('ok')
    gone.start()
    target.start()
    await fleet.run(3000)
    expect(fleet.wrongs()).toEqual([])
  })

  it('gives up what takes too long, and tries anew', async () => {
    const fleet = new Fleet(1, { operatorTimeoutMs: 2000 })
    await fleet.serving(3, 2)
    const gone = first(fleet)
    const stuck = must(
      fleet.chunkservers.find(({ place, id }) => place.zone === gone.place.zone && id !== gone.id),
      'the only target',
    )
    stuck.refusesNew = true
    gone.host.crash()
    await fleet.until('a timeout', () =>
      fleet.eventsOf('mds_operator_dropped').some((one) => one['reason'] === 'timeout'),
    )
    stuck.refusesNew = false
    await untilEmpty(fleet, gone.id)
    await fleet.untilAll('ok')
  })

  it('goes elsewhere after a rebuild that took too long', async () => {
    const fleet = new Fleet(1, { operatorTimeoutMs: 2000 })
    await fleet.serving(3, 3)
    const gone = first(fleet)
    const others = fleet.chunkservers.filter(
      ({ place, id }) => place.zone === gone.place.zone && id !== gone.id,
    )
    // It is heard, but nobody gets a replica made there.
    const deaf = must(others[0], 'a target')
    deaf.refusesNew = true
    gone.host.crash()
    await untilEmpty(fleet, gone.id)
    await fleet.untilAll('ok')
  })

  it('keeps to the limits of moves at once', async () => {
    const fleet = new Fleet(3, { movesMax: 3, movesPerChunkserverMax: 1 })
    await fleet.serving(3, 4)
    let most = 0
    let mostOfOne = 0
    fleet.world.watch(() => {
      const moves = fleet.moves()
      most = Math.max(most, moves.length)
      for (const { id } of fleet.chunkservers) {
        mostOfOne = Math.max(mostOfOne, moves.filter(({ to }) => to === id).length)
      }
    })
    first(fleet).host.crash()
    await untilEmpty(fleet, first(fleet).id)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(3)
    expect(mostOfOne).toBe(1)
  })
})

describe('a scrub', () => {
  it('is ordered from all chunkservers, also from one that comes later, once', async () => {
    const fleet = new Fleet()
    await fleet.up(3, 1)
    const late = first(fleet)
    late.host.crash()
    await fleet.ask(START_SCRUB, {})
    await fleet.run(1000)
    fleet.crashMds()
    fleet.startMds()
    late.start()
    await fleet.run(1000)
    const scrubs = fleet.chunkservers.map(
      ({ orders }) => orders.filter(({ kind }) => kind === 'scrub').length,
    )
    expect(scrubs).toEqual([1, 1, 1])
  })
})
