// Owns what `lemnis pool list` and `show` say.

import { LIST_POOLS, type Pool, SHOW_POOL } from '../../format/control/topology.ts'
import { allPages } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { ago, share, size } from '../cli/words.ts'
import { daysText, fillText, presence } from './topology-text.ts'

export async function list(session: Session): Promise<void> {
  const { io } = session
  const pools = await allPages(session, LIST_POOLS, {}, (page) => page.pools)
  const head = ['POOL', 'REPLICAS', 'COPYSETS', 'VOLUMES', 'CHUNKSERVERS', 'USED', 'OF', 'FULL', '']
  const row = (pool: Pool): string[] => [
    pool.name,
    String(pool.replicas),
    String(pool.copysets),
    String(pool.volumes),
    presence(io, pool),
    size(pool.usedBytes),
    size(pool.capacityBytes),
    share(pool.usedBytes, pool.capacityBytes),
    pool.state === 'removing' ? 'being removed' : fillText(io, pool.level),
  ]
  io.result(pools, () =>
    pools.length === 0
      ? 'No pool yet; `lemnis pool create` makes one when chunkservers have registered.'
      : io.table(head, pools.map(row)),
  )
}

export async function show(session: Session, name: string): Promise<void> {
  const { io } = session
  const reply = await session.ask(SHOW_POOL, { name })
  const { pool, zones } = reply
  const used = `${size(pool.usedBytes)} of ${size(pool.capacityBytes)}`
  const fill = `its fullest chunkserver ${pool.fullestPercent} %, ${fillText(io, pool.level)}`
  const rows = zones.map((zone) => [
    zone.name,
    String(zone.servers),
    presence(io, zone),
    size(zone.usedBytes),
    size(zone.capacityBytes),
    String(zone.copysets),
    String(zone.leaders),
  ])
  const head = ['ZONE', 'SERVERS', 'CHUNKSERVERS', 'USED', 'OF', 'REPLICAS', 'LEADS']
  io.result(reply, () =>
    [
      io.facts([
        ['pool', pool.state === 'removing' ? `${pool.name}, being removed` : pool.name],
        ['copysets', `${pool.copysets} of ${pool.replicas} replicas`],
        ['zones', pool.zones.length === 0 ? 'all' : pool.zones.join(', ')],
        ['volumes', `${pool.volumes}, those in the recycle bin among them`],
        ['chunkservers', presence(io, pool)],
        ['space', `${used} used, ${share(pool.usedBytes, pool.capacityBytes)}; ${fill}`],
        ...(pool.daysLeft === undefined ? [] : [['', daysText(pool.daysLeft)] as const]),
        ['created', ago(pool.createdMs, session.env.clock.wallMs())],
      ]),
      ...(rows.length === 0 ? [] : ['', io.table(head, rows)]),
    ].join('\n'),
  )
}
