// Owns the command about zones: what fails together.

import type { Command } from 'commander'
import { LIST_ZONES } from '../../format/control/topology.ts'
import { allPages } from '../cli/pages.ts'
import { asking, declare, family } from '../cli/program.ts'
import type { Session } from '../cli/session.ts'
import { HOLDS, holds } from './topology-text.ts'

async function listZones(session: Session): Promise<void> {
  const zones = await allPages(session, LIST_ZONES, {}, (page) => page.zones)
  const head = ['ZONE', 'POOLS', 'SERVERS', ...HOLDS]
  session.io.result(zones, () =>
    zones.length === 0
      ? 'No chunkserver has registered yet, so there is no zone.'
      : session.io.table(
          head,
          zones.map((zone) => [
            zone.name,
            zone.pools.join(' '),
            String(zone.servers),
            ...holds(session.io, zone),
          ]),
        ),
  )
}

export function addZoneCommands(program: Command): void {
  const zone = family(program, 'zone', 'what fails together: replicas lie in different ones')
  declare(zone, 'list', 'all, with what they hold', 'zone list').action(asking(listZones))
}
