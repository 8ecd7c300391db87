// Owns what `lemnis zone show` and `lemnis server show` say: a place, and what is in it.

import { LIST_SERVERS, type Server, type Zone } from '../../format/control/topology.ts'
import type { Io } from '../cli/io.ts'
import { allChunkservers, allPages } from '../cli/pages.ts'
import type { Session } from '../cli/session.ts'
import { share, size } from '../cli/words.ts'
import { chunkserverTable } from './chunkserver-text.ts'
import { presence, serverTable } from './topology-text.ts'

export async function showZone(session: Session, zone: Zone): Promise<void> {
  const { io } = session
  const { name, pools } = zone
  const servers = await allPages(session, LIST_SERVERS, { zone: name }, (page) => page.servers)
  io.result({ zone, servers }, () =>
    [
      io.facts([['zone', name], ['pools', pools.join(', ')], ...heldRows(io, zone)]),
      '',
      serverTable(io, servers),
    ].join('\n'),
  )
}

export async function showServer(session: Session, server: Server): Promise<void> {
  const { io, env } = session
  const { name, zone, pools, ids } = server
  const all = await allChunkservers(session)
  const chunkservers = all.filter(({ id }) => ids.includes(id))
  io.result({ server, chunkservers }, () =>
    [
      io.facts([
        ['server', name],
        ['zone', zone],
        ['pools', pools.join(', ')],
        ...heldRows(io, server),
      ]),
      '',
      chunkserverTable(io, chunkservers, env.clock.wallMs()),
    ].join('\n'),
  )
}

function heldRows(io: Io, place: Zone | Server): [string, string][] {
  const { usedBytes, capacityBytes, copysets, leaders } = place
  const space = `${size(usedBytes)} of ${size(capacityBytes)}, ${share(usedBytes, capacityBytes)}`
  return [
    ['chunkservers', presence(io, place)],
    ['space', space],
    ['replicas', `${copysets}, of which ${leaders} lead`],
  ]
}
